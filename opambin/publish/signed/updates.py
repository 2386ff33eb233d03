"""Updates as opam hands them to ``repository-validation-command``, and whether they may be taken.

opam says where the former state is (``repo``), and either a patch to it or a whole new state. A state is a
folder, or from 2.6 on a ``.tar.gz``; 2.1 unpacks the former state into a temporary folder whose last part is
the name of the repository. It does not say from which URL the update came.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, UnavailableError
from opambin.publish.indexfile import MAX_MEMBER_BYTES, read_index
from opambin.publish.signed.anchors import Anchors, anchored_root
from opambin.publish.signed.checking import check_members, matches
from opambin.publish.signed.client import Trusted, refresh
from opambin.publish.signed.memory import Memory
from opambin.publish.signed.profile import FOLDER, SITE, is_indexed
from opambin.publish.signed.refusals import Kind, RefusedError
from opambin.publish.signed.sources import TreeSource
from opambin.publish.signed.unidiff import patched

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_IN_USE = frozenset({"timestamp", "snapshot", "targets"})


@dataclass(frozen=True, slots=True)
class Update:
    """An update.

    Attributes:
        repository: The former state; there may be none yet.
        patch: What changes, or None.
        whole: The new state, or None.
    """

    repository: Path
    patch: Path | None
    whole: Path | None

    @property
    def name(self) -> str:
        """The name of the repository in opam."""
        return self.repository.name.removesuffix(".tar.gz")


def validate(update: Update, anchors: Anchors, states: Path, *, partial: bool = False) -> Trusted:
    """Decide whether opam may take an update.

    Args:
        update: What opam says.
        anchors: Keys that the user trusts, and how many must have signed the root.
        states: Where states of repositories are remembered.
        partial: The repository is a copy of a part of what was signed.

    Raises:
        RefusedError: It does not verify.
        BadDataError: What opam hands over can't be read.
        UnavailableError: The same, for lack of a permission.
    """
    before = files_of(update.repository) if update.repository.exists() else {}
    after = _after(update, before)
    source = _Tree(after, update.name)
    bootstrap = anchored_root(source, anchors)
    identity = "\n".join((update.name, str(anchors.quorum), *sorted(anchors.fingerprints)))
    with Memory(states, f"opam repository {update.name}", identity) as memory:
        if not memory.remembers() and before:
            memory.seed(
                {path.removeprefix(f"{FOLDER}/"): it for path, it in before.items() if _is_seed(path)}
            )
        trusted = refresh(source, memory.folder, bootstrap, without={SITE})
    check_members({path: it for path, it in after.items() if is_indexed(path)}, trusted, partial=partial)
    for path, content in after.items():  # of a repository in a folder opam hands over everything
        if path in trusted.files and not is_indexed(path):
            matches(trusted.files[path], content)
    return trusted


def files_of(place: Path) -> dict[str, bytes]:
    """Return the files of a state, by path.

    Raises:
        BadDataError: It holds something that can't be in a repository.
        UnavailableError: It can't be read.
    """
    try:
        if place.is_dir():
            return dict(_files_below(place))
        return read_index(place.read_bytes(), str(place))
    except OSError as error:
        raise UnavailableError(f"{place}: {error.strerror}") from error


class _Tree(TreeSource):
    """A state; its metadata has names without versions."""

    def pieces(self, path: str, start: int = 0) -> Iterator[bytes] | None:
        """As in :class:`Source`."""
        found = super().pieces(path, start)
        folder, _, name = path.rpartition("/")
        version, _, role = name.partition(".")
        if found is None and version.isdigit() and not role.startswith("root."):
            return super().pieces(f"{folder}/{role}", start)
        return found


def _after(update: Update, before: Mapping[str, bytes]) -> dict[str, bytes]:
    if update.patch is not None:
        try:
            return patched(before, update.patch.read_bytes())
        except OSError as error:
            raise UnavailableError(f"{update.patch}: {error.strerror}") from error
    if update.whole is None:
        raise RefusedError(Kind.DAMAGED, update.name, "opam handed over neither a patch nor a new state")
    return files_of(update.whole)


def _files_below(folder: Path) -> Iterator[tuple[str, bytes]]:
    for where, below, names in os.walk(folder):
        lead = os.path.relpath(where, folder)
        for name in below + names:
            place = folder / lead / name
            path = os.path.normpath(f"{lead}/{name}")
            if place.is_symlink():
                raise BadDataError(path, "a symbolic link can't be in a signed repository")
            if place.is_file():
                if place.stat().st_size > MAX_MEMBER_BYTES and (is_indexed(path) or path.startswith(FOLDER)):
                    raise BadDataError(path, "more than a definition may hold")
                yield path, place.read_bytes()


def _is_seed(path: str) -> bool:
    """Say whether a file of the former state, which was verified when it came, tells what was seen."""
    folder, _, name = path.rpartition("/")
    return folder == FOLDER and (name.removesuffix(".json") in _IN_USE or name.endswith(".root.json"))
