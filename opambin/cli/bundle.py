"""``opam-bin bundle``: everything for some packages in one file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from opambin.cli import door
from opambin.cli.groups import Group
from opambin.cli.output import counted, print_json
from opambin.cli.verbatim import Verbatim

if TYPE_CHECKING:
    from opambin.exchange.selection import Selection
    from opambin.exchange.signing import Signer
    from opambin.exchange.uploads import Pushed


@click.group("bundle", cls=Group)
def command() -> None:
    """Carry snapshots to machines without a network, in one file that is signed like a remote."""


@command.command("create")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("packages", nargs=-1, metavar="[PACKAGE...]")
@click.option("--switch", "switches", multiple=True, help="What is installed in a switch.")
@click.option("--all", "everything", is_flag=True, help="All of the store.")
@click.option("--key", "key", default="", help="Name of the key that signs.")
@click.option("--unsigned", is_flag=True, help="Do not sign.")
@click.option("--include-pinned", is_flag=True, help="Also what was built from pins.")
@click.option("--include-dev", is_flag=True, help="Also versions under development.")
@click.option("--include-adopted", is_flag=True, help="Also what was captured afterwards.")
@click.option("--include-dirty", is_flag=True, help="Also what was built with flags of the environment.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def create(
    file: Path,
    packages: tuple[str, ...],
    *,
    switches: tuple[str, ...],
    everything: bool,
    key: str,
    unsigned: bool,
    as_json: bool,
    **options: bool,
) -> int:
    """Write packages with all that they were built with into FILE.

    PACKAGE is NAME, NAME.VERSION or the first digits of a key. Exit code 1 when something that is needed
    is not in the store.
    """
    from opambin.cli.keep import prefix_of
    from opambin.cli.progress import meter
    from opambin.cli.push import open_store
    from opambin.exchange import bundling, opening, selection

    include = frozenset(doubt for doubt in selection.Doubt if options.get(f"include_{doubt}"))
    prefixes = tuple(prefix_of(name) for name in switches)
    path = file.absolute()
    with open_store() as store:
        wanted = selection.Wanted(packages, prefixes, everything, True, include)
        named = selection.named(store, wanted)
        chosen = selection.with_dependencies(store, named, wanted)
        signer = opening.signer(os.environ, "bundle:", key, unsigned=unsigned)
        taken = {str(manifest.package) for manifest in chosen.manifests}
        roots = tuple(package for it in named if (package := str(it.package)) in taken)
        contents = bundling.Contents(tuple(chosen.manifests), roots)
        done = bundling.create(store, path, contents, signer, meter(quiet=as_json))
    _report(path, chosen, (done, signer), as_json=as_json)
    return 1 if chosen.missing else 0


def _report(path: Path, chosen: Selection, made: tuple[Pushed, Signer], *, as_json: bool) -> None:
    from opambin.summary import data_size

    done, signer = made
    keys = [str(secret.public) for secret in signer.secrets]
    if as_json:
        print_json(
            {
                "file": str(path),
                "packages": [str(manifest.package) for manifest in done.pushed],
                "left": chosen.left,
                "missing": chosen.missing,
                "keys": keys,
                "bytes": path.stat().st_size,
            }
        )
        return
    for package, reason in chosen.left.items():
        click.echo(f"opam-bin: {package} is left out: {reason}")
    for line in chosen.missing:
        click.echo(f"opam-bin: {line}")
    size = data_size(path.stat().st_size)
    click.echo(f"opam-bin: {counted(len(done.pushed), 'snapshot')} in {path} ({size})")
    for key in keys:
        click.echo(f"opam-bin: signed; on the other machine 'opam-bin key trust {key}' comes first")
    if not keys:
        click.echo("opam-bin: not signed; on the other machine --unsigned behind the file's name takes it")


@command.command(
    "install",
    cls=Verbatim,
    ours={
        "--unsigned": "It need not be signed by a trusted key.",
        **{option: door.OURS[option] for option in ("--dry-run", "--json-summary")},
    },
    usage="FILE [ARGS]...",
)
def install(args: tuple[str, ...]) -> int:
    """Install what a bundle was made for: FILE, and arguments of 'opam install'.

    Nothing but the bundle is asked; without packages in ARGS, what was named when it was made is installed.
    opam has to know the packages: its repository comes from elsewhere.
    """
    from opambin import request
    from opambin.cli.helpwords import wants_help
    from opambin.cli.verbatim import show_help
    from opambin.errors import MisuseError
    from opambin.exchange import bundling, opening

    if wants_help(args):
        return show_help("install")
    words = [word for word in args if word != "--unsigned"]
    if not words or words[0].startswith("-"):
        raise MisuseError("usage: opam-bin bundle install FILE [--unsigned] [ARGS of opam install]")
    if words[0].startswith("-"):
        raise MisuseError(f"the file comes first: opam-bin bundle install FILE {words[0]} …")
    path = Path(words.pop(0)).absolute()
    named = bundling.listed(path)
    os.environ[opening.ONLY] = f"bundle:{path}"
    os.environ[opening.REFRESH] = "1"  # another bundle may have lain there before
    if "--unsigned" in args:
        os.environ[opening.UNSIGNED] = "1"
    if not request.parse(words, os.environ).names:
        _check_list(path, named)
        words = [*(atom.replace(".", "=", 1) for atom in named), *words]
    return door.run("install", tuple(words))


def _check_list(path: Path, named: list[str]) -> None:
    """Refuse what the file says is to be installed, where nobody who is trusted has signed it.

    Raises:
        OpambinError: So it is.
    """
    from opambin.errors import MisuseError
    from opambin.exchange import opening

    belief = opening.believed(os.environ)
    if belief is None:
        return
    try:
        belief.check_useful()
    except MisuseError as error:
        raise MisuseError(f"bundle {path.name}: {error}") from error
    belief.check_named(named)
