from __future__ import annotations

import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from opambin.door import asking, warmup
from opambin.door.front import Command
from opambin.machine import systempackages
from opambin.model import Package
from opambin.opam.ast import OpamFile
from opambin.opam.client import Action, Plan, PlanFailed, Verb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PACKAGE = Package.parse("a.1")
PLAN = Plan((Action(Verb.INSTALL, PACKAGE),))
WANTS = 'opam-version: "2.0"\ndepexts: [["libx"] {os-family = "debian"} ["x"] {os = "macos"}]\n'


class FakeContext(SimpleNamespace):
    """A context whose opam counts how it is asked."""

    def __init__(self, text: str = "", answer: Plan | PlanFailed = PLAN) -> None:
        asked: list[bool] = []

        def plan(_: Sequence[str], env_extra: Mapping[str, str]) -> Plan | PlanFailed:
            asked.append("OPAMNODEPEXTS" not in env_extra)
            return answer

        super().__init__(
            environ={},
            asked=asked,
            asked_before={"os-family": "debian", "os": "linux"},
            opam=SimpleNamespace(plan=plan),
            root=SimpleNamespace(config=OpamFile("config")),
            raw=lambda _: {PACKAGE: text},
        )
        self.switch = SimpleNamespace(
            fingerprint=lambda: "f",
            state=lambda: SimpleNamespace(packages=()),
            config=lambda: SimpleNamespace(depext_bypass=()),
        )


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warmup, "begin", lambda _: warmup.Warmup())
    rows = ["libthere\tamd64\tii \t"]
    monkeypatch.setattr(systempackages, "_dpkg_rows", lambda: rows)
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/dpkg-query")


def ask(context: Any, *args: str) -> list[bool]:  # noqa: ANN401 - stands for a Context
    """Return, for each time that opam was asked, whether it had to look at the system's packages."""
    asking.ask_for_plan(context, Command("install", ("a", *args)))
    found: list[bool] = context.asked
    return found


def test_nothing_of_the_system_is_wanted() -> None:
    assert ask(FakeContext()) == [False]


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        pytest.param(WANTS.replace("libx", "libthere"), [False], id="installed"),
        pytest.param(WANTS, [False, True], id="missing"),
        pytest.param(
            WANTS.replace("os-family", "os-version"), [False, True], id="a variable that is not known"
        ),
    ],
)
def test_system_packages(text: str, asked: list[bool]) -> None:
    assert ask(FakeContext(text)) == asked


def test_what_can_not_be_planned_at_all() -> None:
    assert ask(FakeContext(answer=PlanFailed(20, "", ""))) == [False]


@pytest.mark.parametrize("option", ["--no-depexts", "--assume-depexts"])
def test_what_the_user_says_of_system_packages_counts(option: str) -> None:
    assert ask(FakeContext(WANTS), option) == [True]


def test_a_definition_that_opam_does_not_give() -> None:
    context = FakeContext()
    context.raw = lambda _: {}
    assert ask(context) == [False, True]
