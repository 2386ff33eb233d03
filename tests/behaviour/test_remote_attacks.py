"""What the owner of a bucket, a mirror or a shared folder may try beyond wrong bytes."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from typing import TYPE_CHECKING

import pytest

from opambin.errors import BadDataError
from opambin.exchange import bundling
from opambin.remote.bundle import BundleRemote, BundleWriter
from opambin.remote.directory import DRAFTS, DirectoryRemote
from opambin.trust.keys import SecretKey

if TYPE_CHECKING:
    from pathlib import Path

    from worlds import World

KEY = SecretKey("maker", b"m" * 32)
STRANGER = SecretKey("stranger", b"s" * 32)
_numbers = itertools.count(1400)


def test_a_folder_of_drafts_that_leads_elsewhere_costs_no_file(tmp_path: Path) -> None:
    """Who could write to a shared folder had those who push to it delete their own old files."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("years of work")
    os.utime(home / "thesis.tex", (0, 0))
    (tmp_path / "remote").mkdir()
    (tmp_path / "remote" / DRAFTS).symlink_to(home)
    with pytest.raises(BadDataError, match="not a folder"):
        DirectoryRemote(tmp_path / "remote", write=True).put("keys/ab", b"x")
    assert [path.name for path in home.iterdir()] == ["thesis.tex"]


def test_only_what_we_call_drafts_is_swept(tmp_path: Path) -> None:
    drafts = tmp_path / DRAFTS
    drafts.mkdir()
    for name in ("12-0-0123abcd", "notes", "12-0-0123abcd.bak"):
        (drafts / name).write_text("x")
        os.utime(drafts / name, (0, 0))
    DirectoryRemote(tmp_path, write=True).put("keys/ab", b"x")
    assert sorted(path.name for path in drafts.iterdir()) == ["12-0-0123abcd.bak", "notes"]


def test_a_listing_does_not_go_through_a_link(tmp_path: Path) -> None:
    """With ``archives`` a link to those of another remote, ``remote gc`` took them all for garbage."""
    other = DirectoryRemote(tmp_path / "other", write=True)
    other.put("archives/ab/cd", b"x")
    (tmp_path / "remote").mkdir()
    (tmp_path / "remote/archives").symlink_to(tmp_path / "other/archives")
    remote = DirectoryRemote(tmp_path / "remote", write=True)
    with pytest.raises(BadDataError, match="not a folder"):
        list(remote.entries("archives"))
    with pytest.raises(BadDataError, match="not a folder"):
        list(remote.entries("archives/ab"))
    assert list(remote.entries("")) == []


@pytest.mark.parametrize("name", ["--confirm-level.unsafe-yes", "-y.1", "--root.x", "leaf.--x y", "-.1"])
def test_a_list_in_a_bundle_holds_no_options_for_opam(tmp_path: Path, name: str) -> None:
    """``--confirm-level.unsafe-yes`` became an option of ``opam install``."""
    with BundleWriter(tmp_path / "b") as writer:
        writer.add(bundling.LISTING, json.dumps({"packages": [name]}).encode())
    with pytest.raises(BadDataError, match="no list of packages"):
        bundling.listed(tmp_path / "b")


def with_list(bundle: Path, packages: list[str]) -> Path:
    """Write a bundle anew with another list, which nobody signs."""
    before = BundleRemote(bundle)
    path = bundle.with_name("changed.bundle")
    with BundleWriter(path) as writer:
        for entry in before.entries(""):
            data = before.get(entry.name, limit=entry.size) or b""
            listing = json.dumps({"packages": packages}).encode()
            writer.add(entry.name, listing if entry.name == bundling.LISTING else data)
    before.close()
    return path


@pytest.mark.integration
def test_a_list_that_nobody_signed_installs_nothing(tiny_root: World, tmp_path: Path) -> None:
    """It names packages; only those that a trusted statement of the bundle is about are installed."""
    maker, taker = (dataclasses.replace(tiny_root, number=next(_numbers)) for _ in range(2))
    for world in (maker, taker):
        world.empty_switch(f"s{world.number}")
    at = ("--switch", f"s{maker.number}")
    maker.opam("install", *at, "leaf")
    bundle = tmp_path / "my.bundle"
    maker.opam_bin("bundle", "create", str(bundle), *at, more={"OPAMBIN_SIGNING_KEY": KEY.reveal()})
    changed = with_list(bundle, ["leaf.1", "lone.1"])
    words = ("bundle", "install", str(changed), "--switch", f"s{taker.number}")
    done = taker.opam_bin(*words, more={"OPAMBIN_TRUSTED_KEYS": str(KEY.public)}, code=3)
    assert "names lone.1, about which no trusted key has signed anything in it" in done.err
    done = taker.opam_bin(*words, more={"OPAMBIN_TRUSTED_KEYS": str(STRANGER.public)}, code=2)
    assert "bundle changed.bundle: nothing is taken from it: it is signed by the key " in done.err
    assert taker.built == []
    assert taker.installed(f"s{taker.number}") == []
