from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from store_samples import stored_manifest

from opambin.model import ConeKey, Manifest, Package, PackageName, Version
from opambin.session import hits, late
from opambin.session.folder import Planned, Session
from opambin.store.store import Store
from opambin.surroundings import Keyed, Platform, Surroundings

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = 'opam-version: "2.0"\nbuild: ["make"]\n'
SOURCED = PLAIN + 'url { src: "https://example.org/a.tar" checksum: "sha256=' + "a" * 64 + '" }\n'
AROUND = Surroundings(Platform("x86_64", "linux", "debian", "12"), {"arch": "x86_64"})
DEMO = Package.parse("demo.1.0")
NAMED = ("demo", "1.0")


@dataclass
class FakeSwitch:
    """A switch in which ``demo`` is about to be built."""

    folder: Path
    pinned: dict[PackageName, Version] = field(default_factory=dict)
    installed: dict[PackageName, Version] = field(default_factory=dict)

    def state(self) -> Any:  # noqa: ANN401 - stands for a SwitchState
        return self

    def sources_dir(self, name: str) -> Path:
        return self.folder / "sources" / name

    @property
    def meta(self) -> Path:
        return self.folder


class FakeContext:
    """A session that goes on, with a real store and a real session folder."""

    def __init__(self, folder: Path, text: str = PLAIN) -> None:
        self.prefix = str(folder / "switch")
        self.environ: dict[str, str] = {}
        self.asked_before: dict[str, str] = {}
        self.definitions: dict[Package, str] = {}
        self.asked: list[list[str]] = []
        self.config = SimpleNamespace(restore=True, exclude_packages=())
        self.switch = FakeSwitch(folder / "switch")
        self.session = Session.of(folder / "root", folder / "switch")
        self.session.create()
        self.session.save_surroundings(AROUND)
        self.session.save_request(["demo"])
        self.store: Store | None = Store.open(folder / "store", create=True)
        self.opam = SimpleNamespace(variables=self._variables)
        self.text = text

    def _variables(self, names: list[str]) -> dict[str, str]:
        self.asked.append(names)
        return dict.fromkeys(names, "debian")

    def raw(self, packages: Any) -> dict[Package, str]:  # noqa: ANN401 - a set of packages
        return dict.fromkeys(packages, self.text)

    def record(self, *_: object) -> None:
        return None

    def announce(self, *, reason: str = "") -> None:
        """Note what the session's start knew of the package."""
        self.session.save_planned(DEMO, Planned(Keyed(None, "", "why not"), self.text, (), (), reason))
        self.session.mark("late", DEMO)

    @property
    def key(self) -> ConeKey:
        """Of the package as it is now."""
        _, planned = late.plan(self, DEMO, self.session.load_planned(DEMO))  # type: ignore[arg-type] # stands for a Context
        assert planned.keyed.key is not None
        return planned.keyed.key

    def put(self) -> Manifest:
        """Put a snapshot of the package into the store."""
        assert self.store is not None
        manifest = replace(stored_manifest(self.store), key=self.key)
        self.store.add(manifest)
        return manifest


@pytest.fixture
def filled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Packages whose build directories were filled; filling them always works."""
    calls: list[tuple[str, str]] = []

    def before_build(named: tuple[str, str], _: object) -> str:
        calls.append(named)
        return ""

    monkeypatch.setattr(hits, "before_build", before_build)
    return calls


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeContext:
    found = FakeContext(tmp_path, SOURCED)
    monkeypatch.setattr(late, "open_context", lambda *_, **__: found)
    return found


def look() -> str | None:
    return late.before_build(NAMED, {})


def test_what_the_store_has_not_is_built(context: FakeContext, filled: list[tuple[str, str]]) -> None:
    context.announce(reason="it was recompiled")
    assert look() == ""
    assert filled == []
    assert not context.session.marked("late", DEMO)
    assert not context.session.marked("hit", DEMO)
    planned = context.session.load_planned(DEMO)
    assert planned is not None
    assert (planned.keyed.key, planned.reason) == (context.key, "it was recompiled")


def test_what_the_store_has_is_placed(context: FakeContext, filled: list[tuple[str, str]]) -> None:
    context.announce()
    manifest = context.put()
    assert look() is None
    assert filled == [NAMED]
    assert context.session.hit(DEMO) == (manifest.key, manifest.output)


def test_why_a_hit_could_not_be_placed_is_handed_on(
    context: FakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    context.announce()
    context.put()
    monkeypatch.setattr(hits, "before_build", lambda *_: "demo.1.0 is built from source: no space")
    assert look() == "demo.1.0 is built from source: no space"


def test_a_recompilation_was_not_announced(context: FakeContext, filled: list[tuple[str, str]]) -> None:
    """Then nothing is known of it, and the variables that it reads have to be asked for."""
    context.text = SOURCED.replace('"make"', '"make" os-family')
    context.put()
    context.asked.clear()
    assert look() is None
    assert filled == [NAMED]
    assert "os-family" in context.asked[0]


def test_what_is_known_is_not_asked_for_again(context: FakeContext, filled: list[tuple[str, str]]) -> None:
    context.announce()
    assert look() == ""
    assert (context.asked, filled) == ([], [])


@pytest.mark.parametrize("obstacle", ["restoring is off", "no store", "another build", "a file of another"])
def test_what_must_not_be_placed(context: FakeContext, filled: list[tuple[str, str]], obstacle: str) -> None:
    context.announce()
    context.put()
    if obstacle == "restoring is off":
        context.config.restore = False
    elif obstacle == "no store":
        context.store = None
    elif obstacle == "another build":
        context.text = SOURCED.replace("a" * 64, "b" * 64)
    else:
        context.config.exclude_packages = ("demo",)
    assert look() == ""
    assert filled == []
    assert not context.session.marked("hit", DEMO)


@pytest.mark.parametrize(("known", "placed"), [(True, None), (False, "")])
def test_tests_that_may_have_been_asked_for(
    context: FakeContext, filled: list[tuple[str, str]], known: bool, placed: str | None
) -> None:
    """When opam's command line could not be read, nobody knows whether the tests of a package are to run."""
    context.text = SOURCED + 'run-test: ["make" "test"]\n'
    context.announce()
    context.put()
    context.session.save_request(["demo"] if known else None)
    assert look() == placed
    assert filled == ([NAMED] if known else [])


def test_a_pin_is_known_by_its_source(context: FakeContext, filled: list[tuple[str, str]]) -> None:
    context.text = PLAIN + 'url { src: "file:///src/demo" }\n'
    context.switch.pinned = {DEMO.name: DEMO.version}
    context.announce()
    assert look() == ""
    planned = context.session.load_planned(DEMO)
    assert planned is not None
    assert planned.keyed.key is None, "opam has no source yet"
    source = context.switch.sources_dir("demo")
    source.mkdir(parents=True)
    (source / "main.ml").write_text("let () = ()")
    first = context.key
    context.put()
    assert look() is None
    (source / "main.ml").write_text("let () = exit 1")
    assert context.key != first
    assert look() == ""
    assert filled == [NAMED]
