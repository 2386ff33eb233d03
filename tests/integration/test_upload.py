"""A signed folder, uploaded to real servers; opam follows it there, and asks opam-bin about every update."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import pytest
from places_away import AWAY, Away, web
from signedrepo import Publisher
from worlds import World

from opambin.errors import UnavailableError
from opambin.publish.places import LOCK
from opambin.publish.signed import uploading
from opambin.publish.signed.served import TIMESTAMP
from opambin.publish.signed.standing import instructions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from worlds import Done

    from opambin.publish.places import Place

pytestmark = pytest.mark.integration
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def root(opam_program: str, short_folder: Path) -> World:
    """An opam root without a switch, in which opam-bin is asked about updates."""
    return World.verifying(short_folder / f"up{next(_numbers)}", opam_program)


@pytest.fixture(params=AWAY)
def away(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Away]:
    with request.param(tmp_path) as found:
        yield found


def upload(world: World, publisher: Publisher, away: Away, code: int = 0) -> Done:
    command = ("tuf", "upload", str(publisher.folder), away.target)
    return world.opam_bin(*command, code=code, more=away.environ)


def available(world: World, name: str) -> list[str]:
    listed = world.opam("list", "--all", "--short", "--columns=package", f"--repos={name}")
    return sorted(listed.out.split())


def test_opam_installs_and_follows(root: World, away: Away, tmp_path: Path) -> None:
    publisher, name = Publisher.make(tmp_path / "site", base_url=away.url), f"n{next(_numbers)}"
    assert f"Copied to {away.place().shown}: " in upload(root, publisher, away).out
    begun = ("verify-repo", away.url, "--root", f"{publisher.folder}/tuf/root.json")
    assert "as signed" in root.opam_bin(*begun).out
    assert "Initialised" in root.follow(instructions(publisher.folder, away.url, name)).text
    root.opam("switch", "create", name, "--empty", "--no-switch", f"--repos={name}")
    root.opam("install", "--switch", name, "beta")
    assert available(root, name) == ["alpha.1", "beta.1"]
    assert "is as it should be" in upload(root, publisher, away).out

    publisher.package("gamma", "2", base_url=away.url)
    gone = next(
        path for path in (publisher.folder / "archives").rglob("*.gz") if names(path, publisher, "beta")
    )
    gone.unlink()
    (publisher.folder / "packages/beta/beta.1/opam").unlink()
    publisher.sign()
    assert f"{2 if away.place().has_tree else 1} removed" in upload(root, publisher, away).out
    assert away.place().read(str(gone.relative_to(publisher.folder))) is None
    assert root.opam("update", "--repositories", name).code == 0
    assert available(root, name) == ["alpha.1", "gamma.2"]
    root.opam("install", "--switch", name, "gamma")
    assert "as signed" in root.opam_bin("verify-repo", away.url).out


def names(archive: Path, publisher: Publisher, package: str) -> bool:
    definition = (publisher.folder / f"packages/{package}/{package}.1/opam").read_text()
    return str(archive.relative_to(publisher.folder)) in definition


def test_an_upload_that_was_cut_off_is_not_seen_and_is_made_good(
    root: World, away: Away, tmp_path: Path
) -> None:
    """opam sees the state that was there before, or the one that is new: here the former."""
    publisher, name = Publisher.make(tmp_path / "site", base_url=away.url), f"n{next(_numbers)}"
    upload(root, publisher, away)
    assert "Initialised" in root.follow(instructions(publisher.folder, away.url, name)).text
    publisher.package("gamma", "2", base_url=away.url)
    publisher.sign()
    with pytest.raises(UnavailableError, match="cut off"):
        uploading.upload(publisher.folder, CutOff(away.place()), publisher.now)  # type: ignore[arg-type]
    with away.place().lock():
        assert "is publishing to" in upload(root, publisher, away, code=4).err
    assert root.opam("update", "--repositories", name).code == 0
    assert available(root, name) == ["alpha.1", "beta.1"]
    upload(root, publisher, away)
    assert root.opam("update", "--repositories", name).code == 0
    assert available(root, name) == ["alpha.1", "beta.1", "gamma.2"]
    assert (
        "as signed"
        in root.opam_bin("verify-repo", away.url, "--root", f"{publisher.folder}/tuf/root.json").out
    )


class CutOff:
    """A place that can't be reached any more once all but the index and the timestamp is there."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def __getattr__(self, name: str) -> object:
        return getattr(self.place, name)

    def write(self, steps: Sequence[Mapping[str, bytes | Path]], gone: Sequence[str]) -> None:
        assert gone == [] or all(path.startswith("tuf/") for path in gone)
        self.place.write([step for step in steps if not step.keys() & {"index.tar.gz", TIMESTAMP}], [])
        raise UnavailableError("cut off")


def test_nothing_is_read_back_but_a_little_metadata(root: World, tmp_path: Path) -> None:
    with web(tmp_path) as away:
        publisher = Publisher.make(tmp_path / "site", base_url=away.url)
        upload(root, publisher, away)
        publisher.package("gamma", "2", base_url=away.url)
        publisher.sign()
        before = logged(away, uploads=1)
        upload(root, publisher, away)
        asked = [line.split('"')[1].split()[:2] for line in logged(away, uploads=2)[len(before) :]]
    read = {path for method, path in asked if method == "GET"}
    assert read == {f"/repo/tuf/{name}.json" for name in ("timestamp", "root")}
    written = {path.removeprefix("/repo/") for method, path in asked if method == "PUT"}
    lists = {f"tuf/2.{name}.json" for name in ("site", "snapshot", "targets")}
    assert {path for path in written if not path.startswith("archives/")} == {
        LOCK,
        *lists,
        "index.tar.gz",
        TIMESTAMP,
    }
    assert len(written) == 7


def logged(away: Away, *, uploads: int) -> list[str]:
    """Return what the server has logged once uploads have ended; it answers before it writes that down."""
    end = time.monotonic() + 10
    while True:
        lines = away.server.requests()
        if sum("DELETE" in line for line in lines) >= uploads or time.monotonic() > end:
            return lines
        time.sleep(0.05)


def test_a_folder_without_archives_goes_on(root: World, away: Away, tmp_path: Path) -> None:
    publisher = Publisher.make(tmp_path / "site", base_url=away.url)
    command = ("tuf", "upload", str(publisher.folder), away.target, "--drop-archives")
    root.opam_bin(*command, more=away.environ)
    publisher.package("gamma", "2", base_url=away.url)
    publisher.sign()
    root.opam_bin(*command, more=away.environ)
    assert not list((publisher.folder / "archives").rglob("*.gz"))
    begun = ("verify-repo", away.url, "--root", f"{publisher.folder}/tuf/root.json")
    assert "as signed" in root.opam_bin(*begun).out
