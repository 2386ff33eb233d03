from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cli_runs import Cli

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    made = Cli(monkeypatch, capsys, tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("TRUSTED_KEYS", "REVOKED_KEYS", "SIGNING_KEY", "REMOTE"):
        monkeypatch.delenv(f"OPAMBIN_{name}", raising=False)
    (tmp_path / "remote").mkdir()
    return made


def test_a_state_is_written_and_renewed(cli: Cli, tmp_path: Path) -> None:
    where = str(tmp_path / "remote")
    assert cli("remote", "snapshot", where).code == 4, "there is no key"
    cli("key", "generate", "me")
    done = cli("remote", "snapshot", where, "--expires", "9d", "--json")
    assert done.json["serial"] == 1
    assert done.json["expires"] - done.json["issued"] == 9 * 86_400
    pair = f"{'a' * 64}:{'b' * 64}"
    again = cli("remote", "snapshot", where, "--withdraw", pair)
    assert again.out.startswith("opam-bin: state 2 of ")
    assert "1 withdrawn" in again.out
    cli("key", "generate", "other")
    signed = cli("remote", "snapshot", where, "--countersign", "--key", "other", "--json")
    assert signed.code == 2, "nobody here trusts the key that has signed it"
    public = next(row for row in cli("key", "list", "--json").json if row["name"] == "me")["public"]
    cli("key", "trust", public)
    assert cli("remote", "snapshot", where, "--countersign", "--key", "other", "--json").json["serial"] == 2


def test_a_remote_that_was_rolled_back_is_not_renewed(cli: Cli, tmp_path: Path) -> None:
    where = tmp_path / "remote"
    cli("key", "generate", "me")
    cli("remote", "snapshot", str(where))
    old = (where / "snapshot.json").read_bytes()
    cli("remote", "snapshot", str(where))
    (where / "snapshot.json").unlink()
    (where / "snapshot.json").write_bytes(old)
    done = cli("remote", "snapshot", str(where))
    assert done.code == 3
    assert "rolled back" in done.err
    (where / "snapshot.json").unlink()
    assert cli("remote", "snapshot", str(where)).code == 2
    assert cli("remote", "snapshot", str(where), "--anew", "--json").json["serial"] == 3


def test_misuse(cli: Cli, tmp_path: Path) -> None:
    cli("key", "generate", "me")
    where = str(tmp_path / "remote")
    assert cli("remote", "snapshot", where, "--withdraw", "zarith").code == 2
    assert cli("remote", "snapshot", where, "--expires", "1000d").code == 2
    assert cli("remote", "snapshot", where, "--countersign").code == 2, "there is none"
    assert cli("remote", "snapshot").code == 2, "no remote is configured"
