"""The program: runs the command, turns errors into words and exit codes."""

from __future__ import annotations

import io
import os
import sys

from opambin.collecting import collect_seldom
from opambin.errors import OpambinError
from opambin.interrupts import Terminated, raise_on_termination

PLAIN_VERBS = ("install", "upgrade", "reinstall")
"""Commands whose words are opam's."""


def main() -> None:
    """Run the program; the one place that turns errors into exit codes."""
    raise_on_termination()
    _open_streams()
    collect_seldom()
    sys.exit(run())


def _open_streams() -> None:
    """Open the standard streams that the caller has closed: no file of ours may get their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
            stream = os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False)
            setattr(sys, name, stream)


def run() -> int:
    """Run the command that ``sys.argv`` names, and return the exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # paths need not be UTF-8
    try:
        code = _carried_out(sys.argv[1:])
        sys.stdout.flush()  # so that a closed pipe is met here
    except OpambinError as error:
        print(f"opam-bin: {error}", file=sys.stderr)
        _fall_back()
        return error.exit_code
    except KeyboardInterrupt:
        print("opam-bin: interrupted", file=sys.stderr)
        return 130
    except Terminated as end:
        print("opam-bin: ended by a signal", file=sys.stderr)
        return 128 + end.number
    except BrokenPipeError:
        # the reader of a pipe has seen enough; nothing more can be written there, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the last resort: a user is not to see a stack trace
        from opambin import crash

        failed = crash.report(error)
        _fall_back()
        return failed
    return code if isinstance(code, int) else 0


def _carried_out(words: list[str]) -> object:
    """Carry out the command that words name; what the command returns is the exit code where it is a number.

    The verbs of opam have no options that are parsed here, so they start without what parses those of others:
    it takes longer to load than all that is needed before opam is asked for its plan.
    """
    from opambin.cli.helpwords import wants_help

    if words and words[0] in PLAIN_VERBS and not wants_help(words[1:]):
        from opambin.cli import door

        return door.run(words[0], tuple(words[1:]))
    return _parsed()


def _parsed() -> object:
    """Let click carry out the command line; what is wrong with it is told.

    Raises:
        KeyboardInterrupt: The user has ended a question.
    """
    import click

    from opambin.cli.program import program

    try:
        return program(prog_name="opam-bin", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        _fall_back()
        return error.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None


def _fall_back() -> None:
    """Let opam do what it was asked for in the first place, where it was (see :mod:`opambin.cli.standin`)."""
    from opambin.cli import standin

    if standin.stands_for_opam(sys.argv, os.environ):
        standin.let_opam_do_it(sys.argv, os.environ)


if __name__ == "__main__":
    main()
