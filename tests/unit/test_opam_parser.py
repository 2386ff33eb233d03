from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from opambin.errors import BadDataError
from opambin.opam.ast import (
    Bool,
    Defined,
    EnvBinding,
    Field,
    Group,
    Ident,
    Int,
    List,
    Logop,
    Not,
    OpamFile,
    Option,
    PrefixRelop,
    Relop,
    Section,
    String,
    Value,
)
from opambin.opam.parser import MAX_NESTING, parse, parse_value, split_concatenated
from opambin.opam.printer import print_file

SHARED = Path(os.environ.get("OPAMBIN_SHARED", Path(__file__).parents[3] / "shared"))
CORPUS = sorted((SHARED / "opam-files").glob("*.opam"))
A, B, C = Ident("a"), Ident("b"), Ident("c")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("1", Int(1), id="integer"),
        pytest.param("-1", Int(-1), id="negative"),
        pytest.param("1_0", Int(10), id="underscore in a number"),
        pytest.param("-4611686018427387904", Int(-(2**62)), id="smallest integer"),
        pytest.param("true", Bool(True), id="true"),
        pytest.param("truex", Ident("truex"), id="longer than true"),
        pytest.param("true:a", Ident("true:a"), id="true as a package"),
        pytest.param("0install", Ident("0install"), id="identifier after a digit"),
        pytest.param("a-", Ident("a-"), id="dash at the end"),
        pytest.param("a:b", Ident("a:b"), id="package variable"),
        pytest.param("_:b", Ident("_:b"), id="own variable"),
        pytest.param("a+_:b", Ident("a+_:b"), id="several packages"),
        pytest.param("a+b", Ident("a+b"), id="plus without variable"),
        pytest.param('"a\\nb\\t\\"\\\\"', String('a\nb\t"\\'), id="escapes"),
        pytest.param('"\\065\\x42\\b\\r\\ \\\'"', String("AB\b\r '"), id="codes"),
        pytest.param('"\\195\\169"', String("é"), id="a character byte by byte"),
        pytest.param('"\\255"', String("\udcff"), id="a byte that is no character"),
        pytest.param('"a\\\n   b"', String("ab"), id="escaped line end takes blanks"),
        pytest.param('"a\\\r\n\tb"', String("ab"), id="escaped line end of Windows"),
        pytest.param('"a\r\nb"', String("a\r\nb"), id="line end in a string"),
        pytest.param('"""a"b""c"""', String('a"b""c'), id="triple quotes"),
        pytest.param('""""a"""', String('"a'), id="triple quotes start with a quote"),
        pytest.param('"""a\\"""b"""', String('a"""b'), id="triple quotes with an escaped quote"),
        pytest.param('"""\\\n  x"""', String("x"), id="triple quotes after an escaped line end"),
        pytest.param('""""""', String(""), id="empty triple quotes"),
        pytest.param('"# no (* comment"', String("# no (* comment"), id="comment marks in a string"),
        pytest.param('["" ""]', List((String(""), String(""))), id="two empty strings"),
        pytest.param("[]", List(()), id="empty list"),
        pytest.param('["a"b"c"]', List((String("a"), B, String("c"))), id="no blanks"),
        pytest.param("((a))", Group((Group((A,)),)), id="groups"),
        pytest.param("a {b}", Option(A, (B,)), id="option"),
        pytest.param("a {}", Option(A, ()), id="empty option"),
        pytest.param("a {b} {c}", Option(Option(A, (B,)), (C,)), id="two options"),
        pytest.param("!a {b}", Not(Option(A, (B,))), id="option before not"),
        pytest.param("a & b {c}", Logop("&", (A, Option(B, (C,)))), id="option before and"),
        pytest.param('>= "1"', PrefixRelop(">=", String("1")), id="half a comparison"),
        pytest.param('~ "1"', PrefixRelop("~", String("1")), id="tilde"),
        pytest.param("a != -1", Relop("!=", A, Int(-1)), id="comparison"),
        pytest.param("a>=b", Relop(">=", A, B), id="comparison without blanks"),
        pytest.param("!a = b", Not(Relop("=", A, B)), id="comparison before not"),
        pytest.param("! = b", Not(PrefixRelop("=", B)), id="not, then equals"),
        pytest.param("!= b", PrefixRelop("!=", B), id="unequal"),
        pytest.param("?a & !b", Logop("&", (Defined(A), Not(B))), id="prefixes before and"),
        pytest.param("a | b & c", Logop("|", (A, Logop("&", (B, C)))), id="and before or"),
        pytest.param("a & b | c", Logop("|", (Logop("&", (A, B)), C)), id="and before or, left"),
        pytest.param("a & b & c", Logop("&", (A, B, C)), id="chain"),
        pytest.param("a & (b & c)", Logop("&", (A, Group((Logop("&", (B, C)),)))), id="grouped"),
        pytest.param("[a = b = c]", List((Relop("=", A, B), PrefixRelop("=", C))), id="two operators"),
        pytest.param("[= a = b]", List((PrefixRelop("=", A), PrefixRelop("=", B))), id="prefix, prefix"),
        *(
            pytest.param(f"a {op} b", EnvBinding(A, op, B), id=f"update {op}")
            for op in ("+=", "=+", ":=", "=:", "=+=")
        ),
        pytest.param('PATH+="x"', EnvBinding(Ident("PATH"), "+=", String("x")), id="update, no blanks"),
        pytest.param('(* x (* " *) *) a # b', A, id="comments"),
        pytest.param("a #", A, id="empty comment at the end"),
        pytest.param("\r\n\ta\r\n", A, id="line ends of Windows"),
    ],
)
def test_values(text: str, expected: Value) -> None:
    assert parse_value(text) == expected


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        pytest.param("a: [\n  b", 2, 4, "expected a value or ']', found the end of the text", id="list"),
        pytest.param("a: (]", 1, 5, "expected a value, found ']'", id="wrong bracket"),
        pytest.param('a: "x', 1, 4, "unterminated string", id="string"),
        pytest.param('a: "\\"', 1, 4, "unterminated string", id="string with a quote"),
        pytest.param('a: """x"', 1, 4, "unterminated string", id="triple quotes"),
        pytest.param('a: """a""""', 1, 11, "unterminated string", id="four quotes"),
        pytest.param("a:\n\n (* (* *)", 3, 2, "unterminated comment", id="comment"),
        pytest.param('a: "\\q"', 1, 4, "illegal escape sequence", id="escape"),
        pytest.param('a: "\\300"', 1, 4, "illegal escape sequence", id="code above 255"),
        pytest.param('a: "\\x4"', 1, 4, "illegal escape sequence", id="short code"),
        pytest.param("a:\n  b = = c", 2, 7, "expected a string, number", id="operand"),
        pytest.param("a: b &", 1, 7, "expected a value", id="end after and"),
        pytest.param("a: _", 1, 4, "found '_'", id="underscore alone"),
        pytest.param("a: -", 1, 4, "found '-'", id="dash alone"),
        pytest.param("a: 1-2", 1, 4, "found '1-2'", id="two numbers"),
        pytest.param("a: b+1:c", 1, 4, "found 'b+1:c'", id="package without letters"),
        pytest.param("a: 4611686018427387904", 1, 4, "an integer of at most", id="too large"),
        pytest.param("a: -" + "9" * 5000, 1, 4, "an integer of at most", id="far too large"),
        pytest.param("a: @", 1, 4, "found '@'", id="character"),
        pytest.param("a: \r", 1, 4, r"found '\r'", id="carriage return alone"),
        pytest.param("a: b =:= c", 1, 6, "found '=:='", id="operator that opam lacks"),
        pytest.param("a: b == c", 1, 7, "found '='", id="two equals"),
        pytest.param("true: 1", 1, 1, "expected a field or section name", id="boolean as a name"),
        pytest.param("1: 2", 1, 1, "expected a field or section name", id="number as a name"),
        pytest.param("a", 1, 2, "expected ':', '{' or a section label", id="name alone"),
        pytest.param('a "b" c', 1, 7, "expected '{', found 'c'", id="label without section"),
        pytest.param("a {\n b: 1", 2, 6, "expected a field name or '}'", id="section"),
        pytest.param("a: 1\n}", 2, 1, "expected a field or section name, found '}'", id="closed twice"),
        pytest.param("a: b {c", 1, 8, "expected a value or '}'", id="option"),
        pytest.param("a: [1 2] 3: 4", 1, 10, "found '3'", id="value after a value"),
    ],
)
def test_errors_name_the_place(text: str, line: int, column: int, words: str) -> None:
    with pytest.raises(BadDataError) as caught:
        parse(text, "dir/x.opam")
    message = str(caught.value)
    assert message.startswith(f"dir/x.opam: line {line}, column {column}: ")
    assert words in message
    assert caught.value.what == "dir/x.opam"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a: " + "(" * 5000, id="groups"),
        pytest.param("a: " + "[" * 5000 + "]" * 5000, id="lists"),
        pytest.param("a: " + "!" * 5000 + "b", id="negations"),
        pytest.param("a: b" + " {c}" * 5000, id="options"),
        pytest.param("a {" * 5000, id="sections"),
        pytest.param("a: " + "b {" * 5000, id="options in options"),
    ],
)
def test_deep_nesting_is_bad_data(text: str) -> None:
    with pytest.raises(BadDataError, match=f"at most {MAX_NESTING} levels"):
        parse(text)


def test_long_chains_do_not_nest() -> None:
    value = parse_value(" | ".join(["a", "b & c"] * 5000))
    assert isinstance(value, Logop)
    assert len(value.operands) == 10000


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('a: "' + "\\" * 100_001, id="backslashes"),
        pytest.param("-" * 100_000, id="dashes"),
        pytest.param("-1" * 100_000, id="numbers"),
        pytest.param("(*" * 100_000, id="comments"),
        pytest.param('"' * 100_001, id="quotes"),
        pytest.param('"""' + '"a' * 100_000, id="triple quotes"),
        pytest.param("a+" * 100_000, id="pluses"),
    ],
)
def test_hostile_text_takes_linear_time(text: str) -> None:
    start = time.process_time()
    with pytest.raises(BadDataError):
        parse(text)
    assert time.process_time() - start < 3, "hundreds of times the usual time"


def test_file_accessors() -> None:
    file = parse('x: 1\nx: 2\nurl { src: "u" }\ns "a" { y: b t { } }\ns "b" {}\n', "f")
    assert file.get("x") == Int(1)
    assert file.get("y") is None
    assert [section.label for section in file.sections("s")] == ["a", "b"]
    assert file.sections("url")[0].get("src") == String("u")
    assert file.sections("s")[0].items == (Field("y", B), Section("t", None))


def test_equality_ignores_layout() -> None:
    assert parse("x: [ a\n# c\n b ]", "f") == parse("x:[a b]", "f")


def test_format_2_1_wants_its_version_first() -> None:
    assert len(parse('opam-version: "2.0"\nopam-version: "2.0"').items) == 2
    assert len(parse('opam-version: "2.1"\nx: 1').items) == 2
    for text in ('x: 1\nopam-version: "2.1"', 'opam-version: "2.1"\nopam-version: "2.0"'):
        with pytest.raises(BadDataError, match="must come first"):
            parse(text, "f")


SAMPLES = {
    "dune project": """
opam-version: "2.0"
synopsis: "An example"
description: \"\"\"
Some "quoted" text,
with an opam-version: "2.0" in it.\"\"\"
maintainer: ["A <a@example.org>" "B"]
depends: [
  "dune" {>= "2.9" & != "3.1~rc"}
  "ocaml" {>= "4.08.0"}
  "odoc" {with-doc}
]
build: [
  ["dune" "subst"] {dev}
  ["dune" "build" "-p" name "-j" jobs "@install" "@runtest" {with-test} "@doc" {with-doc}]
]
dev-repo: "git+https://example.org/x.git"
url {
  src: "https://example.org/x-1.tbz"
  checksum: ["sha256=00" "sha512=11"]
}
""",
    "conf package": """
opam-version: "2.0"
flags: conf
build: [["pkg-config" "gmp"] {os != "openbsd" & os != "freebsd"} ["sh" "-exc" "cc -c $CFLAGS test.c"]]
depexts: [
  ["libgmp-dev"] {os-family = "debian"}
  ["gmp"] {os-distribution = "arch" | os = "macos" & os-distribution = "homebrew"}
]
extra-files: ["test.c" "md5=2fd2970c293c36222a6d299ec155823f"]
""",
    "compiler": """
opam-version: "2.0"
setenv: [[CAML_LD_LIBRARY_PATH = "%{_:stubsdir}%"] [CAML_LD_LIBRARY_PATH += "%{lib}%/stublibs"]]
build-env: [MAKEFLAGS = ""]
available: !(os = "macos" & arch = "arm64")
build: ["./configure" "--with-afl" {ocaml-option-afl:installed} "CC=cc -m32" {arch = "x86_64"}]
x-env-path-rewrite: [[PATH (";" {os = "win32"} ":" {os != "win32"}) "target"]]
""",
    "formulas": """
opam-version: "2.0"
depends: [("a" {= version} | "b" {>= "1" & < "2~"}) "c" {!(>= "3")} "d" {?x & build}]
depopts: ["e" "f" {with-test}]
conflicts: ["g" {< "1"} | "h"]
conflict-class: "mccs"
""",
    "extra sources": """
opam-version: "2.0"
patches: ["a.patch" {os = "win32"} "b.patch"]
extra-source "a.patch" { src: "https://example.org/a" checksum: "md5=0" }
extra-source "b.patch" { src: "https://example.org/b" checksum: ["sha256=1"] }
""",
    "comments only": "# nothing\n(* here *)\n",
    "empty": "",
    "windows": 'opam-version: "2.0"\r\nx: [\r\n "a"\r\n]\r\n',
    "switch state": 'opam-version: "2.0"\ninstalled: ["a.1" "b.2~x"]\nroots: []\n',
    "changes": 'opam-version: "2.0"\nadded: ["lib/c" {"D"} "lib/c/x" {"F:S26T1795339254.7"}]\n',
    "switch config": 'opam-version: "2.0"\nvariables { user: "me" n: ["a" "b"] t: true }\npaths {}\n',
}


@pytest.mark.parametrize("text", SAMPLES.values(), ids=SAMPLES)
def test_samples_survive_printing(text: str) -> None:
    file = parse(text, "sample")
    assert parse(print_file(file), "sample") == file


@pytest.mark.skipif(not CORPUS, reason="the public opam files are not beside the repository")
def test_public_files_survive_printing() -> None:
    for path in CORPUS:
        file = parse(path.read_bytes().decode("utf-8", "surrogateescape"), path.name)
        assert file.items, path
        assert parse(print_file(file), path.name) == file, path


class TestSplitConcatenated:
    def test_splits_at_top_level_versions_only(self) -> None:
        first = SAMPLES["dune project"] + 's { opam-version: "2.0" }\n# opam-version: "2.0"\n'
        second = 'opam-version: "2.0"\nx: [opam-version]\n(* opam-version: "2.0" *)\n'
        parts = split_concatenated(first + second)
        assert [parse(part) for part in parts] == [parse(first), parse(second)]
        assert "".join(parts) == first + second

    def test_keeps_what_stands_before_the_first_version(self) -> None:
        assert split_concatenated('# c\nopam-version: "2.0"\n') == ['# c\nopam-version: "2.0"\n']

    @pytest.mark.parametrize("text", [pytest.param("", id="empty"), pytest.param(" \n", id="blank")])
    def test_nothing(self, text: str) -> None:
        assert split_concatenated(text) == []

    def test_without_versions_it_is_one_file(self) -> None:
        assert split_concatenated("x: 1\n") == ["x: 1\n"]

    @pytest.mark.parametrize("text", ['opam-version: "2.0"\nx: [', 'x: "', "x: 1 ]", "x: ] [", "(* x"])
    def test_refuses_what_it_can_not_split(self, text: str) -> None:
        with pytest.raises(BadDataError, match="not closed"):
            split_concatenated(text)

    @pytest.mark.skipif(not CORPUS, reason="the public opam files are not beside the repository")
    def test_public_files(self) -> None:
        texts = [path.read_text(encoding="utf-8") for path in CORPUS]
        assert len(split_concatenated("\n".join(texts))) == len(texts)


def test_files_with_other_names_differ() -> None:
    assert OpamFile("a") != OpamFile("b")
