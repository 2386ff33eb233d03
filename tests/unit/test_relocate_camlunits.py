from __future__ import annotations

import base64
import contextlib
import re
import struct
from typing import TYPE_CHECKING

import pytest
from caml_samples import Value, marshalled, marshalled_compressed, needs_ocaml, run
from hypothesis import given
from hypothesis import strategies as st

from opambin.errors import BadDataError
from opambin.model import Symbol
from opambin.relocate.camlunits import Units, units

if TYPE_CHECKING:
    from pathlib import Path

A, B, C = (bytes([digit] * 16) for digit in (0xAA, 0xBB, 0xCC))


def some(name: bytes, crc: bytes) -> Value:
    return (name, (crc,))


CU: Value = (b"M", 16, 0, [], [some(b"Stdlib", A), (b"Alias", 0)], [], [], 0, 0, 0)
UI: Value = (b"M", b"camlM", [b"M"], [some(b"Stdlib", A), some(b"M", B)], [(b"X", 0), some(b"Y", C)], 1, 2)
OTHER: Value = (b"Y", b"camlY", [b"Y"], [some(b"Alias", A)], [], 1, 2)


def linked(letter: bytes, descriptor: Value) -> bytes:
    return b"Caml1999" + letter + b"031" + struct.pack(">I", 20) + b"code" + marshalled(descriptor)


FILES = {
    "cmi": b"Caml1999I031"
    + marshalled_compressed((b"M", []))
    + marshalled([some(b"M", B), some(b"Stdlib", A), (b"Alias", 0)])
    + marshalled([]),
    "cmo": linked(b"O", CU),
    "cma": linked(b"A", ([CU, (b"N", 1, 1, [], [some(b"Alias", C)], [])], 0, [], [], [])),
    "cmx": b"Caml1999Y031" + marshalled(UI) + C,
    "cmx of flambda": b"Caml1999y031" + marshalled(UI) + C,
    "cmxa": b"Caml1999Z031" + marshalled(([(UI, B), (OTHER, C)], [], [])),
}
CMI_A, CMI_M = Symbol("cmi", "Stdlib", A.hex()), Symbol("cmi", "M", B.hex())
CMX = Units((Symbol("cmx", "M", C.hex()),), (CMI_M, CMI_A, Symbol("cmx", "X"), Symbol("cmx", "Y", C.hex())))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cmi", Units((CMI_M,), (Symbol("cmi", "Alias"), CMI_A))),
        ("cmo", Units((), (Symbol("cmi", "Alias"), CMI_A))),
        ("cma", Units((), (Symbol("cmi", "Alias", C.hex()), CMI_A))),
        ("cmx", CMX),
        ("cmx of flambda", CMX),
        (
            "cmxa",
            Units(
                (Symbol("cmx", "M", B.hex()), Symbol("cmx", "Y", C.hex())),
                (Symbol("cmi", "Alias", A.hex()), CMI_M, CMI_A, Symbol("cmx", "X")),
            ),
        ),
    ],
)
def test_units_of_each_kind_of_file(name: str, expected: Units) -> None:
    assert units(FILES[name]) == expected


STD_EXIT_CMI = (
    "Lt$-fF*!LoNiZ`tgq5bf3KR<h2L>p$FZ}>mSpWc_C{uJ~UuAe{bU=iaroI3G0A>IH01p5F0672v04|`QC{uJ~UuAe{bdWH~-UEn0"
    "NYnsED9EI7%0W_~pe9pvWNc|-kTB22tIB3OEpgiyP@=$5&u*ZgI74A=Y-w(EWpZv|Y({T#ZDDjmVRLC?bC58qRSVj+A=VCdnwr!)"
    "XMSZsgq5bg00004000020000500005ppZa7"
)
STD_EXIT_CMX = (
    "Lt$-fF*!LoSuis-gq5bg0001&0000O000180000_2mk;t04P&*WM5@?X><eupacRypr9sGbYyI4VvsP;#;eL^J1ueB7f_<WQO|Cm"
    "pacn!Fv;Enh(Jix07fXtq;bkYQlOwXLt$-fX>N37a&BR4MsIR$VRS-ab7^C9kT9xM3);0I)(&=>n$$XHeq}(Qpe9pvWNc|-kT9LZ"
    "<?9qEw74)g;Wpl6(0f2YKtPa@fIvX4iofF7IX1VcU8fg=N=wT"
)


def test_files_of_a_5_3_compiler() -> None:
    """The CRCs are what its ocamlobjinfo shows; the signature is compressed."""
    stdlib = Symbol("cmi", "Stdlib", "cfc6abca663b2d71db1750a2c051cf6e")
    basics = Symbol("cmi", "CamlinternalFormatBasics", "aa550bdab521d60e769a9ad43a677e65")
    own = Symbol("cmi", "Std_exit", "c9de03884048d4004628c8a471ca4152")
    assert units(base64.b85decode(STD_EXIT_CMI)) == Units((own,), (basics, stdlib))
    assert units(base64.b85decode(STD_EXIT_CMX)) == Units(
        (Symbol("cmx", "Std_exit", "ad8abfe2d93936b7a95da717834a4bcb"),),
        (basics, own, stdlib, Symbol("cmx", "Stdlib", "9dc4e5eb1428b4b83037e136de64d07b")),
    )


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"Caml1999T031" + marshalled((1, 2)), id="typed tree"),
        pytest.param(b"Caml1999I031" + marshalled(b"") + marshalled([]), id="no own name"),
        pytest.param(b"Caml1999I031" + marshalled(b"") + marshalled([(b"M", 0)]), id="no own CRC"),
        pytest.param(b"Caml1999I031" + marshalled(b"") + marshalled([some(b"M", b"12")]), id="short CRC"),
        pytest.param(b"Caml1999I031" + marshalled(b"") + marshalled([some(b"\xff", A)]), id="not a name"),
        pytest.param(b"Caml1999I031" + marshalled(b"") + marshalled([5]), id="not a pair"),
        pytest.param(b"Caml1999I031" + marshalled(b"") + marshalled([(b"M", (A,), 1)]), id="a triple"),
        pytest.param(b"Caml1999Z031" + marshalled(([(UI, A, 1)],)), id="a triple in a library"),
        pytest.param(b"Caml1999I031" + marshalled(b"") + marshalled(b"x"), id="not a list"),
        pytest.param(b"Caml1999Y031" + marshalled(UI) + C[:-1], id="truncated CRC"),
        pytest.param(linked(b"O", (b"M", 1)), id="another record"),
        pytest.param(
            b"Caml1999I031" + marshalled(b"") + marshalled((1, 2))[:-1] + b"\x04\x01", id="cyclic list"
        ),
    ],
)
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(BadDataError):
        units(data)


def test_an_endless_list_ends() -> None:
    crcs = b"\xa0\xa0\x21M\x90\x30" + A + b"\x04\x05"
    value = b"\x84\x95\xa6\xbe" + struct.pack(">IIII", len(crcs), 4, 0, 0) + crcs
    with pytest.raises(BadDataError, match="more than"):
        units(b"Caml1999I031" + marshalled(b"") + value)


@given(st.data())
def test_damage_raises_only_bad_data(data: st.DataObject) -> None:
    file = bytearray(FILES[data.draw(st.sampled_from(sorted(FILES)))])
    for _ in range(data.draw(st.integers(0, 3))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadDataError):
        units(bytes(file[: data.draw(st.integers(0, len(file)))]))


def shown(file: Path, folder: Path) -> set[tuple[str, str]]:
    """Names and CRCs that ocamlobjinfo shows."""
    lines = run(["ocamlobjinfo", file], folder).splitlines()
    found = {
        (m[2], m[1].strip("-")) for line in lines if (m := re.match(r"\t([0-9a-f]{32}|-+)\t(\S+)$", line))
    }
    name = ""
    for line in lines:
        name = line.partition(": ")[2] if line.startswith(("Name: ", "Unit name: ")) else name
        if line.startswith("CRC of implementation: "):
            found.add((name, line.partition(": ")[2]))
    return found


@needs_ocaml
def test_the_answer_is_that_of_ocamlobjinfo(tmp_path: Path) -> None:
    (tmp_path / "m.ml").write_text("let f x = List.map String.uppercase_ascii (Str.split (Str.regexp x) x)\n")
    (tmp_path / "n.ml").write_text("module L = M\nlet g = M.f\nexternal id : 'a -> 'a = \"%identity\"\n")
    flags = ["-I", "+str", "-no-alias-deps", "-c", "m.ml", "n.ml"]
    run(["ocamlc", *flags], tmp_path)
    run(["ocamlopt", *flags], tmp_path)
    run(["ocamlc", "-a", "m.cmo", "n.cmo", "-o", "l.cma"], tmp_path)
    run(["ocamlopt", "-a", "m.cmx", "n.cmx", "-o", "l.cmxa"], tmp_path)
    for name in ("m.cmi", "n.cmi", "m.cmo", "n.cmo", "m.cmx", "n.cmx", "l.cma", "l.cmxa"):
        answer = units((tmp_path / name).read_bytes())
        found = {(symbol.name, symbol.value) for part in answer for symbol in part}
        assert found == shown(tmp_path / name, tmp_path), name
        assert len(answer.provides) == {"cmi": 1, "cmx": 1, "cmxa": 2}.get(name[2:], 0)
        assert len(answer.imports) >= 1
