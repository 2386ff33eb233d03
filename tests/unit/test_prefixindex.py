from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from opambin.errors import BadDataError
from opambin.opam import prefixindex
from opambin.opam.prefixindex import Difference, PrefixIndex, compare, with_parents

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    folder = tmp_path / "p"
    (folder / ".opam-switch/build").mkdir(parents=True)
    (folder / "lib/x").mkdir(parents=True)
    (folder / "lib/x/a").write_text("a")
    (folder / "lib/ld.conf").write_text("/a\n")
    (folder / "link").symlink_to("lib")
    return folder


def test_opams_folder_is_left_out_and_links_are_not_followed(prefix: Path) -> None:
    index = PrefixIndex.walk(prefix)
    assert sorted(index.entries) == ["lib", "lib/ld.conf", "lib/x", "lib/x/a", "link"]
    assert index.contents == {"lib/ld.conf": b"/a\n"}


def _same_size_and_time(prefix: Path) -> None:
    times = (prefix / "lib/x/a").stat()
    (prefix / "lib/x/new").write_text("b")
    os.utime(prefix / "lib/x/new", ns=(times.st_atime_ns, times.st_mtime_ns))
    (prefix / "lib/x/new").replace(prefix / "lib/x/a")


def _moved_folder(prefix: Path) -> None:
    """A folder that is moved keeps the times of all its files."""
    (prefix / "lib/x").rename(prefix / "lib/y")


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        pytest.param(lambda _: None, Difference((), ()), id="nothing"),
        pytest.param(lambda p: (p / "lib/x/b").touch(), Difference(("lib/x/b",), ()), id="new file"),
        pytest.param(
            lambda p: (p / "share/d").mkdir(parents=True),
            Difference(("share", "share/d"), ()),
            id="new folders",
        ),
        pytest.param(
            lambda p: (p / "lib/x/a").write_text("longer"), Difference((), ("lib/x/a",)), id="written"
        ),
        pytest.param(lambda p: (p / "lib/x/a").chmod(0o711), Difference((), ("lib/x/a",)), id="mode"),
        pytest.param(
            _same_size_and_time, Difference((), ("lib/x/a",)), id="replaced by one of equal size and time"
        ),
        pytest.param(_moved_folder, Difference(("lib/y", "lib/y/a"), ()), id="moved"),
        pytest.param(lambda p: (p / "lib/x/a").unlink(), Difference((), ()), id="removed"),
    ],
)
def test_differences(prefix: Path, act: Callable[[Path], object], expected: Difference) -> None:
    before = PrefixIndex.walk(prefix)
    act(prefix)
    assert compare(before, PrefixIndex.walk(prefix)) == expected


def test_carrying_forward_equals_walking_again(prefix: Path) -> None:
    index = PrefixIndex.walk(prefix)
    (prefix / "share/d").mkdir(parents=True)
    (prefix / "share/d/x").touch()
    (prefix / "lib/x/a").unlink()
    (prefix / "lib/ld.conf").write_text("/a\n/b\n")
    index.carry(prefix, ["share/d/x", "lib/x/a", "lib/ld.conf"])
    assert index == PrefixIndex.walk(prefix)


def test_a_kept_file_that_grew_too_large_is_not_compared_with_an_old_one(
    prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else lines of the package before would count as those of the next."""
    index = PrefixIndex.walk(prefix)
    monkeypatch.setattr(prefixindex, "KEPT_BYTES", 5)
    (prefix / "lib/ld.conf").write_text("/a\n/b\n/c\n")
    index.carry(prefix, ["lib/ld.conf"])
    assert index.contents == {}


def test_a_file_that_can_not_be_read_is_not_kept(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "no")

    monkeypatch.setattr("builtins.open", refused)
    index = PrefixIndex.walk(prefix)
    assert "lib/ld.conf" in index.entries
    assert index.contents == {}


def test_forgetting_leaves_folders_that_hold_more(prefix: Path) -> None:
    index = PrefixIndex.walk(prefix)
    index.forget(["lib", "lib/x", "lib/x/a"])
    assert sorted(index.entries) == ["lib", "lib/ld.conf", "link"]


def test_saved_and_loaded(prefix: Path, tmp_path: Path) -> None:
    index = PrefixIndex.walk(prefix)
    index.save(tmp_path / "index")
    assert PrefixIndex.load(tmp_path / "index") == index
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["index"]


@pytest.mark.parametrize("content", [None, b"", b"nonsense", b"i\1\0\0\0"])
def test_an_index_that_can_not_be_read(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "index").write_bytes(content)
    with pytest.raises(BadDataError, match="no usable index"):
        PrefixIndex.load(tmp_path / "index")


def test_an_index_of_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PrefixIndex().save(tmp_path / "index")
    monkeypatch.setattr(prefixindex, "FORMAT", 99)
    with pytest.raises(BadDataError, match="another version") as caught:
        PrefixIndex.load(tmp_path / "index")
    assert caught.value.expected == 99


def test_with_parents() -> None:
    assert with_parents(["a/b/c", "a/d", "x"]) == ["a", "a/b", "a/b/c", "a/d", "x"]
