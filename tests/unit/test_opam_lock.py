from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from opambin.errors import MisuseError, UnavailableError
from opambin.opam.lock import SwitchLock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOLDER = """
    import fcntl, sys
    stream = open(sys.argv[1], "a+")
    fcntl.lockf(stream, getattr(fcntl, sys.argv[2]))
    print("locked", flush=True)
    sys.stdin.read()
"""


class Other:
    """Another process that holds a lock until it is told to stop."""

    def __init__(self, path: Path, mode: str = "LOCK_EX") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(HOLDER), str(path), mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"locked\n"

    def stop(self) -> None:
        self.process.communicate()


@pytest.fixture
def meta(tmp_path: Path) -> Path:
    (tmp_path / "s" / ".opam-switch").mkdir(parents=True)
    return tmp_path / "s" / ".opam-switch"


@pytest.fixture
def other(meta: Path) -> Iterator[Other]:
    holder = Other(meta / "lock")
    yield holder
    holder.stop()


def locked_for_others(path: Path) -> bool:
    code = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'a+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    done = subprocess.run([sys.executable, "-c", code, str(path)], stderr=subprocess.PIPE, check=False)
    return done.returncode != 0 and b"BlockingIOError" in done.stderr


def test_others_are_kept_out_until_the_end(meta: Path) -> None:
    with SwitchLock(meta) as lock:
        assert lock.held
        assert locked_for_others(meta / "lock")
    assert not locked_for_others(meta / "lock")


def test_the_roots_lock_is_shared(meta: Path, tmp_path: Path) -> None:
    reader = Other(tmp_path / "lock", "LOCK_SH")
    try:
        with SwitchLock(meta, tmp_path, timeout=0):
            assert locked_for_others(tmp_path / "lock")
    finally:
        reader.stop()


def test_a_writer_of_the_root_is_waited_for(meta: Path, tmp_path: Path) -> None:
    writer = Other(tmp_path / "lock")
    try:
        with pytest.raises(UnavailableError, match="another opam"):
            SwitchLock(meta, tmp_path, timeout=0).acquire()
        assert not locked_for_others(meta / "lock")
    finally:
        writer.stop()


def test_without_patience_a_busy_switch_is_an_error(meta: Path, other: Other) -> None:
    assert other.process.poll() is None
    with pytest.raises(UnavailableError, match="another opam holds"):
        SwitchLock(meta, timeout=0).acquire()


def test_the_wait_is_announced_once(meta: Path, other: Other, monkeypatch: pytest.MonkeyPatch) -> None:
    assert other.process.poll() is None
    monkeypatch.setattr("opambin.opam.lock.PATIENCE", 0.0)
    told: list[str] = []
    with pytest.raises(UnavailableError):
        SwitchLock(meta, timeout=0.2, on_wait=told.append).acquire()
    assert len(told) == 1
    assert "waiting for another opam" in told[0]


def test_a_second_lock_would_drop_the_first_and_is_refused(meta: Path) -> None:
    with SwitchLock(meta) as lock:
        with pytest.raises(MisuseError, match="locked already"):
            SwitchLock(meta).acquire()
        with pytest.raises(MisuseError):
            lock.acquire()
        assert locked_for_others(meta / "lock")


def test_a_failed_attempt_does_not_block_the_next(meta: Path, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="can't be opened"):
        SwitchLock(tmp_path / "none", tmp_path).acquire()
    with SwitchLock(meta, tmp_path) as lock:
        assert lock.held


def test_inside_a_hook_opam_holds_the_lock(meta: Path, other: Other) -> None:
    assert other.process.poll() is None
    with SwitchLock(meta, assume_held=True) as lock:
        assert lock.held


def test_it_is_a_lock_that_opam_sees_and_not_flock(meta: Path) -> None:
    with SwitchLock(meta):
        code = "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        assert subprocess.run([sys.executable, "-c", code, str(meta / "lock")], check=False).returncode == 0
