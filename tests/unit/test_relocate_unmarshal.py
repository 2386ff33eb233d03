from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from caml_samples import (
    Value,
    marshalled,
    marshalled_big,
    marshalled_compressed,
    needs_ocaml,
    run,
)
from hypothesis import given
from hypothesis import strategies as st

from opambin.errors import BadDataError
from opambin.relocate.unmarshal import MAX_SIZE, Node, read_fields, read_value

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Write = Callable[[Value], bytes]


def stream(tokens: bytes) -> bytes:
    return b"\x84\x95\xa6\xbe" + struct.pack(">IIII", len(tokens), 0, 0, 0) + tokens


def plain(value: Value) -> Node:
    """What the reader makes of a value."""
    if isinstance(value, list):
        return [plain(value[0]), plain(value[1:])] if value else 0
    return [plain(item) for item in value] if isinstance(value, tuple) else value


values = st.recursive(
    st.one_of(st.integers(-(2**31), 2**31 - 1), st.binary(max_size=300)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.lists(inner, min_size=1, max_size=9).map(tuple)),
    max_leaves=25,
)


@given(values, st.sampled_from([marshalled, marshalled_big, marshalled_compressed]))
def test_values_are_read_as_they_were_written(value: Value, write: Write) -> None:
    data = write(value)
    assert read_value(b"junk" + data + b"tail", 4) == (plain(value), 4 + len(data))


def test_a_long_list_needs_no_recursion() -> None:
    tokens = b"\xa0\x41" * 200_000 + b"\x40"
    node, _ = read_value(stream(tokens), 0)
    length = 0
    while isinstance(node, list):
        node = node[1]
        length += 1
    assert (node, length) == (0, 200_000)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        pytest.param(b"\x00\xff", -1, id="int8"),
        pytest.param(b"\x01\xff\x00", -256, id="int16"),
        pytest.param(b"\x02\x00\x01\x00\x00", 65536, id="int32"),
        pytest.param(b"\x03" + b"\xff" * 8, -1, id="int64"),
        pytest.param(b"\x0b" + struct.pack(">d", 1.5), 1.5, id="double big-endian"),
        pytest.param(b"\x0c" + struct.pack("<d", 1.5), 1.5, id="double"),
        pytest.param(b"\x0e\x02" + struct.pack("<dd", 1, 2), [1.0, 2.0], id="double array"),
        pytest.param(b"\x0f\0\0\0\1" + struct.pack(">d", 1), [1.0], id="long double array big-endian"),
        pytest.param(b"\x17" + b"\0" * 7 + b"\1" + struct.pack("<d", 1), [1.0], id="huge double array"),
        pytest.param(b"\xa0\x21a\x04\x01", [b"a", b"a"], id="shared8"),
        pytest.param(b"\xb0\x21a\x21b\x05\0\2", [b"a", b"b", b"a"], id="shared16"),
        pytest.param(b"\xa0\xa0\x41\x42\x06\0\0\0\1", [[1, 2], [1, 2]], id="shared32"),
        pytest.param(
            b"\xb0\x0e\1" + bytes(8) + b"\x21a\x04\x02", [[0.0], b"a", [0.0]], id="arrays are shared"
        ),
        pytest.param(
            b"\xb0\x19_j\0" + bytes(8) + b"\x21a\x04\x01", [None, b"a", b"a"], id="int64s are objects"
        ),
        pytest.param(b"\x18_n\0" + bytes(12) + b"\x02" + bytes(8), None, id="nativeint with sizes"),
        pytest.param(b"\x12_i\0" + bytes(4), None, id="int32 of 4.07"),
        pytest.param(b"\x80", [], id="atom"),
        pytest.param(b"\xb0\x80\x41\x21a", [[], 1, b"a"], id="an atom has no fields"),
        pytest.param(b"\x08\0\0\x08\0\x41\x42", [1, 2], id="block32"),
        pytest.param(b"\x13" + b"\0" * 6 + b"\x04\xf7\x10\0\0\0\x01" + bytes(16), [None], id="closure"),
        pytest.param(b"\x0a\0\0\0\1x", b"x", id="string32"),
        pytest.param(b"\x15\0\0\0\0\0\0\0\1x", b"x", id="string64"),
    ],
)
def test_every_opcode(tokens: bytes, expected: Node) -> None:
    assert read_value(stream(tokens), 0)[0] == expected


def test_a_cyclic_value_is_read() -> None:
    node, _ = read_value(stream(b"\xa0\x41\x04\x01"), 0)
    assert isinstance(node, list)
    assert node[1] is node


@pytest.mark.parametrize(
    "tokens",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xa0\x41", id="a field is missing"),
        pytest.param(b"\x04\x01", id="shared with nothing"),
        pytest.param(b"\xa0\x21a\x04\x00", id="shared with itself"),
        pytest.param(b"\xa0\x21a\x04\x03", id="shared too far back"),
        pytest.param(b"\x08\xff\xff\xff\xff\x41", id="a block of millions"),
        pytest.param(b"\x17" + b"\xff" * 8, id="a huge array"),
        pytest.param(b"\x19_bigarr02\0" + bytes(40), id="unknown custom block"),
        pytest.param(b"\x19_n\0\x03" + bytes(40), id="nativeint of another width"),
        pytest.param(b"\x19_n\0", id="nativeint without bytes"),
        pytest.param(b"\x09\x05abc", id="truncated string"),
        pytest.param(b"\x02\0", id="truncated integer"),
        pytest.param(b"\x0c\0", id="truncated double"),
        pytest.param(b"\x11\0\0\0\x08\x41", id="infix pointer"),
        pytest.param(b"\x1f", id="unknown opcode"),
    ],
)
def test_damage_is_refused(tokens: bytes) -> None:
    with pytest.raises(BadDataError):
        read_value(stream(tokens), 0)


@given(st.binary(max_size=80))
def test_any_bytes_raise_only_bad_data(tokens: bytes) -> None:
    for data in (tokens, stream(tokens)):
        try:
            read_value(data, 0)
            read_fields(data, 0, 2)
        except BadDataError:
            pass


def test_fields_after_the_wanted_ones_are_not_looked_at() -> None:
    data = stream(b"\xc0\x21a\xa0\x41\x42\xa0\x42\x43\x1f")
    assert read_fields(data, 0, 2) == ([b"a", [1, 2]], len(data))
    with pytest.raises(BadDataError):
        read_fields(data, 0, 4)


@pytest.mark.parametrize("value", [5, b"text", (1,)], ids=["integer", "string", "small block"])
def test_what_has_too_few_fields_is_refused(value: Value) -> None:
    with pytest.raises(BadDataError, match="block of 2 fields"):
        read_fields(marshalled(value), 0, 2)


def test_a_value_too_large_to_read_is_refused() -> None:
    data = b"\x84\x95\xa6\xbe" + struct.pack(">IIII", MAX_SIZE + 1, 0, 0, 0)
    with pytest.raises(BadDataError, match="too large"):
        read_value(data + bytes(MAX_SIZE + 1), 0)


@needs_ocaml
def test_what_ocaml_wrote(tmp_path: Path) -> None:
    (tmp_path / "p.ml").write_text(
        'let s = "shared" let l = [s; s] let f = [|1.5;2.5|]\n'
        "let () = set_binary_mode_out stdout true\n"
        "let v = (s, l, f, Some (3L, l), f, 1 lsl 40, -7, (1, l, 0.5), `A, [|true|])\n"
        "let () = print_string (Marshal.to_string v [])\n"
    )
    run(["ocamlc", "p.ml", "-o", "p"], tmp_path)
    run(["sh", "-c", "./p > v"], tmp_path)
    node, _ = read_value((tmp_path / "v").read_bytes(), 0)
    shared: Node = [b"shared", [b"shared", 0]]
    floats: Node = [1.5, 2.5]
    assert node == [
        b"shared",
        shared,
        floats,
        [[None, shared]],
        floats,
        1 << 40,
        -7,
        [1, shared, 0.5],
        65,
        [1],
    ]
