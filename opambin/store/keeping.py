"""What the user wants to keep in a store whatever its age: one line for each wish, in the file ``keep``.

::

    package GLOB         on NAME or NAME.VERSION
    key HEX              the first digits of a cone key, at least eight
    switch PREFIX        what is recorded as installed under a prefix
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.store.faults import store_faults
from opambin.store.locks import exclusive_file
from opambin.store.permissions import make_folder, share_file
from opambin.store.staging import DRAFT_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from opambin.store.records import SnapshotRecord
    from opambin.store.store import Store

NAME = "keep"
KINDS = ("package", "key", "switch")
MAX_BYTES = 1_000_000
_KEY = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True, slots=True, order=True)
class Wish:
    """Something to keep.

    Attributes:
        kind: One of :data:`KINDS`.
        what: A glob, the first digits of a key, or a prefix.
    """

    kind: str
    what: str

    @classmethod
    def of(cls, kind: str, what: str) -> Wish:
        """Check a wish of the user.

        Raises:
            MisuseError: It can't be meant.
        """
        if kind not in KINDS or not what or "\n" in what:
            raise MisuseError(f"not something to keep: {kind} {what!r}")
        if kind == "key" and not _KEY.fullmatch(what):
            raise MisuseError(f"not the first eight or more digits of a key: {what!r}")
        return cls(kind, what)

    def __str__(self) -> str:
        return f"{self.kind} {self.what}"


def read(store: Store) -> list[Wish]:
    """Return what is to be kept.

    Raises:
        BadDataError: The file is damaged; nothing may be removed before it is repaired.
        UnavailableError: It can't be read.
    """
    path = _path(store)
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UnavailableError(f"{path} can't be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise BadDataError(path, "too large", expected=f"<= {MAX_BYTES} bytes", observed="more")
    found = []
    for number, line in enumerate(data.decode("utf-8", "surrogateescape").splitlines(), 1):
        kind, _, what = line.partition(" ")
        if line:
            try:
                found.append(Wish.of(kind, what))
            except MisuseError as error:
                raise BadDataError(path, f"line {number}: {error}") from error
    return found


def change(store: Store, *, add: Iterable[Wish] = (), remove: Iterable[Wish] = ()) -> list[Wish]:
    """Add and remove wishes; returns what is kept from now on.

    Raises:
        OpambinError: The file is damaged, or can't be written.
    """
    store.staging.refuse_if_readonly()
    with store_faults(store.layout.root):
        make_folder(store.layout.locks)
        with store.writing(), exclusive_file(store.layout.locks / "keep.lock"):
            wanted = sorted({*read(store), *add} - {*remove})
            draft = store.layout.tmp / f"{DRAFT_PREFIX}keep-{os.getpid()}"
            text = "".join(f"{wish}\n" for wish in wanted)
            draft.write_text(text, encoding="utf-8", errors="surrogateescape")
            draft.replace(_path(store))
            share_file(_path(store))
    return wanted


def keeper(store: Store, wishes: Iterable[Wish]) -> Callable[[SnapshotRecord], bool]:
    """Return what tells whether a snapshot has to stay."""
    wishes = list(wishes)
    globs = [wish.what for wish in wishes if wish.kind == "package"]
    keys = tuple(wish.what for wish in wishes if wish.kind == "key")
    prefixes = [wish.what for wish in wishes if wish.kind == "switch"]
    installed = {
        (record.key, record.output) for prefix in prefixes for record in store.installed(prefix).values()
    }

    def keeps(record: SnapshotRecord) -> bool:
        names = (str(record.name), f"{record.name}.{record.version}")
        return (
            (record.key, record.output) in installed
            or record.key.startswith(keys)
            or any(fnmatchcase(name, glob) for name in names for glob in globs)
        )

    return keeps


def _path(store: Store) -> Path:
    return store.layout.root / NAME
