from __future__ import annotations

import errno
import os
import pickle
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from caml_samples import marshalled
from elf_samples import Sec, archive, elf_file, string_block
from test_relocate_properties import MAKERS

from opambin.errors import BadDataError, CannotRelocateError
from opambin.model import PLACEHOLDER, Kind, Occurrence
from opambin.relocate.analysis import Analysis, analyse
from opambin.relocate.copying import Way
from opambin.relocate.engine import LinkMode, Placing, canonicalise, check, place
from opambin.relocate.rendering import render
from opambin.relocate.spelling import Spelling, pad

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = b"/home/me/.opam/5.1"
SPELLING = Spelling.of(PREFIX)
Q = SPELLING.padded
TARGET = b"/opt/elsewhere"
DATA = elf_file(Sec(".data", string_block(Q + b"/lib")), Sec(".rodata", Q + b"/share\0"), symbols=((1, 8),))
TEXT = b"#!" + Q + b"/bin/ocamlrun\nprefix=" + Q + b"\n"


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    (tmp_path / "prefix").mkdir()
    return tmp_path / "store" / "object"


def put(stored: Path, data: bytes, path: str = "bin/x") -> Analysis:
    found = analyse(data, SPELLING, path)
    stored.write_bytes(data if found.content is None else found.content)
    return found


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("data", [pytest.param(DATA, id="in place"), pytest.param(TEXT, id="resized")])
@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("mode", [0o755, 0o444, 0o640])
def test_a_placed_file_is_what_rendering_says(stored: Path, data: bytes, replace: bool, mode: int) -> None:
    found = put(stored, data)
    destination = stored.parent.parent / "prefix" / "x"
    placed = place(stored, destination, found.occurrences, TARGET, Placing(mode, replace=replace))
    content = destination.read_bytes()
    assert content == render(stored.read_bytes(), found.occurrences, TARGET)
    assert PLACEHOLDER not in content
    assert Q not in content
    status = destination.stat()
    assert (placed.size, placed.mtime_ns, placed.inode) == (
        status.st_size,
        status.st_mtime_ns,
        status.st_ino,
    )
    assert status.st_mode & 0o7777 == mode == placed.mode
    assert names(destination.parent) == ["x"]


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("gap", [0, 40_000, 70_000])
def test_every_format_is_placed_as_it_is_rendered(stored: Path, name: str, gap: int) -> None:
    """Large files are put together by the kernel, from parts that were never read."""
    found = put(stored, MAKERS[name]([Q + b"/lib", b"/" + b"g" * gap, Q + b":" + Q]))
    assert found.occurrences
    destination = stored.parent.parent / "prefix" / "x"
    placed = place(stored, destination, found.occurrences, TARGET, Placing(0o644))
    assert destination.read_bytes() == render(stored.read_bytes(), found.occurrences, TARGET)
    assert placed.size == destination.stat().st_size


def test_an_object_that_was_cut_off_is_refused(stored: Path) -> None:
    found = put(stored, MAKERS["bytecode"]([Q + b"/lib"]))
    whole = stored.read_bytes()
    for size in (0, 1, 100, len(whole) - 1):
        stored.write_bytes(whole[:size])
        with pytest.raises(BadDataError):
            place(stored, stored.parent.parent / "prefix/x", found.occurrences, TARGET, Placing(0o644))
    assert names(stored.parent.parent / "prefix") == []


@pytest.mark.parametrize("size", [0, 1, 70_000])
def test_a_file_without_occurrences_is_copied(stored: Path, size: int) -> None:
    stored.write_bytes(os.urandom(size))
    destination = stored.parent.parent / "prefix" / "x"
    placed = place(stored, destination, (), TARGET, Placing(0o644))
    assert destination.read_bytes() == stored.read_bytes()
    assert placed.inode != stored.stat().st_ino


def test_a_copy_works_where_the_kernel_offers_nothing_better(
    stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(38, "not implemented")

    monkeypatch.setattr("opambin.relocate.copying.os.copy_file_range", refuse)
    monkeypatch.setattr("opambin.relocate.copying.fcntl.ioctl", refuse)
    stored.write_bytes(b"x" * 100_000)
    destination = stored.parent.parent / "prefix" / "x"
    assert place(stored, destination, (), TARGET, Placing(0o644)).way is Way.COPY
    assert destination.read_bytes() == stored.read_bytes()


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        pytest.param(errno.EOPNOTSUPP, 1, id="the file system can't"),
        pytest.param(errno.ETXTBSY, 3, id="this file can't"),
        pytest.param(errno.EXDEV, 3, id="two parts of one overlay"),
    ],
)
def test_a_file_system_without_clones_is_asked_once(
    stored: Path, monkeypatch: pytest.MonkeyPatch, error: int, tries: int
) -> None:
    asked = []

    def refuse(*call: object) -> int:
        asked.append(call)
        raise OSError(error, "no")

    monkeypatch.setattr("opambin.relocate.copying._without_clones", set())
    monkeypatch.setattr("opambin.relocate.copying.fcntl.ioctl", refuse)
    stored.write_bytes(b"content")
    for name in ("a", "b", "c"):
        destination = str(stored.parent.parent / "prefix" / name)
        assert place(str(stored), destination, (), TARGET, Placing(0o644, replace=False)).way is Way.COPY
    assert len(asked) == tries


def test_a_clone_shares_all_bytes(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def clone(target: int, request: int, source: int) -> int:
        assert request == 0x40049409
        return os.write(target, os.pread(source, 100, 0))

    monkeypatch.setattr("opambin.relocate.copying._without_clones", set())
    monkeypatch.setattr("opambin.relocate.copying.fcntl.ioctl", clone)
    stored.write_bytes(b"content")
    destination = stored.parent.parent / "prefix" / "x"
    assert place(stored, destination, (), TARGET, Placing(0o644)).way is Way.REFLINK
    assert destination.read_bytes() == b"content"


@pytest.mark.parametrize(
    ("content", "mode", "way"),
    [
        pytest.param(elf_file(Sec(".text", b"x")), 0o755, Way.LINK, id="ELF"),
        pytest.param(archive(a=b"x"), 0o755, Way.LINK, id="archive"),
        pytest.param(b"Caml1999I030" + b"x" * 20, 0o755, Way.LINK, id="OCaml"),
        pytest.param(b"text", 0o755, None, id="text, which people edit"),
        pytest.param(elf_file(Sec(".text", b"x")), 0o644, None, id="other mode"),
    ],
)
def test_only_files_that_nobody_edits_become_hard_links(
    stored: Path, content: bytes, mode: int, way: Way | None
) -> None:
    stored.write_bytes(content)
    stored.chmod(0o755)
    destination = stored.parent.parent / "prefix" / "x"
    place(stored, destination, (), TARGET, Placing(mode, LinkMode.HARD))
    placed = place(stored, destination, (), TARGET, Placing(mode, LinkMode.HARD))
    assert destination.samefile(stored) is (way is Way.LINK)
    assert (placed.way is Way.LINK) is (way is Way.LINK)
    assert names(destination.parent) == ["x"]


def test_a_file_with_occurrences_is_never_a_link(stored: Path) -> None:
    found = put(stored, DATA)
    stored.chmod(0o755)
    destination = stored.parent.parent / "prefix" / "x"
    place(stored, destination, found.occurrences, TARGET, Placing(0o755, LinkMode.HARD))
    assert not destination.samefile(stored)
    assert stored.read_bytes() == found.content


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("data", [pytest.param(DATA, id="in place"), pytest.param(TEXT, id="resized")])
def test_a_prefix_that_is_too_long_is_refused_before_anything_is_written(
    stored: Path, data: bytes, replace: bool
) -> None:
    found = put(stored, data)
    destination = stored.parent.parent / "prefix" / "x"
    if replace:
        destination.write_bytes(b"old")
    with pytest.raises(CannotRelocateError, match="there is room for") as caught:
        place(stored, destination, found.occurrences, b"/" + b"x" * 300, Placing(0o644, replace=replace))
    assert caught.value.path == str(destination)
    assert names(destination.parent) == (["x"] if replace else [])
    assert not replace or destination.read_bytes() == b"old"


@pytest.mark.parametrize("data", [pytest.param(DATA, id="in place"), pytest.param(TEXT, id="resized")])
def test_an_object_that_is_not_what_its_manifest_says_is_refused(stored: Path, data: bytes) -> None:
    found = put(stored, data)
    stored.write_bytes(stored.read_bytes().replace(b"opam-bin-placeholder", b"opam-bin-PLACEHOLDER"))
    destination = stored.parent.parent / "prefix" / "x"
    with pytest.raises(BadDataError, match="no placeholder"):
        place(stored, destination, found.occurrences, TARGET, Placing(0o644))
    assert names(destination.parent) == []


def test_a_fresh_staging_folder_is_never_overwritten(stored: Path) -> None:
    found = put(stored, DATA)
    destination = stored.parent.parent / "prefix" / "x"
    destination.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        place(stored, destination, found.occurrences, TARGET, Placing(0o644, replace=False))
    assert destination.read_bytes() == b"mine"


def test_a_failing_write_leaves_the_old_file_and_no_new_one(
    stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    found = put(stored, DATA)
    destination = stored.parent.parent / "prefix" / "x"
    destination.write_bytes(b"old")
    monkeypatch.setattr("opambin.relocate.engine.os.pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        place(stored, destination, found.occurrences, TARGET, Placing(0o644))
    assert names(destination.parent) == ["x"]
    assert destination.read_bytes() == b"old"


@pytest.mark.parametrize(("length", "fits"), [(0, True), (200, True), (201, False)])
def test_checking_needs_no_file(length: int, fits: bool) -> None:
    occurrences = [Occurrence(Kind.CSTRING, 0, 200, where=".rodata")]
    if fits:
        check(occurrences, length)
    else:
        with pytest.raises(CannotRelocateError, match=r"\.rodata: the new prefix has 201 bytes"):
            check(occurrences, length)


# --- live files


@pytest.mark.parametrize("data", [pytest.param(DATA, id="ELF"), pytest.param(TEXT, id="text")])
def test_a_live_file_becomes_what_a_restore_gives_and_keeps_mode_and_times(stored: Path, data: bytes) -> None:
    live = stored.parent.parent / "prefix" / "x"
    live.write_bytes(data)
    live.chmod(0o751)
    os.utime(live, ns=(1_000_000_001, 2_000_000_002))
    found = analyse(data, SPELLING, "x")
    assert canonicalise(live, found, SPELLING)
    status = live.stat()
    assert (status.st_mode & 0o7777, status.st_mtime_ns) == (0o751, 2_000_000_002)
    content = live.read_bytes()
    put(stored, data, "x")
    restored = live.parent / "restored"
    place(stored, restored, found.occurrences, PREFIX, Placing(0o751))
    assert restored.read_bytes() == content
    again = analyse(content, SPELLING, "x")
    assert not canonicalise(live, again, SPELLING)
    assert live.stat().st_ino == status.st_ino


def test_a_file_without_occurrences_is_left_alone(tmp_path: Path) -> None:
    found = analyse(b"nothing", SPELLING, "x")
    assert not canonicalise(tmp_path / "is not read", found, SPELLING)


def test_hard_links_among_live_files_are_kept_and_others_left_alone(tmp_path: Path) -> None:
    first, second, outside = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    first.write_bytes(TEXT)
    os.link(first, second)
    os.link(first, outside)
    assert canonicalise(first, analyse(TEXT, SPELLING, "a"), SPELLING, [second])
    assert first.samefile(second)
    assert outside.read_bytes() == TEXT
    assert second.read_bytes() == TEXT.replace(Q, PREFIX)
    assert pad(PREFIX) not in first.read_bytes()


TREE = b"Caml1999T030" + marshalled((b"x" * 90_000, [Q + b"/lib/a.ml"], b"y" * 90_000))


@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace")
@pytest.mark.parametrize(
    ("path", "data", "most"),
    [
        pytest.param("lib/a.cmxs", elf_file(Sec(".text", b"x" * 90_000)), 0, id="no prefix"),
        pytest.param("lib/a.cmt", TREE, 8 + 200, id="a prefix that nothing needs"),
        pytest.param("bin/a", DATA, 8 + 200 + 256, id="a prefix that is needed, of a fixed length"),
    ],
)
def test_of_files_that_keep_their_length_only_the_places_are_read(
    stored: Path, path: str, data: bytes, most: int
) -> None:
    """The kernel copies the rest."""
    found = put(stored, data, path)
    assert len(found.occurrences) == (0 if most == 0 else 1 if most < 300 else 2)
    script = (
        "import pickle, sys; from opambin.relocate.engine import Placing, place; from pathlib import Path;"
        "occurrences = pickle.loads(Path(sys.argv[3]).read_bytes());"
        f"place(sys.argv[1], sys.argv[2], occurrences, {TARGET!r}, Placing(0o644))"
    )
    arguments, log = stored.with_name("occurrences"), stored.with_name("log")
    arguments.write_bytes(pickle.dumps(found.occurrences))
    program = [
        sys.executable,
        "-c",
        script,
        str(stored),
        str(stored.parent.parent / "prefix/x"),
        str(arguments),
    ]
    calls = "trace=read,readv,pread64,preadv,mmap"
    subprocess.run(["strace", "-f", "-o", str(log), "-e", calls, "-P", str(stored), *program], check=True)
    read = [line for line in log.read_text().splitlines() if "= " in line and "+++" not in line]
    assert not [line for line in read if "mmap" in line]
    assert sum(int(line.rpartition("= ")[2].split()[0]) for line in read) <= most
    assert (stored.parent.parent / "prefix/x").stat().st_size == len(data)
