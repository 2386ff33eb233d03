"""The working tree as a wheel, and a ``pipx`` that installs one without a network.

The wheel has what ``pyproject.toml`` puts into one; it is written here, as the build back end is not among
the tools of the tests. What it depends on comes from the environment of the tests.
"""

from __future__ import annotations

import sys
import sysconfig
import zipfile
from pathlib import Path

from opambin import __version__

REPO = Path(__file__).resolve().parents[1]
TREES = {"opambin": "opambin", "hooks": "opambin/data/hooks", "shim": "opambin/data/shim"}
TREES |= {"patches": "opambin/data/patches"}
PIPX = """#!/bin/sh -e
[ "$#" = 2 ] && [ "$1" = install ]
home=$HOME/.local/pipx/venvs/opambin
rm -rf "$home"
{python} -m venv --without-pip "$home"
{python} -m pip --python "$home/bin/python" install --quiet --no-index --no-deps "$2"
echo {packages} >"$("$home/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tests.pth"
mkdir -p "$HOME/.local/bin"
ln -sf "$home/bin/opam-bin" "$HOME/.local/bin/opam-bin"
"""


def build(folder: Path) -> Path:
    """Write the wheel into a folder, and return its path."""
    path = folder / f"opambin-{__version__}-py3-none-any.whl"
    info = f"opambin-{__version__}.dist-info"
    texts = {
        "METADATA": f"Metadata-Version: 2.1\nName: opambin\nVersion: {__version__}\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "entry_points.txt": "[console_scripts]\nopam-bin = opambin.cli.main:main\n",
    }
    with zipfile.ZipFile(path, "w") as wheel:
        for tree, target in TREES.items():
            for file in sorted((REPO / tree).rglob("*")):
                if file.is_file() and "__pycache__" not in file.parts:
                    wheel.write(file, f"{target}/{file.relative_to(REPO / tree)}")
        for name, text in texts.items():
            wheel.writestr(f"{info}/{name}", text)
        listed = [*wheel.namelist(), f"{info}/RECORD"]
        wheel.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in listed))
    return path


def write_pipx(path: Path) -> None:
    """Write the program."""
    path.write_text(PIPX.format(python=sys.executable, packages=sysconfig.get_path("purelib")))
    path.chmod(0o755)
