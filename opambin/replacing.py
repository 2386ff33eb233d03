"""Files that are there wholly or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from opambin.errors import UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

MODE = 0o644


def replace_file(path: Path, data: bytes, *, mode: int = MODE) -> None:
    """Write a file beside its place, then put it there; its folder is made.

    Raises:
        UnavailableError: There is no space, or no permission; what was there stays.
    """
    beside = path.with_name(f".new-{os.getpid()}-{os.urandom(4).hex()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("xb") as stream:
                os.fchmod(stream.fileno(), mode)
                stream.write(data)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise UnavailableError(f"{path} can't be written: {error.strerror}") from error
