from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from caml_samples import PADDED, PREFIX, SPELLING, needs_ocaml, run, switch_at
from hypothesis import given
from hypothesis import strategies as st

from opambin.errors import BadDataError, CannotRelocateError
from opambin.model import PLACEHOLDER, Kind, Occurrence
from opambin.relocate import bytecode, dunesite
from opambin.relocate.dunesite import Field

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


def field(value: bytes, length: int = 400) -> bytes:
    """Write a field as dune's ``encode_replacement`` does."""
    return (b"=%d:%s" % (len(value), value)).ljust(length)


def listed(prefix: bytes) -> bytes:
    return b"hardcoded\0" + prefix + b"/lib\0/usr/lib\0" + prefix


def elf_data(text: bytes) -> bytes:
    """Surroundings as in the data of a native program: a block header, a pad, another block."""
    pad = 7 - len(text) % 8
    return (
        b"\xfc\x0b\0\0\0\0\0\0other=5:\0\0\0\0\0\0\x05"
        + ((len(text) + pad + 1) // 8 << 10 | 0x3FC).to_bytes(8, "little")
        + text
        + bytes(pad)
        + bytes((pad,))
        + b"\xfc\x07\0\0\0\0\0\0abc\0\0\0\0\4"
    )


@pytest.mark.parametrize("spelled", [PREFIX, PADDED], ids=["canonical", "padded"])
def test_a_field_keeps_its_length_and_states_the_new_one(spelled: bytes) -> None:
    located = dunesite.locate(elf_data(field(spelled + b"/lib/x")), SPELLING, "bin/x")
    assert located.content == elf_data(field(PLACEHOLDER + b"/lib/x"))
    (found,) = located.occurrences
    assert (found.kind, found.functional, found.capacity) == (Kind.DUNE_SITE, True, 400 - 5 - 6)
    for target in (b"/o", PREFIX, b"/" + b"x" * 388):
        rendered = dunesite.render(located.content, located.occurrences, target)
        assert rendered == elf_data(field(target + b"/lib/x"))


def test_a_prefix_that_is_too_long_is_refused() -> None:
    located = dunesite.locate(field(PADDED + b"/lib/x"), SPELLING, "bin/x")
    with pytest.raises(CannotRelocateError, match="390 bytes"):
        dunesite.render(located.content, located.occurrences, b"/" + b"x" * 389)


@pytest.mark.parametrize("length", [*range(430, 440), 1027, 1028, 1029, 10030])
def test_the_capacity_is_exact_where_the_length_gains_a_digit(length: int) -> None:
    located = dunesite.locate(field(listed(PADDED), length), SPELLING, "x")
    assert located.content == field(listed(PLACEHOLDER), length)
    capacity = located.occurrences[0].capacity
    assert capacity is not None
    assert [found.capacity for found in located.occurrences] == [capacity] * 2
    longest = b"/" + b"x" * (capacity - 1)
    rendered = dunesite.render(located.content, located.occurrences, longest)
    assert rendered == field(listed(longest), length)
    assert len(rendered) == length
    with pytest.raises(CannotRelocateError):
        dunesite.render(located.content, located.occurrences, longest + b"x")


def test_a_field_without_room_for_the_placeholder_is_bound() -> None:
    text = field(PREFIX + b"/lib", 60)
    located = dunesite.locate(elf_data(text), SPELLING, "bin/x")
    assert (located.content, located.occurrences) == (elf_data(text), ())
    (bound,) = located.bound
    assert (bound.path, bound.max_prefix) == ("bin/x", None)
    assert "60 bytes" in bound.reason


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"%%DUNE_PLACEHOLDER:", id="dune itself"),
        pytest.param(b"%%DUNE_PLACEHOLDER:64:location:lib:4:" + PREFIX, id="before the installation"),
        pytest.param(field(b"/usr/lib"), id="another prefix"),
        pytest.param(field(PREFIX + b".1/lib"), id="a longer name"),
        pytest.param(field(PREFIX + b"/.opam-switch/build/x"), id="build directory"),
        pytest.param(b"=300:" + PREFIX, id="truncated by dune"),
        pytest.param(b"=03:" + PREFIX, id="leading zero"),
        pytest.param(b"=3:" + PREFIX, id="not in the value"),
        pytest.param(b"x=%d:%s  " % (len(PREFIX), PREFIX), id="in the middle of a string"),
    ],
)
def test_what_is_no_field_is_left_alone(text: bytes) -> None:
    for data in (text, elf_data(text)):
        located = dunesite.locate(data, SPELLING, "x")
        assert (located.content, located.occurrences, located.bound) == (data, (), ())


def test_a_field_is_found_around_a_byte_of_its_value() -> None:
    data = elf_data(field(b"/a/b=7:c", 20))
    start = data.index(b"=8:")
    expected = Field(start, start + 3, start + 11, start + 20)
    for at in range(start + 3, start + 11):
        assert dunesite.field_around(data, at, 0, len(data)) == expected
    for at in (start, start + 2, start + 11, start + 15):
        assert dunesite.field_around(data, at, 0, len(data)) is None
    assert dunesite.field_around(data, start + 3, 0, start + 10) is None
    assert dunesite.field_in(data, start, start + 20) == expected
    assert dunesite.field_in(data, start, start + 21) is None


@pytest.mark.parametrize(
    ("offset", "anchor"),
    [
        pytest.param(5, (), id="no anchor"),
        pytest.param(5, (4, 400), id="field elsewhere"),
        pytest.param(5, (5, 500), id="longer than the file"),
        pytest.param(5, (6, 400), id="before the file"),
        pytest.param(6, (6, 400), id="no placeholder there"),
        pytest.param(-5, (0, 400), id="negative"),
    ],
)
def test_damaged_occurrences_are_refused(offset: int, anchor: tuple[int, ...]) -> None:
    data = field(PLACEHOLDER)
    with pytest.raises(BadDataError):
        dunesite.render(data, (Occurrence(Kind.DUNE_SITE, offset, anchor=anchor),), b"/o")


def test_occurrences_that_overlap_are_refused() -> None:
    found = Occurrence(Kind.DUNE_SITE, 5, anchor=(5, 400))
    with pytest.raises(BadDataError):
        dunesite.render(field(PLACEHOLDER), (found, found), b"/o")
    with pytest.raises(BadDataError, match="unexpected kind"):
        dunesite.render(field(PLACEHOLDER), (Occurrence(Kind.TEXT, 5),), b"/o")


@given(st.data())
def test_damage_raises_only_bad_data(data: st.DataObject) -> None:
    located = dunesite.locate(elf_data(field(listed(PADDED), 600)), SPELLING, "x")
    file = bytearray(located.content)
    for _ in range(data.draw(st.integers(1, 3))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.sampled_from(b"=:09 /x\0"))
    with contextlib.suppress(BadDataError, CannotRelocateError):
        assert len(dunesite.render(bytes(file), located.occurrences, b"/o")) == len(file)
    assert len(dunesite.locate(bytes(file).replace(PLACEHOLDER, PADDED), SPELLING, "x").content) == len(file)


SOURCE = """
let field = Sys.opaque_identity "%s"
let value = let colon = String.index field ':' in
  String.sub field (colon + 1) (int_of_string (String.sub field 1 (colon - 1)))
let () = print_string (String.concat "|" (String.split_on_char '\\000' value))
"""


@needs_ocaml
@pytest.mark.parametrize(
    ("compiler", "form"),
    [pytest.param("ocamlc", bytecode, id="bytecode"), pytest.param("ocamlopt", dunesite, id="native")],
)
def test_an_installed_program_reads_its_moved_field(tmp_path: Path, compiler: str, form: ModuleType) -> None:
    """What dune writes into a program when it installs it, moved to a short and to a longer prefix."""
    spelling = switch_at(tmp_path)
    before = b"%%DUNE_PLACEHOLDER:4096:hardcoded_ocaml_path:".ljust(4096, b"%")
    (tmp_path / "x.ml").write_text(SOURCE % before.decode())
    run([compiler, "x.ml", "-o", "x"], tmp_path)
    data = (tmp_path / "x").read_bytes()
    assert data.count(before) == 1
    assert form.locate(data, spelling, "x").content == data
    data = data.replace(before, field(listed(spelling.padded), 4096))
    located = form.locate(data, spelling, "x")
    assert [found.kind for found in located.occurrences] == [Kind.DUNE_SITE] * 2
    for target in (b"/o", b"/" + b"long" * 100):
        (tmp_path / "x").write_bytes(form.render(located.content, located.occurrences, target))
        assert run(["./x"], tmp_path) == listed(target).decode().replace("\0", "|")
