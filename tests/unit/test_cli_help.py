from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cli_runs import Cli

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    return Cli(monkeypatch, capsys, tmp_path)


@pytest.mark.parametrize(
    "words", [[], ["gc"], ["install"], ["exec"], ["switch"], ["tuf", "init"]], ids=" ".join
)
def test_it_is_what_the_option_shows(cli: Cli, words: list[str]) -> None:
    done = cli("help", *words)
    assert done.code == 0
    assert done.out.startswith("Usage: opam-bin")
    assert done.out == cli(*words, "--help").out


def test_a_mistyped_command_gets_a_suggestion(cli: Cli) -> None:
    done = cli("help", "instal")
    assert (done.code, done.out) == (2, "")
    assert "Did you mean 'install'?" in done.err
