from __future__ import annotations

import contextlib
import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trust_samples import ALICE, ARCHIVE, MANIFEST, NOW, manifest, signed, statement

from opambin.errors import BadDataError
from opambin.model import ConeKey, Import, OutputId, Package, PackageName, Version
from opambin.store.manifest_format import to_json
from opambin.trust.envelope import Envelope
from opambin.trust.statement import MAX_BYTES, TYPE, Channel, Origin, Packed, Statement

DATA = to_json(MANIFEST)
BODY: dict[str, Any] = json.loads(statement().to_json())


def read(**changes: object) -> Statement:
    body = {name: value for name, value in {**BODY, **changes}.items() if value is not ...}
    text = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    return Statement.read(Envelope(TYPE, text), "slot")


def test_it_survives_the_round_trip() -> None:
    assert Statement.read(signed(ALICE), "slot") == statement()


def test_it_says_what_is_in_the_manifest() -> None:
    made = statement()
    assert (made.key, made.output, made.package) == (MANIFEST.key, MANIFEST.output, MANIFEST.package)
    assert made.platform == "x86_64/linux/debian/12"
    assert made.dependencies == (("conf-gmp", None), ("ocaml", "d" * 64))
    assert made.key_algorithm == "opam-bin cone key 1"
    assert made.differences(MANIFEST, DATA) == []


def test_every_binding_is_in_the_signed_text() -> None:
    """All that facts of relocation list; a field that is forgotten here could be swapped by a cache."""
    assert set(BODY) == {
        *("type", "version", "key-algorithm", "key", "output", "package", "package-version", "platform"),
        *("dependencies", "manifest-digest", "manifest-size", "archive-digest", "archive-size"),
        *("head-digest", "head-size", "recipe-digest", "channel", "builder", "time"),
    }


OTHER = "9" * 64


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("key", ConeKey(OTHER), id="key"),
        pytest.param("key_algorithm", "opam-bin cone key 0", id="key algorithm"),
        pytest.param("output", OutputId(OTHER), id="output"),
        pytest.param("package", Package(PackageName("num"), Version("1.12")), id="package"),
        pytest.param("package", Package(PackageName("zarith"), Version("1.13")), id="version"),
        pytest.param("platform", "arm64/linux/debian/12", id="platform"),
        pytest.param("dependencies", ((PackageName("ocaml"), OutputId(OTHER)),), id="dependencies"),
        pytest.param("manifest_digest", OTHER, id="manifest digest"),
        pytest.param("manifest_size", 1, id="manifest size"),
        pytest.param("recipe_digest", OTHER, id="recipe"),
    ],
)
def test_a_statement_that_is_not_about_the_manifest_is_seen(field: str, value: object) -> None:
    (difference,) = statement(**{field: value}).differences(MANIFEST, DATA)
    assert difference.startswith(f"{field}: ")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"package": Package(PackageName("num"), Version("1.12"))}, id="another package's key"),
        pytest.param({"inputs": MANIFEST.inputs + " "}, id="other inputs"),
        pytest.param({"inputs": "{}"}, id="no inputs"),
        pytest.param({"inputs": "["}, id="no JSON"),
    ],
)
def test_a_manifest_whose_inputs_are_not_those_of_its_key_is_seen(changes: dict[str, Any]) -> None:
    false = dataclasses.replace(MANIFEST, **changes)
    assert "inputs" in "".join(statement().differences(false, DATA))
    with pytest.raises(BadDataError, match="inputs"):
        Statement.of(false, DATA, ARCHIVE, Origin("b", 1))


def test_other_imports_are_another_statement() -> None:
    other = dataclasses.replace(MANIFEST, imports=(Import(PackageName("ocaml"), None),))
    assert any(text.startswith("dependencies") for text in statement().differences(other, to_json(other)))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        pytest.param({"key": "ABC"}, "key: not 64", id="key"),
        pytest.param({"output": 3}, "output: not 64", id="output"),
        pytest.param({"manifest-digest": OTHER[1:]}, "manifest-digest", id="manifest"),
        pytest.param({"archive-digest": None}, "archive-digest", id="archive"),
        pytest.param({"head-digest": "../x"}, "head-digest", id="head"),
        pytest.param({"archive-size": -1}, "archive-size", id="negative size"),
        pytest.param({"archive-size": True}, "archive-size", id="size is a boolean"),
        pytest.param({"manifest-size": 1.5}, "manifest-size", id="fraction"),
        pytest.param({"time": 1 << 60}, "time", id="time"),
        pytest.param({"head-size": 5001}, "head-size", id="head larger than the archive"),
        pytest.param({"platform": "a\nb"}, "platform", id="line feed"),
        pytest.param({"builder": "\x1b[31m"}, "builder", id="terminal control"),
        pytest.param({"builder": "x" * 501}, "builder", id="long builder"),
        pytest.param({"package": "../x"}, "package", id="name"),
        pytest.param({"package-version": "1/2"}, "package-version", id="version"),
        pytest.param({"recipe-digest": "x"}, "recipe-digest", id="recipe"),
        pytest.param({"channel": "nightly"}, "channel", id="channel"),
        pytest.param({"dependencies": {}}, "dependencies", id="dependencies"),
        pytest.param({"dependencies": [["a", "b"]]}, "dependencies", id="output of one"),
        pytest.param({"dependencies": [["b", None], ["a", None]]}, "not sorted", id="order"),
        pytest.param({"dependencies": [["a", None], ["a", OTHER]]}, "one twice", id="twice"),
        pytest.param({"type": "remote-state"}, "not known", id="type"),
        pytest.param({"version": 2}, "not known", id="next version"),
        pytest.param({"version": True}, "not known", id="version is a boolean"),
        pytest.param({"extra": 1}, "unknown or lacking members: extra", id="more"),
        pytest.param({"platform": ...}, "unknown or lacking members: platform", id="less"),
    ],
)
def test_bad_statements_are_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadDataError) as caught:
        read(**changes)
    assert problem in caught.value.problem


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(json.dumps(BODY).encode(), id="spaces"),
        pytest.param(statement().to_json() + b"\n", id="more follows"),
        pytest.param(statement().to_json().replace(b'"time":', b'"time":1,"time":'), id="member twice"),
        pytest.param(b"[1]", id="list"),
        pytest.param(b"\xff", id="binary"),
        pytest.param(b"[" * 40_000, id="deep"),
        pytest.param(b" " * (MAX_BYTES + 1), id="too large"),
    ],
)
def test_only_the_canonical_form_is_read(payload: bytes) -> None:
    with pytest.raises(BadDataError):
        Statement.read(Envelope(TYPE, payload), "slot")


def test_another_kind_of_statement_is_refused() -> None:
    with pytest.raises(BadDataError, match="another kind"):
        Statement.read(Envelope("application/json", statement().to_json()), "slot")


@given(
    st.sampled_from(Channel),
    st.text(st.characters(categories=["L", "N"]), max_size=50),
    st.integers(0, 2**40),
    st.sampled_from(["zarith", "ocaml-base-compiler", "conf-gmp"]),
)
def test_any_statement_survives(channel: Channel, builder: str, number: int, name: str) -> None:
    one = manifest(name)
    archive = Packed("1" * 64, number + 10, "2" * 64, 10)
    made = Statement.of(one, to_json(one), archive, Origin(builder, number, channel))
    assert Statement.read(Envelope(TYPE, made.to_json()), "slot") == made


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists),
    st.sampled_from(sorted(BODY)),
)
def test_any_value_of_a_member_is_read_or_our_error(value: object, member: str) -> None:
    with contextlib.suppress(BadDataError):
        read(**{member: value})


def test_the_time_is_seconds() -> None:
    assert statement().origin.time == NOW - 100
