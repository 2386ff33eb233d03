from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from opambin.opam.lockprobe import is_locked

if TYPE_CHECKING:
    from pathlib import Path

HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "r+")
fcntl.lockf(file, getattr(fcntl, sys.argv[2]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["LOCK_EX", "LOCK_SH"])
def test_a_lock_of_another_process_is_seen(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "lock"
    path.touch()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    assert is_locked(path) is True
    holder.communicate()
    assert is_locked(path) is False


def test_asking_takes_no_lock_and_makes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert is_locked(path) is False
    assert not path.exists()


def test_what_can_not_be_opened_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert is_locked(tmp_path / "file" / "lock") is None
