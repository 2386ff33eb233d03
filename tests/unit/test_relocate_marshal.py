from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from caml_samples import (
    PADDED,
    PREFIX,
    SPELLING,
    TARGETS,
    Value,
    marshalled,
    marshalled_big,
    marshalled_compressed,
    needs_ocaml,
    run,
    vlq,
)
from hypothesis import given
from hypothesis import strategies as st

from opambin.errors import BadDataError, CannotRelocateError
from opambin.model import PLACEHOLDER, Kind, Occurrence
from opambin.relocate import marshal, marshalheader, marshalstream
from opambin.relocate.marshalheader import read_header
from opambin.relocate.marshalstream import all_strings, string_tokens
from opambin.relocate.rendering import render
from opambin.relocate.spelling import Spelling, pad

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Write = Callable[[Value], bytes]


def lib(prefix: bytes) -> Value:
    return (7, b"-L" + prefix + b"/lib", [b"a:" + prefix + b"/x:" + prefix, b"other"], 100_000, prefix)


@pytest.mark.parametrize("write", [marshalled, marshalled_big], ids=["small", "big"])
@pytest.mark.parametrize("spelled", [PREFIX, PADDED], ids=["canonical", "padded"])
@pytest.mark.parametrize("target", TARGETS, ids=["short", "usual", "over 200"])
def test_a_value_is_what_ocaml_would_have_written(write: Write, spelled: bytes, target: bytes) -> None:
    located = marshal.locate(write(lib(spelled)), SPELLING, "x")
    assert located.content == write(lib(PLACEHOLDER))
    assert [found.kind for found in located.occurrences] == [Kind.MARSHAL] * 4
    assert all(
        located.content.startswith(PLACEHOLDER, found.offset) and found.capacity is None and found.functional
        for found in located.occurrences
    )
    assert render(located.content, located.occurrences, target) == write(lib(target))


def test_a_compressed_value_is_written_back_uncompressed() -> None:
    located = marshal.locate(marshalled_compressed(lib(PADDED)), SPELLING, "x")
    assert located.content == marshalled(lib(PLACEHOLDER))
    assert render(located.content, located.occurrences, b"/o") == marshalled(lib(b"/o"))


@pytest.mark.parametrize("write", [marshalled, marshalled_big, marshalled_compressed])
def test_a_value_without_the_prefix_keeps_its_bytes(write: Write) -> None:
    data = write(lib(b"/home/me/.opam/5.1.1"))
    assert marshal.locate(data, SPELLING, "x").content == data
    informational, end = marshal.locate_informational(data, 0, SPELLING)
    assert (informational.content, end) == (data, len(data))


@pytest.mark.parametrize("length", [2, 30, 31, 32, 33, 254, 255, 256, 257])
@pytest.mark.parametrize("fill", range(9))
def test_every_opcode_and_pad_at_the_edges_of_string_lengths(length: int, fill: int) -> None:
    target = b"/" + b"t" * (length - 1)
    made = [(prefix, b"z" * fill + b":" + prefix + b":" + b"y" * fill) for prefix in (PADDED, PREFIX, target)]
    located = marshal.locate(marshalled(made[0]), SPELLING, "x")
    assert located == marshal.locate(marshalled(made[1]), SPELLING, "x")
    assert render(located.content, located.occurrences, target) == marshalled(made[2])


def test_a_file_of_values_is_recognised_and_read_to_its_end() -> None:
    data = marshalled(lib(PADDED)) + marshalled_big(lib(PADDED))
    assert marshal.recognises(data)
    assert not marshal.recognises(b"x" + data)
    located = marshal.locate(data, SPELLING, "x")
    rendered = render(located.content, located.occurrences, b"/o")
    assert rendered == marshalled(lib(b"/o")) + marshalled_big(lib(b"/o"))
    with pytest.raises(BadDataError, match="no value begins"):
        marshal.locate(data + b"\0", SPELLING, "x")


def test_letters_around_a_string_do_not_hide_the_prefix() -> None:
    """No byte ends a marshalled string: a small integer after it may be a letter, so may its length be."""
    data = marshalled((33, PREFIX, 33, PADDED, 33))
    assert b"a2/home/me/.opam/5.1a" in data
    located = marshal.locate(data, SPELLING, "x")
    assert len(located.occurrences) == 2
    fixed = marshal.locate_fixed(data, (0, len(data)), SPELLING, "x")
    assert (len(fixed.occurrences), fixed.leaks) == (1, 1)


def test_a_build_directory_is_left_alone() -> None:
    data = marshalled((PADDED + b"/.opam-switch/build/x.1", PADDED + b"/lib"))
    located = marshal.locate(data, SPELLING, "x")
    assert len(located.occurrences) == 1
    assert PADDED + b"/.opam-switch/build/x.1" in located.content


TOKENS = [
    pytest.param(b"\x00\xff", id="int8"),
    pytest.param(b"\x01\x80\x00", id="int16"),
    pytest.param(b"\x02\x80\x00\x00\x00", id="int32"),
    pytest.param(b"\x03" + b"\x29" * 8, id="int64"),
    pytest.param(b"\x04\x01", id="shared8"),
    pytest.param(b"\x05\x00\x01", id="shared16"),
    pytest.param(b"\x06\x00\x00\x00\x01", id="shared32"),
    pytest.param(b"\x14" + b"\0" * 7 + b"\1", id="shared64"),
    pytest.param(b"\x0c" + b"\x22" * 8, id="double"),
    pytest.param(b"\x0b" + b"\x22" * 8, id="double big-endian"),
    pytest.param(b"\x0e\x02" + b"\x23" * 16, id="double array"),
    pytest.param(b"\x0d\x01" + b"\x23" * 8, id="double array big-endian"),
    pytest.param(b"\x07\0\0\0\x02" + b"\x23" * 16, id="long double array"),
    pytest.param(b"\x0f\0\0\0\x01" + b"\x23" * 8, id="long double array big-endian"),
    pytest.param(b"\x17" + b"\0" * 7 + b"\1" + b"\x23" * 8, id="huge double array"),
    pytest.param(b"\x16" + b"\0" * 7 + b"\1" + b"\x23" * 8, id="huge double array big-endian"),
    pytest.param(b"\x10\0\0\0\0" + b"\x3f" * 16, id="code pointer"),
    pytest.param(b"\x11\0\0\0\x08", id="infix pointer"),
    pytest.param(b"\x12_j\0" + b"\x24" * 8, id="custom int64 of 4.07"),
    pytest.param(b"\x19_i\0" + b"\x24" * 4, id="custom int32"),
    pytest.param(b"\x19_n\0\x01" + b"\x24" * 4, id="custom nativeint, short"),
    pytest.param(b"\x19_n\0\x02" + b"\x24" * 8, id="custom nativeint, long"),
    pytest.param(b"\x18_j\0" + b"\x24" * 20, id="custom with sizes"),
    pytest.param(b"\x18_i\0" + b"\x24" * 16, id="custom int32 with sizes"),
    pytest.param(b"\x18_n\0" + b"\x24" * 12 + b"\x02" + b"\x24" * 8, id="custom nativeint with sizes"),
    pytest.param(b"\x08\0\0\x08\0", id="block"),
    pytest.param(b"\x13" + b"\0" * 6 + b"\x08\0", id="block64"),
    pytest.param(b"\x15" + b"\0" * 7 + b"\x03\x12\x12\x12", id="string64"),
    pytest.param(b"\x20\x3f" + b"\x09" * 31, id="short strings"),
]


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("shortest", [0, 32], ids=["all strings", "long strings"])
def test_every_opcode_is_passed_over(token: bytes, shortest: int) -> None:
    stream = b"\xb0" + token + b"\x29" + PADDED[:9] + b"\x09\xc8" + PADDED + token
    strings = [
        stream[found.text : found.end]
        for found in marshalstream.string_tokens(stream, 0, len(stream), shortest=shortest)
    ]
    assert PADDED in strings
    with pytest.raises(BadDataError):
        list(marshalstream.string_tokens(stream[:-1], 0, len(stream) - 1, shortest=shortest))


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(b"\x1a", id="unknown opcode"),
        pytest.param(b"\x19_bigarr02\0abc", id="unknown custom block"),
        pytest.param(b"\x09\xff", id="string without bytes"),
        pytest.param(b"\x09", id="opcode alone"),
        pytest.param(b"\x0a\xff\xff\xff\xff", id="4 GB string"),
        pytest.param(b"\x17" + b"\xff" * 8, id="huge array"),
        pytest.param(b"\x0e", id="array without length"),
    ],
)
def test_damaged_tokens_are_refused(token: bytes) -> None:
    stream = b"\x41\x09\xc8" + PADDED + token
    with pytest.raises(BadDataError):
        list(marshalstream.string_tokens(stream, 0, len(stream)))


def test_a_functional_value_that_cannot_be_walked_through_is_refused() -> None:
    data = marshalled((1, PADDED))
    with pytest.raises(BadDataError, match="token 0x1a"):
        marshal.locate(data.replace(b"\xa0\x41", b"\xa0\x1a"), SPELLING, "x")


@given(st.data())
def test_damaged_values_raise_only_bad_data(data: st.DataObject) -> None:
    write = data.draw(st.sampled_from([marshalled, marshalled_big, marshalled_compressed]))
    value = bytearray(write(lib(PADDED)))
    for _ in range(data.draw(st.integers(1, 4))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(value[: data.draw(st.integers(0, len(value)))])
    try:
        located = marshal.locate(damaged, SPELLING, "x")
        assert render(located.content, located.occurrences, b"/o") is not None
        marshal.locate_informational(damaged, 0, SPELLING)
    except BadDataError:
        pass


@given(st.data())
def test_damaged_anchors_raise_only_bad_data(data: st.DataObject) -> None:
    located = marshal.locate(marshalled(lib(PADDED)), SPELLING, "x")
    occurrences = tuple(
        Occurrence(
            data.draw(st.sampled_from([Kind.MARSHAL, Kind.DUNE_SITE, Kind.BLOCK])),
            found.offset + data.draw(st.sampled_from([0, 0, 0, 1, -500, 5000])),
            anchor=data.draw(
                st.one_of(
                    st.just(found.anchor), st.tuples(st.integers(-9, 500), st.integers(-9, 500)), st.just(())
                )
            ),
        )
        for found in located.occurrences
    )
    try:
        rendered = render(located.content, occurrences, b"/o")
    except BadDataError:
        return
    assert rendered == marshalled(lib(b"/o"))


@pytest.mark.parametrize(
    ("offset", "anchor"),
    [
        pytest.param(0, (23, 1), id="no string at the opcode"),
        pytest.param(0, (24, 2), id="no header at the start"),
        pytest.param(0, (23, 22), id="an opcode in the header"),
        pytest.param(0, (23, 23), id="the opcode at the header"),
        pytest.param(0, (2, 23), id="the opcode before the header"),
        pytest.param(-23, (0, 0), id="no placeholder there"),
        pytest.param(203, (226, 3), id="outside of the string"),
        pytest.param(0, (99, 2), id="before the file"),
    ],
)
def test_anchors_that_do_not_fit_are_refused(offset: int, anchor: tuple[int, ...]) -> None:
    data = marshalled((PLACEHOLDER, b"z", b"\x2a" + PLACEHOLDER))
    assert data.index(PLACEHOLDER) == 23
    with pytest.raises(BadDataError):
        render(data, (Occurrence(Kind.MARSHAL, 23 + offset, anchor=anchor),), b"/o")


def test_a_string_that_ends_inside_the_placeholder_is_refused() -> None:
    data = bytearray(marshalled((PLACEHOLDER, 1)))
    data[22] = 100
    with pytest.raises(BadDataError, match="outside of the string at 21"):
        render(bytes(data), (Occurrence(Kind.MARSHAL, 23, anchor=(23, 2)),), b"/o")


def test_a_header_with_too_small_sizes_is_refused() -> None:
    data = bytearray(marshalled((PLACEHOLDER, 1)))
    data[12:20] = bytes(8)
    with pytest.raises(BadDataError, match="wrong sizes"):
        render(bytes(data), (Occurrence(Kind.MARSHAL, 23, anchor=(23, 2)),), b"/o")


def test_sizes_that_could_not_be_lowered_are_refused_when_the_prefix_is_found() -> None:
    data = bytearray(marshalled((PADDED, 1)))
    data[12:20] = struct.pack(">II", 60, 5)
    with pytest.raises(BadDataError, match="wrong sizes"):
        marshal.locate_value(bytes(data), 0, SPELLING, "x")


def test_a_frame_that_states_another_size_than_the_header_is_refused() -> None:
    import zstandard

    tokens = marshalled(lib(PADDED))[20:]
    frame = zstandard.ZstdCompressor(write_content_size=True).compress(tokens + b"\x40")
    numbers = b"".join(map(vlq, (len(frame), len(tokens), 1, 1, 1)))
    with pytest.raises(BadDataError, match="wrong size"):
        marshal.locate(marshalheader.COMPRESSED + bytes((5 + len(numbers),)) + numbers + frame, SPELLING, "x")


@pytest.mark.parametrize("at", [-1, 3, 4])
def test_no_string_begins_outside_of_the_bounds(at: int) -> None:
    assert marshalstream.string_at(b"\x21a\x21a", at, 3) is None


values = st.recursive(
    st.one_of(
        st.integers(-1000, 1000),
        st.binary(max_size=40),
        st.sampled_from([b"@", b"@/lib", b"-I@/x:@", b"@.1", b"\0@\0"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.lists(inner, min_size=1, max_size=9).map(tuple)),
    max_leaves=20,
)


def put(value: Value, prefix: bytes) -> Value:
    if isinstance(value, bytes):
        return value.replace(b"@", prefix)
    if isinstance(value, list):
        return [put(item, prefix) for item in value]
    return tuple(put(item, prefix) for item in value) if isinstance(value, tuple) else value


@given(values, st.binary(max_size=60), st.sampled_from([marshalled, marshalled_big, marshalled_compressed]))
def test_there_and_back_is_the_identity(value: Value, tail: bytes, write: Write) -> None:
    data = write(put(value, PADDED))
    located, end = marshal.locate_value(data + tail, 0, SPELLING, "x")
    assert end == len(data)
    back = render(located.content, located.occurrences, PADDED)
    written = marshalled if located.occurrences and write is marshalled_compressed else write
    assert back == written(put(value, PADDED))
    assert marshal.locate_value(back, 0, SPELLING, "x")[0] == located


def test_an_informational_value_keeps_its_lengths() -> None:
    data = marshalled(
        (b"-I" + PADDED + b"/lib", [PADDED, b"b" * 300 + b" " + PADDED, PREFIX + b"/y", b"x" + PADDED])
    )
    located, end = marshal.locate_informational(data, 0, SPELLING)
    assert end == len(data)
    assert located.leaks == 1
    assert located.content == data.replace(PADDED, PLACEHOLDER)
    assert [(found.kind, found.functional, found.capacity) for found in located.occurrences] == [
        (Kind.CSTRING, False, 200)
    ] * 4
    assert render(located.content, located.occurrences, b"/a/b") == data.replace(PADDED, pad(b"/a/b"))


def test_an_informational_value_keeps_the_placeholder_when_the_target_does_not_fit() -> None:
    data = marshalled((PADDED, b"x"))
    located, _ = marshal.locate_informational(data, 0, SPELLING)
    assert render(located.content, located.occurrences, b"/" + b"x" * 200) == located.content


def test_a_functional_place_of_fixed_length_refuses_a_longer_target() -> None:
    data = marshalled((PADDED, b"x"))
    located = marshal.locate_fixed(data, (0, len(data)), SPELLING, "part", functional=True)
    with pytest.raises(CannotRelocateError, match=r"part.*201 bytes.*200"):
        render(located.content, located.occurrences, b"/" + b"x" * 200)


def test_the_prefix_outside_of_a_string_is_a_leak() -> None:
    located = marshal.locate_fixed(b"\x41" + PADDED, (0, 201), SPELLING, "part")
    assert (located.content, located.occurrences, located.leaks) == (b"\x41" + PADDED, (), 1)


def test_many_line_ends_before_many_places_do_not_take_for_ever() -> None:
    """A line end is the opcode of a long string; all of a megabyte was looked at again for each place."""
    data = b"\n" * 1_000_000 + (PREFIX + bytes(100)) * 200
    assert marshal.locate_fixed(data, (0, len(data)), SPELLING, "part").leaks == 200


def test_a_dune_site_string_keeps_its_length() -> None:
    text = b"=%d:%s" % (len(PREFIX) + 4, PREFIX + b"/lib")
    data = marshalled((text.ljust(300), PREFIX))
    located = marshal.locate(data, SPELLING, "x")
    assert [found.kind for found in located.occurrences] == [Kind.DUNE_SITE, Kind.MARSHAL]
    assert located.content == marshalled(((b"=204:" + PLACEHOLDER + b"/lib").ljust(300), PLACEHOLDER))
    assert render(located.content, located.occurrences, PREFIX) == data


def test_a_bomb_is_not_unpacked() -> None:
    import zstandard

    frame = zstandard.ZstdCompressor(write_content_size=False).compress(b"\0" * 50_000_000)
    for claimed in (1000, 1 << 40):
        numbers = b"".join(map(vlq, (len(frame), claimed, 1, 1, 1)))
        data = b"\x84\x95\xa6\xbd" + bytes((5 + len(numbers),)) + numbers + frame
        with pytest.raises(BadDataError):
            marshal.locate(data, SPELLING, "x")


PROGRAM = r"""
type t = { a : string; mutable b : string list; c : float; d : int64; e : nativeint; f : float array;
           g : t option; h : (int, string) Hashtbl.t; i : int -> int }
let q, mode, file = Sys.argv.(1), Sys.argv.(2), Sys.argv.(3)
let v p =
  let h = Hashtbl.create 3 in Hashtbl.add h 1 (p ^ "/h");
  let shared = p ^ "/shared" in
  let r g = { a = p; b = [shared; "x"; "-L" ^ p ^ "/lib:" ^ p; shared]; c = 0.1; d = 5L; e = 6n;
    f = [|1.;2.;3.|]; g; h; i = (fun x -> x + String.length shared) } in
  r (Some (r None))
let () =
  if mode = "write" then begin
    let oc = open_out_bin file in
    Marshal.to_channel oc (v q) [Marshal.Closures];
    Marshal.to_channel oc (v q) [Marshal.No_sharing; Marshal.Closures];
    close_out oc
  end else begin
    let ic = open_in_bin file in
    let check () =
      let x : t = Marshal.from_channel ic and y = v q in
      let strip x = (x.a, x.b, x.c, x.d, x.e, x.f) in
      assert (strip x = strip y); assert (x.i 1 = y.i 1); assert (Hashtbl.find x.h 1 = q ^ "/h");
      (match x.g with Some z -> assert (strip z = strip y) | None -> assert false); x in
    let x = check () in
    assert (List.hd x.b == List.nth x.b 3);
    ignore (check ()); Gc.compact ();
    assert (pos_in ic = in_channel_length ic); print_string "same"
  end
"""


@needs_ocaml
def test_ocaml_reads_what_was_rendered(tmp_path: Path) -> None:
    (tmp_path / "p.ml").write_text(PROGRAM)
    run(["ocamlc", "-w", "-a", "p.ml", "-o", "p"], tmp_path)
    run(["./p", PADDED.decode(), "write", "v"], tmp_path)
    located = marshal.locate((tmp_path / "v").read_bytes(), SPELLING, "v")
    assert len(located.occurrences) > 10
    for target in TARGETS:
        (tmp_path / "w").write_bytes(render(located.content, located.occurrences, target))
        assert run(["./p", target.decode(), "read", "w"], tmp_path) == "same"
        run(["./p", target.decode(), "write", "x"], tmp_path)
        assert (tmp_path / "x").read_bytes() == (tmp_path / "w").read_bytes()
        again = marshal.locate((tmp_path / "w").read_bytes(), Spelling(target, pad(target)), "w")
        assert again == located


def test_strings_taken_many_at_a_time_are_those_of_a_walk() -> None:
    long = b"long " * 20
    value = marshalled((1, b"a", b"", 70_000, [b"bc", b"d" * 31, b"e" * 32], (b"\x41", long), b"@" * 300, 5))
    header = read_header(value, 0)
    tokens = value[header.body :]
    walked = [tokens[token.start : token.end] for token in string_tokens(tokens, 0, len(tokens))]
    assert b"".join(all_strings(tokens)) == b"".join(walked)
    assert len(walked) == 8


@given(st.binary(max_size=80))
def test_strings_of_any_bytes_are_those_of_a_walk_or_refused(tokens: bytes) -> None:
    try:
        walked = [tokens[token.start : token.end] for token in string_tokens(tokens, 0, len(tokens))]
    except BadDataError:
        with pytest.raises(BadDataError):
            list(all_strings(tokens))
    else:
        assert b"".join(all_strings(tokens)) == b"".join(walked)
