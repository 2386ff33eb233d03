from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from opambin import request
from opambin.cli import narration
from opambin.cli.console import Console
from opambin.door import messages, shellhint
from opambin.model import Package
from opambin.opam.client import Action, Plan, Verb
from opambin.restore import Restored

HEADING = "\n<><> Processing actions " + "<><><><><><><><><><><><><><><><><><><><><><><><><><><><>"


def package(text: str) -> Package:
    return Package.parse(text)


def prepared(
    *actions: tuple[Verb, str],
    stdout: str = "\u2217",
    removals: tuple[str, ...] = (),
    args: tuple[str, ...] = (),
) -> Any:  # noqa: ANN401 - stands for a Prepared
    plan = Plan(tuple(Action(verb, package(name)) for verb, name in actions), stdout=stdout)
    decision = SimpleNamespace(removals=dict.fromkeys(map(package, removals), ""), universe="the final set")
    return SimpleNamespace(
        plan=plan, decision=decision, context="the switch", request=request.parse(args, {})
    )


def done(*restored: str, checked: tuple[str, ...] = ()) -> Restored:
    manifests = tuple(SimpleNamespace(package=package(name)) for name in restored)
    return Restored(manifests, checked)  # type: ignore[arg-type] # only the package is looked at


def test_steps_follow_opams_plan_and_leave_out_what_was_not_done() -> None:
    """What is left to opam it tells itself, and a removal that it has to do, too."""
    plan = prepared(
        (Verb.REMOVE, "top.1"),
        (Verb.REMOVE, "kept.1"),
        (Verb.INSTALL, "conf-x.1"),
        (Verb.INSTALL, "leaf.1"),
        (Verb.INSTALL, "missed.1"),
        (Verb.INSTALL, "top.2"),
        removals=("top.1",),
    )
    lines: list[str] = []
    narration.print_steps(plan, done("top.2", "leaf.1", checked=("conf-x.1",)), Console(), lines.append)
    assert lines == [
        HEADING,
        "⊘ removed   top.1",
        "\u2217 installed conf-x.1",
        "\u2217 installed leaf.1",
        "\u2217 installed top.2",
    ]


def test_a_reinstallation_is_told_as_both_of_its_steps() -> None:
    plan = prepared((Verb.REMOVE, "a.1"), (Verb.INSTALL, "a.1"), removals=("a.1",))
    lines: list[str] = []
    narration.print_steps(plan, done("a.1"), Console(utf8=False), lines.append)
    assert lines[1:] == ["-> removed   a.1", "-> installed a.1"]


@pytest.mark.parametrize(
    ("stdout", "args", "wanted"),
    [
        pytest.param("- install a", (), Console(utf8=False), id="opam wrote ASCII"),
        pytest.param("\u2217 install a", (), Console(), id="opam wrote symbols"),
        pytest.param("\u2217", ("--color=always",), Console(color=True), id="colours are asked for"),
        pytest.param("\u2217", ("--color", "never"), Console(), id="and are not"),
    ],
)
def test_it_writes_as_opam_did(stdout: str, args: tuple[str, ...], wanted: Console) -> None:
    assert narration.console_of(prepared(stdout=stdout, args=args), {}) == wanted


def test_the_option_counts_more_than_the_environment() -> None:
    plan = prepared(args=("--color=never",))
    assert narration.console_of(plan, {"OPAMCOLOR": "always"}) == Console()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Packages have something to say; what was asked about them."""
    calls: list[object] = []

    def after_install(*args: object) -> list[tuple[str, tuple[str, ...]]]:
        calls.append(args)
        return [("a.1", ("one line", "two\n\nlines\x1b[2J"))]

    monkeypatch.setattr(messages, "after_install", after_install)
    return calls


def test_messages_look_as_opams_and_no_terminal_obeys_them(asked: list[object]) -> None:
    lines: list[str] = []
    narration.print_messages(prepared(), done("a.1", checked=("conf-x.1",)), Console(), lines.append)
    assert lines[0].startswith("\n<><> a.1 installed successfully <><>")
    assert lines[1:] == ["=> one line", "=> two", "", r"   lines\x1b[2J"]
    assert asked == [("the switch", "the final set", ["a", "conf-x"])]


def test_the_end_is_done_then_messages_then_the_hint(
    asked: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shellhint, "hint", lambda *_: ("# Run %s to update", "eval $(opam env)"))
    lines: list[str] = []
    narration.print_end(prepared(), done("a.1"), Console(color=True), lines.append)
    assert (lines[0], lines[-1]) == ("Done.", "# Run \x1b[01meval $(opam env)\x1b[0m to update")
    assert lines[2] == "\x1b[32m=> \x1b[0mone line"
    assert len(asked) == 1


def test_no_hint_where_opam_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shellhint, "hint", lambda *_: ("", ""))
    monkeypatch.setattr(messages, "after_install", lambda *_: [])
    lines: list[str] = []
    narration.print_end(prepared(), done("a.1"), Console(), lines.append)
    assert lines == ["Done."]
