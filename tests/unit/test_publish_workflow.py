"""Publications into folders, from stores that are made here; what is refused, and what stays whole."""

from __future__ import annotations

import dataclasses
import io
import os
import tarfile
import threading
from typing import TYPE_CHECKING

import pytest
from memory_remote import MemoryRemote
from snapshot_samples import VIRTUAL, Samples

from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.model import PLACEHOLDER, Bound
from opambin.publish import catalogue, indexfile, licences, places, workflow
from opambin.publish.catalogue import Catalogue, Mode
from opambin.publish.options import Asked, Options
from opambin.publish.places import Folder
from opambin.publish.privacy import Identity
from opambin.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from opambin.publish.workflow import Report

URL = "https://example.org/opam"
OPTIONS = Options(base_url=URL, policy=licences.load(), now=1_800_000_000, jobs=2)


@pytest.fixture
def samples(tmp_path: Path) -> Iterator[Samples]:
    with Store.open(tmp_path / "store") as store:
        yield Samples(store)


@pytest.fixture
def place(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "published")


def three(samples: Samples) -> None:
    samples.add("ocaml.4.14.2", opam='opam-version: "2.0"\nflags: compiler\n', files={}, config="x")
    samples.add("base-unix.base", opam=VIRTUAL, files={})
    samples.add("zarith.1.12", "ocaml.4.14.2", files={"lib/zarith/META": b"dir=" + PLACEHOLDER})


def publish(
    samples: Samples, place: places.Place, asked: Asked | None = None, last: int = 0, **changes: object
) -> Report:
    options = dataclasses.replace(OPTIONS, **changes)  # type: ignore[arg-type]  # what tests change
    return workflow.publish(samples.store, place, asked or Asked(), options, last)


def names(report: Report) -> list[str]:
    return [f"{row.name}.{row.published}" for row in report.catalogue.builds]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_repository_is_complete(samples: Samples, place: Folder) -> None:
    three(samples)
    report = publish(samples, place)
    assert names(report) == ["base-unix.base", "ocaml.4.14.2", "zarith.1.12"]
    files = tree(place.path)
    found = Catalogue.parse(files[catalogue.NAME])
    assert found == report.catalogue
    assert found.serial == 1
    assert indexfile.read_index(files["index.tar.gz"]) == {
        name: content for name, content in files.items() if name == "repo" or name.startswith("packages/")
    }
    for row in found.builds:
        text = files[row.opam_path].decode()
        if row.archive is not None:
            assert len(files[row.archive.path]) == row.archive.size
            assert f'src: "{URL}/{row.archive.path}"' in text
            assert f"sha512={row.archive.sha512}" in text
    assert {row.compiler for row in found.builds} == {"", "ocaml.4.14.2"}
    assert not any(name.startswith((places.WORK, places.LOCK)) for name in files)


def test_options_of_a_compiler_are_no_compiler(samples: Samples, place: Folder) -> None:
    """The pages said that there are two compilers: ocaml-options-vanilla has the flag, and is nothing."""
    samples.add("ocaml-options-vanilla.1", opam=VIRTUAL + "flags: compiler\n", files={})
    three(samples)
    report = publish(samples, place)
    assert {row.compiler for row in report.catalogue.builds} == {"", "ocaml.4.14.2"}


def test_pages_come_with_it(samples: Samples, place: Folder) -> None:
    three(samples)
    publish(samples, place)
    files = tree(place.path)
    assert b"pages/p/zarith.html" in files["index.html"]
    page = files["pages/p/zarith.html"].decode()
    assert "<dt>lib/zarith/</dt><dd><span>META</span></dd>" in page
    assert "opam install zarith.1.12" in page.replace("<span>", "").replace("</span>", "")
    samples.add("lwt.5", "ocaml.4.14.2")
    publish(samples, place)
    after = tree(place.path)
    assert after["pages/p/zarith.html"] == files["pages/p/zarith.html"]
    assert b"pages/p/lwt.html" in after["index.html"]
    only = Asked(names=("zarith",))
    publish(samples, place, only)
    assert "pages/p/lwt.html" not in tree(place.path)


def test_pages_go_to_any_place(samples: Samples) -> None:
    three(samples)
    samples.add("lwt.5~rc+1")
    remote = MemoryRemote()
    publish(samples, places.OnRemote(remote, "me"))
    assert {"index.html", "pages/p/zarith.html", "pages/badge/lwt.svg"} <= set(remote.content)
    assert b"META" in remote.content["pages/p/zarith.html"]
    before = dict(remote.content)
    remote.calls.clear()
    publish(samples, places.OnRemote(remote, "me"), Asked(names=("zarith",)))
    assert set(before) - set(remote.content) >= {"pages/p/lwt.html", "pages/badge/lwt.svg"}
    assert remote.content["pages/p/zarith.html"] == before["pages/p/zarith.html"]


def test_an_archive_has_the_tree_the_list_and_the_script(samples: Samples, place: Folder) -> None:
    three(samples)
    row = publish(samples, place).catalogue.builds[-1]
    assert row.archive is not None
    data = (place.path / row.archive.path).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = {member.name: member for member in tar}
        assert {"zarith.1.12/files/lib/zarith/META", "zarith.1.12/opam-bin.sh"} <= members.keys()
        assert {member.mtime for member in members.values()} == {946_684_800}
        listed = tar.extractfile("zarith.1.12/opam-bin.edits")
        assert listed is not None
        assert listed.read().decode().splitlines() == [
            "edits 1",
            "re files/lib/zarith/META",
            "at 4 200 p",
            "size 4 P 0 1",
        ]


def test_publishing_again_writes_nothing(samples: Samples, place: Folder) -> None:
    three(samples)
    publish(samples, place)
    before = {path: path.stat().st_mtime_ns for path in place.path.rglob("*")}
    report = publish(samples, place, now=OPTIONS.now + 1000)
    assert not report.changed
    assert {path: path.stat().st_mtime_ns for path in place.path.rglob("*")} == before


def test_the_same_snapshots_give_the_same_bytes(samples: Samples, tmp_path: Path) -> None:
    three(samples)
    publish(samples, Folder(tmp_path / "one"))
    publish(samples, Folder(tmp_path / "two"), jobs=1)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_what_is_new_is_added_and_the_rest_left_alone(samples: Samples, place: Folder) -> None:
    three(samples)
    first = publish(samples, place).catalogue
    archives = {
        path: path.stat().st_mtime_ns for path in place.path.rglob("*.tar.gz") if path.parent != place.path
    }
    samples.add("re.1.11", "ocaml.4.14.2")
    report = publish(samples, place, now=OPTIONS.now + 5)
    assert [row.name for row in report.added] == ["re"]
    assert report.removed == ()
    assert report.catalogue.serial == 2
    assert {path: path.stat().st_mtime_ns for path in archives} == archives
    kept = [row for row in report.catalogue.builds if row.name != "re"]
    assert kept == list(first.builds)


def test_what_is_not_wanted_any_more_is_removed_last(samples: Samples, place: Folder) -> None:
    three(samples)
    publish(samples, place)
    gone = samples.made["zarith.1.12"]
    samples.store.drop(gone.key, gone.output)
    report = publish(samples, place)
    assert [row.name for row in report.removed] == ["zarith"]
    files = tree(place.path)
    assert not any("zarith" in name for name in files)
    assert sum(name.startswith("archives/") for name in files) == 1


def test_merging_keeps_it(samples: Samples, place: Folder) -> None:
    three(samples)
    publish(samples, place)
    before = tree(place.path)
    gone = samples.made["zarith.1.12"]
    samples.store.drop(gone.key, gone.output)
    samples.add("re.1.11", "ocaml.4.14.2")
    report = publish(samples, place, merge=True)
    assert names(report) == ["base-unix.base", "ocaml.4.14.2", "re.1.11", "zarith.1.12"]
    name = "packages/zarith/zarith.1.12/opam"
    assert tree(place.path)[name] == before[name]
    assert name in indexfile.read_index(tree(place.path)["index.tar.gz"])


def test_merging_drops_what_stood_on_another_build(samples: Samples, place: Folder) -> None:
    """zarith was linked against an ocaml that is published no more."""
    three(samples)
    publish(samples, place)
    for package in ("zarith.1.12", "ocaml.4.14.2"):
        samples.store.drop(samples.made[package].key, samples.made[package].output)
    samples.add(
        "ocaml.4.14.2", build="2", opam='opam-version: "2.0"\nflags: compiler\n', files={}, config="y"
    )
    assert names(publish(samples, place, merge=True)) == ["base-unix.base", "ocaml.4.14.2"]


def test_only_some_versions_are_kept(samples: Samples, place: Folder) -> None:
    three(samples)
    for version in ("1.9", "1.10", "1.11"):
        samples.add(f"re.{version}")
    samples.add("user.1", "re.1.9")
    report = publish(samples, place, keep=1)
    assert [name for name in names(report) if name.startswith("re.")] == ["re.1.11", "re.1.9"]
    assert any("newer versions" in row.reason for row in report.catalogue.left_out)
    assert not publish(samples, place, keep=1).changed


def test_one_build_of_a_version(samples: Samples, place: Folder) -> None:
    three(samples)
    samples.add("zarith.1.12", build="2")
    report = publish(samples, place)
    assert names(report).count("zarith.1.12") == 1
    (left,) = report.catalogue.left_out
    assert "another build of this version" in left.reason
    assert left.output == samples.store.by_name(left.name)[1].output
    assert not publish(samples, place).changed


def test_what_was_built_against_another_build_is_left_out(samples: Samples, place: Folder) -> None:
    three(samples)
    samples.add("old-user.1", "zarith.1.12")
    samples.add("zarith.1.12", build="2")
    samples.add("new-user.1", "zarith.1.12")
    report = publish(samples, place)
    assert [row.name for row in report.catalogue.left_out] == ["old-user", "zarith"]
    assert "its dependency zarith.1.12" in report.catalogue.left_out[0].reason


def test_mixed_repositories_have_all_builds_and_short_names(samples: Samples, place: Folder) -> None:
    three(samples)
    samples.add("zarith.1.12", "ocaml.4.14.2", build="2")
    report = publish(samples, place, mode=Mode.MIXED)
    builds = [row for row in report.catalogue.builds if row.name == "zarith"]
    assert len(builds) == 2
    for row in builds:
        assert row.published.startswith("1.12+bin+1+")
        short = place.path / f"packages/zarith+bin/zarith+bin.{row.published}/opam"
        assert f'"zarith" {{= "{row.published}"}}' in short.read_text()
        (below,) = row.dependencies
        assert below.published.startswith("4.14.2+bin+1+")
    again = publish(samples, place)
    assert not again.changed
    samples.add("re.1")
    later = publish(samples, place)
    assert [row.published.split("+")[2] for row in later.catalogue.builds if row.name == "re"] == ["2"]
    assert [row for row in later.catalogue.builds if row.name == "zarith"] == builds


def test_names_bring_what_they_stand_on(samples: Samples, place: Folder) -> None:
    three(samples)
    samples.add("dune.3")
    opam = 'opam-version: "2.0"\ndepends: ["dune" {build} "zarith"]\n'
    samples.add("app.1", "dune.3", "zarith.1.12", opam=opam)
    assert names(publish(samples, place, Asked(names=("app",)))) == ["app.1", "ocaml.4.14.2", "zarith.1.12"]
    closure = publish(samples, place, Asked(names=("app.1",), closure=True))
    assert "dune.3" in names(closure)
    only = publish(samples, place, Asked(only=("ocaml.4.14.*",)))
    assert names(only) == ["app.1", "ocaml.4.14.2", "zarith.1.12"]
    with pytest.raises(MisuseError, match="nothing is not among"):
        publish(samples, place, Asked(names=("nothing",)))


def test_names_bring_what_is_wanted_with_them(samples: Samples, place: Folder) -> None:
    compiler = 'opam-version: "2.0"\nflags: compiler\ndepends: ["ocaml" {post} "base-unix" {post}]\n'
    samples.add("base-unix.base", opam=VIRTUAL, files={})
    samples.add("comp.1", opam=compiler, files={}, config="x")
    samples.add("ocaml.4.14.2", "comp.1", opam=VIRTUAL, files={}, config="y")
    samples.add("comp.2", opam=compiler, files={}, config="z")
    samples.add("ocaml.5.1.0", "comp.2", opam=VIRTUAL, files={}, config="y")
    samples.add("lib.1", "comp.1")
    report = publish(samples, place, Asked(names=("lib",)))
    assert names(report) == ["base-unix.base", "comp.1", "lib.1", "ocaml.4.14.2"]
    (row,) = [row for row in report.catalogue.builds if row.name == "comp"]
    assert [(it.name, it.published, it.post) for it in row.dependencies] == [
        ("base-unix", "base", True),
        ("ocaml", "4.14.2", True),
    ]


UNLICENSED = 'opam-version: "2.0"\nurl { src: "https://x/x.tgz" }\n'


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"opam": UNLICENSED}, "names no licence", id="no licence"),
        pytest.param({"opam": UNLICENSED + 'license: "(("\n'}, "can't be read", id="no expression"),
        pytest.param({"opam": UNLICENSED + 'license: "CC-BY-NC-4.0"\n'}, "not to be published", id="denied"),
        pytest.param({"bound": (Bound("bin/x", "copied"),)}, "belongs to the path", id="bound"),
        pytest.param({"files": {"lib/a\nb": b""}}, "a name that a shell can't read", id="odd name"),
    ],
)
def test_what_may_not_be_published(
    samples: Samples, place: Folder, changes: Mapping[str, object], words: str
) -> None:
    three(samples)
    samples.add("bad.1", "ocaml.4.14.2", **changes)  # type: ignore[arg-type]  # a table
    samples.add("above.1", "bad.1")
    report = publish(samples, place)
    assert names(report) == ["base-unix.base", "ocaml.4.14.2", "zarith.1.12"]
    assert [row.name for row in report.catalogue.left_out] == ["above", "bad"]
    assert all(words in row.reason for row in report.catalogue.left_out)
    assert not publish(samples, place).changed
    before = tree(place.path)
    with pytest.raises(MisuseError, match=r"above\.1 can't be published"):
        publish(samples, place, Asked(names=("above",)))
    assert tree(place.path) == before


def test_a_package_without_source_needs_no_licence(samples: Samples, place: Folder) -> None:
    samples.add("seq.base", opam=VIRTUAL)
    (row,) = publish(samples, place).catalogue.builds
    assert row.licence.verdict == "not needed"


def test_a_secret_stops_everything(samples: Samples, place: Folder) -> None:
    three(samples)
    publish(samples, place)
    before = tree(place.path)
    samples.add("leak.1", files={"lib/leak/x.ml": b'let home = "/home/alice/work"'})
    alice = Identity(homes=(b"/home/alice",))
    with pytest.raises(BadDataError, match=r"leak:lib/leak/x.ml, byte 12: a directory of yours"):
        publish(samples, place, identity=alice)
    assert tree(place.path) == before
    assert "leak.1" in names(publish(samples, place, identity=alice, accepted=("leak:lib/*",)))


def test_a_folder_that_holds_something_else(samples: Samples, place: Folder) -> None:
    three(samples)
    place.path.mkdir()
    (place.path / "thesis.tex").write_text("precious")
    with pytest.raises(MisuseError, match=r"holds something else \(thesis.tex\)"):
        publish(samples, place)
    assert tree(place.path) == {"thesis.tex": b"precious"}


def test_a_file_is_no_place(samples: Samples, place: Folder) -> None:
    # It was an internal error.
    three(samples)
    place.path.write_text("precious")
    with pytest.raises(UnavailableError, match="can't be published to: Not a directory"):
        publish(samples, place)
    assert place.path.read_text() == "precious"


@pytest.mark.parametrize(
    "url",
    [
        "example.org",
        "ftp://example.org",
        "https://example.org/a?b",
        "https://a b/",
        "https://",
        "oci://x/y",
        'http://x/"',
    ],
)
def test_a_base_url_that_does_not_fit(samples: Samples, place: Folder, url: str) -> None:
    three(samples)
    with pytest.raises(MisuseError, match="not a base URL"):
        publish(samples, place, base_url=url)
    assert not place.path.exists()


def test_another_base_url_than_before(samples: Samples, place: Folder) -> None:
    three(samples)
    publish(samples, place)
    with pytest.raises(MisuseError, match="--rebase"):
        publish(samples, place, base_url="https://elsewhere.org")
    assert publish(samples, place, base_url="").catalogue.base_url == URL
    moved = publish(samples, place, base_url="https://elsewhere.org/", rebase=True)
    assert moved.catalogue.base_url == "https://elsewhere.org"
    assert b"example.org/opam" not in tree(place.path)["packages/zarith/zarith.1.12/opam"]


def test_another_mode_than_before(samples: Samples, place: Folder) -> None:
    three(samples)
    publish(samples, place)
    with pytest.raises(MisuseError, match="of mode alone"):
        publish(samples, place, mode=Mode.MIXED)


@pytest.mark.parametrize("there", [1, 0])
def test_a_place_that_is_older_than_the_last_publication(samples: Samples, place: Folder, there: int) -> None:
    three(samples)
    if there:
        publish(samples, place)
    with pytest.raises(MisuseError, match="publication 2 was there before"):
        publish(samples, place, last=2)
    publish(samples, place, last=2, older=True)


def test_a_clock_that_goes_back(samples: Samples, place: Folder) -> None:
    three(samples)
    publish(samples, place)
    samples.add("re.1")
    with pytest.raises(MisuseError, match="set the clock"):
        publish(samples, place, now=OPTIONS.now - 1)


def test_two_publishers_at_once(samples: Samples, place: Folder) -> None:
    three(samples)
    publish(samples, place)
    before = tree(place.path)
    samples.add("re.1")
    with place.lock():
        with pytest.raises(UnavailableError, match="somebody else is publishing"):
            publish(samples, place)
        assert tree(place.path) | {places.LOCK: b""} == before | {places.LOCK: b""}
    assert publish(samples, place).changed


def test_a_disk_that_fills_up(samples: Samples, place: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever write fails, what was published before is whole."""
    three(samples)
    publish(samples, place)
    before = tree(place.path)
    samples.add("re.1", files={"lib/re/big": os.urandom(200_000)})
    real = os.fsync
    count = 0

    def full(descriptor: int) -> None:
        nonlocal count
        count += 1
        if count > 2:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UnavailableError, match="what was published before is as it was"):
        publish(samples, place)
    assert tree(place.path) == before
    monkeypatch.setattr(os, "fsync", real)
    assert "re.1" in names(publish(samples, place))


def test_a_killed_publisher_leaves_no_obstacle(samples: Samples, place: Folder) -> None:
    three(samples)
    publish(samples, place)
    (place.path / places.WORK).mkdir()
    (place.path / places.WORK / "half.tar.gz").write_bytes(b"x")
    samples.add("re.1")
    publish(samples, place)
    assert not (place.path / places.WORK).exists()


def test_a_dry_run_writes_nothing(samples: Samples, place: Folder) -> None:
    three(samples)
    report = publish(samples, place, dry_run=True)
    assert names(report) == ["base-unix.base", "ocaml.4.14.2", "zarith.1.12"]
    assert not report.changed
    assert not place.path.exists()


def test_a_damaged_object_is_reported(samples: Samples, place: Folder) -> None:
    three(samples)
    row = samples.made["zarith.1.12"].files[0]
    assert row.digest is not None
    path = samples.store.objects.path(row.digest, executable=False, size=row.size)
    status = path.stat()
    path.chmod(0o644)
    path.write_bytes(b"X" * row.size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(BadDataError):
        publish(samples, place)
    assert tree(place.path) == {}


def test_an_index_that_is_not_the_catalogues(samples: Samples, place: Folder) -> None:
    three(samples)
    publish(samples, place)
    gone = samples.made["zarith.1.12"]
    samples.store.drop(gone.key, gone.output)
    samples.add("re.1")
    (place.path / "index.tar.gz").write_bytes(indexfile.write_index({"repo": b"x"}))
    with pytest.raises(BadDataError, match="not the one that the catalogue is of"):
        publish(samples, place, merge=True)


def test_a_switch_publishes_what_it_has(samples: Samples, place: Folder) -> None:
    three(samples)
    samples.add("other.1")
    wanted = {(it.key, it.output) for name, it in samples.made.items() if name != "other.1"}
    asked = Asked(snapshots=frozenset(wanted), missing=("x.1: no snapshot",))
    report = publish(samples, place, asked)
    assert names(report) == ["base-unix.base", "ocaml.4.14.2", "zarith.1.12"]
    assert report.missing == ("x.1: no snapshot",)
    assert not publish(samples, place, asked).changed


class Slow(Folder):
    """A folder in which one looks around while it is written."""

    seen: list[str] = []  # noqa: RUF012 - of the test

    def write(self, steps: Sequence[places.Step], gone: Sequence[str]) -> None:
        for step in steps:
            super().write([step], [])
            if (self.path / "index.tar.gz").exists():
                listed = indexfile.read_index((self.path / "index.tar.gz").read_bytes())
                for name, content in listed.items():
                    if name.endswith("/opam") and b"src:" in content:
                        path = content.decode().partition(f'src: "{URL}/')[2].partition('"')[0]
                        self.seen.append(path)
                        assert (self.path / path).exists(), name
            for number in range(len(steps)):
                folder = self.path / places.WORK / f"step{number}"
                if folder.exists():
                    folder.rmdir()
        super().write([], gone)


def test_at_every_moment_the_index_names_what_is_there(samples: Samples, tmp_path: Path) -> None:
    place = Slow(tmp_path / "published")
    three(samples)
    publish(samples, place)
    samples.add("zarith.1.12", "ocaml.4.14.2", build="2", files={"lib/zarith/META": b"new"})
    publish(samples, place)
    assert Slow.seen


def test_locks_are_of_the_system(place: Folder) -> None:
    """A publisher that dies holds nothing: the next one gets the lock."""
    problems: list[str] = []

    def other() -> None:
        try:
            with place.lock():
                pass
        except UnavailableError as error:
            problems.append(str(error))

    with place.lock():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(problems) == 1
    other()
    assert len(problems) == 1
