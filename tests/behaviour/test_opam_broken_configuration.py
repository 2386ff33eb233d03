"""A configuration that can't be read, or used: opam goes on, and one line says what to mend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from opambin.config import config_file, remotes_file

if TYPE_CHECKING:
    from pathlib import Path

    from worlds import World

pytestmark = pytest.mark.integration

BROKEN = "jobs: 4\nexclude-packages: *-dev\n"
WORDS = "config.yaml: line 2: a text that begins with * has to be in quotes"


@pytest.fixture
def broken(world: World, switch: str, request: pytest.FixtureRequest) -> World:
    """A world where a snapshot waits for another switch, and the configuration is broken."""
    world.opam("install", "--switch", switch, "leaf")
    path = config_file(world.environ)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(BROKEN)
    request.addfinalizer(path.unlink)
    return world


def told(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("opam-bin:")]


def test_opam_installs_without_us(broken: World, second: str) -> None:
    done = broken.opam_bin("install", "--switch", second, "leaf")
    assert broken.installed(second) == ["leaf.1"]
    assert broken.built == ["leaf.1", "leaf.1"]
    path = config_file(broken.environ)
    assert told(done.text) == [f"opam-bin: {path.parent}/{WORDS}; opam goes on alone"]
    for words in (["reinstall", "leaf"], ["upgrade"]):
        again = broken.opam_bin(*words, "--switch", second)
        assert told(again.text) == told(done.text)


def test_a_plain_session_goes_on_without_us(broken: World, second: str) -> None:
    done = broken.opam("install", "--switch", second, "leaf")
    assert broken.installed(second) == ["leaf.1"]
    path = config_file(broken.environ)
    assert told(done.text) == [f"opam-bin: {path.parent}/{WORDS}; the cache is not used in this session"]
    assert broken.sessions == []


def test_a_switch_is_created_without_us(broken: World) -> None:
    name = f"made-{broken.number}"
    done = broken.opam_bin("switch", "create", name, "comp")
    assert broken.installed(name) == ["comp.1"]
    assert [line.partition("config.yaml: line 2")[1] for line in told(done.text)] == ["config.yaml: line 2"]


def test_opam_brings_a_switch_to_an_export(broken: World, switch: str, second: str) -> None:
    export = broken.folder / f"export{broken.number}"
    broken.opam("switch", "export", "--switch", switch, str(export))
    done = broken.opam_bin("sync", str(export), "--switch", second)
    assert broken.installed(second) == ["leaf.1"]
    (line,) = told(done.text)
    assert line.endswith(f"{WORDS}; opam goes on alone")


def test_programs_are_run(broken: World, second: str) -> None:
    assert broken.opam_bin("exec", "--switch", second, "--", "echo", "x").out == "x\n"


@pytest.mark.parametrize(
    "words",
    [
        ["list"],
        ["gc"],
        ["stats"],
        ["install", "--dry-run", "lone"],
        ["switch", "create", "x", "comp", "--dry-run"],
    ],
    ids=" ".join,
)
def test_questions_are_answered_with_the_line(broken: World, second: str, words: list[str]) -> None:
    done = broken.opam_bin(*words, code=3, more={"OPAMSWITCH": second})
    assert WORDS in done.err
    assert len(done.err.splitlines()) == 1
    assert done.out == ""


@pytest.fixture
def broken_remotes(world: World, switch: str, request: pytest.FixtureRequest) -> Path:
    """A world with something in its store, and a list of remotes that can't be read; its path."""
    world.opam("install", "--switch", switch, "leaf")
    path = remotes_file(world.environ)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("- name: team\n\turl: /srv\n")
    request.addfinalizer(path.unlink)
    return path


def test_without_remotes_the_store_still_gives(world: World, broken_remotes: Path, second: str) -> None:
    done = world.opam_bin("install", "--switch", second, "leaf")
    assert f"opam-bin: {broken_remotes}: line 2: there is a tab" in done.text
    assert "no remote is asked" in done.text
    assert "1 restored" in done.text
    assert "line 2: there is a tab" in world.opam("install", "--switch", second, "lone").text
    for words in (["remote", "list"], ["pull", "--switch", second, "big"]):
        failed = world.opam_bin(*words, code=3)
        assert f"{broken_remotes}: line 2: there is a tab" in failed.err
