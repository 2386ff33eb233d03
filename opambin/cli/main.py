"""The program: finds the command, loads only that one, turns errors into words and exit codes."""

from __future__ import annotations

import importlib
import io
import os
import sys
from typing import Any

import click

from opambin import __version__
from opambin.collecting import collect_seldom
from opambin.errors import OpambinError
from opambin.interrupts import Terminated, raise_on_termination

SECTIONS = {
    "Set up": {
        "init": "Set opam-bin up in an opam root.",
        "status": "Show configuration, hooks, store, switches, and faults.",
        "env": "Print what makes plain 'opam install' restore, too.",
        "uninstall": "Take opam-bin out of an opam root.",
        "completion": "Print what makes the shell complete commands.",
    },
    "Install": {
        "install": "Install packages; restore what was built before.",
        "upgrade": "Upgrade packages; restore what was built before.",
        "reinstall": "Install packages again from the store.",
        "sync": "Bring a switch to a lock file or an export.",
        "switch": "Create a switch with its compiler restored.",
        "exec": "Run a program in a switch, as 'opam exec' does.",
    },
    "Look": {
        "explain": "Say whether a package would be restored; if not, why.",
        "list": "List the snapshots in the store, or a switch's packages.",
        "show": "Show a snapshot: files, relocation, what it needs.",
        "cone": "Print cone keys, and what they are made of.",
        "stats": "Show hits, misses and what was saved.",
    },
    "Store": {
        "capture": "Take packages that were built before into the store.",
        "verify": "Check every snapshot and object of the store.",
        "gc": "Remove what is left over, too old or too much.",
        "keep": "Name snapshots that gc leaves alone.",
    },
    "Whole switches": {
        "clone": "Copy a whole switch, with all its packages.",
        "relocate": "Move a whole switch, with all its packages.",
        "relocatable": "Say how far packages can be moved, and what limits it.",
        "selftest-relocation": "Build packages again and look for what is not seen.",
    },
    "Shared caches": {
        "remote": "Say which shared caches are used, and try them out.",
        "push": "Put snapshots on a remote.",
        "pull": "Fetch snapshots from remotes into the store.",
        "key": "Make, list, trust and revoke the keys that sign.",
        "sign": "Add a signature: release what was staged.",
        "bundle": "Carry snapshots to other machines in one file.",
        "ci": "Print a recipe for a CI service.",
    },
    "Published repositories": {
        "publish": "Make an opam repository of binaries for plain opam.",
        "tuf": "Manage the keys and signatures of a repository.",
        "verify-repo": "Verify a repository: signatures, expiry, every file.",
        "mirror": "Copy a repository, or a part of it, verified.",
        "verify-update": "Verify an update of a repository; opam runs this.",
        "relocate-archive": "Finish the installation of some published packages.",
    },
}
"""The commands with a line for each, in the order in which one meets them."""

COMMANDS = {name: line for section in SECTIONS.values() for name, line in section.items()}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's interface
        """Name the commands in the order in which one meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - same
        """Load a command."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"opambin.cli.{cmd_name.replace('-', '_')}").command
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - same
        """List the commands without loading them."""
        widest = max(map(len, COMMANDS))
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(widest), line) for name, line in commands.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:  # noqa: ANN401 - click's type
        """Find a command; a mistyped one gets a suggestion."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            ctx.fail(f"No such command '{args[0]}'.{hint}")
        return super().resolve_command(ctx, args)


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="opam-bin")
def program() -> None:
    """A binary package cache and relocation tool for opam."""


def main() -> None:
    """Run the program; the one place that turns errors into exit codes."""
    raise_on_termination()
    collect_seldom()
    sys.exit(run())


def run() -> int:
    """Run the command that ``sys.argv`` names, and return the exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # paths need not be UTF-8
    try:
        code = program(prog_name="opam-bin", standalone_mode=False)
        sys.stdout.flush()  # so that a closed pipe is met here
    except OpambinError as error:
        print(f"opam-bin: {error}", file=sys.stderr)
        _fall_back()
        return error.exit_code
    except click.ClickException as error:
        error.show()
        _fall_back()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
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


def _fall_back() -> None:
    """Let opam do what it was asked for in the first place, where it was (see :mod:`opambin.cli.standin`)."""
    from opambin.cli import standin

    if standin.stands_for_opam(sys.argv, os.environ):
        standin.let_opam_do_it(sys.argv, os.environ)


if __name__ == "__main__":
    main()
