from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from opambin.relocate.immediates import taken_apart

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "/home/somebody/.opam/5.1"
COPY = '#include <string.h>\nvoid f(char *b) { strcpy(b, "%s/lib"); }\n'
KEEP = 'const char *f(void) { return "%s/lib"; }\n'
SHORT = '#include <string.h>\nvoid f(char *b) { memcpy(b, "%s", 8); }\n'


def compiled(folder: Path, text: str, *, archive: bool) -> bytes:
    if not (shutil.which("gcc") and shutil.which("ar")):
        pytest.skip("no gcc")
    (folder / "x.c").write_text(text % PREFIX)
    subprocess.run(["gcc", "-O2", "-c", "x.c"], cwd=folder, check=True)
    if not archive:
        return (folder / "x.o").read_bytes()
    subprocess.run(["ar", "rc", "x.a", "x.o"], cwd=folder, check=True)
    return (folder / "x.a").read_bytes()


@pytest.mark.parametrize("archive", [False, True])
@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(COPY, True, id="copied through registers"),
        pytest.param(KEEP, False, id="a string"),
        pytest.param(SHORT, False, id="one word alone"),
    ],
)
def test_native_code(tmp_path: Path, text: str, found: bool, archive: bool) -> None:
    data = compiled(tmp_path, text, archive=archive)
    assert bool(taken_apart(data, PREFIX.encode())) == found
    assert taken_apart(data, b"/home/another/.opam/5.1") == ""


def test_a_match_in_native_ocaml(tmp_path: Path) -> None:
    if not shutil.which("ocamlfind") and not shutil.which("ocamlopt"):
        pytest.skip("no ocamlopt")
    (tmp_path / "x.ml").write_text(f'let f = function "{PREFIX}" -> 1 | _ -> 0\n')
    subprocess.run(["ocamlopt", "-c", "x.ml"], cwd=tmp_path, check=True)
    assert taken_apart((tmp_path / "x.o").read_bytes(), PREFIX.encode()).startswith(".text")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(PREFIX.encode(), id="text"),
        pytest.param(b"\x7fELF" + PREFIX.encode(), id="cut off"),
        pytest.param(b"!<arch>\n" + PREFIX.encode(), id="a broken archive"),
    ],
)
def test_what_holds_no_code(data: bytes) -> None:
    assert taken_apart(data, PREFIX.encode()) == ""


def test_a_prefix_without_a_whole_word() -> None:
    assert taken_apart(b"\x7fELF/opt/x", b"/opt/x") == ""
