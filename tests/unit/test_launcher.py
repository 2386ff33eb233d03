from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from opambin.resources import package_directory

if TYPE_CHECKING:
    from pathlib import Path

PRINT = "from opambin.setup.launcher import search_path; print(*search_path(), sep='\\n')"


def test_hooks_do_not_import_from_beside_the_script_that_set_them_up(tmp_path: Path) -> None:
    """That folder, or with ``-m`` the current one, stood in front of everything that is installed."""
    modules = tmp_path / "modules"
    modules.mkdir()
    script = tmp_path / "opam-bin"
    script.write_text(PRINT)
    environ = {**os.environ, "PYTHONPATH": str(modules)}
    environ.pop("PYTHONSAFEPATH", None)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, env=environ)
    found = done.stdout.splitlines()
    assert found[0] == str(package_directory())
    assert os.path.realpath(modules) in found
    assert os.path.realpath(tmp_path) not in found
    assert any(line.endswith("site-packages") for line in found)
