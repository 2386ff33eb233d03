"""``opam-bin ci``: print a recipe for a CI service."""

from __future__ import annotations

from importlib import resources

import click

RECIPES = {"github": "github.yml", "gitlab": "gitlab.yml", "docker": "Dockerfile", "nightly": "nightly.sh"}


@click.command("ci")
@click.argument("service", type=click.Choice(list(RECIPES)))
def command(service: str) -> None:
    """Print a recipe: a GitHub workflow, a GitLab pipeline, a Dockerfile, or the script of a nightly job.

    Save it, put in the address of your remote, and set the secrets that it names. docs/ci.md explains it.
    """
    click.echo(recipe(service), nl=False)


def recipe(service: str) -> str:
    """Return the text of a recipe."""
    return (resources.files("opambin") / "ci" / RECIPES[service]).read_text("utf-8")
