"""Where the data of this package lies: inside it when installed, beside it in a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def hooks_directory() -> Path:
    """Return the directory of the scripts that opam calls."""
    return _directory("hooks")


def patches_directory() -> Path:
    """Return the directory of the recipes, one folder per package."""
    return _directory("patches")


def shim_file() -> Path:
    """Return the script that stands for opam."""
    return _directory("shim") / "opam"


def templates_directory() -> Path:
    """Return the directory of the templates of pages."""
    return _PACKAGE / "templates"


def package_directory() -> Path:
    """Return the directory that has to be on ``sys.path`` for ``import opambin``."""
    return _PACKAGE.parent


def _directory(name: str) -> Path:
    installed = _PACKAGE / "data" / name
    return installed if installed.is_dir() else _PACKAGE.parent / name
