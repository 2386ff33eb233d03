"""``opam-bin ci``: print a recipe for a CI service."""

from __future__ import annotations

import re
import shlex
from importlib import resources

import click

RECIPES = {"github": "github.yml", "gitlab": "gitlab.yml", "docker": "Dockerfile", "nightly": "nightly.sh"}
UNKNOWN = "opambin @ git+https://HOST/REPOSITORY"
FROM_HERE = """\
Replace what follows 'pipx install': the opam-bin that printed this came from a folder of its machine.
Give pip a repository (git+https://…), a wheel (https://…whl), or a name that your index knows;
'opam-bin ci --from SPEC' prints it so."""
FROM_ELSEWHERE = "what pip is told to install; 'opam-bin ci --from SPEC' prints another"


@click.command("ci")
@click.argument("service", type=click.Choice(list(RECIPES)))
@click.option(
    "--from",
    "spec",
    metavar="SPEC",
    help="What pip is told to install as opam-bin (default: from where this one was installed).",
)
def command(service: str, spec: str | None) -> None:
    """Print a recipe: a GitHub workflow, a GitLab pipeline, a Dockerfile, or the script of a nightly job.

    Save it, put in the address of your remote, and set the secrets that it names. docs/ci.md explains it.
    """
    from opambin.setup import origin

    if spec is not None and service == "nightly":
        raise click.UsageError("the script of the nightly job installs nothing: --from is for the others")
    if spec is None:
        spec = origin.own_requirement()
    elif not spec.strip() or not spec.isprintable():
        raise click.UsageError(f"--from: {spec!r:.100} is nothing that pip could install")
    click.echo(recipe(service, spec), nl=False)


def recipe(service: str, spec: str) -> str:
    """Return the text of a recipe.

    Args:
        service: One of :data:`RECIPES`.
        spec: What pip is told to install; empty: that is for the reader to say, and a comment tells so.
    """
    text = (resources.files("opambin") / "ci" / RECIPES[service]).read_text("utf-8")
    words = FROM_ELSEWHERE if spec else FROM_HERE
    text = re.sub(
        r"^( *)# @FROM@$",
        lambda found: "\n".join(f"{found[1]}# {line}" for line in words.splitlines()),
        text,
        flags=re.MULTILINE,
    )
    return text.replace("@SPEC@", shlex.quote(spec or UNKNOWN))
