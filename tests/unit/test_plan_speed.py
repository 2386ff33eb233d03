from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import planspeed
import pytest

SHARED = Path(os.environ.get("OPAMBIN_SHARED", Path(__file__).parents[3] / "shared"))
OPAM_FILES = SHARED / "opam-files"
PROGRAM = Path(planspeed.__file__)
ROUNDS = 5
MOST = 0.30  # seconds of CPU: twice what is owed, for slow and busy machines


def _run(*arguments: Path | str) -> str:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environ = kept | {"PYTHONPATH": str(PROGRAM.parents[1])}
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(not OPAM_FILES.is_dir(), reason="the public opam files are not beside the repository")
def test_keys_and_plan_of_200_packages_take_no_time(tmp_path: Path) -> None:
    _run("prepare", OPAM_FILES, tmp_path)
    runs: list[dict[str, Any]] = [json.loads(_run("measure", tmp_path)) for _ in range(ROUNDS)]
    assert all(run["packages"] == planspeed.PACKAGES for run in runs)
    assert all(run["hit"] + run["check"] == planspeed.PACKAGES for run in runs), runs[0]
    assert runs[0]["dependencies"] > 2 * planspeed.PACKAGES
    assert min(run["cpu"] for run in runs) < MOST, runs
