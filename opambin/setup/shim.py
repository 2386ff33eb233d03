"""The program that stands for opam on the PATH: what init writes, and how to tell it from opam itself.

The script is ``shim/opam`` of this package, with three paths written in. It lies in a folder of its own,
``OPAMROOT/plugins/opam-bin/shim``, which the user puts on the PATH; what we call ourselves is never it.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from typing import TYPE_CHECKING

from opambin.frozen import dataclass
from opambin.resources import shim_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRANSPARENT = "OPAMBIN_TRANSPARENT"
"""Set by the shim: opam-bin stands for opam, and a shim below it goes straight to opam."""
PLACE = "/plugins/opam-bin/shim/opam"  # how the path of every shim ends
_ASSIGNMENT = re.compile(r"^opambin_(real|program|python)=(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Shim:
    """What is written into a shim, all of them absolute paths.

    Attributes:
        real: The opam that it stands for.
        program: The ``opam-bin`` that it calls.
        python: The interpreter of that program.
    """

    real: str
    program: str
    python: str

    @classmethod
    def of(cls, real: str, program: object) -> Shim:
        """Return what a shim of this interpreter holds; symbolic links stay, since upgrades move them."""
        started = os.path.abspath(sys.executable)  # noqa: PTH100 - Path.absolute() would keep `..`
        return cls(os.path.abspath(real), str(program), started)  # noqa: PTH100 - same

    @classmethod
    def read(cls, path: Path) -> Shim | None:
        """Return what a shim holds; None when there is none, or none of ours."""
        try:
            text = path.read_bytes().decode("utf-8", "surrogateescape")
            found = {name: "".join(shlex.split(value)) for name, value in _ASSIGNMENT.findall(text)}
            return cls(**found)
        except (OSError, ValueError, TypeError):
            return None

    def render(self) -> bytes:
        """Return the script."""
        text = os.fsdecode(shim_file().read_bytes())
        return os.fsencode(
            _ASSIGNMENT.sub(lambda match: f"opambin_{match[1]}={shlex.quote(getattr(self, match[1]))}", text)
        )

    @property
    def works(self) -> bool:
        """Whether opam and our program are there."""
        return all(os.access(path, os.X_OK) for path in (self.real, self.program, self.python))


def is_shim(path: str) -> bool:
    """Say whether a program is a shim, of whatever root, through symbolic links, too."""
    return os.path.realpath(path).endswith(PLACE)


def programs(name: str, search: str | None) -> Iterator[str]:
    """Yield the programs of a name on a PATH in its order; a name with a slash stands for itself."""
    if "/" in name:
        candidates = [name]
    else:
        folders = (os.defpath if search is None else search).split(os.pathsep)
        candidates = [os.path.join(folder or os.curdir, name) for folder in folders]  # noqa: PTH118 - strings
    for candidate in candidates:
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):  # noqa: PTH113 - strings
            yield candidate
