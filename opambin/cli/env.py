"""``opam-bin env``: what a shell or a CI job evaluates to be in transparent mode."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from opambin.cli.init import opam_root

SHELLS = ("sh", "bash", "zsh", "fish")
_PATH = {
    "sh": 'case ":$PATH:" in *:{folder}:*) ;; *) PATH={folder}${{PATH:+":$PATH"}}; export PATH ;; esac',
    "fish": "contains -- {folder} $PATH; or set -gx PATH {folder} $PATH",
}
# The word `function` keeps bash and zsh from expanding an alias of that name. Running shells outlive
# an uninstallation, so a function has to do without the shim.
_FUNCTION = {
    "sh": 'opam() {{ if [ -x {shim} ]; then {shim} "$@"; else command opam "$@"; fi; }}',
    "bash": 'function opam {{ if [ -x {shim} ]; then {shim} "$@"; else command opam "$@"; fi; }}',
    "fish": "function opam --wraps opam; if test -x {shim}; {shim} $argv; else; command opam $argv; end; end",
}


@click.command("env")
@click.option("--shell", type=click.Choice(SHELLS), help="Whose syntax (default: that of the calling shell).")
@click.option("--function", "as_function", is_flag=True, help="Define a function, and leave the PATH alone.")
@click.option("--folder", "as_folder", is_flag=True, help="Print only the folder, e.g. for $GITHUB_PATH.")
@click.option(
    "--root", type=click.Path(path_type=Path), help="The opam root (default: $OPAMROOT or ~/.opam)."
)
def command(shell: str | None, as_function: bool, as_folder: bool, root: Path | None) -> None:
    """Print what makes plain 'opam install' restore from the store in this shell.

    \b
    sh, bash, zsh:  eval "$(opam-bin env)"
    fish:           opam-bin env --shell fish | source

    Needs 'opam-bin init --transparent' once. Before 'eval $(opam env)' or after it makes no difference.
    """  # noqa: D301 - for click the character \\b keeps the lines as they are
    from opambin.errors import MisuseError, UnavailableError
    from opambin.setup.place import Place

    shim = Place(opam_root(root)).shim
    if not shim.exists():
        raise UnavailableError(f"{shim} is not there: run 'opam-bin init --transparent' first")
    if as_folder and as_function:
        raise MisuseError("--folder and --function exclude each other")
    click.echo(
        str(shim.parent) if as_folder else text(shim, shell or calling_shell(), as_function=as_function)
    )


def text(shim: Path, shell: str, *, as_function: bool) -> str:
    """Return what a shell has to evaluate."""
    form = _FUNCTION.get(shell, _FUNCTION["bash"]) if as_function else _PATH.get(shell, _PATH["sh"])
    quote = quote_for_fish if shell == "fish" else shlex.quote
    return form.format(shim=quote(str(shim)), folder=quote(str(shim.parent)))


def quote_for_fish(word: str) -> str:
    """Quote a word for fish, where only the backslash and the quote are special between quotes."""
    return "'" + word.replace("\\", "\\\\").replace("'", "\\'") + "'"


def calling_shell() -> str:
    """Return the shell that is the parent of this process, else the user's own, else ``sh``."""
    try:
        parent = Path(f"/proc/{os.getppid()}/comm").read_text("utf-8", "replace").strip()
    except OSError:
        parent = ""
    own = os.path.basename(os.environ.get("SHELL", ""))  # noqa: PTH119 - a string
    return next((name for name in (parent, own) if name in SHELLS), "sh")
