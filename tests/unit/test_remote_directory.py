from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from memory_remote import MemoryRemote
from remote_contract import SLOT, RemoteContract

from opambin.errors import BadDataError, UnavailableError
from opambin.remote.directory import DRAFTS, OLD_DRAFT_SECONDS, DirectoryRemote
from opambin.remote.faults import RemoteDownError

if TYPE_CHECKING:
    from pathlib import Path

    from opambin.remote.protocol import Remote


class TestDirectory(RemoteContract):
    @pytest.fixture
    def remote(self, tmp_path: Path) -> Remote:
        return DirectoryRemote(tmp_path / "remote", write=True, sync=False)


class TestMemory(RemoteContract):
    """The fake behaves as the real ones do."""

    @pytest.fixture
    def remote(self) -> Remote:
        return MemoryRemote()

    one_winner = False


def test_a_directory_that_is_not_mounted_is_no_empty_one(tmp_path: Path) -> None:
    remote = DirectoryRemote(tmp_path / "nfs")
    with pytest.raises(RemoteDownError, match="mounted"):
        remote.get(SLOT, limit=1)
    with pytest.raises(RemoteDownError, match="mounted"):
        list(remote.entries(""))


def test_one_that_we_write_is_made_by_the_first_write(tmp_path: Path) -> None:
    remote = DirectoryRemote(tmp_path / "new", write=True)
    assert remote.get(SLOT, limit=1) is None
    assert not (tmp_path / "new").exists()
    remote.put(SLOT, b"x")
    assert (tmp_path / "new" / SLOT).read_bytes() == b"x"


def test_others_can_read_what_was_put(tmp_path: Path) -> None:
    remote = DirectoryRemote(tmp_path, write=True)
    before = os.umask(0o022)
    try:
        remote.put(SLOT, b"x")
    finally:
        os.umask(before)
    assert (tmp_path / SLOT).stat().st_mode & 0o777 == 0o644


def test_nothing_is_left_beside_it(tmp_path: Path) -> None:
    remote = DirectoryRemote(tmp_path, write=True)
    remote.put(SLOT, b"x")
    remote.put(SLOT, b"y")
    remote.put(SLOT, b"z", replace=True)
    with pytest.raises(OSError, match="No such file"):
        (tmp_path / "missing").stat()
    assert list((tmp_path / DRAFTS).iterdir()) == []


def test_what_a_killed_writer_left_goes_after_a_day(tmp_path: Path) -> None:
    (tmp_path / DRAFTS).mkdir()
    for name, age in (("1-0-0123abcd", OLD_DRAFT_SECONDS + 60), ("2-0-0123abcd", 60)):
        path = tmp_path / DRAFTS / name
        path.touch()
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    remote = DirectoryRemote(tmp_path, write=True)
    remote.put(SLOT, b"x")
    assert [path.name for path in (tmp_path / DRAFTS).iterdir()] == ["2-0-0123abcd"]
    assert [entry.name for entry in remote.entries("")] == [SLOT]


def test_no_hard_links_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SMB and some FUSE file systems have none."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    remote = DirectoryRemote(tmp_path, write=True)
    assert remote.put(SLOT, b"first")
    assert not remote.put(SLOT, b"second")
    assert remote.get(SLOT, limit=9) == b"first"


def test_the_answer_to_a_link_got_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS: the kernel's second try finds what the first one made."""
    link = os.link

    def twice(source: str, target: str, **_: object) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", twice)
    assert DirectoryRemote(tmp_path, write=True).put(SLOT, b"first")


def test_the_answer_to_a_rename_got_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS: the kernel's second try does not find what the first one has renamed."""
    replace = os.replace

    def twice(source: str, target: str, **_: object) -> None:
        replace(source, target)
        replace(source, target)

    remote = DirectoryRemote(tmp_path, write=True)
    remote.put(SLOT, b"first")
    monkeypatch.setattr(os, "replace", twice)
    assert remote.put(SLOT, b"second", replace=True)
    assert remote.get(SLOT, limit=9) == b"second"


def test_a_rename_whose_draft_somebody_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(source: str, *_: object, **__: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", source)

    remote = DirectoryRemote(tmp_path, write=True)
    remote.put(SLOT, b"first")
    monkeypatch.setattr(os, "replace", gone)
    with pytest.raises(UnavailableError, match="No such file"):
        remote.put(SLOT, b"second", replace=True)


@pytest.mark.parametrize("times", [1, 2], ids=["once", "for good"])
def test_a_file_that_was_replaced_while_it_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """NFS: who reads a file does not keep it alive; that does not mean that the remote is down."""
    remote = DirectoryRemote(tmp_path, write=True)
    remote.put(SLOT, b"statement")
    fstat, left = os.fstat, [times]

    def stale(fd: int) -> os.stat_result:
        if left[0]:
            left[0] -= 1
            raise OSError(errno.ESTALE, "Stale file handle")
        return fstat(fd)

    monkeypatch.setattr(os, "fstat", stale)
    if times == 1:
        assert remote.get(SLOT, limit=9) == b"statement"
    else:
        with pytest.raises(RemoteDownError, match="Stale"):
            remote.get(SLOT, limit=9)


def test_what_a_write_asks_of_the_file_system(tmp_path: Path) -> None:
    """Nothing that NFS lacks: written and flushed under a name of its own, then linked; no lock."""
    program = "from pathlib import Path; from opambin.remote.directory import DirectoryRemote as D;"
    program += f"D(Path({str(tmp_path / 'remote')!r}), write=True).put('keys/ab', b'x' * 70000)"
    calls = "trace=%file,%desc,flock,fcntl"
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("no strace")
    log = tmp_path / "log"
    command = [strace, "-f", "-e", calls, "-o", str(log), sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "ptrace" in done.stderr.lower():
        pytest.skip(f"nothing can be traced here: {done.stderr.strip()[-100:]}")
    lines = [line for line in log.read_text().splitlines() if str(tmp_path / "remote") in line]
    text = log.read_text()
    draft = next(line for line in lines if "O_CREAT" in line)
    assert "O_EXCL" in draft
    order = [text.index(draft), text.index("fsync("), text.index("link(", text.index("fsync("))]
    assert order == sorted(order)
    assert "flock(" not in text
    assert "F_SETLK" not in text


def test_a_fifo_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    os.mkfifo(tmp_path / "keys/x")
    with pytest.raises(BadDataError, match="not a file"):
        DirectoryRemote(tmp_path).get("keys/x", limit=1)
    with pytest.raises(BadDataError, match="not a file"):
        DirectoryRemote(tmp_path).get("keys", limit=1)


def test_a_listing_does_not_leave_out_what_can_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """os.walk says nothing of a folder that it can't read, and gc would take what is in it for garbage."""
    remote = DirectoryRemote(tmp_path, write=True, sync=False)
    remote.put(SLOT, b"x")
    scandir = os.scandir

    def broken(path: str) -> object:
        if str(path).endswith("/ab"):
            raise OSError(5, "Input/output error")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", broken)
    with pytest.raises(RemoteDownError, match="Input/output"):
        list(remote.entries("keys"))


def test_emptied_folders_go_with_the_last_file(tmp_path: Path) -> None:
    remote = DirectoryRemote(tmp_path, write=True)
    remote.put(SLOT, b"x")
    remote.remove(SLOT)
    assert not (tmp_path / "keys").exists()
    assert tmp_path.exists()
