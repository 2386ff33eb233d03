"""Edits of published archives: what Python says they give, and what the script makes of them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from opambin.errors import CannotRelocateError
from opambin.model import PLACEHOLDER, Kind, Occurrence
from opambin.publish import archive
from opambin.publish.edits import (
    Block,
    Edit,
    FileEdits,
    Launcher,
    Literal,
    Number,
    Padded,
    Prefix,
    Site,
    Size,
    Term,
    Token,
    carry_out,
    escape,
    merged,
)
from opambin.publish.steps import file_edits, text_edits
from opambin.relocate import rendering
from opambin.relocate.spelling import pad

SHELLS = [
    pytest.param(found, id=" ".join([Path(found[0]).name, *found[1:]]))
    for name, *arguments in (("dash",), ("busybox", "sh"), ("bash", "--posix"))
    if (path := shutil.which(name)) and (found := [path, *arguments])
]
PREFIXES = [
    pytest.param("/p", id="2 bytes"),
    pytest.param("/home/me/.opam/5.1", id="18 bytes"),
    pytest.param("/" + "d" * 40 + "/" + "e" * 69, id="111 bytes"),
    pytest.param("/" + "d" * 40 + "/" + "e" * 75, id="117 bytes"),
    pytest.param("/" + "d" * 99 + "/" + "e" * 99, id="200 bytes"),
]
HOSTILE = bytes(range(256)) * 2 + b"\n\n\\ %s \\n\0\0"


def block(room: int, text: bytes) -> tuple[bytes, list[Occurrence]]:
    """An OCaml string block in an ELF-like file, with other bytes around it."""
    from opambin.relocate import blocks

    data = HOSTILE + blocks.encode(text, room) + HOSTILE
    offset = data.index(PLACEHOLDER)
    back = offset - len(HOSTILE)
    return data, [Occurrence(Kind.BLOCK, offset, room * 8 - 1, anchor=(back, room))]


def value(text: bytes, *, big: bool = False) -> tuple[bytes, list[Occurrence]]:
    """A marshalled value that is one string."""
    from opambin.relocate.marshalstream import encode_string, string_words

    token = encode_string(text)
    words = (string_words(len(text), 4), string_words(len(text), 8))
    head = (
        b"\x84\x95\xa6\xbf" + bytes(4) + b"".join(n.to_bytes(8) for n in (len(token), 1, words[1]))
        if big
        else b"\x84\x95\xa6\xbe" + b"".join(n.to_bytes(4) for n in (len(token), 1, *words))
    )
    data = head + token
    places = [at for at in range(len(data)) if data.startswith(PLACEHOLDER, at)]
    return data, [Occurrence(Kind.MARSHAL, at, anchor=(at, at - len(head))) for at in places]


def site() -> tuple[bytes, list[Occurrence]]:
    text = PLACEHOLDER + b"/share"
    field = (b"=%d:%s" % (len(text), text)).ljust(260)
    data = HOSTILE + b"\0" + field + b"\0" + HOSTILE
    at = data.index(PLACEHOLDER)
    return data, [Occurrence(Kind.DUNE_SITE, at, 240, anchor=(at - len(HOSTILE) - 1, 260))]


def bytecode(command: bytes) -> tuple[bytes, list[Occurrence]]:
    """A bytecode program whose constants hold the prefix, too."""
    constants, inside = value(PLACEHOLDER + b"/lib")
    head = b"#!" + command + b"\n"
    sections = [(b"CODE", HOSTILE), (b"DLPT", b""), (b"DATA", constants), (b"SYMB", b"xx")]
    body = b"".join(content for _, content in sections)
    table = b"".join(name + len(content).to_bytes(4) for name, content in sections)
    data = head + body + table + len(sections).to_bytes(4) + b"Caml1999X029"
    start = len(head) + len(HOSTILE)
    found = [Occurrence(Kind.TEXT, head.index(PLACEHOLDER))]
    found += [Occurrence(Kind.MARSHAL, it.offset + start, anchor=it.anchor) for it in inside]
    return data, found


def text() -> tuple[bytes, list[Occurrence]]:
    data = b"a=" + PLACEHOLDER + b"/lib\nb='" + PLACEHOLDER + b"'\n100%\n" + PLACEHOLDER
    return data, [Occurrence(Kind.TEXT, at) for at in range(len(data)) if data.startswith(PLACEHOLDER, at)]


def cstrings(*, functional: bool) -> tuple[bytes, list[Occurrence]]:
    data = HOSTILE + PLACEHOLDER + b"/x\0" + HOSTILE + PLACEHOLDER + b"\0"
    return data, [
        Occurrence(Kind.CSTRING, at, 200, functional)
        for at in range(len(data))
        if data.startswith(PLACEHOLDER, at)
    ]


def mixture() -> tuple[bytes, list[Occurrence]]:
    """A block that somebody depends on beside a place that nobody does."""
    data, found = block(30, PLACEHOLDER + b"/etc")
    stale = Occurrence(Kind.CSTRING, len(data), 200, functional=False)
    return data + PLACEHOLDER + b"\0", [*found, stale]


FILES = {
    "text": text(),
    "c-string": cstrings(functional=True),
    "stale": cstrings(functional=False),
    "mixture": mixture(),
    "block": block(26, PLACEHOLDER + b"/lib"),
    "block-twice-as-long": block(60, b"-I" + PLACEHOLDER + b":/opt"),
    "block-full": block(26, b"x" * 7 + PLACEHOLDER),
    "value": value(b"%d\\" + PLACEHOLDER + b"/lib/ocaml"),
    "value-two": value(PLACEHOLDER + b":" + PLACEHOLDER),
    "value-near-256": value(b"y" * 54 + PLACEHOLDER),
    "value-big": value(PLACEHOLDER, big=True),
    "site": site(),
    "bytecode": bytecode(PLACEHOLDER + b"/bin/ocamlrun"),
    "bytecode-with-option": bytecode(PLACEHOLDER + b"/bin/ocamlrun -b"),
}


@pytest.mark.parametrize("name", FILES)
def test_edits_give_what_a_restore_gives(name: str) -> None:
    content, found = FILES[name]
    edits = file_edits(content, found)
    for length in range(2, 201):
        prefix = (b"/" + b"ab/" * 100)[: length - 1] + b"z"
        try:
            wanted = rendering.render(content, found, prefix)
        except CannotRelocateError:
            continue
        assert carry_out(content, edits, PLACEHOLDER, prefix) == wanted, length


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_gives_what_a_restore_gives(shell: list[str], prefix: str, tmp_path: Path) -> None:
    lines, wanted = ["edits 1"], {}
    (tmp_path / "files").mkdir()
    swept = []
    for name, (content, found) in FILES.items():
        if name == "block-full" and len(prefix) > 200:
            continue
        edits = file_edits(content, found)
        path = tmp_path / "files" / name
        path.write_bytes(content)
        path.chmod(0o755)
        swept += [f"sed files/{name}"] * edits.swept
        lines += edits.lines(f"files/{name}", len(content))
        wanted[name] = rendering.render(content, found, prefix.encode())
    write_list(tmp_path, [*lines[:1], *swept, *lines[1:]])
    run(shell, tmp_path, "relocate", prefix)
    for name, content in wanted.items():
        assert (tmp_path / "files" / name).read_bytes() == content, name
        assert (tmp_path / "files" / name).stat().st_mode & 0o777 == 0o755, name
    assert sorted(path.name for path in (tmp_path / "files").iterdir()) == sorted(wanted)


def write_list(folder: Path, lines: list[str]) -> None:
    (folder / "opam-bin.edits").write_text("".join(f"{line}\n" for line in lines))
    (folder / "opam-bin.sh").write_text(archive.script(), "utf-8")


def run(
    shell: list[str], folder: Path, verb: str, prefix: str, code: int = 0
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*shell, "./opam-bin.sh", verb, prefix], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    return done


@pytest.mark.parametrize("shell", SHELLS)
def test_links_lines_and_modes(shell: list[str], tmp_path: Path) -> None:
    source, prefix = tmp_path / "archive", tmp_path / "prefix"
    (source / "files/lib").mkdir(parents=True)
    (source / "files/lib/a b").write_text("x")
    (prefix / "lib").mkdir(parents=True)
    (prefix / "lib/ld.conf").write_text("/there\n/open end")
    items = f"p ={escape(b'/lib/a b')}"
    write_list(
        source,
        [
            "edits 1",
            "ln files/lib/link",
            f"to {items}",
            "mode 0444 files/lib/a b",
            "hl lib/hard",
            "of lib/a b",
            "ed lib/ld.conf",
            f"add p ={escape(b'/lib/stublibs')}",
            f"add ={escape(b'/there')}",
        ],
    )
    run(shell, source, "relocate", str(prefix))
    run(shell, source, "install", str(prefix))
    assert (prefix / "lib/link").readlink() == prefix / "lib/a b"
    assert (prefix / "lib/hard").stat().st_ino == (prefix / "lib/a b").stat().st_ino
    assert (prefix / "lib/a b").stat().st_mode & 0o777 == 0o444
    assert (prefix / "lib/ld.conf").read_text() == f"/there\n/open end\n{prefix}/lib/stublibs\n"
    run(shell, source, "install", str(prefix))
    assert (prefix / "lib/ld.conf").read_text().count("stublibs") == 1


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("prefix", "lines", "words"),
    [
        pytest.param("relative", [], "not an absolute path", id="relative"),
        pytest.param("/a/", [], "without slash", id="slash"),
        pytest.param("/a b", [], "can't be installed below", id="blank"),
        pytest.param("/a&b", [], "can't be installed below", id="ampersand"),
        pytest.param("/a'b", [], "can't be installed below", id="quote"),
        pytest.param("/abcdef", ["max 5"], "paths of 5 bytes at most", id="too long"),
        pytest.param("/a", ["lib libnobodyhasit.so.7"], "libnobodyhasit.so.7 is missing", id="no library"),
        pytest.param("/a", [f"md5 {'0' * 32} /etc/passwd"], "is not the one", id="other compiler"),
        pytest.param("/a", [f"md5 {'0' * 32} /no/such"], "/no/such is missing", id="no compiler"),
        pytest.param("/a", ["md5 none /etc/passwd"], "was not there", id="something new"),
        pytest.param("/a", ["surprise x"], "unknown line surprise", id="later version"),
    ],
)
def test_it_refuses(shell: list[str], prefix: str, lines: list[str], words: str, tmp_path: Path) -> None:
    write_list(tmp_path, ["edits 1", *lines])
    assert words in run(shell, tmp_path, "relocate", prefix, code=1).stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_a_library_and_a_compiler_that_are_there(shell: list[str], tmp_path: Path) -> None:
    import hashlib

    digest = hashlib.md5(Path("/etc/passwd").read_bytes()).hexdigest()  # noqa: S324 - opam's own kind
    write_list(tmp_path, ["edits 1", "lib libc.so.6", f"md5 {digest} /etc/passwd", "md5 none /no/such"])
    run(shell, tmp_path, "relocate", "/somewhere")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_sed_that_damages_files_is_not_used(shell: list[str], tmp_path: Path) -> None:
    """Then places that nobody depends on keep the placeholder, and all others are right."""
    content, found = FILES["mixture"]
    (tmp_path / "files").mkdir()
    (tmp_path / "files/x").write_bytes(content)
    bad = tmp_path / "bin"
    bad.mkdir()
    (bad / "sed").write_text('#!/bin/sh\nfor f; do :; done; tr -d \'\\000\' <"$f" >t && cat t >"$f"\n')
    (bad / "sed").chmod(0o755)
    edits = file_edits(content, found)
    write_list(tmp_path, ["edits 1", "sed files/x", *edits.lines("files/x", len(content))])
    if shell[0].endswith("busybox"):
        pytest.skip("busybox has sed inside")
    done = subprocess.run(
        [*shell, "./opam-bin.sh", "relocate", "/new/place"],
        cwd=tmp_path,
        env={"PATH": f"{bad}:/usr/bin:/bin"},
        check=False,
    )
    assert done.returncode == 0
    wanted = rendering.render(content, found, b"/new/place").replace(pad(b"/new/place"), PLACEHOLDER)
    assert (tmp_path / "files/x").read_bytes() == wanted


def test_literals_are_spelled_for_printf() -> None:
    data = bytes(range(256))
    printed = subprocess.run(["/bin/sh", "-c", f"printf '{escape(data)}'"], capture_output=True, check=True)
    assert printed.stdout == data


def test_neighbouring_edits_are_joined() -> None:
    edits = [Edit(10, 12, (Prefix(),)), Edit(0, 4, (Literal(b"x"),)), Edit(15, 15, (Prefix(),))]
    joined = merged(edits, bytes(range(20)), 5)
    assert [(it.start, it.end) for it in joined] == [(0, 4), (10, 15)]
    assert joined[1].items == (Prefix(), Literal(bytes((12, 13, 14))), Prefix())


def test_a_text_without_occurrences_on_record() -> None:
    content = b"x" + PLACEHOLDER + b"y" + PLACEHOLDER
    assert carry_out(content, text_edits(content), PLACEHOLDER, b"/new") == b"x/newy/new"


def test_a_file_that_an_edit_would_spoil_is_refused() -> None:
    """A Mach-O file is signed; what the script writes would not be."""
    with pytest.raises(CannotRelocateError, match="signed"):
        file_edits(b"\xcf\xfa\xed\xfe" + bytes(100) + PLACEHOLDER, [Occurrence(Kind.CSTRING, 104, 200)])


@pytest.mark.parametrize(
    ("item", "text"),
    [
        pytest.param(Prefix(), "p", id="prefix"),
        pytest.param(Padded(200), "s", id="padded"),
        pytest.param(Literal(b"a-b"), "=a\\055b", id="literal"),
        pytest.param(Number(4, Size(7, (Term("T", 1, 2),))), "n:4:7:T:1:2", id="number"),
        pytest.param(Token(3, 1), "t:3:1", id="token"),
        pytest.param(Block(9, (b"", b"ab")), "b:9:2:=:=ab", id="block"),
        pytest.param(Site(50, (b"", b"/x")), "d:50:2:=:=/x", id="site"),
        pytest.param(Launcher((b"", b"/x")), "l:2:=:=/x", id="launcher"),
    ],
)
def test_how_items_are_written(item: object, text: str) -> None:
    assert str(item) == text


def test_lines_of_a_file() -> None:
    edits = FileEdits((Edit(3, 203, (Prefix(),)),), in_place=False)
    assert edits.lines("files/x", 300) == ["re files/x", "at 3 200 p", "size 100 P 0 1"]
    assert FileEdits(swept=True).lines("files/x", 300) == []
