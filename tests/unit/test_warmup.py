from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from opambin import gather
from opambin.door import warmup

if TYPE_CHECKING:
    import pytest


class FakeOpam:
    """Waits with its answer until it may give it."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()

    def variables(self, names: list[str]) -> dict[str, str]:
        assert self.may_answer.wait(10)
        return dict.fromkeys(names, "x")


def context(opam: FakeOpam) -> Any:  # noqa: ANN401 - as much of a context as is looked at
    return SimpleNamespace(opam=opam, asked_before={}, environ={"PATH": ""}, prefix="/s")


def test_modules_are_loaded_until_opam_has_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    first, go_on = threading.Event(), threading.Event()

    def load(name: str) -> None:
        loaded.append(name)
        first.set()
        assert go_on.wait(10)

    monkeypatch.setattr("opambin.door.warmup.importlib.import_module", load)
    opam = FakeOpam()
    opam.may_answer.set()
    begun = warmup.begin(context(opam))
    assert first.wait(10)
    begun.over.set()
    go_on.set()
    begun.end()
    assert loaded == [warmup.MODULES[0]]


def test_the_end_waits_for_what_opam_was_asked() -> None:
    opam = FakeOpam()
    here = context(opam)
    begun = warmup.begin(here)
    threading.Timer(0.1, opam.may_answer.set).start()
    begun.end()
    assert here.asked_before.keys() == gather.USUAL
    assert not any(thread.is_alive() for thread in begun.threads)
