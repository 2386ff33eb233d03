from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from opambin.errors import BadDataError, UnavailableError
from opambin.opam import file as opam_file
from opambin.opam.parser import parse

SHARED = Path(os.environ.get("OPAMBIN_SHARED", Path(__file__).parents[3] / "shared"))
CORPUS = sorted((SHARED / "opam-files").glob("*.opam"))
MD5, SHA256, SHA512 = "md5=" + "0a" * 16, "sha256=" + "1b" * 32, "sha512=" + "2c" * 64

FULL = parse(
    f"""
opam-version: "2.0"
name: "x"
version: ["1.2~rc"]
flags: [conf plugin]
tags: ["org:x" "flags:verbose"]
extra-files: [["a" "{MD5}"] ["b" "{SHA256.upper().replace("SHA256", "sha256")}"]]
url {{
  src: "https://example.org/x.tgz"
  mirrors: "https://example.com/x.tgz"
  checksum: ["{MD5}" "{SHA512}" "{SHA256}"]
}}
extra-source "p" {{ src: "https://example.org/p" checksum: "{MD5}" }}
extra-source "q" {{ archive: "https://example.org/q" }}
"""
)


def test_accessors() -> None:
    assert (opam_file.name(FULL), opam_file.version(FULL)) == ("x", "1.2~rc")
    assert opam_file.flags(FULL) == {"conf", "plugin", "verbose"}
    assert opam_file.url(FULL) == "https://example.org/x.tgz"
    assert opam_file.checksums(FULL) == SHA512
    assert opam_file.extra_sources(FULL) == [
        ("p", "https://example.org/p", MD5),
        ("q", "https://example.org/q", None),
    ]
    assert opam_file.extra_files(FULL) == [("a", MD5), ("b", SHA256)]


def test_accessors_of_an_empty_file() -> None:
    empty = parse("")
    assert (opam_file.name(empty), opam_file.version(empty), opam_file.url(empty)) == (None, None, None)
    assert opam_file.flags(empty) == frozenset()
    assert opam_file.checksums(empty) is None
    assert (opam_file.extra_sources(empty), opam_file.extra_files(empty)) == ([], [])


def test_single_values() -> None:
    file = parse(f'flags: conf extra-files: ["a" "{"0A" * 16}"] url {{ git: "g" checksum: "{SHA256}" }}')
    assert opam_file.flags(file) == {"conf"}
    assert opam_file.extra_files(file) == [("a", MD5)]
    assert (opam_file.url(file), opam_file.checksums(file)) == ("g", SHA256)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param('url { checksum: "sha256=00" }', "not a checksum", id="short"),
        pytest.param('url { checksum: "crc=00" }', "not a checksum", id="kind"),
        pytest.param(f'url {{ checksum: "{"0g" * 16}" }}', "not a checksum", id="digits"),
        pytest.param("url { checksum: [[1]] }", "not a string", id="no string"),
    ],
)
def test_bad_checksums(text: str, words: str) -> None:
    with pytest.raises(BadDataError, match=words) as caught:
        opam_file.checksums(parse(text, "x.opam"))
    assert caught.value.what == "x.opam"


def test_bad_extras() -> None:
    with pytest.raises(BadDataError, match="without a file name"):
        opam_file.extra_sources(parse("extra-source {}"))
    for text in ('extra-files: ["a"]', 'extra-files: [["a" "b" "c"]]', "extra-files: a"):
        with pytest.raises(BadDataError, match="not a pair"):
            opam_file.extra_files(parse(text))


def test_load(tmp_path: Path) -> None:
    path = tmp_path / "x.opam"
    path.write_bytes(b'x: "a\r\n\xff"\r\n')
    assert opam_file.load(str(path)) == parse('x: "a\r\n\udcff"', str(path))
    with pytest.raises(UnavailableError, match="No such file"):
        opam_file.load(str(tmp_path / "none"))


def test_load_refuses_huge_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.opam"
    path.write_text("x: 1234567")
    monkeypatch.setattr(opam_file, "MAX_BYTES", 5)
    with pytest.raises(BadDataError, match="longer than 5 bytes"):
        opam_file.load(str(path))


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "opambin.opam.file", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_command_reports_every_file(tmp_path: Path) -> None:
    good, bad, missing = (str(tmp_path / name) for name in ("good", "bad", "missing"))
    Path(good).write_text("x: 1")
    Path(bad).write_text("x: [")
    result = _run(bad, missing, str(tmp_path), good)
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{bad}: line 1, column 5: ")
    assert lines[1] == f"{missing}: No such file or directory"
    assert lines[2] == f"{tmp_path}: Is a directory"
    assert lines[3] == f"{good}: ok"
    assert not result.stderr


def test_command_succeeds(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x: 1")
    result = _run(str(tmp_path / "x"))
    assert (result.returncode, result.stdout) == (0, f"{tmp_path}/x: ok\n")


def test_command_wants_arguments() -> None:
    result = _run()
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("usage: ")


@pytest.mark.skipif(not CORPUS, reason="the public opam files are not beside the repository")
def test_public_files_parse_fast_enough(capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(path) for path in CORPUS]
    size = sum(path.stat().st_size for path in CORPUS)
    start = time.process_time()
    assert opam_file.main(paths) == 0
    seconds = time.process_time() - start
    assert all(line.endswith(": ok") for line in capsys.readouterr().out.splitlines())
    assert size / seconds > 1_000_000, "half of the speed that we owe, for slow machines"
