"""The commands by name and use; only the one that is used is loaded."""

from __future__ import annotations

import importlib
from typing import Any

import click

from opambin import __version__

SECTIONS = {
    "Set up": {
        "init": "Set opam-bin up in an opam root.",
        "status": "Show configuration, hooks, store, switches, and faults.",
        "env": "Print what makes plain 'opam install' restore, too.",
        "uninstall": "Take opam-bin out of an opam root.",
        "completion": "Print what makes the shell complete commands.",
        "help": "Show the help of a command.",
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
