"""Prefixes of any form and length, and files that spell the prefix in another way than byte by byte."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from caml_samples import marshalled
from elf_samples import Sec, elf_file, string_block
from test_relocate_analysis import bytecode_program

from opambin.errors import CannotRelocateError
from opambin.relocate.analysis import analyse
from opambin.relocate.rendering import longest_prefix, render
from opambin.relocate.spelling import Spelling, escaped, other_form, pad
from opambin.relocate.unmarshal import read_value

if TYPE_CHECKING:
    from pathlib import Path

HERE = b"/home/me/.opam/5.1"
OLD = Spelling.of(HERE)

PREFIXES = [
    pytest.param(b"/a", id="two bytes"),
    pytest.param(b"/ab", id="three bytes"),
    pytest.param(b"/opt/c++.v1", id="regular expression"),
    pytest.param(b"/opt/(a|b)*[x]", id="more of it"),
    pytest.param("/home/Jos\u00e9/ocaml".encode(), id="not ASCII"),
    pytest.param(b"/opt/\xff\xfe", id="not UTF-8"),
    pytest.param(b"/home/me/my switch", id="a space"),
    pytest.param(b"/home/me/a%sb", id="percent"),
    pytest.param(b"/home/me/-I", id="looks like a flag"),
    pytest.param(b"/home/me/.opam/5.1.0", id="continues the old one"),
    pytest.param(b"/home/me/.opam", id="begins the old one"),
    pytest.param(b"/x/home/me/.opam/5.1", id="ends like the old one"),
    pytest.param(b"/home/me/.opam/5.1/home/me/.opam/5.1", id="twice the old one"),
    pytest.param(b"/" + b"d" * 199, id="as long as the padding"),
    pytest.param(b"/" + b"d" * 200, id="longer than the padding"),
    pytest.param(b"/" + b"deep/" * 700 + b"x", id="very long"),
]


def block_file(*strings: bytes) -> bytes:
    content, symbols = b"", []
    for text in strings:
        symbols.append((1, len(content) + 8))
        content += string_block(text)
    return elf_file(Sec(".data", content), symbols=tuple(symbols))


TEXTS = {
    "colon list": b"PATH=%s/bin:%s/sbin:/usr/bin:%s",
    "several in one string": b"%s %s/lib -L%s/lib --prefix=%s",
    "at the end": b"x=%s",
    "all of it": b"%s",
    "more slashes before it": b"x=/%s/lib",
    "slash at the end": b"%s/",
    "slashes behind it": b"%s//lib///x",
    "dots": b"%s/./lib/../bin",
}


@pytest.mark.parametrize("there", PREFIXES)
@pytest.mark.parametrize("name", TEXTS)
def test_text_and_values_take_any_prefix(there: bytes, name: str) -> None:
    built, wanted = TEXTS[name].replace(b"%s", OLD.padded), TEXTS[name].replace(b"%s", there)
    odd_text = escaped(there)
    data = marshalled((b"first", built, b"last"))
    found = analyse(data, OLD, "lib/x")
    assert read_value(render(found.content or b"", found.occurrences, there), 0)[0] == [
        b"first",
        wanted,
        b"last",
    ]
    text = analyse(built, OLD, "lib/x")
    assert text.bound == ()
    assert render(text.content or b"", text.occurrences, there) == wanted
    assert (odd_text != "") is bool(set(there) & set(b" %()|*[]") or b"\xff" in there)


@pytest.mark.parametrize("there", PREFIXES)
@pytest.mark.parametrize("name", TEXTS)
def test_native_strings_take_any_prefix_that_fits_and_refuse_others(there: bytes, name: str) -> None:
    built = TEXTS[name].replace(b"%s", OLD.padded)
    data = block_file(built, b"next")
    found = analyse(data, OLD, "bin/x")
    assert found.bound == ()
    content = found.content or b""
    longest = longest_prefix(found.occurrences) or 0
    assert longest >= 200
    if len(there) > longest:
        with pytest.raises(CannotRelocateError):
            render(content, found.occurrences, there)
        return
    live = render(content, found.occurrences, there)
    assert string_block(TEXTS[name].replace(b"%s", there)) in live
    assert HERE not in live.replace(there, b"")
    assert len(live) == len(data)
    strings = analyse(elf_file(Sec(".rodata", built + b"\0next\0")), OLD, "bin/x")
    if len(there) <= 200:
        whole = TEXTS[name].replace(b"%s", pad(there))
        assert whole + b"\0next\0" in render(strings.content or b"", strings.occurrences, there)
    else:
        with pytest.raises(CannotRelocateError):
            render(strings.content or b"", strings.occurrences, there)


@pytest.mark.parametrize(
    "there", [b"/opt/x", b"/home/o'brien/sw", b"/" + b"d" * 130, b"/home/my switch", b"/" + b"d" * 300]
)
def test_a_bytecode_program_finds_its_interpreter(there: bytes, tmp_path: Path) -> None:
    folder = bytes(tmp_path) + there
    try:
        (tmp_path / there.decode().lstrip("/") / "bin").mkdir(parents=True)
    except OSError:
        pytest.skip("a name that this file system does not take")
    interpreter = tmp_path / there.decode().lstrip("/") / "bin/ocamlrun"
    interpreter.write_text('#!/bin/sh\necho "$0" "$@"\n')
    interpreter.chmod(0o755)
    program = bytecode_program(b'#!/bin/sh\nexec \'%s/bin/ocamlrun\' "$0" "$@"\n' % OLD.padded, CODE=b"\0")
    found = analyse(program, OLD, "bin/x")
    (tmp_path / "program").write_bytes(render(found.content or b"", found.occurrences, folder))
    (tmp_path / "program").chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", str(tmp_path / "program"), "a b"], capture_output=True, text=True, check=False
    )
    assert done.stdout == f"{interpreter} {tmp_path}/program a b\n"


@pytest.mark.parametrize(
    ("prefix", "odd", "in_texts"),
    [
        pytest.param(b"/home/me/.opam/5.1", "", "", id="plain"),
        pytest.param(b"/home/me/a+b~c-d_e@f,g=h", "", "", id="punctuation"),
        pytest.param(b"/a b/c$", " $", " $", id="shell"),
        pytest.param(b"/a\nb\x7f", "\n\x7f", "\n\x7f", id="control"),
        pytest.param("/\u00e9".encode(), "", "\u00e9", id="not ASCII"),
        pytest.param(b"/\xff", "\udcff", "\udcff", id="not UTF-8"),
    ],
)
def test_characters_that_are_written_in_other_ways(prefix: bytes, odd: str, in_texts: str) -> None:
    assert escaped(prefix) == odd
    assert escaped(prefix, ascii_only=True) == in_texts


@pytest.mark.parametrize(
    ("prefix", "data", "found"),
    [
        pytest.param("/home/jos\u00e9/sw", "x=/home/jos\u00e9/sw".encode(), False, id="as it is"),
        pytest.param("/home/jos\u00e9/sw", rb'"/home/jos\195\169/sw"', True, id="OCaml string"),
        pytest.param("/home/jos\u00e9/sw", rb"/home/jos%C3%A9/sw", True, id="address"),
        pytest.param("/home/jos\u00e9/sw", b"/home/other", False, id="another path"),
        pytest.param("/home/me/a b", rb"/home/me/a\ b/lib", True, id="space in a script"),
        pytest.param("/home/me/a b", b"'/home/me/a b/lib'", False, id="space in quotes"),
        pytest.param("/home/me/a b", pad(b"/home/me/a b").replace(b" ", rb"\ "), True, id="padded"),
        pytest.param("/home/me/a b", pad(b"/home/me/a b"), False, id="padded, as it is"),
        pytest.param("/home/me/ab", b"/home/me/a\\b", False, id="plain prefix"),
    ],
)
def test_a_prefix_with_characters_written_in_another_way_is_seen(
    prefix: str, data: bytes, found: bool
) -> None:
    pattern = other_form(Spelling.of(prefix.encode()))
    assert bool(pattern and pattern.search(data)) is found


RESPELLED = b"/home/me/.opam//5.1"


@pytest.mark.parametrize(
    ("path", "data", "bound"),
    [
        pytest.param("lib/x.conf", b"dir=" + RESPELLED + b"/lib\n", True, id="text"),
        pytest.param("lib/x.conf", b"dir=" + RESPELLED, True, id="at the end"),
        pytest.param("lib/x.conf", b"/home/me/.opam" + b"/" * 70 + b"5.1/lib", True, id="another padding"),
        pytest.param("lib/x.conf", b"dir=" + RESPELLED + b"0/lib\n", False, id="another switch"),
        pytest.param("lib/x.conf", b"dir=/mnt" + RESPELLED + b"/lib\n", False, id="tail of another path"),
        pytest.param("lib/x.conf", RESPELLED + b"/.opam-switch/build/x.1/a", False, id="build directory"),
        pytest.param("lib/x.cmt", b"dir=" + RESPELLED + b"/lib\n", False, id="for people"),
        pytest.param("bin/x", elf_file(Sec(".rodata", RESPELLED + b"\0")), True, id="program"),
        pytest.param(
            "bin/x", elf_file(Sec(".debug_str", RESPELLED + b"\0", flags=0)), False, id="debug information"
        ),
        pytest.param("lib/x", b"\x7fELF\0" + RESPELLED, True, id="damaged program"),
    ],
)
def test_other_slashes_in_the_prefix_bind(path: str, data: bytes, bound: bool) -> None:
    found = analyse(data, OLD, path)
    assert any("other slashes" in one.reason for one in found.bound) is bound


def test_a_padded_spelling_beside_another_one_binds_and_both_stay_as_they_are() -> None:
    data = OLD.padded + b"/lib " + RESPELLED + b"/lib"
    found = analyse(data, OLD, "lib/x")
    assert [one.reason for one in found.bound] == [
        f"the prefix at byte {len(OLD.padded) + 5} is spelled with other slashes"
    ]
