"""``index.tar.gz``: the same bytes for the same content, and nothing but files when it comes from others."""

from __future__ import annotations

import io
import tarfile

import pytest

from opambin.errors import BadDataError
from opambin.publish import indexfile
from opambin.publish.indexfile import read_index, write_index

FILES = {
    "repo": b'opam-version: "2.0"\n',
    "packages/a/a.1/opam": b"x",
    f"packages/{'n' * 90}/{'v' * 90}/opam": b"",
}


def hostile(*entries: tuple[str, bytes, str]) -> bytes:
    """Make an archive of entries: name, type, target of a link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, kind, target in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, target
            archive.addfile(entry)
    return out.getvalue()


def test_there_and_back() -> None:
    data = write_index(FILES)
    assert read_index(data) == FILES
    assert write_index(dict(reversed(FILES.items()))) == data


def test_as_tar_writes_it() -> None:
    data = hostile(("./packages", tarfile.DIRTYPE, ""), ("./packages/a", tarfile.REGTYPE, ""))
    assert read_index(data) == {"packages/a": b""}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(hostile(("a", tarfile.SYMTYPE, "/etc")), "no plain file", id="symbolic link"),
        pytest.param(hostile(("a", tarfile.LNKTYPE, "b")), "no plain file", id="hard link"),
        pytest.param(hostile(("a", tarfile.CHRTYPE, "")), "no plain file", id="device"),
        pytest.param(hostile(("a", tarfile.FIFOTYPE, "")), "no plain file", id="fifo"),
        pytest.param(hostile(("/etc/x", tarfile.REGTYPE, "")), "leaves the folder", id="absolute"),
        pytest.param(hostile(("a/../../x", tarfile.REGTYPE, "")), "leaves the folder", id="dots"),
        pytest.param(hostile(("a//b", tarfile.REGTYPE, "")), "leaves the folder", id="empty part"),
        pytest.param(hostile(*(("a", tarfile.REGTYPE, ""),) * 2), "twice", id="twice"),
        pytest.param(
            hostile(("a", tarfile.REGTYPE, ""), ("./a", tarfile.REGTYPE, "")),
            "twice",
            id="twice, spelled otherwise",
        ),
        pytest.param(b"", "no archive", id="empty"),
        pytest.param(b"\x1f\x8b nonsense", "no archive", id="no archive"),
        pytest.param(write_index(FILES)[:-30], "no archive", id="cut off"),
    ],
)
def test_refused(data: bytes, says: str) -> None:
    with pytest.raises(BadDataError, match=says):
        read_index(data)


@pytest.mark.parametrize("limit", ["MAX_MEMBER_BYTES", "MAX_UNPACKED_BYTES"])
def test_too_much(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(indexfile, limit, 10)
    with pytest.raises(BadDataError, match="more than an index may hold"):
        read_index(write_index({"a": b"x" * 11}))
