from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from cli_runs import Cli
from trust_samples import ALICE, CI

from opambin.trust.keys import PublicKey, SecretKey

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    made = Cli(monkeypatch, capsys, tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("TRUSTED_KEYS", "REVOKED_KEYS", "SIGNING_KEY"):
        monkeypatch.delenv(f"OPAMBIN_{name}", raising=False)
    return made


def test_generate_keeps_the_secret_and_prints_the_public_key(cli: Cli, tmp_path: Path) -> None:
    done = cli("key", "generate", "me")
    path = tmp_path / "config/opam-bin/keys/me.secret"
    secret = SecretKey.parse(path.read_text())
    assert done.code == 0
    assert done.out == f"{secret.public}\n"
    assert str(path) in done.err
    assert secret.reveal() not in done.out + done.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert cli("key", "generate", "me").code == 2


def test_generate_for_a_ci_keeps_nothing(cli: Cli, tmp_path: Path) -> None:
    done = cli("key", "generate", "ci", "--stdout")
    assert str(SecretKey.parse(done.out).public) in done.err
    assert not (tmp_path / "config").exists()
    found = cli("key", "generate", "ci", "--stdout", "--json").json
    assert found["file"] is None
    assert str(SecretKey.parse(found["secret"]).public) == found["public"]


def test_a_bad_name_is_misuse(cli: Cli) -> None:
    done = cli("key", "generate", "../me")
    assert done.code == 2
    assert "not a name for a key" in done.err


def test_trust_from_text_or_file(cli: Cli, tmp_path: Path) -> None:
    assert (
        cli("key", "trust", str(ALICE.public)).out
        == f"alice ({ALICE.public.id[:16]}) is trusted for releases\n"
    )
    file = tmp_path / "ci.pub"
    file.write_text(f"{CI.public}\n")
    done = cli("key", "trust", str(file), "--role", "staging", "--name", "nightly", "--json")
    assert done.json["role"] == "staging"
    rows = {row["name"]: row for row in cli("key", "list", "--json").json}
    assert (rows["alice"]["role"], rows["nightly"]["role"]) == ("release", "staging")
    assert PublicKey.parse(rows["nightly"]["public"]).raw == CI.public.raw


@pytest.mark.parametrize("text", ["/no/such/file", "not-a-key", "opam-bin-public-1:x:y", ALICE.reveal()])
def test_what_is_no_public_key_is_not_trusted(cli: Cli, text: str) -> None:
    done = cli("key", "trust", text)
    assert done.code in (2, 3)
    assert cli("key", "list", "--json").json == []


def test_list_shows_all_kinds_of_keys(cli: Cli) -> None:
    assert cli("key", "list").err == "there are no keys\n"
    cli("key", "generate", "own")
    cli("key", "trust", str(ALICE.public))
    cli("key", "revoke", CI.public.id)
    done = cli("key", "list")
    lines = [line.split() for line in done.out.splitlines()[1:]]
    assert [(line[0], line[2], line[3]) for line in lines] == [
        ("-", "revoked", "-"),
        ("alice", "release", "-"),
        ("own", "-", "here"),
    ]


def test_revoke_counts_for_ever(cli: Cli) -> None:
    cli("key", "trust", str(ALICE.public))
    assert cli("key", "revoke", "alice").out == f"alice ({ALICE.public.id[:16]}) is revoked\n"
    again = cli("key", "revoke", str(ALICE.public), "--json")
    assert (again.code, again.json) == (1, {"id": ALICE.public.id, "name": "alice", "new": False})
    (row,) = cli("key", "list", "--json").json
    assert row["revoked"]
    cli("key", "trust", str(ALICE.public), "--name", "alias")
    assert len(cli("key", "list", "--json").json) == 1
    assert cli("key", "revoke", "nobody").code == 2


def test_keys_of_the_environment_are_listed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPAMBIN_TRUSTED_KEYS", f"staging@{CI.public}")
    (row,) = cli("key", "list", "--json").json
    assert (row["name"], row["role"]) == ("ci", "staging")
