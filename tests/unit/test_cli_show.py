from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cli_runs import Cli
from store_samples import full_manifest, sha, stored_manifest

from opambin.cli.show import lines, values
from opambin.model import Bound, ConeKey, FileEntry, FileType
from opambin.reports.relocatability import relocation
from opambin.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

FULL = full_manifest()


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    return Cli(monkeypatch, capsys, tmp_path)


def test_a_snapshot_is_shown(cli: Cli) -> None:
    (manifest,) = cli.fill("zed")
    done = cli("show", "zed")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("zed.1.0\n")
    for words in (manifest.key, manifest.output, "2 files; 30 B", "the prefix is in no file", "anywhere"):
        assert words in done.out


def test_every_output_is_shown(cli: Cli) -> None:
    cli.fill("zed")
    with Store.open(cli.cache) as store:
        store.add(stored_manifest(store, "zed", build="2"))
    assert len(cli("show", "zed.1.0", "--json").json["snapshots"]) == 2
    assert cli("show", "zed").out.count("zed.1.0\n") == 2


def test_everything_that_a_manifest_holds_is_told() -> None:
    text = "\n".join(lines(FULL, files=True))
    for words in (
        "3 files, 1 symlink, 1 directory, 2 files of its definition",
        "2 times in 1 file (1 block, 1 text; 1 only informational)",
        "no further: it belongs to /home/me/.opam/5.1",
        "bin/ocamlfind: copied through registers",
        "lib/ocaml/ld.conf: /a/b",
        "ocaml: output",
        "another with the same 1 shared library",
        "x: any output",
        "1 interface",
        'opam-version: "2.0"',
        "in 12 s, by opam 2.1.2, from 12 kB of sources, under the padded prefix",
        "share/link -> ../nowhere",
    ):
        assert words in text


def test_json_of_a_snapshot_keeps_its_shape() -> None:
    found = values(FULL, files=True)
    assert list(found) == [
        *("name", "version", "key", "output", "bytes", "counts", "relocation", "edits", "provides"),
        *("imports", "config", "install", "extra_files", "build", "files"),
    ]
    assert found["relocation"] == {
        "movable": "bound",
        "longest_prefix": None,
        "prefix": "/home/me/.opam/5.1",
        "occurrences": {"block": 1, "text": 1},
        "informational": 1,
        "files": 1,
        "bound": [
            {"path": "bin/ocamlfind", "reason": "copied through registers", "max_prefix": 40},
            {"path": "bin/same", "reason": "unknown", "max_prefix": None},
        ],
    }
    assert "files" not in values(FULL, files=False)


@pytest.mark.parametrize(
    ("bound", "longest", "words"),
    [
        pytest.param((Bound("a", "r", 40),), 40, "up to 40 bytes", id="shorter than the room"),
        pytest.param((), 200, "up to 200 bytes", id="the room of an occurrence"),
        pytest.param((Bound("a", "r"),), 0, "no further", id="bound"),
    ],
)
def test_how_far_a_snapshot_moves(bound: tuple[Bound, ...], longest: int, words: str) -> None:
    found = relocation(replace(FULL, bound=bound))
    assert found.longest == longest
    assert words in found.movable


def test_what_is_only_informational_limits_nothing() -> None:
    entry = FULL.files[1]
    stale = replace(entry, occurrences=tuple(replace(it, functional=False) for it in entry.occurrences))
    assert relocation(replace(FULL, files=(stale,), bound=())).movable == "anywhere"


def test_a_key_chooses_by_its_first_digits(cli: Cli) -> None:
    (manifest,) = cli.fill("zed")
    with Store.open(cli.cache) as store:
        store.add(replace(stored_manifest(store, "zed"), key=ConeKey("0" * 64)))
    (found,) = cli("show", "zed", "--key", manifest.key[:6].upper(), "--json").json["snapshots"]
    assert found["key"] == manifest.key


@pytest.mark.parametrize(
    ("args", "words"),
    [
        pytest.param(["zedd"], "did you mean zed?", id="near name"),
        pytest.param(["angstrom"], "'opam-bin list' shows", id="far name"),
        pytest.param(["zed.2.0"], "of zed it has 1.0", id="version"),
        pytest.param(["zed", "--key", "ffff0000"], "its keys begin with", id="other key"),
        pytest.param(["zed", "--key", "ab"], "at least 4", id="short key"),
        pytest.param(["zed", "--key", "nope"], "no cone key", id="no key"),
        pytest.param([], "Missing argument", id="no name"),
    ],
)
def test_what_is_not_there_is_misuse(cli: Cli, args: list[str], words: str) -> None:
    cli.fill("zed")
    done = cli("show", *args)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert "Traceback" not in done.err


def test_a_store_that_is_not_there(cli: Cli) -> None:
    done = cli("show", "zed")
    assert done.code == 4
    assert "there is no store at" in done.err


def test_a_corrupt_manifest_is_bad_data_and_put_aside(cli: Cli) -> None:
    (manifest,) = cli.fill("zed")
    path = cli.damage_manifest(manifest)
    done = cli("show", "zed")
    assert (done.code, done.out) == (3, "")
    assert "damaged or edited manifest" in done.err
    assert not path.exists()


def test_a_manifest_that_can_not_be_read_is_unavailable_and_stays(cli: Cli) -> None:
    (manifest,) = cli.fill("zed")
    path = cli.damage_manifest(manifest)
    path.unlink()
    path.mkdir()
    done = cli("show", "zed")
    assert (done.code, done.out) == (4, "")
    assert f"{path} can't be read" in done.err
    assert path.exists()


def test_a_snapshot_that_only_the_index_knows(cli: Cli) -> None:
    (manifest,) = cli.fill("zed")
    cli.damage_manifest(manifest).unlink()
    done = cli("show", "zed")
    assert done.code == 3
    assert "is gone; 'opam-bin verify'" in done.err


def test_the_good_outputs_are_shown_beside_a_corrupt_one(cli: Cli) -> None:
    (manifest,) = cli.fill("zed")
    with Store.open(cli.cache) as store:
        store.add(stored_manifest(store, "zed", build="2"))
    cli.damage_manifest(manifest)
    done = cli("show", "zed", "--json")
    assert done.code == 3
    assert [found["output"] for found in done.json["snapshots"]] == [sha("output 2 of zed")]
    assert "damaged" in done.err


def test_a_hostile_name_can_not_command_the_terminal(cli: Cli) -> None:
    with Store.open(cli.cache) as store:
        manifest = stored_manifest(store, "zed")
        evil = FileEntry("lib/x\x1b]0;title\x07\udcff", FileType.SYMLINK, target="x\ny")
        store.add(replace(manifest, files=(*manifest.files, evil)))
    out = cli("show", "zed", "--files").out
    assert "\x1b" not in out
    assert r"lib/x\x1b]0;title\x07\udcff -> x\ny" in out
