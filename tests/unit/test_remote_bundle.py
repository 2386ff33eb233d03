from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from remote_contract import DIGITS, SLOT, drop

from opambin.errors import BadDataError, MisuseError
from opambin.remote.bundle import BundleRemote, BundleWriter, read_index
from opambin.remote.directory import DirectoryRemote
from opambin.remote.faults import RefusedError, RemoteDownError
from opambin.remote.open import open_remote
from opambin.remote.protocol import FORMAT, FORMAT_NAME, Span, check_name

if TYPE_CHECKING:
    from pathlib import Path

ARCHIVE = "archives/ab/" + "c" * 62 + ".tar.zst"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "all.bundle"
    (tmp_path / "archive").write_bytes(DIGITS)
    with BundleWriter(path) as writer:
        assert writer.add(ARCHIVE, tmp_path / "archive")
        assert writer.add(SLOT, b"statement")
        assert not writer.add(SLOT, b"another")
        assert writer.add("empty", b"")
    return path


def hostile(path: Path, *members: tarfile.TarInfo, form: int = tarfile.USTAR_FORMAT) -> BundleRemote:
    with tarfile.open(path, "w", format=form) as tar:
        first = tarfile.TarInfo(FORMAT_NAME)
        first.size = len(FORMAT)
        tar.addfile(first, io.BytesIO(FORMAT))
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return BundleRemote(path)


def test_what_was_written_is_read(bundle: Path) -> None:
    remote = open_remote(f"bundle:{bundle}")
    assert remote.get(FORMAT_NAME, limit=100) == FORMAT
    assert remote.get(SLOT, limit=100) == b"statement"
    assert remote.get(SLOT, limit=3, span=Span(2, 3)) == b"ate"
    assert remote.get(SLOT, limit=3, span=Span(20, 3)) == b""
    assert remote.get("empty", limit=0) == b""
    assert remote.get("missing", limit=1) is None
    assert dict(remote.get_many([SLOT, "missing"], limit=100)) == {SLOT: b"statement", "missing": None}
    pieces: list[bytes] = []
    assert remote.fetch(ARCHIVE, pieces.append, size=len(DIGITS))
    assert b"".join(pieces) == DIGITS
    assert not remote.fetch("missing", drop, size=1)
    assert [(entry.name, entry.size) for entry in remote.entries("keys")] == [(SLOT, 9)]
    with pytest.raises(BadDataError, match="too long"):
        remote.get(SLOT, limit=8)
    with pytest.raises(BadDataError, match="wrong length"):
        remote.fetch(SLOT, drop, size=8)
    remote.close()


def test_it_is_only_read(bundle: Path) -> None:
    with pytest.raises(RefusedError, match="only read"):
        BundleRemote(bundle).put("x", b"")
    with pytest.raises(RefusedError, match="only read"):
        BundleRemote(bundle).remove("x")


def test_tar_makes_a_directory_of_it(bundle: Path, tmp_path: Path) -> None:
    with tarfile.open(bundle) as tar:
        tar.extractall(tmp_path / "out", filter="data")
    assert DirectoryRemote(tmp_path / "out").get(SLOT, limit=100) == b"statement"


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.file").write_bytes(DIGITS)
        os.utime(tmp_path / f"{name}.file", (ord(name), ord(name)))
        with BundleWriter(tmp_path / name) as writer:
            writer.add(ARCHIVE, tmp_path / f"{name}.file")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "all.bundle"
    path.write_bytes(b"before")
    with pytest.raises(MisuseError), BundleWriter(path) as writer:
        writer.add("../x", b"")
    assert path.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["all.bundle"]


@pytest.mark.parametrize("cut", [0, 100, 512, 1024, 5000, -513, -1024])
def test_one_that_is_not_whole(bundle: Path, cut: int) -> None:
    bundle.write_bytes(bundle.read_bytes()[:cut])
    with pytest.raises(BadDataError):
        BundleRemote(bundle).get(SLOT, limit=100)


def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.size, made.linkname = kind, size, link
    return made


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(member("../x"), id="leaves the folder"),
        pytest.param(member("/x"), id="absolute"),
        pytest.param(member("a//b"), id="empty part"),
        pytest.param(member("a\nb"), id="newline"),
        pytest.param(member("x", tarfile.SYMTYPE, link="/etc/passwd"), id="symbolic link"),
        pytest.param(member("x", tarfile.LNKTYPE, link=FORMAT_NAME), id="hard link"),
        pytest.param(member("x", tarfile.CHRTYPE), id="device"),
        pytest.param(member("x", tarfile.FIFOTYPE), id="fifo"),
        pytest.param(member("x", tarfile.DIRTYPE), id="directory"),
        pytest.param(member(FORMAT_NAME), id="twice"),
    ],
)
def test_hostile_members(tmp_path: Path, made: tarfile.TarInfo) -> None:
    with pytest.raises(BadDataError):
        hostile(tmp_path / "x", made).get(FORMAT_NAME, limit=100)


def test_no_extended_headers(tmp_path: Path) -> None:
    made = member("x")
    made.pax_headers = {"path": "elsewhere"}
    with pytest.raises(BadDataError, match="regular"):
        hostile(tmp_path / "x", made, form=tarfile.PAX_FORMAT).get(FORMAT_NAME, limit=100)
    with pytest.raises(BadDataError, match="regular"):
        hostile(tmp_path / "y", member("x" * 300), form=tarfile.GNU_FORMAT).get(FORMAT_NAME, limit=100)


@pytest.mark.parametrize("content", [b"\0" * 1024, b"PK\3\4" * 300])
def test_something_else(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(BadDataError, match="not a bundle"):
        BundleRemote(tmp_path / "x").get("x", limit=1)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(RemoteDownError, match="No such file"):
        BundleRemote(tmp_path / "x").get("x", limit=1)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 6000), st.binary(min_size=1, max_size=8))
def test_damaged_headers_give_an_error_or_an_index(at: int, data: bytes) -> None:
    """Nothing else than that, whatever bytes are there."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in (FORMAT_NAME, SLOT, "snapshot.json"):
            made = tarfile.TarInfo(name)
            made.size = 700
            tar.addfile(made, io.BytesIO(b"x" * 700))
    damaged = bytearray(stream.getvalue())
    damaged[at : at + len(data)] = data
    try:
        index = read_index(io.BytesIO(bytes(damaged)), "x")
    except BadDataError:
        return
    assert FORMAT_NAME in index
    for name, place in index.items():
        assert check_name(name) == name
        assert place.start + place.size <= len(damaged)
