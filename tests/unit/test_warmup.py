from __future__ import annotations

import importlib
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from opambin import gather
from opambin.door import warmup
from opambin.errors import UnavailableError


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


@pytest.mark.parametrize("name", warmup.MODULES)
def test_every_module_that_it_names_is_there(name: str) -> None:
    assert importlib.import_module(name).__name__ == name


def test_it_loads_what_a_plan_needs_in_a_program_that_has_not() -> None:
    """In a process of its own: here all of it is loaded long since."""
    program = """
import sys
from types import SimpleNamespace
from opambin.door import warmup
before = [name for name in warmup.MODULES if name in sys.modules]
opam = SimpleNamespace(variables=lambda names: {})
begun = warmup.begin(SimpleNamespace(environ={}, prefix="/s", asked_before={}, opam=opam))
assert all(thread.daemon for thread in begun.threads)
for thread in begun.threads: thread.join()
print(before, [name for name in warmup.MODULES if name not in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[] []\n", "")


def test_an_opam_that_fails_is_found_out_by_those_who_need_the_answer() -> None:
    """Nothing is told here: whoever misses a variable asks again, and gets the error."""

    def variables(_: list[str]) -> dict[str, str]:
        raise UnavailableError("opam config expand failed")

    here = SimpleNamespace(
        opam=SimpleNamespace(variables=variables), asked_before={}, environ={"PATH": ""}, prefix="/s"
    )
    warmup.begin(here).end()  # type: ignore[arg-type] # an exception in a thread would fail the test
    assert here.asked_before == {}


def test_a_module_that_is_missing_keeps_no_other_from_being_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    compilers: list[tuple[object, ...]] = []

    def load(name: str) -> None:
        if name == "sqlite3":
            raise ImportError(name)
        loaded.append(name)

    monkeypatch.setattr(warmup, "importlib", SimpleNamespace(import_module=load))
    monkeypatch.setattr(gather, "system_compiler", lambda *args: compilers.append(args))
    opam = FakeOpam()
    opam.may_answer.set()
    for thread in warmup.begin(context(opam)).threads:
        thread.join(30)
    assert loaded == [name for name in warmup.MODULES if name != "sqlite3"]
    assert compilers == [({"PATH": ""}, "/s")]
