"""The recipes of ``opam-bin ci``: their own commands are run, with packages that are built in a moment."""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from opambin.cli.ci import RECIPES, recipe
from opambin.trust.keys import SecretKey

if TYPE_CHECKING:
    from pathlib import Path

    from worlds import World

pytestmark = pytest.mark.integration
KEY = SecretKey("ci", b"c" * 32)
COMPILER = "ocaml-base-compiler.5.2.1"
NOT_HERE = ("pipx ", "sudo ", "export PATH=", "opam exec -- dune", "opam-bin init")
"""What needs the network, or a compiler: the rest is run."""
_numbers = itertools.count(900)


@pytest.fixture
def machine(tiny_root: World) -> World:
    """A machine with opam, opam-bin and nothing else; its store is empty."""
    world = dataclasses.replace(tiny_root, number=next(_numbers))
    program = world.folder / "bin/opam-bin"
    if not program.exists():
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m opambin.cli.main "$@"\n')
        program.chmod(0o755)
    return world


def environ(machine: World, remote: Path) -> dict[str, str]:
    return machine.environ | {
        "OPAMBIN_REMOTE": str(remote),
        "OPAMBIN_TRUSTED_KEYS": str(KEY.public),
        "OPAMBIN_SIGNING_KEY": KEY.reveal(),
        "XDG_STATE_HOME": str(remote.parent / "state"),
    }


def project(folder: Path) -> Path:
    folder.mkdir()
    (folder / "mine.opam").write_text('opam-version: "2.0"\ndepends: ["top" "leaf"]\n')
    return folder


def shell(script: str, folder: Path, env: dict[str, str]) -> str:
    done = subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def runnable(lines: list[str]) -> str:
    """Join commands into a script, with a package of the tests as the compiler."""
    kept = [line for line in lines if line.strip() and not line.strip().startswith(NOT_HERE)]
    return "\n".join(kept).replace(COMPILER, "lone")


def github() -> str:
    steps: list[dict[str, Any]] = yaml.safe_load(recipe("github"))["jobs"]["build"]["steps"]
    return runnable([line for step in steps for line in str(step.get("run", "")).splitlines()])


def gitlab() -> str:
    job = yaml.safe_load(recipe("gitlab"))["build"]
    return runnable([*job["before_script"], *job["script"], *job["after_script"]])


def docker() -> str:
    """Join the commands of ``RUN``, without mounts."""
    text = recipe("docker").replace("\\\n", " ")
    runs = re.findall(r"^RUN (.*)$", text, re.MULTILINE)
    return runnable([re.sub(r"--mount=\S+\s+", "", run).strip() for run in runs])


@pytest.mark.parametrize(
    "commands",
    [github, pytest.param(gitlab, marks=pytest.mark.slow), pytest.param(docker, marks=pytest.mark.slow)],
)
def test_the_second_machine_builds_nothing(machine: World, tmp_path: Path, commands: Any) -> None:  # noqa: ANN401 - a function
    script = commands()
    assert all(
        word in script for word in ("switch create ci lone", "install . --deps-only", "push --switch ci")
    )
    env = environ(machine, tmp_path / "remote") | {"CI_COMMIT_REF_PROTECTED": "true"}
    shell(script, project(tmp_path / "one"), env)
    assert sorted(machine.built) == ["flat.1", "leaf.1", "lone.1", "top.1", "tree.2"]
    machine.opam("switch", "remove", "ci")
    second = dataclasses.replace(machine, number=next(_numbers))
    env = environ(second, tmp_path / "remote") | {"CI_COMMIT_REF_PROTECTED": "true"}
    said = shell(script, project(tmp_path / "two"), env)
    second.opam("switch", "remove", "ci")
    assert second.built == []
    assert "snapshots fetched from environment" in said


def test_the_nightly_job_restores_builds_pushes_and_prunes(machine: World, tmp_path: Path) -> None:
    env = environ(machine, tmp_path / "remote") | {"COMPILERS": "lone slow", "PACKAGES": "top leaf"}
    shell(recipe("nightly"), tmp_path, env)
    built = machine.built
    assert sorted(set(built)) == ["flat.1", "leaf.1", "lone.1", "slow.1", "top.1", "tree.2"]
    assert built.count("top.1") == 1  # the second compiler's packages are the same: nothing depends on it
    (tmp_path / "remote/archives/aa").mkdir(exist_ok=True)
    orphan = tmp_path / f"remote/archives/aa/{'b' * 62}.tar.zst"
    orphan.write_bytes(b"x")
    os.utime(orphan, (0, 0))
    second = dataclasses.replace(machine, number=next(_numbers))
    env = environ(second, tmp_path / "remote") | {"COMPILERS": "lone slow", "PACKAGES": "top leaf"}
    said = shell(recipe("nightly"), tmp_path, env)
    assert second.built == []
    assert not orphan.exists()
    assert "opam-bin: state 2 of environment" in said


def test_a_nightly_job_that_fails_says_so_and_pushes_the_rest(machine: World, tmp_path: Path) -> None:
    env = environ(machine, tmp_path / "remote") | {"COMPILERS": "failing lone", "PACKAGES": "leaf"}
    done = subprocess.run(
        ["sh", "-c", recipe("nightly")],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 1
    assert "nightly: failing is not complete" in done.stderr
    assert len(list((tmp_path / "remote").glob("keys/*/*/0"))) == 2


@pytest.mark.parametrize("service", sorted(RECIPES))
def test_recipes_are_printed(machine: World, service: str) -> None:
    assert machine.opam_bin("ci", service).out == recipe(service)
