"""Manifests on disk: ``manifests/<key[:2]>/<key>/<output>.json``.

A key's directory appears with its first manifest in it, by one rename: that it exists says that there is an
output, so a probe of many keys costs one ``stat`` for each.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, UnavailableError
from opambin.store.faults import store_faults
from opambin.store.layout import Layout, is_hex64
from opambin.store.manifest_format import MAX_BYTES, from_json, to_json
from opambin.store.permissions import make_folder
from opambin.store.reading import unreadable
from opambin.store.staging import DRAFT_PREFIX, Draft, Staging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from opambin.model import ConeKey, Manifest, OutputId

__all__ = ["Manifests", "from_json", "to_json"]

_SUFFIX = ".json"
_MODE = 0o444
_OCCUPIED = (errno.ENOTEMPTY, errno.EEXIST)


class Manifests:
    """The manifests of one store.

    Args:
        staging: Writes into the store.
        report: Called with a sentence when bad data is met.
    """

    def __init__(self, staging: Staging, report: Callable[[str], None]) -> None:
        """Read nothing yet."""
        self._staging = staging
        self._layout: Layout = staging.layout
        self._report = report

    def put(self, manifest: Manifest) -> bool:
        """Store a manifest; the first for a key and output wins.

        Returns:
            True when it is new; False when that key and output were there.

        Raises:
            BadDataError: It could not be read back as it is; nothing was written.
            UnavailableError: The store can't be written.
        """
        self._staging.refuse_if_readonly()
        data = to_json(manifest)
        what = f"manifest of {manifest.package}"
        if from_json(data, what) != manifest:
            raise BadDataError(what, "can't be stored without loss")
        final = self._layout.manifest(manifest.key, manifest.output)
        if self._is_good(final):
            return False
        with self._staging.draft() as draft:
            draft.write(data)
            os.fchmod(draft.fd, _MODE)
            if self._publish_first(draft, final):
                return True
            return self._staging.publish(draft, final)

    def outputs(self, key: ConeKey) -> list[Manifest]:
        """Return every manifest of ``key`` that can be used, by rising output id.

        A bad one is moved to quarantine and reported; the others still come.
        """
        found = []
        for path in self._paths(self._layout.key_dir(key)):
            manifest = self._load_or_report(path)
            if manifest:
                found.append(manifest)
        return found

    def get(self, key: ConeKey, output: OutputId) -> Manifest | None:
        """Return one manifest; None when it is not there or was bad, which is reported."""
        return self._load_or_report(self._layout.manifest(key, output))

    def read_bytes(self, key: ConeKey, output: OutputId) -> bytes:
        """Return a manifest as it is on disk, unchecked, for sending it elsewhere.

        Raises:
            BadDataError: It is too large for a manifest.
            UnavailableError: It can't be read.
        """
        path = self._layout.manifest(key, output)
        data = _read(path)
        if data is None:
            raise UnavailableError(f"no manifest {path}")
        return data

    def remove(self, key: ConeKey, output: OutputId) -> None:
        """Remove a manifest, and the folder of its key when that was the last one; a missing one is no error.

        Raises:
            UnavailableError: It can't be removed.
        """
        path = self._layout.manifest(key, output)
        try:
            path.unlink(missing_ok=True)
            path.parent.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise UnavailableError(f"{path} can't be removed: {error.strerror}") from error

    def paths(self) -> Iterator[Path]:
        """Yield the path of every manifest, in order of key and output."""
        for shelf in _names(self._layout.manifests):
            for folder in _names(self._layout.manifests / shelf):
                yield from self._paths(self._layout.manifests / shelf / folder)

    def all(self) -> Iterator[Manifest]:
        """Yield every manifest that can be used; bad ones go to quarantine and are reported."""
        for path in self.paths():
            manifest = self._load_or_report(path)
            if manifest:
                yield manifest

    def load(self, path: Path) -> Manifest | None:
        """Read one manifest of the store; None when it has gone.

        Raises:
            BadDataError: It is bad, or lies under another key or output than its own.
            UnavailableError: It can't be read.
        """
        data = _read(path)
        if data is None:
            return None
        manifest = from_json(data, path)
        inside = f"{manifest.key}/{manifest.output}"
        outside = f"{path.parent.name}/{path.name.removesuffix(_SUFFIX)}"
        if inside != outside:
            raise BadDataError(path, "manifest of another key or output", expected=outside, observed=inside)
        return manifest

    def quarantine(self, path: Path, reason: str) -> None:
        """Move a manifest out of use, and report why; on a store that can't be written, only report."""
        self._report(reason)
        if self._staging.readonly:
            return
        name = f"{path.parent.name}-{path.name.removesuffix(_SUFFIX)}-{os.urandom(4).hex()}{_SUFFIX}"
        with suppress(OSError):
            make_folder(self._layout.quarantine)
            path.rename(self._layout.quarantine / name)
            path.parent.rmdir()  # fails, rightly, when other outputs are there

    def _load_or_report(self, path: Path) -> Manifest | None:
        try:
            return self.load(path)
        except BadDataError as error:
            self.quarantine(path, str(error))
        except UnavailableError as error:
            self._report(str(error))
        return None

    def _is_good(self, final: Path) -> bool:
        return final.exists() and self._load_or_report(final) is not None

    def _paths(self, folder: Path) -> list[Path]:
        names = [name for name in _names(folder) if name.endswith(_SUFFIX)]
        return [folder / name for name in names if is_hex64(name[: -len(_SUFFIX)])]

    def _publish_first(self, draft: Draft, final: Path) -> bool:
        """Bring the key's directory into being with the manifest in it; False when it is there already."""
        if final.parent.exists():
            return False
        folder = self._layout.tmp / f"{DRAFT_PREFIX}dir-{os.path.basename(draft.path)}"  # noqa: PTH119 (a string)
        with store_faults(self._layout.root):
            make_folder(folder)
            try:
                inside = folder / final.name
                self._staging.publish(draft, inside)
                make_folder(final.parent.parent, parents=True)
                try:
                    folder.rename(final.parent)
                except OSError as error:
                    if error.errno not in _OCCUPIED:
                        raise
                    return False
            finally:
                with suppress(FileNotFoundError):
                    (folder / final.name).unlink()
                with suppress(FileNotFoundError):
                    folder.rmdir()
        return True


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - once for each package of a plan
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UnavailableError(f"{folder} can't be read: {error.strerror}") from error


def _read(path: Path) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        size = min(os.fstat(fd).st_size, MAX_BYTES)
        data = b""
        while len(data) <= size and (part := os.read(fd, size + 1 - len(data))):
            data += part
    except OSError as error:
        raise unreadable(path, error) from error
    finally:
        os.close(fd)
    if len(data) > MAX_BYTES:
        raise BadDataError(
            path, "too large for a manifest", expected=f"<= {MAX_BYTES} bytes", observed="more"
        )
    return data
