from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cli_runs import Cli
from snapshot_samples import OPAM, VIRTUAL, Samples, sha

from opambin.cli.output import printable
from opambin.publish import publisher
from opambin.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://example.org/opam"
UNLICENSED = OPAM.format(depends="", name="x", digits=sha("x")).replace('license: "MIT"\n', "")


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    found = Cli(monkeypatch, capsys, tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1800000000")
    with Store.open(found.cache) as store:
        samples = Samples(store)
        samples.add("ocaml.4.14.2", opam='opam-version: "2.0"\nflags: compiler\n', files={}, config="x")
        samples.add("base-unix.base", opam=VIRTUAL, files={})
        samples.add("zarith.1.12", "ocaml.4.14.2")
        samples.add("mystery.1", opam=UNLICENSED)
    return found


def test_publishing_is_told(cli: Cli, tmp_path: Path) -> None:
    done = cli("publish", str(tmp_path / "repo"), "--base-url", URL)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].startswith(f"Published to {tmp_path}/repo: 3 packages, archives of")
    assert "  new: base-unix.base, ocaml.4.14.2, zarith.1.12" in lines
    assert any(line.startswith("  left out: mystery.1: its definition names no licence") for line in lines)
    assert f"  for users: opam repository add NAME {URL}" in lines
    assert "making 2 archives" in done.err
    assert cli("publish", str(tmp_path / "repo")).out.startswith(
        f"{tmp_path}/repo is as it should be: 3 packages"
    )


def test_json(cli: Cli, tmp_path: Path) -> None:
    done = cli("publish", str(tmp_path / "repo"), "zarith", "--base-url", f"{URL}/", "--json")
    found = done.json
    assert done.err == ""
    assert found["archive_bytes"] > 0
    assert found == {
        "place": f"{tmp_path}/repo",
        "base_url": URL,
        "mode": "alone",
        "serial": 1,
        "changed": True,
        "packages": 2,
        "archive_bytes": found["archive_bytes"],
        "added": ["ocaml.4.14.2", "zarith.1.12"],
        "removed": [],
        "left_out": [],
        "missing": [],
        "findings": [],
    } | {name: value for name, value in found.items() if name == "signed"}


def test_a_licence_may_be_named(cli: Cli, tmp_path: Path) -> None:
    args = ("publish", str(tmp_path / "repo"), "--base-url", URL, "--json")
    assert len(cli(*args, "--licence", "mystery=MIT").json["added"]) == 4
    assert cli(*args, "--licence", "mystery=MIT", "--deny-licence", "MIT").json["packages"] == 2


def test_a_dry_run(cli: Cli, tmp_path: Path) -> None:
    done = cli("publish", str(tmp_path / "repo"), "--base-url", URL, "--dry-run")
    assert done.out.startswith(f"Would publish to {tmp_path}/repo: 3 packages.")
    assert not (tmp_path / "repo").exists()


def test_a_dry_run_names_what_would_be_left_out(cli: Cli, tmp_path: Path) -> None:
    with Store.open(cli.cache) as store:
        Samples(store).add("odd.1", files={"lib/odd/two\nlines": b"x"})
    args = ("publish", str(tmp_path / "repo"), "--base-url", URL)
    rehearsed = [line for line in cli(*args, "--dry-run").out.splitlines() if "left out" in line]
    assert [line.split(":")[1].strip() for line in rehearsed] == ["mystery.1", "odd.1"]
    assert "a name that a shell can't read from a list" in rehearsed[1]
    foreseen = cli(*args, "--dry-run", "--json").json["left_out"]
    done = cli(*args)
    assert [line for line in done.out.splitlines() if "left out" in line] == rehearsed
    assert [printable(f"  left out: {it['package']}: {it['reason']}") for it in foreseen] == rehearsed


def test_a_dry_run_says_what_would_stop_it(cli: Cli, tmp_path: Path) -> None:
    with Store.open(cli.cache) as store:
        Samples(store).add("leak.1", files={"lib/leak": b"about my-customer"})
    args = ("publish", str(tmp_path / "repo"), "--base-url", URL, "--private", "my-customer")
    rehearsed = cli(*args, "--dry-run")
    assert rehearsed.code == 3
    assert rehearsed.out.startswith(f"Would publish nothing to {tmp_path}/repo: something in the files")
    assert not (tmp_path / "repo").exists()
    told = cli(*args, "--dry-run", "--json")
    assert told.code == 3
    where = {"path": "leak:lib/leak", "offset": 6, "what": "a text that you keep private"}
    assert told.json["findings"] == [where | {"text": "my-customer"}]
    done = cli(*args)
    assert done.code == 3
    assert done.err.splitlines()[-1] == rehearsed.err.splitlines()[-1] == told.err.splitlines()[-1]
    assert cli(*args, "--dry-run", "--accept", "leak:*").code == 0


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        pytest.param(("mystery",), 2, "mystery.1 can't be published", id="named and refused"),
        pytest.param(("nobody",), 2, "nobody is not among the snapshots", id="not there"),
        pytest.param(("--licence", "mystery"), 2, "not PACKAGE=EXPRESSION", id="half a licence"),
        pytest.param(("--licence", "mystery=GPL AND"), 2, "can't be read (GPL AND)", id="unreadable licence"),
        pytest.param(
            ("--licence", "mystery=of my own"), 2, "is no SPDX identifier", id="words for a licence"
        ),
        pytest.param(("--only", "nosuch.*"), 2, "--only nosuch.*: no snapshot fits", id="nothing fits"),
        pytest.param(("--licence-policy", "/no/such"), 3, "can't be read", id="no policy"),
        pytest.param(("--base-url", "ftp://x"), 2, "not a base URL", id="URL"),
        pytest.param(("--private", "zarith"), 3, "must not leave your machine", id="private"),
        pytest.param(("--accept", "lib/x"), 2, "--accept lib/x: not PACKAGE:PATH", id="half an exception"),
        pytest.param(("--keep", "-1"), 2, "keep", id="keep"),
    ],
)
def test_what_is_refused(cli: Cli, tmp_path: Path, args: tuple[str, ...], code: int, words: str) -> None:
    if "--private" in args:
        with Store.open(cli.cache) as store:
            Samples(store).add("leak.1", files={"lib/leak": b"about zarith"})
    done = cli("publish", str(tmp_path / "repo"), "--base-url", URL, *args)
    assert done.code == code, done.out + done.err
    assert words in done.err
    assert not (tmp_path / "repo/index.tar.gz").exists()


def test_a_licence_that_can_not_be_read_is_replaced_by_the_publishers_word(cli: Cli, tmp_path: Path) -> None:
    """--licence counted only for packages that name none, and was recommended for all."""
    with Store.open(cli.cache) as store:
        Samples(store).add("odd.1", opam=UNLICENSED.replace("synopsis", 'license: "of my own"\nsynopsis', 1))
    args = ("publish", str(tmp_path / "repo"), "--base-url", URL, "--json")
    left = {it["package"]: it["reason"] for it in cli(*args).json["left_out"]}
    assert "in no list of the policy: of my own" in left["odd.1"]
    assert "--licence NAME=EXPRESSION" in left["odd.1"]
    assert "odd.1" in cli(*args, "--licence", "odd=MIT").json["added"]


def test_where_nothing_is_named_and_nothing_is_there(cli: Cli, tmp_path: Path) -> None:
    assert (cli("publish", "", "--base-url", URL).code, cli("publish", "").code) == (2, 2)
    cli.setenv("OPAMBIN_CACHE", str(tmp_path / "none"))
    with Store.open(tmp_path / "none"):
        pass
    done = cli("publish", str(tmp_path / "repo"), "--base-url", URL)
    assert (done.code, "there is nothing to publish" in done.err) == (2, True)


def test_a_folder_may_be_served_as_it_is(cli: Cli, tmp_path: Path) -> None:
    """file:///… was refused as a base URL, though it is what a folder gets by default."""
    done = cli("publish", str(tmp_path / "repo"), "--base-url", f"file://{tmp_path}/repo", "--json")
    assert done.json["base_url"] == f"file://{tmp_path}/repo"


def test_a_user_without_a_name_publishes(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container that runs as a number only it was an internal error."""

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert cli("publish", str(tmp_path / "repo"), "--base-url", URL).code == 0


def test_a_bad_time(cli: Cli, tmp_path: Path) -> None:
    cli.setenv("SOURCE_DATE_EPOCH", "yesterday")
    done = cli("publish", str(tmp_path / "repo"), "--base-url", URL)
    assert (done.code, "SOURCE_DATE_EPOCH is no number" in done.err) == (2, True)


def test_an_older_repository_was_put_back(cli: Cli, tmp_path: Path) -> None:
    import shutil

    repo = tmp_path / "repo"
    cli("publish", str(repo), "--base-url", URL)
    shutil.copytree(repo, tmp_path / "old")
    cli("publish", str(repo), "--licence", "mystery=MIT")
    assert publisher.last_serial(tmp_path / "state/opam-bin/published.json", str(repo)) == 2
    shutil.rmtree(repo)
    shutil.copytree(tmp_path / "old", repo)
    done = cli("publish", str(repo), "--licence", "mystery=MIT")
    assert done.code == 2
    assert "holds publication 1, and publication 2 was there before" in done.err
    assert cli("publish", str(repo), "--licence", "mystery=MIT", "--accept-older").code == 0


def test_a_switch(cli: Cli, tmp_path: Path) -> None:
    cli.make_root("main")
    cli.install("main", "ocaml.4.14.2", "zarith.1.12", "built-elsewhere.1")
    with Store.open(cli.cache) as store:
        known = {str(manifest.package): manifest for manifest in store.manifests.all()}
    for package in ("ocaml.4.14.2", "zarith.1.12"):
        cli.record("main", known[package])
    args = ("publish", str(tmp_path / "repo"), "--base-url", URL, "--switch", "main", "--json")
    found = cli(*args).json
    assert found["added"] == ["ocaml.4.14.2", "zarith.1.12"]
    assert [text.partition(":")[0] for text in found["missing"]] == ["built-elsewhere.1"]
    assert cli(*args).json["changed"] is False


def test_no_store(cli: Cli, tmp_path: Path) -> None:
    cli.setenv("OPAMBIN_CACHE", str(tmp_path / "none"))
    assert cli("publish", str(tmp_path / "repo"), "--base-url", URL).code == 4
