"""What the program writes is read by readers that were made from the pages of ``docs/formats`` alone."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING

import format_readers
import pytest

from opambin.trust.keys import SecretKey

if TYPE_CHECKING:
    from pathlib import Path

    from worlds import World

pytestmark = pytest.mark.integration
KEY = SecretKey("ci", b"k" * 32)
PACKAGES = ["flat.1", "leaf.1", "top.1", "tree.2"]


@pytest.fixture(scope="module")
def built(tiny_root: World) -> World:
    world = dataclasses.replace(tiny_root, number=900)
    world.empty_switch("formats")
    world.opam("install", "--switch", "formats", "top", "leaf")
    return world


def test_the_store(built: World) -> None:
    found = format_readers.read_store(built.cache)
    assert sorted(f"{body['package']}.{body['version']}" for body in found) == PACKAGES


def test_a_remote(built: World, tmp_path: Path) -> None:
    more = {"OPAMBIN_SIGNING_KEY": KEY.reveal()}
    built.opam_bin("push", "--all", "--remote", str(tmp_path / "remote"), more=more)
    public = KEY.public.raw
    found = format_readers.read_remote(tmp_path / "remote", {hashlib.sha256(public).hexdigest(): public})
    assert sorted(f"{it['package']}.{it['package-version']}" for it in found) == PACKAGES


def test_a_published_and_signed_repository(built: World, tmp_path: Path) -> None:
    secret, folder = tmp_path / "ci.secret", tmp_path / "repository"
    secret.write_text(KEY.reveal() + "\n")
    secret.chmod(0o600)
    licences = ("--unknown-licences", "allow")
    built.opam_bin("publish", str(folder), "--base-url", "https://example.org/opam", *licences)
    built.opam_bin("tuf", "init", str(folder), "--root-key", str(secret), "--sign-with", str(secret))
    catalogue = format_readers.read_published(folder)
    assert [f"{build['name']}.{build['version']}" for build in catalogue["builds"]] == PACKAGES
    format_readers.read_signed(folder)
