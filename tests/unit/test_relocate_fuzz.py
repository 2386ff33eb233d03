"""Damaged files: the engine raises nothing but its own errors and changes nothing that it did not understand.

Every round has its own seed. ``make fuzz`` runs many (``OPAMBIN_FUZZ_ROUNDS``); a failing seed is in the
message of the test, and can be run first with ``OPAMBIN_FUZZ_FIRST``.
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from caml_samples import marshalled, marshalled_compressed, needs_ocaml, run
from elf_samples import Sec, archive, elf_file, string_block
from macho_samples import Sample, Sect, fat, macho, wrong_pages
from test_relocate_analysis import bytecode_program

from opambin.errors import BadDataError, CannotRelocateError
from opambin.model import PADDED_LENGTH, PLACEHOLDER, Kind
from opambin.relocate import camlunits, dynamic, machofile, machomagic, marshal
from opambin.relocate.analysis import Analysis, analyse
from opambin.relocate.rendering import render
from opambin.relocate.spelling import Spelling

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = int(os.environ.get("OPAMBIN_FUZZ_ROUNDS", "120"))
FIRST = int(os.environ.get("OPAMBIN_FUZZ_FIRST", "1"))
MAX_REAL = 60_000 if ROUNDS < 1000 else 2_000_000  # bytes of a real file
PREFIX = b"/home/me/.opam/5.1"
SPELLING = Spelling.of(PREFIX)
Q = SPELLING.padded
BLOCKS = elf_file(
    Sec(".data", string_block(Q + b"/lib") + string_block(b"x")), Sec(".rodata", Q + b"\0"), symbols=((1, 8),)
)
VALUE = marshalled((1, [Q + b"/a", b"b" * 40], b"", Q))
SAMPLES = {
    "text": b"#!" + Q + b"/bin/x\np=" + Q + b"\n",
    "ELF": BLOCKS,
    "archive": archive(a=BLOCKS, b=b"text", c=elf_file(Sec(".debug_str", Q + b"\0", 0))),
    "Mach-O": macho(
        Sample(
            (Sect("__cstring", Q + b"\0"), Sect("__data", string_block(Q), "__DATA")), ((0xD, Q),), ((2, 8),)
        )
    ),
    "universal": fat(macho(Sample((Sect("__cstring", Q + b"\0"),))), b"other"),
    "value": VALUE,
    "compressed": marshalled_compressed((1, [Q + b"/a", b"b" * 40])),
    ".cma": b"Caml1999A030\0\0\0\x14code" + VALUE,
    ".cmt": b"Caml1999I030" + marshalled(b"i") + b"Caml1999T030" + VALUE,
    "bytecode": bytecode_program(b"#!" + Q + b"/bin/ocamlrun\n", RNTM=Q, DATA=VALUE, DBUG=b"\0\0\0\0"),
    "-custom": bytecode_program(BLOCKS, CODE=b"\0\0\0\1", DATA=VALUE),
    "launch information": b"sh\n" + Q + b"/bin\0\n" + BLOCKS,
    "dune-site": elf_file(Sec(".rodata", b"\0=%d:%s%s" % (len(Q), Q, b" " * 60) + b"\0")),
}
SOURCE = 'let where = "%s/lib"\nlet () = if Array.length Sys.argv > 9 then print_endline (where ^ "%s")\n'


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Cut, flip, repeat, move or overwrite some bytes."""
    result = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(result) + 1)
        size = chance.choice((1, 2, 4, 8, 16, 64))
        piece = bytes(result[at : at + size])
        match chance.randrange(9):
            case 0:
                del result[at:]
            case 1:
                del result[at : at + size]
            case 2:
                result[at:at] = piece
            case 3:
                result[at : at + size] = chance.randbytes(len(piece))
            case 4:
                result[at : at + len(piece)] = chance.choice((b"\0", b"\xff", b"/", b"A")) * len(piece)
            case 5 if piece:
                result[at] ^= 1 << chance.randrange(8)
            case 6:
                result[at : at + PADDED_LENGTH] = Q[: len(result) - at]
            case 7:
                result[at:at] = chance.choice((PREFIX, Q, PLACEHOLDER, marshal.COMPRESSED_MAGIC, b"/" * 9))
            case _:
                result[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1"))[
                    : len(result) - at
                ]
    return bytes(result)


def check(data: bytes, path: str) -> Analysis:
    """Look at a file as a capture does, and at what it gives as a restore does."""
    found = analyse(data, SPELLING, path)
    for reader in (camlunits.units, dynamic.needed_libraries):
        try:
            reader(data)
        except BadDataError:
            continue
    if found.content is None:
        assert not found.occurrences or PLACEHOLDER in data
        return found
    assert found.content.count(PLACEHOLDER) == len(found.occurrences)
    for target in (Q, PREFIX, b"/o", b"/" + b"t" * 240):
        try:
            live = render(found.content, found.occurrences, target)
        except CannotRelocateError:
            assert len(target) > len(PREFIX)
            continue
        functional = [item for item in found.occurrences if item.functional]
        assert live.count(PLACEHOLDER) <= len(found.occurrences) - len(functional)
        if all(item.kind in (Kind.CSTRING, Kind.BLOCK, Kind.DUNE_SITE) for item in found.occurrences):
            assert len(live) == len(data) or marshal.COMPRESSED_MAGIC in data
    assert_nothing_else_changed(data, found)
    return found


def assert_nothing_else_changed(data: bytes, found: Analysis) -> None:
    """With the padded spelling for the prefix, a file is what it was, unless that was not its spelling."""
    assert found.content is not None
    native = machomagic.recognises(data)
    if native and data.startswith(machomagic.MAGIC) and machofile.parse(data).signature is not None:
        assert wrong_pages(found.content) == []
    respelled = (
        PREFIX in data
        or marshal.COMPRESSED_MAGIC in data
        or data.startswith(b"#!")
        or b"=%d:" % len(Q) in data
    )
    if not respelled:
        assert render(found.content, found.occurrences, Q) == data


def seeded(name: str, seed: int) -> random.Random:
    return random.Random(f"{name} {seed}")  # noqa: S311 - the same damage every time


def seeds() -> range:
    return range(FIRST, FIRST + ROUNDS)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_samples_are_understood(name: str) -> None:
    found = check(SAMPLES[name], "lib/x")
    assert found.occurrences
    assert found.bound == ()


@pytest.mark.parametrize("name", SAMPLES)
def test_damaged_samples(name: str) -> None:
    for seed in seeds():
        chance = seeded(name, seed)
        try:
            check(damaged(SAMPLES[name], chance), chance.choice(("lib/x", "lib/x.cmt", "doc/x")))
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error


@pytest.mark.parametrize("name", SAMPLES)
def test_truncated_samples(name: str) -> None:
    data = SAMPLES[name]
    for length in range(0, len(data), max(1, len(data) * 3 // ROUNDS)):
        check(data[:length], "lib/x")


def test_random_bytes() -> None:
    for seed in seeds():
        chance = seeded("", seed)
        parts = [
            chance.choice((Q, PREFIX, b"\0", b"\x7fELF", b"Caml1999O030", chance.randbytes(30)))
            for _ in range(9)
        ]
        check(b"".join(parts), "lib/x")


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Every kind of file that the compilers of this machine make of a source that holds the prefix."""
    folder = tmp_path_factory.mktemp("compiled")
    (folder / "m.ml").write_text(SOURCE % (Q.decode(), Q.decode()))
    run(["ocamlc", "-g", "-bin-annot", "-a", "-o", "m.cma", "m.ml"], folder)
    run(["ocamlc", "-g", "-o", "m.byte", "m.ml"], folder)
    if shutil.which("ocamlopt"):
        run(["ocamlopt", "-g", "-a", "-o", "m.cmxa", "m.ml"], folder)
        run(["ocamlopt", "-shared", "-o", "m.cmxs", "m.ml"], folder)
    return sorted(path for path in folder.iterdir() if path.suffix != ".ml")


@needs_ocaml
def test_what_the_compilers_make_is_understood_and_its_damage_is_harmless(compiled: list[Path]) -> None:
    moved = set()
    for path in compiled:
        data = path.read_bytes()
        found = check(data, f"lib/{path.name}")
        assert found.bound == ()
        moved |= {path.suffix} if any(item.functional for item in found.occurrences) else set()
        for seed in seeds()[:: 1 if len(data) < MAX_REAL else 40]:
            chance = seeded(path.name, seed)
            try:
                check(damaged(data, chance), f"lib/{path.name}")
            except Exception as error:
                raise AssertionError(f"{path.name}, seed {seed}: {error!r}") from error
    assert {".cma", ".byte"} <= moved
    assert ".cmxa" not in {path.suffix for path in compiled} or {".a", ".o", ".cmxs"} <= moved


def real_files() -> Iterator[Path]:
    """Yield files of the system's OCaml, a few of each kind."""
    count: dict[str, int] = {}
    for path in sorted(Path("/usr/lib/ocaml").rglob("*")):
        if path.is_file() and not path.is_symlink() and path.stat().st_size < MAX_REAL:
            count[path.suffix] = count.get(path.suffix, 0) + 1
            if count[path.suffix] <= 3 * ROUNDS // 100:
                yield path


def test_damaged_real_files() -> None:
    files = list(real_files())
    if not files:
        pytest.skip("no OCaml in /usr/lib/ocaml")
    for path in files:
        data = path.read_bytes()
        for seed in seeds()[:: max(1, ROUNDS // 12)]:
            chance = seeded(path.name, seed)
            try:
                check(damaged(data, chance), path.name)
            except Exception as error:
                raise AssertionError(f"{path}, seed {seed}: {error!r}") from error


def test_a_value_that_is_read_back_is_what_was_meant() -> None:
    for seed in seeds():
        chance = seeded("", seed)
        texts = [b"t" * chance.randrange(300) + chance.choice((b" ", b":")) + Q for _ in range(4)]
        data = b"Caml1999Y030" + marshalled((3, list(texts))) + b"0123456789abcdef"
        found = check(data, "x.cmx")
        expected = b"Caml1999Y030" + marshalled((3, [text.replace(Q, b"/o") for text in texts])) + data[-16:]
        assert render(found.content or b"", found.occurrences, b"/o") == expected
