"""Where things are in a store, and which version of the format it has.

::

    format                                 "opam-bin store 1" and a line feed
    objects/ab/cdef…                       sha256 of the bytes, split after two digits
    objects/ab/cdef….x                     the same for an executable file
    manifests/ab/abcdef…/OUTPUT.json       one directory per cone key, one file per output
    quarantine/  tmp/  locks/  logs/
    index.sqlite                           use times and statistics
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.store.faults import store_faults
from opambin.store.permissions import make_folder, make_group_folder

if TYPE_CHECKING:
    from opambin.model import ConeKey, Digest, OutputId

FORMAT_VERSION = 1
FORMAT_LINE = "opam-bin store {}\n"
FORMAT_MAX_BYTES = 256
DIRECTORIES = ("objects", "manifests", "quarantine", "tmp", "locks", "logs")
INDEX_NAME = "index.sqlite"
EXECUTABLE_SUFFIX = ".x"

_HEX_DIGITS = "0123456789abcdef"


def is_hex64(text: object) -> TypeGuard[str]:
    """Say whether ``text`` is 64 lower-case hexadecimal digits."""
    # a manifest holds thousands: this takes a third of the time of an expression
    return type(text) is str and len(text) == 64 and not text.strip(_HEX_DIGITS)


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one store.

    Attributes:
        root: Its directory, absolute.
    """

    root: Path

    @property
    def format_file(self) -> Path:
        """The file with the version of the format."""
        return self.root / "format"

    @property
    def objects(self) -> Path:
        """Directory of the objects."""
        return self.root / "objects"

    @property
    def manifests(self) -> Path:
        """Directory of the manifests."""
        return self.root / "manifests"

    @property
    def quarantine(self) -> Path:
        """Directory for what was found to be wrong."""
        return self.root / "quarantine"

    @property
    def tmp(self) -> Path:
        """Directory for what is being written."""
        return self.root / "tmp"

    @property
    def locks(self) -> Path:
        """Directory of lock files."""
        return self.root / "locks"

    @property
    def logs(self) -> Path:
        """Directory for logs of whoever uses the store."""
        return self.root / "logs"

    @property
    def index(self) -> Path:
        """The SQLite file."""
        return self.root / INDEX_NAME

    def object(self, digest: Digest, *, executable: bool) -> Path:
        """Return the path of an object, whether it exists or not.

        Raises:
            BadDataError: ``digest`` is not 64 hexadecimal digits (it would name another place).
        """
        return Path(self.object_name(digest, executable=executable))

    def object_name(self, digest: Digest, *, executable: bool) -> str:
        """Return :meth:`object` as a string: a restore looks up thousands, and pathlib is the slower half."""
        _check(digest, "object digest")
        suffix = EXECUTABLE_SUFFIX if executable else ""
        return f"{self.root}/objects/{digest[:2]}/{digest[2:]}{suffix}"

    def key_dir(self, key: ConeKey) -> Path:
        """Return the directory of the outputs of ``key``."""
        _check(key, "cone key")
        return Path(f"{self.root}/manifests/{key[:2]}/{key}")

    def manifest(self, key: ConeKey, output: OutputId) -> Path:
        """Return the path of a manifest, whether it exists or not."""
        _check(output, "output id")
        return self.key_dir(key) / f"{output}.json"


def _check(digits: str, what: str) -> None:
    if not is_hex64(digits):
        raise BadDataError(
            what, "not 64 lower-case hexadecimal digits", expected="[0-9a-f]{64}", observed=repr(digits)
        )


def check_format(layout: Layout) -> bool:
    """Say whether a store is there, and refuse one that another version wrote.

    Returns:
        False when there is no format file.

    Raises:
        BadDataError: The format is not ours.
        UnavailableError: It can't be read.
    """
    try:
        with layout.format_file.open("rb") as stream:
            found = stream.read(FORMAT_MAX_BYTES).decode("utf-8", "replace")
    except FileNotFoundError:
        return False
    except NotADirectoryError as error:
        there = next(path for path in (layout.root, *layout.root.parents) if path.exists())
        raise UnavailableError(
            f"there is no store at {layout.root}, and none can be made: {there} is no directory;"
            " name another directory in OPAMBIN_CACHE"
        ) from error
    except OSError as error:
        raise UnavailableError(f"the store at {layout.root} can't be read: {error.strerror}") from error
    if found != FORMAT_LINE.format(FORMAT_VERSION):
        raise BadDataError(
            layout.format_file,
            "unknown format of the store; use the opam-bin that wrote it, "
            "or another directory (OPAMBIN_CACHE)",
            expected=repr(FORMAT_LINE.format(FORMAT_VERSION)),
            observed=repr(found),
        )
    return True


def create(layout: Layout, *, group: bool = False) -> None:
    """Make an empty store; several processes may do so at once.

    Args:
        layout: Where.
        group: Whether the members of its group write into it, too.

    Raises:
        MisuseError: The directory holds things that are not a store's.
        UnavailableError: It can't be written.
    """
    with store_faults(layout.root):
        layout.root.mkdir(parents=True, exist_ok=True)
        if group:
            make_group_folder(layout.root)
        foreign = sorted({path.name for path in layout.root.iterdir()} - {*DIRECTORIES, "format"})
        if foreign:
            raise MisuseError(
                f"{layout.root} is no store and not empty (it holds {foreign[0]}): "
                "name another directory in OPAMBIN_CACHE"
            )
        for name in DIRECTORIES:
            make_folder(layout.root / name)
        # The format file comes last and whole: who sees it sees a complete store.
        draft = layout.tmp / f"put-format-{os.getpid()}-{os.urandom(4).hex()}"
        draft.write_text(FORMAT_LINE.format(FORMAT_VERSION))
        draft.replace(layout.format_file)
