"""``opam-bin completion``: the script for a shell's completion."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_OPAM_BIN_COMPLETE"
"""What click looks for in the environment of ``opam-bin`` when a shell asks."""


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the script that makes a shell complete commands and options.

    \b
    bash:  eval "$(opam-bin completion bash)"       in ~/.bashrc
    zsh:   eval "$(opam-bin completion zsh)"        in ~/.zshrc
    fish:  opam-bin completion fish | source        in ~/.config/fish/config.fish
    """  # noqa: D301 - for click the character \\b keeps the lines as they are
    from click.shell_completion import get_completion_class

    from opambin.cli.program import program
    from opambin.errors import UnavailableError

    found = get_completion_class(shell)
    if found is None:
        raise UnavailableError(f"this version of click has no completion for {shell}")
    click.echo(found(program, {}, "opam-bin", VARIABLE).source())
