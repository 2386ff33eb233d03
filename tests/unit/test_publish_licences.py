from __future__ import annotations

import dataclasses
import tarfile
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING

import pytest

from opambin.errors import BadDataError
from opambin.opam.parser import parse
from opambin.publish import licence_files
from opambin.publish.licences import Policy, declared, is_licence_file, judge, load

if TYPE_CHECKING:
    from pathlib import Path

POLICY = load()


@pytest.mark.parametrize(
    "text",
    [
        "MIT",
        "zlib",
        "LGPL-2.1-or-later WITH OCaml-LGPL-linking-exception",
        "LGPL-3.0-or-later WITH LGPL-3.0-linking-exception",
        "QPL-1.0 AND LGPL-2.1-only",
        "MIT OR CC-BY-NC-4.0",
        "GPL-2.0+",
        "GNU GPL",
        "BSD-3-clause",
        " Apache-2.0",
    ],
)
def test_allowed(text: str) -> None:
    assert judge(POLICY, "x", [text]).problem == ""


@pytest.mark.parametrize(
    ("licences", "words"),
    [
        pytest.param([], "names no licence", id="none"),
        pytest.param(["  "], "names no licence", id="blank"),
        pytest.param(["(("], "can't be read", id="does not parse"),
        pytest.param(["various"], "in no list", id="unknown"),
        pytest.param(["CC-BY-NC-4.0"], "not to be published", id="denied"),
        pytest.param(["MIT AND CC-BY-NC-4.0"], "not to be published", id="one of both denied"),
        pytest.param(["MIT", "CC-BY-NC-4.0"], "not to be published", id="a list is AND"),
        pytest.param(
            ["OCamlPro Non-Commercial License"], "not to be published", id="denied by alias-less name"
        ),
        pytest.param(["MIT AND Foo-1"], "in no list", id="one of both unknown"),
    ],
)
def test_left_out(licences: list[str], words: str) -> None:
    assert words in judge(POLICY, "x", licences).problem


def test_what_a_list_of_licences_is_as_one_expression() -> None:
    assert judge(POLICY, "x", ["MIT", "GPL-2.0-only OR ISC"]).expression == "MIT AND (GPL-2.0-only OR ISC)"


def test_options_win_over_the_policy() -> None:
    own = POLICY.with_options(["CC-BY-NC-*"], ["MIT"], unknown=True)
    assert judge(own, "x", ["CC-BY-NC-4.0"]).problem == ""
    assert "not to be published" in judge(own, "x", ["MIT"]).problem
    assert judge(own, "x", []).problem == ""
    assert judge(own, "x", ["(("]).problem == ""


def test_a_package_that_names_none_may_be_named() -> None:
    own = replace(POLICY, packages={"x": "MIT", "y": "CC-BY-NC-4.0"})
    assert judge(own, "x", []).expression == "MIT"
    assert judge(own, "y", []).problem
    assert judge(own, "x", ["CC-BY-NC-4.0"]).problem  # what the definition says counts more


def test_a_file_adds_to_the_policy(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("allow: [CC-BY-NC-4.0]\ndeny: [MIT]\nunknown: allow\naliases: {free: ISC}\n")
    own = load(path)
    assert judge(own, "x", ["CC-BY-NC-4.0"]).problem == ""
    assert judge(own, "x", ["MIT"]).problem
    assert judge(own, "x", ["Free"]).expression == "ISC"
    assert own.unknown
    assert set(POLICY.packages) <= set(own.packages)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("allow: MIT", "allow is no list", id="no list"),
        pytest.param("aliases: [x]", "aliases is no mapping", id="no mapping"),
        pytest.param("unknown: maybe", "unknown is neither", id="unknown"),
        pytest.param("alow: [MIT]", "'alow' is not known", id="mistyped"),
        pytest.param("- MIT", "not a licence policy", id="list"),
        pytest.param("{", "line 1: the file ends in a bracket", id="no YAML"),
    ],
)
def test_a_file_that_is_no_policy(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(BadDataError, match=words):
        load(path)
    with pytest.raises(BadDataError, match="can't be read"):
        load(tmp_path / "none")


def test_what_a_definition_declares() -> None:
    assert declared(parse('license: "MIT"')) == ("MIT",)
    assert declared(parse('license: ["MIT" "ISC"]')) == ("MIT", "ISC")
    assert declared(parse('synopsis: "x"')) == ()


def test_names_of_licence_files() -> None:
    for path in ("doc/x/LICENSE", "doc/x/COPYING.LGPL", "doc/x/licence.md", "COPYRIGHT"):
        assert is_licence_file(path)
    for path in ("doc/x/README", "lib/x/license/x.ml", "lib/x/my_license.ml"):
        assert not is_licence_file(path)


def test_licence_files_of_a_source(tmp_path: Path) -> None:
    from store_samples import full_manifest

    digits = "ab" * 32
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in (("x-1/LICENSE", b"free"), ("x-1/src/LICENSE", b"deep"), ("x-1/a.ml", b"code")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, BytesIO(content))
    path = tmp_path / "download-cache/sha256/ab" / digits
    path.parent.mkdir(parents=True)
    path.write_bytes(buffer.getvalue())
    text = f'opam-version: "2.0"\nurl {{ src: "https://x/x.tgz" checksum: "sha256={digits}" }}\n'
    sample = replace(full_manifest(), opam=text)
    assert licence_files.from_downloads(tmp_path, sample) == {"LICENSE": b"free"}
    path.write_bytes(b"no archive")
    assert licence_files.from_downloads(tmp_path, sample) == {}
    path.unlink()
    assert licence_files.from_downloads(tmp_path, sample) == {}
    assert licence_files.from_downloads(tmp_path, replace(sample, opam='opam-version: "2.0"\n')) == {}


def test_an_empty_policy_allows_nothing() -> None:
    assert judge(Policy(), "x", ["MIT"]).problem


@pytest.mark.parametrize(
    ("licences", "counts"),
    [
        pytest.param([], True, id="none"),
        pytest.param(["(("], True, id="does not parse"),
        pytest.param(["as you like it"], True, id="words"),
        pytest.param(["MIT AND as you like it"], True, id="words beside an identifier"),
        pytest.param(["Foo-1"], False, id="an identifier that no list has"),
        pytest.param(["CC-BY-NC-4.0"], False, id="denied"),
        pytest.param(["OCamlPro Non-Commercial License"], False, id="denied by its words"),
    ],
)
def test_where_the_publishers_word_counts(licences: list[str], *, counts: bool) -> None:
    named = dataclasses.replace(POLICY, packages={"x": "MIT"})
    assert (judge(named, "x", licences).problem == "") is counts
