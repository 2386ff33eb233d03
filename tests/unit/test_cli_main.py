from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from cli_runs import Cli

from opambin import __version__, crash, hooks
from opambin.cli import program
from opambin.cli.output import Column, counted, date, plain_lines, printable
from opambin.errors import BadDataError, CannotRelocateError, MisuseError, OpambinError, UnavailableError

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    return Cli(monkeypatch, capsys, tmp_path)


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def body() -> None:
        raise error

    monkeypatch.setattr("opambin.cli.gc.command", click.Command("gc", callback=body))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        pytest.param(OpambinError("words"), 1, id="plain"),
        pytest.param(MisuseError("words"), 2, id="misuse"),
        pytest.param(BadDataError("words", "bad"), 3, id="bad data"),
        pytest.param(UnavailableError("words"), 4, id="unavailable"),
        pytest.param(CannotRelocateError("words", "no"), 5, id="relocation"),
        pytest.param(KeyboardInterrupt(), 130, id="interrupted"),
    ],
)
def test_errors_have_their_exit_codes(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    fail_with(monkeypatch, error)
    done = cli("gc")
    assert (done.code, done.out) == (code, "")
    said = done.err.lstrip("\n")  # click ends the line of a ^C
    assert said.startswith("opam-bin: ")
    assert said.count("\n") == 1


def test_a_bug_shows_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, KeyError("two\nlines"))
    done = cli("gc")
    assert done.code == crash.EXIT_CODE == 70
    assert done.err == (
        r"opam-bin: internal error: KeyError: 'two\nlines' (set OPAMBIN_DEBUG=1 for the trace)" + "\n"
    )


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        pytest.param(
            PermissionError(13, "Permission denied", "/x"),
            4,
            "opam-bin: /x: Permission denied\n",
            id="access",
        ),
        pytest.param(
            OSError(28, "No space left on device"), 4, "opam-bin: No space left on device\n", id="full disk"
        ),
        pytest.param(
            FileNotFoundError(2, "No such file", "/x"), 70, "internal error: FileNotFound", id="a bug"
        ),
    ],
)
def test_a_fault_of_the_machine_is_no_bug(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, error: OSError, code: int, words: str
) -> None:
    fail_with(monkeypatch, error)
    done = cli("gc")
    assert done.code == code
    assert words in done.err
    assert done.err.count("\n") == 1


def test_a_bug_shows_its_trace_when_asked(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, ValueError())
    cli.setenv("OPAMBIN_DEBUG", "1")
    done = cli("gc")
    assert done.code == 70
    assert "Traceback" in done.err
    assert "opam-bin: internal error: ValueError (" in done.err


@pytest.mark.parametrize(
    ("raised", "code", "words"),
    [
        pytest.param(KeyError("x"), 70, "opam-bin: internal error: KeyError: 'x'", id="a bug"),
        pytest.param(UnavailableError("no store"), 4, "opam-bin: no store", id="an error of ours"),
        pytest.param(KeyboardInterrupt(), 130, "opam-bin: interrupted", id="interrupted"),
    ],
)
def test_a_hook_fails_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: BaseException,
    code: int,
    words: str,
) -> None:
    def broken(*_: object) -> None:
        raise raised

    monkeypatch.delenv("OPAMBIN_DEBUG", raising=False)
    monkeypatch.setattr("opambin.session.capture.after_install", broken)
    assert hooks.main(["post-install", "zed", "1.0"]) == code
    said = capsys.readouterr().err
    assert said.startswith(words)
    assert said.count("\n") == 1


def test_no_exit_code_of_a_bug_makes_opam_give_up_a_package() -> None:
    assert hooks.MUST_FAIL not in {
        crash.EXIT_CODE,
        hooks.INTERRUPTED,
        *(
            code.exit_code
            for code in (OpambinError, MisuseError, BadDataError, UnavailableError, CannotRelocateError)
        ),
    }


@pytest.mark.parametrize(
    ("args", "words"),
    [
        pytest.param(["lst"], "Did you mean 'list'?", id="mistyped"),
        pytest.param(["frobnicate"], "No such command 'frobnicate'.", id="unknown"),
        pytest.param(["completion", "tcsh"], "tcsh", id="unknown shell"),
    ],
)
def test_unknown_commands(cli: Cli, args: list[str], words: str) -> None:
    done = cli(*args)
    assert done.code == 2
    assert words in done.err


def test_every_command_has_its_own_help(cli: Cli) -> None:
    for name in program.COMMANDS:
        done = cli(name, "--help")
        assert done.code == 0, name
        assert done.out.startswith(f"Usage: opam-bin {name} ")
        assert len(done.out.splitlines()) > 3


def test_every_command_is_documented() -> None:
    text = (REPO / "docs" / "commands.md").read_text("utf-8")
    for name in program.COMMANDS:
        assert f"## `opam-bin {name}" in text


def test_help_loads_no_command() -> None:
    code = (
        "import sys; sys.argv = ['opam-bin', '--help']; from opambin.cli.main import run; run();"
        "print(*[name for name in sys.modules if name.startswith('opambin.')], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stderr.split()) == {
        "opambin.cli",
        "opambin.cli.main",
        "opambin.collecting",
        "opambin.cli.helpwords",
        "opambin.cli.program",
        "opambin.errors",
        "opambin.interrupts",
    }
    assert all(name in done.stdout for name in program.COMMANDS)


def test_it_runs_as_a_module(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "opambin", "--version"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout == f"opam-bin, version {__version__}\n"


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "opambin", "status", "--json"],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
        env={**os.environ, "HOME": str(tmp_path), "OPAMROOT": str(tmp_path / "none")},
    )
    os.close(writer)
    assert (done.returncode in (0, 1), done.stderr) == (True, b"")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_the_program_back(cli: Cli, shell: str) -> None:
    out = cli("completion", shell).out
    assert f"_OPAM_BIN_COMPLETE={shell}_complete" in out
    assert "opam-bin" in out


def test_completion_offers_commands(tmp_path: Path) -> None:
    environ = {
        **os.environ,
        "COMP_WORDS": "opam-bin li",
        "COMP_CWORD": "1",
        "_OPAM_BIN_COMPLETE": "bash_complete",
    }
    done = subprocess.run(
        [sys.executable, "-m", "opambin"],
        capture_output=True,
        text=True,
        check=True,
        env=environ,
        cwd=tmp_path,
    )
    assert done.stdout == "plain,list\n"


def test_tables_are_aligned() -> None:
    lines = plain_lines([Column("A"), Column("SIZE", right=True)], [["long one", "5"], ["b", "12345"]])
    assert lines == ["A          SIZE", "long one      5", "b         12345"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("plain é", "plain é", id="letters"),
        pytest.param("a\x1b[31m", r"a\x1b[31m", id="escape"),
        pytest.param("a\nb\udcff", r"a\nb\udcff", id="line feed, no UTF-8"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_words_about_numbers_and_times() -> None:
    assert [counted(1, "file"), counted(2000, "entry", "entries")] == ["1 file", "2,000 entries"]
    assert date(0) == "-"
    assert date(1_700_000_000).startswith("2023-11-1")


def test_tables_on_a_terminal_take_no_markup(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from opambin.cli.output import print_table

    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    print_table([Column("PACKAGE"), Column("SIZE", right=True)], [["[red]zed[/red]", "1"]])
    assert "[red]zed[/red]" in capsys.readouterr().out


def test_an_installation_does_not_wait_for_what_parses_other_commands(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['opam-bin', 'install', 'x']; from opambin.cli.main import run; code = run();"
        "print('click' in sys.modules, code)"
    )
    environ = {"PATH": "", "HOME": str(tmp_path), "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "False 4\n"
    assert "opam is not on the PATH" in done.stderr


@pytest.mark.parametrize("verb", ["install", "upgrade", "reinstall"])
def test_help_of_verbs_of_opam_is_ours(cli: Cli, verb: str) -> None:
    done = cli(verb, "x", "--help")
    assert done.code == 0
    assert f"Usage: opam-bin {verb} [ARGS]..." in done.out


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_caller_may_close_the_standard_streams(tmp_path: Path, closed: str) -> None:
    """It was an internal error; and the next file that was opened had the number of the stream."""
    script = f'exec "$0" -m opambin.cli.main key generate mine {closed}'
    home = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(["sh", "-c", script, sys.executable], env=home, capture_output=True, check=False)
    assert (done.returncode, b"error" in done.stderr) == (0, False)
    keys = tmp_path / ".config/opam-bin/keys"
    assert all(path.read_text().strip() for path in keys.rglob("*") if path.is_file())


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    """It was an internal error."""
    (tmp_path / "opam").mkdir()
    (tmp_path / "opam/config").write_text('opam-version: "2.0"\nopam-root-version: "2.1"\n')
    script = 'mkdir gone; cd gone; rmdir ../gone; exec "$0" -m opambin.cli.main keep --switch s'
    home = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "OPAMROOT": str(tmp_path / "opam")}
    done = subprocess.run(
        ["sh", "-c", script, sys.executable],
        env=home,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert done.stderr == "opam-bin: the current directory is gone: change to another one\n"
