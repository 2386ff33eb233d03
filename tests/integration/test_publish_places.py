"""Publishing straight to other machines: a web server that takes PUT, S3, rsync; all of them real."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from places_away import AWAY, Away
from servers import program
from snapshot_samples import VIRTUAL, Samples

from opambin.errors import MisuseError, UnavailableError
from opambin.publish import catalogue, indexfile, licences, places, publisher, workflow
from opambin.publish.catalogue import Catalogue
from opambin.publish.options import Asked, Options
from opambin.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opambin.publish.places import Place
    from opambin.publish.workflow import Report

pytestmark = pytest.mark.integration

URL = "https://example.org/opam"
OPTIONS = Options(base_url=URL, policy=licences.load(), now=1_800_000_000)


@pytest.fixture(params=AWAY)
def away(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Away]:
    with request.param(tmp_path) as found:
        yield found


@pytest.fixture
def samples(tmp_path: Path) -> Iterator[Samples]:
    with Store.open(tmp_path / "store") as store:
        made = Samples(store)
        made.add("ocaml.4.14.2", opam='opam-version: "2.0"\nflags: compiler\n', files={}, config="x")
        made.add("conf-g++.1", opam=VIRTUAL, files={})
        made.add("zarith.1.12", "ocaml.4.14.2")
        yield made


def publish(samples: Samples, place: Place, **changes: object) -> Report:
    options = dataclasses.replace(OPTIONS, **changes)  # type: ignore[arg-type]  # what tests change
    return workflow.publish(samples.store, place, Asked(), options)


def test_a_repository_is_complete_and_kept_up(samples: Samples, away: Away) -> None:
    first = publish(samples, away.place())
    place = away.place()
    data = place.read(catalogue.NAME)
    assert data is not None
    assert Catalogue.parse(data) == first.catalogue
    packed = place.read("index.tar.gz")
    assert packed is not None
    assert hashlib.sha256(packed).hexdigest() == first.catalogue.index_sha256
    assert len(indexfile.read_index(packed)) == 4
    archives = [row.archive for row in first.catalogue.builds if row.archive is not None]
    for archive in archives:
        assert hashlib.sha256(place.read(archive.path) or b"").hexdigest() == archive.sha256
    assert place.read(places.LOCK) is None
    assert not publish(samples, away.place()).changed
    gone = samples.made["zarith.1.12"]
    samples.store.drop(gone.key, gone.output)
    samples.add("re.1.11")
    second = publish(samples, away.place(), now=OPTIONS.now + 1)
    assert [row.name for row in second.removed] == ["zarith"]
    assert away.place().read(archives[-1].path) is None
    assert away.place().read(archives[0].path) is not None
    kept = publish(samples, away.place(), now=OPTIONS.now + 1, merge=True)
    assert not kept.changed


def test_two_publishers_at_once(samples: Samples, away: Away) -> None:
    publish(samples, away.place())
    samples.add("re.1.11")
    with away.place().lock():
        with pytest.raises(
            UnavailableError, match=r"is publishing to .*; if that is not so any more, remove"
        ):
            publish(samples, away.place())
        assert len(Catalogue.parse(away.place().read(catalogue.NAME) or b"").builds) == 3
    assert publish(samples, away.place()).changed


def test_a_place_that_holds_something_else(samples: Samples, away: Away, tmp_path: Path) -> None:
    place = away.place()
    (tmp_path / "work").mkdir()
    with place.lock():
        place.write([{"repo": b"something else"}], [])
    with pytest.raises(MisuseError, match=r"holds something else \(repo\)"):
        publish(samples, away.place())


@pytest.mark.parametrize("target", ["oci://example.org/x", "ftp://example.org/x"])
def test_where_nothing_can_be_published(target: str) -> None:
    with pytest.raises(MisuseError):
        publisher.place_of(target, {})


def test_a_place_that_is_not_there(samples: Samples, tmp_path: Path) -> None:
    program("rsync")
    with pytest.raises(UnavailableError):
        publish(samples, publisher.place_of(f"rsync:{tmp_path}/no/such/folder", {}))
    with pytest.raises(UnavailableError):
        publish(samples, publisher.place_of("http://127.0.0.1:9/repo", {"HOME": str(tmp_path)}))


def test_a_folder_is_a_folder(tmp_path: Path) -> None:
    assert publisher.place_of(f"file://{tmp_path}", {}).shown == str(tmp_path)
    assert publisher.place_of("relative", {}).shown == str(Path.cwd() / "relative")
