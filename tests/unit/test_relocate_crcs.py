from __future__ import annotations

import base64
import hashlib
import struct
import zlib

import pytest
from caml_samples import Value, marshalled, marshalled_compressed

from opambin.errors import BadDataError
from opambin.model import PLACEHOLDER, Symbol
from opambin.relocate import crcs
from opambin.relocate.analysis import analyse
from opambin.relocate.crcs import Unit
from opambin.relocate.spelling import Spelling

A, B, C, D = (bytes([digit] * 16) for digit in (0xAA, 0xBB, 0xCC, 0xDD))


def body(name: bytes, imports: dict[bytes, bytes], text: bytes = b"") -> bytes:
    crc_list: Value = [(imported, (crc,)) for imported, crc in imports.items()]
    info: Value = (name, b"caml" + name, [name], [(name, (b"i" * 16,))], crc_list, text, 1)
    return b"Caml1999Y031" + marshalled(info)


def md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def unit(content: bytes) -> Unit:
    return crcs.read_unit(content, moves=PLACEHOLDER in content)


WHERE, TOP, ALONE = body(b"Where", {}, PLACEHOLDER), body(b"Top", {b"Where": A}), body(b"Alone", {b"X": D})
NEW_WHERE = md5(WHERE)
NEW_TOP = md5(body(b"Top", {b"Where": NEW_WHERE}))
CHANGED = {A: NEW_WHERE, B: NEW_TOP}


def test_a_unit_is_read_from_its_placeholder_form() -> None:
    assert unit(TOP + B) == Unit(B, frozenset({A}), TOP, moves=False)
    assert unit(WHERE + A).moves


@pytest.mark.parametrize("order", [1, -1])
def test_who_holds_the_prefix_and_who_imports_that_are_renamed(order: int) -> None:
    units = [unit(WHERE + A), unit(TOP + B), unit(ALONE + C)]
    assert crcs.renaming(units[::order]) == CHANGED


def test_a_canonical_crc_stays() -> None:
    assert crcs.renaming([unit(WHERE + NEW_WHERE), unit(body(b"Top", {b"Where": NEW_WHERE}) + C)]) == {}


def test_the_same_unit_in_two_folders_is_one() -> None:
    assert crcs.renaming([unit(WHERE + A)] * 2) == {A: NEW_WHERE}


@pytest.mark.parametrize(
    ("units", "problem"),
    [
        pytest.param([WHERE + A, body(b"Other", {}, PLACEHOLDER) + A], "two units", id="one CRC for two"),
        pytest.param(
            [body(b"X", {b"Y": B}) + A, body(b"Y", {b"X": A}) + B], "import each other", id="a ring"
        ),
        pytest.param([WHERE + A, ALONE + NEW_WHERE], "another unit", id="a new one that is an old one"),
        pytest.param([WHERE + A + b"x"], "end of its file", id="something behind it"),
        pytest.param([WHERE + A[:8]], "CRC", id="cut off"),
        pytest.param([b"Caml1999I031" + A], "no value", id="an interface"),
        pytest.param(
            [b"Caml1999Y031" + marshalled_compressed((b"M", b"camlM", [b"M"], [], [], 1)) + A],
            "end of its file",
            id="compressed",
        ),
    ],
)
def test_what_is_not_understood_is_refused(units: list[bytes], problem: str) -> None:
    with pytest.raises(BadDataError, match=problem):
        crcs.renaming([unit(content) for content in units])


def renamed(content: bytes) -> bytes:
    return crcs.renamed(content, CHANGED, crcs.pattern(CHANGED))


def library(where: bytes, top: bytes) -> bytes:
    info: Value = (b"Top", b"camlTop", [b"Top"], [], [(b"Where", (where,))], 1)
    other: Value = (b"Where", b"camlWhere", [b"Where"], [], [], 1)
    return b"Caml1999Z031" + marshalled(([(other, where), (info, top)], [], []))


def native(where: bytes) -> bytes:
    """Make what begins like an ELF file, with a table as a marshalled value among other bytes."""
    table = marshalled([(b"Where", (b"i" * 16,), (where,), [b"Where"])])
    return b"\x7fELF\x02\x01\x01" + b"\x84\x95\xa6 code of a reader " + A + table + b"\0" * 7 + A


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(WHERE + A, WHERE + NEW_WHERE, id="its own"),
        pytest.param(TOP + B, body(b"Top", {b"Where": NEW_WHERE}) + NEW_TOP, id="its own and an import"),
        pytest.param(ALONE + C, ALONE + C, id="another unit"),
        pytest.param(library(A, B), library(NEW_WHERE, NEW_TOP), id="library"),
        pytest.param(native(A), native(NEW_WHERE), id="program"),
        pytest.param(native(C), native(C), id="program without"),
        pytest.param(b"\x7fELF", b"\x7fELF", id="no value"),
    ],
)
def test_crcs_are_renamed_where_they_are_known_to_stand(old: bytes, new: bytes) -> None:
    assert renamed(old) == new
    assert len(new) == len(old)


def test_a_compressed_value_of_native_code_is_passed_over() -> None:
    data = b"\x7fELF" + marshalled_compressed([A]) + marshalled([A])
    assert renamed(data) == b"\x7fELF" + marshalled_compressed([A]) + marshalled([NEW_WHERE])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(WHERE, True, id="cmx"),
        pytest.param(library(A, B), True, id="cmxa"),
        pytest.param(native(A), True, id="program"),
        pytest.param(b"!<arch>\n" + marshalled(b"x"), True, id="archive"),
        pytest.param(struct.pack("<I", 0xFEEDFACF) + marshalled(b"x"), True, id="Mach-O"),
        pytest.param(b"\x7fELF", False, id="program without values"),
        pytest.param(b"Caml1999T031" + marshalled(A), False, id="typed tree"),
        pytest.param(b"text " + marshalled(A), False, id="something else"),
    ],
)
def test_kinds_of_files_that_are_searched(data: bytes, expected: bool) -> None:
    assert crcs.may_hold_crcs(data) is expected


@pytest.mark.parametrize(
    ("symbol", "value"),
    [
        (Symbol("cmx", "Where", A.hex()), NEW_WHERE.hex()),
        (Symbol("cmx", "X", D.hex()), D.hex()),
        (Symbol("cmx", "X"), ""),
        (Symbol("cmi", "Where", A.hex()), A.hex()),
    ],
)
def test_symbols(symbol: Symbol, value: str) -> None:
    assert crcs.renamed_symbol(symbol, CHANGED) == Symbol(symbol.kind, symbol.name, value)


def test_the_units_of_a_program() -> None:
    table = marshalled(
        [(b"Where", (b"i" * 16,), (A,), [b"Where"]), (b"Lazy", 0, 0, []), (b"Short", 0, (b"x",), [])]
    )
    data = b"\x7fELF" + marshalled((1, 2)) + table + marshalled([b"no row", (A,)]) + table[:-1]
    assert list(crcs.linked(data)) == [(b"Where", A)]


def test_crcs_of_units_without_a_file_differ_by_program_and_name() -> None:
    made = [crcs.alone(path, name) for path in ("bin/a", "bin/b") for name in (b"Main", b"Other")]
    assert len(set(made)) == 4
    assert {len(crc) for crc in made} == {16}


# What OCaml 5.4.1 compiled at two prefixes, both padded: where.cmx (``let prefix = "PREFIX"``, ``let lib =
# "PREFIX/lib"``), top.cmx (``let x = Where.lib ^ "/top"``, ``let y () = Where.prefix``), lib.cmxa with both.
OCAML5 = {
    b"/home/me/.opam/5.4": (
    "c-muNU`ljO%*`>hw6u&gFg9zMx@;c<1Ct>G1A_t(Uj*Wb91INl465N7sYR(Qj0;$p92P8KVVPi{^gXDe`QtqQ+qUACkNIA*Em)uy"
    "T#}NLnKZ$mx3c>7xrz;n)4mG%|NWu(Wx)aqkR_RUC8<Sui8*fhMY)M3PKm{t$;A^4F6ZC57xkLosN~N*oh2Lj?mB?Lgoz6#EznK|"
    "Y69D<XE<RR=L!9c{M=N1Akxb(NX*qAn!r@g1jT1YK%bo%E<V!-M!$oD2Upg+hc=qibuQO3eEPRT9hjgPFcTT$1z_Sb1>zS#yd9j#"
    "ltc0hU`Y&;;IJh#7S0I<uiw^WOx-xuOd+O(Io~AV57iPM!eVq^AX(ADvBoPb;IFNL*KLMt&hc%~6uVd*6s<r%I4pRe3uWq6#v7TN"
    "J33BSuwcRh)q=#L#9T&3afgY+HgP*TPGVtmaLAv1{$<vbl}ZlhgjJqY^xp)=cRMT%L?O~ZIxy}nf%qN}@7b_m!GM%CK#V1}hkS};"
    "Q33i3JsyDK006-27X"
),
    b"/srv/x": (
    "c-muNU`ljO%*`>hw6u&gFg9zMx@;c<1Ct>G1A_t(Uj*Wb91INl465N7sYR(Qj0;$p92P8KVVPi{^gXDe`QtqQ+qUACkNIA*Em)uy"
    "T#}NLnKZ$mx3c>7xrz;n)4mG%|NWu(Wx)aqkR_RUC8<Sui8*fhMY)M3PKm{t$;A^4F6ZC57xkLosN~N*oh2Lj?mB?Lgoz6#EznK|"
    "Y69D<XE<RR=L!AdqB8xV4=PZ6W(4%vnc?CyePHxEIQ(T`l)sldPvn#xr(ECd+-_ikV!%vfj2D23%M^%T0P%KkB2x~@FMuU6NP@$b"
    "%vd-l7`%R4lQDJUR5OK`66So9gg;bEd<cuteSu^}2ge$(uz<g|241%rt~tlIK~wBvbx^bd{ot_Rfi9G(R~c_)ZtmzfVZnk43segd"
    "ixP7g8O0qY4%@`-=s1am&B0;e%0+(7k(wtLKcBVI{+ixdV0^d3(m)g<4Wt9(-V%uK0r8#<3l<DWSp&paVtdG^NEQ{KztH0WC=LJ-"
    "UgJ#"
),
}  # fmt: skip


def ocaml5(prefix: bytes) -> tuple[list[bytes], dict[bytes, bytes]]:
    """Return the files in placeholder form, and how their CRCs are renamed."""
    packed, files = zlib.decompress(base64.b85decode("".join(OCAML5[prefix]))), []
    while packed:
        size = int.from_bytes(packed[:4])
        found = analyse(packed[4 : 4 + size], Spelling.of(prefix), "lib/x")
        files.append(found.content or packed[4 : 4 + size])
        packed = packed[4 + size :]
    return files, crcs.renaming(unit(content) for content in files[:2])


def test_units_of_ocaml_5_4_become_equal() -> None:
    (here, mine), (there, theirs) = (ocaml5(prefix) for prefix in OCAML5)
    assert here != there
    assert len(mine) == 2
    assert set(mine.values()) == set(theirs.values())
    assert [crcs.renamed(content, mine, crcs.pattern(mine)) for content in here] == [
        crcs.renamed(content, theirs, crcs.pattern(theirs)) for content in there
    ]
