"""The recipes of ``opam-bin ci``: their own commands are run, with packages that are built in a moment."""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import wheels
import yaml

from opambin.cli.ci import RECIPES, recipe
from opambin.trust.keys import SecretKey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from worlds import World

pytestmark = pytest.mark.integration
KEY = SecretKey("ci", b"c" * 32)
COMPILER = "ocaml-base-compiler.5.2.1"
STAND_INS = {"sudo": "exit 0", "dune": "exit 0"}
"""What needs the network, or a compiler. All else is run as it is printed."""
_numbers = itertools.count(900)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The working tree as what pip can install."""
    return str(wheels.build(tmp_path_factory.mktemp("wheel")))


@pytest.fixture
def machine(tiny_root: World) -> Iterator[World]:
    """A machine with opam and pipx, and without opam-bin; its store is empty."""
    world = dataclasses.replace(tiny_root, number=next(_numbers))
    for name, script in STAND_INS.items():
        (world.folder / f"bin/{name}").write_text(f"#!/bin/sh\n{script}\n")
        (world.folder / f"bin/{name}").chmod(0o755)
    wheels.write_pipx(world.folder / "bin/pipx")
    yield world
    shutil.rmtree(world.folder / "home/.local", ignore_errors=True)
    world.opam_bin("init", "--yes")  # the hooks of what is tested elsewhere


@pytest.fixture
def installed(machine: World, wheel: str) -> World:
    """The same machine with opam-bin."""
    shell(f"pipx install {wheel}; opam-bin init --yes", machine.folder, environ(machine, machine.folder))
    return machine


def environ(machine: World, remote: Path) -> dict[str, str]:
    # ~/.local/bin is where pipx puts programs; services have it on their path
    return machine.environ | {
        "PATH": f"{machine.environ['HOME']}/.local/bin:{machine.environ['PATH']}",
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


def github(spec: str) -> str:
    steps: list[dict[str, Any]] = yaml.safe_load(recipe("github", spec))["jobs"]["build"]["steps"]
    return "\n".join(str(step.get("run", "")) for step in steps)


def gitlab(spec: str) -> str:
    job = yaml.safe_load(recipe("gitlab", spec))["build"]
    return "\n".join([*job["before_script"], *job["script"], *job["after_script"]])


def docker(spec: str) -> str:
    """Join the commands of ``RUN``, without mounts."""
    text = recipe("docker", spec).replace("\\\n", " ")
    runs = re.findall(r"^RUN (.*)$", text, re.MULTILINE)
    return "\n".join(re.sub(r"--mount=\S+\s+", "", run).strip() for run in runs)


@pytest.mark.parametrize(
    "commands",
    [github, pytest.param(gitlab, marks=pytest.mark.slow), pytest.param(docker, marks=pytest.mark.slow)],
)
def test_the_second_machine_builds_nothing(
    machine: World,
    wheel: str,
    tmp_path: Path,
    commands: Any,  # noqa: ANN401 - a function
) -> None:
    script = commands(wheel).replace(COMPILER, "lone")  # a package of the tests is the compiler
    assert f"pipx install {wheel}\n" in f"{script}\n"
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


def test_the_nightly_job_restores_builds_pushes_and_prunes(installed: World, tmp_path: Path) -> None:
    env = environ(installed, tmp_path / "remote") | {"COMPILERS": "lone slow", "PACKAGES": "top leaf"}
    shell(recipe("nightly", ""), tmp_path, env)
    built = installed.built
    assert sorted(set(built)) == ["flat.1", "leaf.1", "lone.1", "slow.1", "top.1", "tree.2"]
    assert built.count("top.1") == 1  # the second compiler's packages are the same: nothing depends on it
    (tmp_path / "remote/archives/aa").mkdir(exist_ok=True)
    orphan = tmp_path / f"remote/archives/aa/{'b' * 62}.tar.zst"
    orphan.write_bytes(b"x")
    os.utime(orphan, (0, 0))
    second = dataclasses.replace(installed, number=next(_numbers))
    env = environ(second, tmp_path / "remote") | {"COMPILERS": "lone slow", "PACKAGES": "top leaf"}
    said = shell(recipe("nightly", ""), tmp_path, env)
    assert second.built == []
    assert not orphan.exists()
    assert "opam-bin: state 2 of environment" in said


def test_a_nightly_job_that_fails_says_so_and_pushes_the_rest(installed: World, tmp_path: Path) -> None:
    env = environ(installed, tmp_path / "remote") | {"COMPILERS": "failing lone", "PACKAGES": "leaf"}
    done = subprocess.run(
        ["sh", "-c", recipe("nightly", "")],
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
    """The tests run from a folder, which another machine can't install from."""
    printed = machine.opam_bin("ci", service).out
    assert printed == recipe(service, "")
    if service == "nightly":
        machine.opam_bin("ci", service, "--from", "x", code=2)
        return
    assert "# Replace what follows 'pipx install': " in printed
    assert "pipx install 'opambin @ git+https://HOST/REPOSITORY'\n" in printed
    spec = "opambin[s3] @ git+https://example.org/it.git@0123#subdirectory=a b"
    said = machine.opam_bin("ci", service, "--from", spec).out
    assert (said, "# Replace" in said) == (recipe(service, spec), False)
    assert f"pipx install '{spec}'\n" in said
    assert "nothing that pip could install" in machine.opam_bin("ci", service, "--from", "a\nb", code=2).err
