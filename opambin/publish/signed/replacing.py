"""Files that are there wholly or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from opambin.errors import UnavailableError

MODE = 0o644


def replace_file(path: Path, data: bytes, *, mode: int = MODE) -> None:
    """Write a file beside its place, then put it there; its folder is made.

    Raises:
        UnavailableError: There is no space, or no permission; what was there stays.
    """
    written: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
        written = Path(name)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        written.chmod(mode)
        written.replace(path)
    except OSError as error:
        if written is not None:
            written.unlink(missing_ok=True)
        raise UnavailableError(f"{path} can't be written: {error.strerror}") from error
