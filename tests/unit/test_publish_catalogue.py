from __future__ import annotations

import dataclasses
import json

import pytest

from opambin.errors import BadDataError
from opambin.model import ConeKey, Digest, OutputId, PackageName, Version
from opambin.publish.catalogue import (
    Archive,
    Build,
    Catalogue,
    ContentKind,
    Dependency,
    LeftOut,
    Licence,
    Mode,
    Platform,
    archive_path,
)

HEX = "ab" * 32
BUILD = Build(
    name=PackageName("zarith"),
    version=Version("1.12"),
    published=Version("1.12"),
    kind=ContentKind.BINARY,
    key=ConeKey(HEX),
    output=OutputId(HEX),
    outputs=1,
    platform=Platform("x86_64", "linux", "debian", "12"),
    compiler="ocaml-system.4.13.1",
    archive=Archive(archive_path(HEX), HEX, HEX * 2, 1000),
    opam=Digest(HEX),
    files=23,
    size=1_322_135,
    dependencies=(Dependency(PackageName("ocaml"), Version("4.13.1")),),
    licence=Licence(("LGPL-2.1-only",), "LGPL-2.1-only", "allowed", ("doc/zarith/LICENSE",)),
    synopsis="Numbers of any size \u2026",
    homepage="",
    max_prefix=200,
    helper=False,
    built_at=1,
    seconds=2.5,
    published_at=3,
    serial=4,
)
LEFT = LeftOut(PackageName("x"), Version("1"), ConeKey(HEX), OutputId(HEX), "its licence is not known")
CATALOGUE = Catalogue("https://example.org/bin", Mode.ALONE, 4, 1000, HEX, HEX, (BUILD,), (LEFT,))


def test_what_is_written_reads_back() -> None:
    assert Catalogue.parse(CATALOGUE.render()) == CATALOGUE


def test_an_empty_one_reads_back() -> None:
    empty = dataclasses.replace(CATALOGUE, builds=(), left_out=())
    assert Catalogue.parse(empty.render()) == empty


def test_every_build_is_one_line() -> None:
    two = dataclasses.replace(CATALOGUE, builds=(BUILD, BUILD))
    assert two.render().count(b"\n") == CATALOGUE.render().count(b"\n") + 1


def test_a_definition_has_no_archive() -> None:
    bare = dataclasses.replace(BUILD, kind=ContentKind.DEFINITION, archive=None, max_prefix=None)
    found = Catalogue.parse(dataclasses.replace(CATALOGUE, builds=(bare,)).render())
    assert found.builds == (bare,)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        pytest.param("name", "a/b", id="name"),
        pytest.param("published", "1 2", id="version"),
        pytest.param("kind", "source", id="kind"),
        pytest.param("key", "12", id="key"),
        pytest.param("size", -1, id="negative"),
        pytest.param("size", 1.5, id="fraction"),
        pytest.param("helper", 0, id="no truth"),
        pytest.param("dependencies", ["ocaml"], id="rows"),
        pytest.param("archive", {"path": "../x"}, id="archive outside"),
        pytest.param("platform", None, id="platform"),
        pytest.param("seconds", "1", id="seconds"),
    ],
)
def test_a_wrong_member_is_named(member: str, value: object) -> None:
    document = json.loads(CATALOGUE.render())
    document["builds"][0][member] = value
    with pytest.raises(BadDataError, match={"platform": "arch", "archive": "path"}.get(member, member)):
        Catalogue.parse(json.dumps(document).encode())


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"[]", id="list"),
        pytest.param(b'{"opam-bin-published":2}', id="later version"),
        pytest.param(b"[" * 100_000, id="deep"),
    ],
)
def test_something_else_is_refused(data: bytes) -> None:
    with pytest.raises(BadDataError):
        Catalogue.parse(data)


def test_where_an_opam_file_is() -> None:
    assert BUILD.opam_path == "packages/zarith/zarith.1.12/opam"
