"""Real packages, published, signed, mirrored in part; opam verifies and installs them from the mirror."""

from __future__ import annotations

import shlex
import shutil
from typing import TYPE_CHECKING

import pytest
from servers import nginx
from worlds import World

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import BuiltCorpus

pytestmark = pytest.mark.integration
NOWHERE = "http://127.0.0.1:9/opam"  # the publisher's server, which nobody reaches


def other_root(folder: Path, program: str, mirror: str) -> World:
    """Make a root that takes archives from a mirror, and in which opam-bin verifies."""
    world = World.verifying(folder, program)
    with (world.root / "config").open("a") as config:
        config.write(f'archive-mirrors: ["{mirror}/cache"]\n')
    return world


def test_from_a_part_that_is_mirrored(built_corpus: BuiltCorpus, short_folder: Path) -> None:
    world, folder = built_corpus.world, short_folder / "signed"
    site, copy, wanted = str(folder / "site"), folder / "copy", built_corpus.corpus.packages[-1]
    name = wanted.partition(".")[0]
    loose = ["--unknown-licences", "allow", "--accept", "*:*"]
    keys = ["--sign-with", "release", "--sign-with", "online"]
    for key in ("release", "online"):
        world.opam_bin("key", "generate", key)
    world.opam_bin("publish", site, "--switch", built_corpus.switch, "--base-url", NOWHERE, *loose)
    world.opam_bin("tuf", "init", site, "--root-key", "release", "--online-key", "online", *keys)
    again = world.opam_bin("publish", site, "--switch", built_corpus.switch, *loose, *keys)
    assert "is as it should be" in again.out
    with nginx(copy) as server:
        shutil.rmtree(copy)  # the mirror makes it
        world.opam_bin("mirror", site, str(copy), "--closure-of", name, "--root", f"{site}/tuf/root.json")
        user = other_root(folder / "user", world.program, server.url)
        lines = world.opam_bin("tuf", "trust", site, "--url", server.url, "--name", "bin").out.splitlines()
        option, add = (shlex.split(line)[1:] for line in lines if line.startswith("opam "))
        user.opam(*option, code=None)
        whole = user.opam(*add, "--dont-select", code=None)
        assert "Invalid repository signatures" in whole.text  # a part is not taken for the whole
        user.opam(
            *(word.removesuffix("]") + ' "--partial"]' * word.endswith("]") for word in option), code=None
        )
        assert "Initialised" in user.opam(*add, "--dont-select").text
        user.opam("switch", "create", "w", "--empty", "--repos=bin")
        user.opam("install", "--switch", "w", wanted)
        assert wanted in user.installed("w")
        asked = server.requests()
    assert any("/cache/sha256/" in line for line in asked)
    shutil.rmtree(folder)
