"""What the documentation says about itself and about the command line."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import click
import pytest

from opambin.cli.program import COMMANDS, program
from opambin.config import SETTINGS, Config

TOP = Path(__file__).parents[2]
PAGES = sorted([*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md")])
COMMANDS_PAGE = (TOP / "docs" / "commands.md").read_text("utf-8")
README = (TOP / "README.md").read_text("utf-8")
CONFIGURATION = (TOP / "docs" / "configuration.md").read_text("utf-8")
EVERYWHERE = {"--help", "--json", "--switch", "--root", "--yes", "--dry-run"}
"""Options that the head of ``docs/commands.md`` explains for all commands."""


def prose(page: Path) -> list[str]:
    """The lines of a page that stand in no block of code."""
    blocks = page.read_text("utf-8").split("```")
    return "".join(blocks[::2]).splitlines()


@cache
def anchors(page: Path) -> frozenset[str]:
    """The names under which the headings of a page are linked to."""
    headings = [line.lstrip("#").strip() for line in prose(page) if re.match("#+ ", line)]
    texts = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return frozenset(re.sub(r"[^\w\- ]", "", text).replace(" ", "-") for text in texts)


def links(page: Path) -> list[str]:
    found = re.findall(r"\]\(([^)\s]+)\)", "\n".join(prose(page)))
    return [link for link in found if not re.match("https?://", link)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_linked_to() -> None:
    """From the readme one gets to every page, in any number of steps."""
    seen: set[Path] = set()
    waiting = [TOP / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen:
            continue
        seen.add(page)
        targets = [(page.parent / link.partition("#")[0]).resolve() for link in links(page)]
        for target in targets:
            waiting += sorted(target.glob("*.md")) if target.is_dir() else [target]
        waiting = [page for page in waiting if page.suffix == ".md"]
    assert set(PAGES) - seen == set()


def command(name: str) -> click.Command:
    found = program.get_command(click.Context(program), name)
    assert isinstance(found, click.Command)
    return found


def sections(name: str) -> str:
    """What ``docs/commands.md`` says about a command, its own commands included."""
    parts = re.split("^## ", COMMANDS_PAGE, flags=re.MULTILINE)
    found = "".join(part for part in parts if re.match(rf"`opam-bin {name}[` ]", part))
    assert found, name
    return found


def options(of: click.Command) -> set[str]:
    its = [option for param in of.params for option in (*param.opts, *param.secondary_opts)]
    own = {option for option in its if option.startswith("--")} | set(getattr(of, "ours", ()))
    return own.union(*(options(sub) for sub in of.commands.values())) if isinstance(of, click.Group) else own


def hidden(of: click.Command) -> set[str]:
    its = [param for param in of.params if isinstance(param, click.Option) and param.hidden]
    return {option for param in its for option in param.opts}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_documented(name: str) -> None:
    described = set(re.findall(r"--[a-z][a-z-]*[a-z]", sections(name)))
    found = command(name)
    assert options(found) - hidden(found) - EVERYWHERE - described == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_all_of_its_options(name: str) -> None:
    """Not only what click makes of its declarations: also those of commands that hand words on to opam."""
    found = command(name)
    with click.Context(found, info_name=name) as context:
        told = found.get_help(context)
    if not isinstance(found, click.Group):
        assert all(option in told for option in options(found) - hidden(found))


def test_the_readme_names_the_commands_that_people_use() -> None:
    shown = set(re.findall(r"`opam-bin ([a-z-]+)", README))
    assert shown <= set(COMMANDS)
    rest = set(COMMANDS) - shown - {name for name in COMMANDS if f"`{name}`" in README}
    assert rest <= {"completion", "exec", "relocate-archive", "selftest-relocation", "verify-update"}


def test_the_help_of_the_program_fits_on_a_terminal() -> None:
    """One line for each command, none cut short."""
    with click.Context(program, info_name="opam-bin", terminal_width=80) as context:
        lines = program.get_help(context).splitlines()
    for name, words in COMMANDS.items():
        (line,) = [line for line in lines if line.startswith(f"  {name} ")]
        assert line.endswith(words)


INTERNAL = {
    "OPAMBIN_OCAMLLIB",  # of a recipe, for the wrappers; docs/hooks.md
    "OPAMBIN_ONLY_REMOTE",  # from `bundle install` to what it runs
    "OPAMBIN_ONLY_REMOTE_UNSIGNED",
    "OPAMBIN_PAD",
    "OPAMBIN_PAD_ALSO",
    "OPAMBIN_SELFTEST_LENGTH",  # from the selftest to the wrappers
    "OPAMBIN_TOLD",  # from the front door to the session that it starts
    "OPAMBIN_TRANSPARENT",  # from the shim to what it becomes
}


def test_every_variable_is_documented() -> None:
    files = [
        path for name in ("opambin", "hooks", "shim") for path in (TOP / name).rglob("*") if path.is_file()
    ]
    texts = [path.read_text("utf-8") for path in files if path.suffix != ".pyc"]
    used = {name for text in texts for name in re.findall(r"\bOPAMBIN_[A-Z_]*[A-Z]\b", text)}
    assert used >= INTERNAL
    described = set(re.findall(r"`(OPAMBIN_[A-Z_]+)`", CONFIGURATION))
    assert used - INTERNAL == described


def test_every_setting_is_documented_with_its_default() -> None:
    rows = [line.split(" | ") for line in CONFIGURATION.splitlines()]
    table = {row[0].strip("| `"): row for row in rows if len(row) == 4}
    defaults = Config(Path("/"))
    for setting in SETTINGS:
        _, variable, default, _ = table[setting.name]
        assert variable == f"`{setting.variable}`"
        if setting.name not in ("cache", "jobs"):  # these depend on the machine
            value = getattr(defaults, setting.attribute)
            assert default.strip("`") == ("none" if value == () else str(value).lower())
