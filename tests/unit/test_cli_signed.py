"""The commands of signed repositories: what they print, and their exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runs import Cli
from signedrepo import Keys, Publisher


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    return Cli(monkeypatch, capsys, tmp_path)


@pytest.fixture
def published(tmp_path: Path) -> Publisher:
    return Publisher.make(tmp_path / "site")


def plain(tmp_path: Path, name: str = "plain") -> Publisher:
    """A published folder without keys."""
    found = Publisher.make(tmp_path / name)
    for place in (found.folder / "tuf").iterdir():
        place.unlink()
    (found.folder / "index.tar.gz").unlink()
    return found


def test_verified_the_first_time_and_later(cli: Cli, published: Publisher) -> None:
    site = str(published.folder)
    done = cli("verify-repo", site)
    assert done.code == 2
    assert f"--anchor {published.anchors[0]} --quorum 1" in done.err
    done = cli("verify-repo", site, "--root", f"{site}/tuf/root.json")
    assert done.code == 0, done.err
    assert f"{site} verifies: 7 files" in done.out
    assert "timestamp 1, valid until" in done.out
    found = cli("verify-repo", site, "--json").json
    assert found["verifies"] is True
    assert found["versions"] == {"root": 1, "timestamp": 1, "snapshot": 1, "targets": 1, "site": 1}
    assert (cli.folder / ".local/state/opam-bin/repositories").is_dir()


def test_refused(cli: Cli, published: Publisher) -> None:
    site = str(published.folder)
    cli("verify-repo", site, "--anchor", published.anchors[0])
    published.write("repo", b'opam-version: "2.1"\n')
    done = cli("verify-repo", site, "--json")
    assert done.code == 3
    assert done.json["kind"] == "tampered"
    assert done.err == f"opam-bin: {done.json['reason']}\n"
    published.sign(days=-30)
    done = cli("verify-repo", site)
    assert done.code == 6
    assert "timestamp.json is expired" in done.err


def test_not_there(cli: Cli, tmp_path: Path) -> None:
    assert cli("verify-repo", str(tmp_path / "nowhere")).code == 4
    assert cli("verify-repo", "http://127.0.0.1:9/", "--anchor", "ab" * 32).code == 4
    assert cli("verify-repo", "git://example.org/x").code == 2


def test_options_that_contradict(cli: Cli, published: Publisher) -> None:
    site = str(published.folder)
    done = cli("verify-repo", site, "--root", "x", "--anchor", published.anchors[0])
    assert (done.code, done.err) == (2, "opam-bin: give --root or --anchor, not both\n")
    assert cli("verify-repo", site, "--root", "/nowhere/root.json").code == 4
    assert cli("verify-repo", site, "--anchor", "xyz").code == 2


def test_an_update(cli: Cli, published: Publisher, tmp_path: Path) -> None:
    given = ["--anchors", published.anchors[0], "--quorum", "1", "--repo", str(tmp_path / "r1")]
    assert cli("verify-update", *given, "--dir", str(published.folder / "index.tar.gz")).code == 0
    published.write("packages/evil/evil.1/opam", b"")
    published.write("packages/evil/evil.2/opam", b"evil")
    done = cli("verify-update", *given, "--dir", str(published.folder))
    assert done.code == 3
    said = (cli.folder / ".local/state/opam-bin/repositories/last-refusal").read_text()
    assert said.startswith("opam-bin: r1: update refused: packages/evil/evil.")
    assert cli("verify-update", *given).code == 3
    assert cli("verify-update", *given, "--patch", "/nowhere").code == 4


def test_a_life_of_keys(cli: Cli, tmp_path: Path) -> None:
    site = str(plain(tmp_path).folder)
    keys = Keys()
    root, targets, online, fresh = (
        keys.file(tmp_path, name) for name in ("root", "targets", "online", "fresh")
    )
    given = ["--root-key", root, "--targets-key", targets, "--online-key", online, "--days", "timestamp=2"]
    done = cli("tuf", "init", site, *given, "--sign-with", root)
    assert done.code == 2
    assert "--sign-with: targets" in done.err
    done = cli(
        "tuf", "init", site, *given, *(it for key in (root, targets, online) for it in ("--sign-with", key))
    )
    assert done.code == 0, done.err
    assert "Root 1 is in force." in done.out
    done = cli("tuf", "status", site)
    assert done.code == 1  # two days are less than three
    assert done.out.splitlines()[0].split() == ["ROLE", "VERSION", "NEEDS", "VALID", "UNTIL", "KEYS"]
    assert "1 of 1" in done.out
    done = cli(
        "tuf",
        "rotate",
        site,
        "--days",
        "timestamp=9",
        "--remove",
        f"timestamp={online}",
        "--add",
        f"timestamp={fresh}",
        *(it for key in (root, targets, online, fresh) for it in ("--sign-with", key)),
    )
    assert done.code == 0, done.err
    found = cli("tuf", "status", site, "--json")
    assert found.code == 0
    rows = {row["role"]: row for row in found.json["roles"]}
    assert rows["root"]["version"] == rows["timestamp"]["version"] == 2
    assert rows["timestamp"]["keys"][0].startswith("fresh (")
    assert not rows["site"]["expired"]
    assert cli("tuf", "refresh", site, "--sign-with", online).code == 2
    assert cli("tuf", "refresh", site, "--sign-with", online, "--sign-with", fresh).code == 0
    done = cli("tuf", "sign", site, "--sign-with", online, "--sign-with", fresh)
    assert "nothing has changed" in done.out
    assert cli("verify-repo", site, "--root", f"{site}/tuf/1.root.json").code == 0


def test_keys_that_are_apart(cli: Cli, tmp_path: Path) -> None:
    site = str(plain(tmp_path).folder)
    keys = Keys()
    one, two, online = (keys.file(tmp_path, name) for name in ("one", "two", "online"))
    (tmp_path / "one.pub").write_text(str(keys["one"].public))
    draft = str(tmp_path / "draft.json")
    done = cli(
        "tuf",
        "init",
        site,
        "--root-key",
        str(tmp_path / "one.pub"),
        "--root-key",
        two,
        "--root-threshold",
        "2",
        "--targets-key",
        online,
        "--draft",
        draft,
    )
    assert done.code == 0, done.err
    assert "signed by nobody" in done.out
    assert "2 root keys must sign, 0 did" in done.out
    assert not Path(site, "tuf/1.root.json").exists()
    assert cli("tuf", "countersign", draft).code == 2
    assert cli("tuf", "countersign", draft, "--sign-with", one).code == 0
    done = cli("tuf", "install", site, draft, "--sign-with", online)
    assert done.code == 2
    assert "still to sign: two (" in done.err
    done = cli("tuf", "countersign", draft, "--sign-with", two)
    assert "Still lacking" not in done.out
    assert cli("tuf", "install", site, draft, "--sign-with", online).code == 0
    done = cli("tuf", "trust", site, "--url", "https://example.org/opam", "--name", "bin")
    first, second = sorted(keys[name].public.id for name in ("one", "two"))
    assert f"opam repository add bin https://example.org/opam 2 {first} {second}" in done.out


def test_two_publishers(cli: Cli, published: Publisher, tmp_path: Path) -> None:
    other = plain(tmp_path, "other")
    other.package("lib", "1")
    theirs = other.keys.file(tmp_path, "theirs")
    targets, online = (published.keys.file(tmp_path, name) for name in ("targets", "online"))
    ours = ["--sign-with", targets, "--sign-with", online]
    site = str(published.folder)
    assert cli("tuf", "delegate", site, "friend", "lib", "--key", theirs, *ours).code == 0
    done = cli("tuf", "contribute", str(other.folder), "friend", "lib", "--sign-with", theirs)
    assert f"opam-bin tuf accept DIR friend {other.folder}" in done.out
    assert cli("tuf", "accept", site, "friend", str(other.folder), "--sign-with", online).code == 0
    rows = {row["role"]: row for row in cli("tuf", "status", site, "--json").json["roles"]}
    assert rows["friend"]["packages"] == ["lib"]
    assert cli("tuf", "undelegate", site, "friend", *ours).code == 0
    assert not (published.folder / "packages/lib").exists()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        pytest.param(["rotate", "SITE", "--add", "captain=x"], "roles are root, targets", id="no such role"),
        pytest.param(["rotate", "SITE", "--threshold", "root=many"], "that is no number", id="no number"),
        pytest.param(["rotate", "SITE", "--add", "root=/nowhere"], "opam-bin key generate", id="no such key"),
        pytest.param(["rotate", "SITE"], "--draft FILE", id="no keys"),
        pytest.param(
            ["sign", "SITE", "--sign-with", "SITE/repo"],
            "holds no key of opam-bin",
            id="a file that is no key",
        ),
        pytest.param(
            ["init", "SITE", "--root-key", "SITE/repo"], "holds no key of opam-bin", id="no key at all"
        ),
        pytest.param(["install", "SITE", "/nowhere"], "No such file", id="no draft"),
        pytest.param(["status", "/nowhere"], "does not exist", id="no repository"),
        pytest.param(["undelegate", "SITE", "nobody"], "nothing is delegated", id="no such publisher"),
    ],
)
def test_misused(cli: Cli, published: Publisher, args: list[str], says: str) -> None:
    done = cli("tuf", *(arg.replace("SITE", str(published.folder)) for arg in args))
    assert done.code in {2, 3, 4}
    assert says in done.err


def test_keys_by_their_names(cli: Cli, tmp_path: Path) -> None:
    site = str(plain(tmp_path).folder)
    for name in ("release", "online"):
        assert cli("key", "generate", name).code == 0
    keys = ["--sign-with", "release", "--sign-with", "online"]
    done = cli("tuf", "init", site, "--root-key", "release", "--online-key", "online", *keys)
    assert done.code == 0, done.err
    public = Keys()["friend"].public
    assert cli("key", "trust", str(public)).code == 0
    assert cli("tuf", "delegate", site, "pal", "lib", "--key", "friend", *keys).code == 0
    trusted = cli.folder / ".config/opam-bin/keys/friend.pub"
    assert cli("tuf", "delegate", site, "pal", "more", "--key", str(trusted), *keys).code == 0
    rows = {row["role"]: row for row in cli("tuf", "status", site, "--json").json["roles"]}
    assert rows["pal"]["packages"] == ["lib", "more"]
    assert cli("tuf", "refresh", site, "--sign-with", "nobody").code == 4


def test_a_public_key_to_sign_with(cli: Cli, published: Publisher, tmp_path: Path) -> None:
    place = tmp_path / "x.pub"
    place.write_text(str(published.keys["targets"].public))
    done = cli("tuf", "sign", str(published.folder), "--sign-with", str(place))
    assert done.code == 2
    assert "that is a public key" in done.err


def test_mirrored(cli: Cli, published: Publisher, tmp_path: Path) -> None:
    copy, site = str(tmp_path / "copy"), str(published.folder)
    found = cli("mirror", site, copy, "--closure-of", "alpha", "--anchor", published.anchors[0], "--json")
    assert found.code == 0, found.err
    assert found.json["packages"] == found.json["fetched"] == 1
    done = cli("mirror", site, copy, "--closure-of", "alpha")
    assert "1 package of" in done.out
    assert "0 files fetched" in done.out
    assert cli("verify-repo", copy, "--root", f"{site}/tuf/root.json", "--partial").code == 0
    assert cli("verify-repo", copy).code == 3
    assert cli("mirror", site, copy, "--sign-with", "x").code == 2


def test_mirrored_and_signed_by_its_owner(cli: Cli, published: Publisher, tmp_path: Path) -> None:
    copy, site = str(tmp_path / "copy"), str(published.folder)
    key = Keys().file(tmp_path, "own")
    done = cli("mirror", site, copy, "--own-keys", "--anchor", published.anchors[0])
    assert "Next: opam-bin tuf init" in done.out
    assert cli("tuf", "init", copy, "--root-key", key, "--sign-with", key).code == 0
    assert cli("mirror", site, copy, "--own-keys").code == 2  # no key, nothing touched
    assert cli("mirror", site, copy, "--own-keys", "--sign-with", key).code == 0
    assert cli("verify-repo", copy, "--root", f"{copy}/tuf/root.json").code == 0


def test_two_at_once(cli: Cli, published: Publisher) -> None:
    from opambin.publish.places import Folder

    key = published.keys.file(cli.folder, "online")
    with Folder(published.folder).lock():
        done = cli("tuf", "refresh", str(published.folder), "--sign-with", key)
    assert done.code == 4
    assert "somebody else is publishing" in done.err
    assert cli("tuf", "refresh", str(published.folder), "--sign-with", key).code == 0


def test_published_with_keys_or_not_at_all(cli: Cli, published: Publisher, tmp_path: Path) -> None:
    cli.fill("zed")
    key = published.keys.file(tmp_path, "online")
    done = cli("publish", str(published.folder))
    assert done.code == 2
    assert "--sign-with: targets" in done.err
    done = cli("publish", str(tmp_path / "new"), "--sign-with", key)
    assert done.code == 2
    assert "opam-bin tuf init" in done.err
    done = cli("publish", "http://127.0.0.1:9/opam", "--sign-with", key)
    assert done.code == 2
    assert "opam-bin tuf upload DIR http://127.0.0.1:9/opam" in done.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(("status", "{}/none"), "{}/none does not exist", id="status of nothing"),
        pytest.param(("trust", "{}/none"), "{}/none does not exist", id="trust in nothing"),
        pytest.param(("rotate", "{}/none"), "{}/none does not exist", id="keys of nothing"),
        pytest.param(("sign", "{}/file"), "{}/file is no folder", id="a file"),
        pytest.param(("status", "{}"), "no opam repository", id="another folder"),
        pytest.param(("trust", "{}/site", "--name", "a b"), "not a name for a repository", id="two words"),
        pytest.param(("trust", "{}/site", "--url", "x/y"), "not a base URL", id="no URL"),
        pytest.param(
            ("rotate", "{}/site", "--threshold", "root=2"), "root: 2 of 1 keys can't sign", id="threshold"
        ),
        pytest.param(
            ("delegate", "{}/site", "friend", "lib"), "friend: no key is left or given", id="no keys"
        ),
        pytest.param(("upload", "{}/site", ""), "name a folder or a URL", id="to nowhere"),
    ],
)
@pytest.mark.usefixtures("published")
def test_what_can_not_be_is_said(cli: Cli, tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    (tmp_path / "file").write_text("x")
    done = cli("tuf", *(word.format(tmp_path) for word in words))
    assert done.code == 2
    assert says.format(tmp_path) in done.err


def test_a_root_that_is_none(cli: Cli, published: Publisher) -> None:
    """The repository was said to be damaged, not the file that was given for its root."""
    done = cli("verify-repo", str(published.folder), "--root", f"{published.folder}/tuf/timestamp.json")
    assert done.code == 3
    assert f"{published.folder}/tuf/timestamp.json: not the metadata of a root" in done.err


def test_a_mirror_in_a_file(cli: Cli, published: Publisher, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    done = cli(
        "mirror", str(published.folder), str(tmp_path / "file"), "--root", f"{published.folder}/tuf/root.json"
    )
    assert (done.code, done.err) == (2, f"opam-bin: {tmp_path}/file is no folder: name an empty or new one\n")


def test_what_is_longer_than_signed_is_told_without_what_is_not_known(cli: Cli, published: Publisher) -> None:
    """It said: found None."""
    site = str(published.folder)
    with (published.folder / "index.html").open("ab") as stream:
        stream.write(b"more")
    done = cli("verify-repo", site, "--root", f"{site}/tuf/root.json")
    assert done.code == 3
    assert "index.html: tampered: longer than what was signed (expected 16)" in done.err


def test_uploaded(cli: Cli, published: Publisher, tmp_path: Path) -> None:
    site = str(published.folder)
    done = cli("tuf", "upload", site, str(tmp_path))
    assert (done.code, f"publish there, or give rsync:{tmp_path}" in done.err) == (2, True)
    done = cli("tuf", "upload", site, "http://127.0.0.1:9/opam")
    assert done.code == 4
    assert "http://127.0.0.1:9/opam" in done.err
    (tmp_path / "there").mkdir()
    target = f"rsync:{tmp_path}/there"
    assert cli("tuf", "upload", site, target, "--dry-run").out.startswith(
        f"Would copy to {tmp_path}/there: 7 files"
    )
    assert list((tmp_path / "there").iterdir()) == []
    told = cli("tuf", "upload", site, target, "--json").json
    assert (told["place"], told["files"], told["removed"]) == (f"{tmp_path}/there", 7, 0)
    assert (told["timestamp"], told["changed"]) == (1, True)
    assert cli("verify-repo", f"{tmp_path}/there", "--root", f"{site}/tuf/root.json").code == 0
    assert cli("tuf", "upload", site, target).out.startswith(
        f"{tmp_path}/there is as it should be: timestamp 1"
    )


def test_what_users_of_a_partial_mirror_have_to_do(cli: Cli, published: Publisher) -> None:
    site = str(published.folder)
    whole, part = cli("tuf", "trust", site).out, cli("tuf", "trust", site, "--partial").out
    assert "--partial" not in whole
    assert 'dir {!incremental} "--partial"]' in part
    assert part.rstrip().endswith("--partial --quorum 1")
