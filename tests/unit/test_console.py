from __future__ import annotations

import pytest

from opambin.cli.console import Console
from opambin.cli.question import question

PLAN_OF_23 = "The following actions will be performed:\n=== downgrade 1 package\n=== install 2 packages\n"


@pytest.mark.parametrize(
    ("option", "environ", "plan", "wanted"),
    [
        pytest.param("", {}, "- install a", Console(utf8=False), id="no terminal, ASCII"),
        pytest.param("", {}, "  \u2217 install a", Console(), id="symbols in the plan"),
        pytest.param("always", {}, "\u2217", Console(color=True), id="asked for"),
        pytest.param("", {"OPAMCOLOR": "always"}, "\u2217", Console(color=True), id="the environment asks"),
        pytest.param("never", {"OPAMCOLOR": "always"}, "\u2217", Console(), id="the option counts more"),
    ],
)
def test_how_opam_would_write(option: str, environ: dict[str, str], plan: str, wanted: Console) -> None:
    assert Console.of(option, environ, plan) == wanted


def test_steps() -> None:
    assert Console().step("install", "a", "1") == "\u2217 installed a.1"
    assert Console(utf8=False).step("remove", "a", "1") == "-> removed   a.1"
    colored = Console(color=True).step("remove", "a", "1")
    assert colored == "\x1b[31m⊘\x1b[0m removed   \x1b[01ma\x1b[0m.1"


def test_a_narrow_terminal() -> None:
    console = Console(columns=40)
    assert len(console.heading("Processing actions")) == 40
    assert max(map(len, console.wrapped("word " * 20).splitlines())) <= 40
    assert Console().wrapped("word " * 40) == "word " * 40


@pytest.mark.parametrize(
    ("version", "console", "wanted"),
    [
        pytest.param((2, 1, 2), Console(), "Do you want to continue? [Y/n] ", id="2.1"),
        pytest.param(
            (2, 3, 0),
            Console(),
            "\nProceed with ↘ 1 downgrade and \u2217 2 installations? [y/n] ",
            id="2.3",
        ),
        pytest.param(
            (2, 6, 1),
            Console(utf8=False),
            "\nProceed with 1 downgrade and 2 installations? [Y/n] ",
            id="2.6 in ASCII",
        ),
    ],
)
def test_questions(version: tuple[int, ...], console: Console, wanted: str) -> None:
    assert question(PLAN_OF_23, version, console) == wanted


def test_colours_of_a_plan_do_not_hide_its_numbers() -> None:
    plan = "\x1b[32m===\x1b[0m install \x1b[01m3\x1b[0m packages\n"
    assert "Proceed with \u2217 3 installations?" in question(plan, (2, 5, 2), Console())
