"""A bundle whose signatures are not enough is named, with the key that it wants; opam then builds."""

from __future__ import annotations

import dataclasses
import itertools
import json
from typing import TYPE_CHECKING

import pytest

from opambin.trust.keys import SecretKey

if TYPE_CHECKING:
    from pathlib import Path

    from worlds import World

pytestmark = pytest.mark.integration
KEY = SecretKey("maker", b"m" * 32)
OTHER = SecretKey("other", b"o" * 32)
_numbers = itertools.count(1200)


@pytest.fixture(scope="module")
def maker(tiny_root: World) -> World:
    """A machine that has built something."""
    world = dataclasses.replace(tiny_root, number=next(_numbers))
    world.empty_switch(f"s{world.number}")
    world.opam("install", "--switch", f"s{world.number}", "top")
    return world


@pytest.fixture
def taker(tiny_root: World) -> World:
    """A machine with an empty store and an empty switch."""
    world = dataclasses.replace(tiny_root, number=next(_numbers))
    world.empty_switch(f"s{world.number}")
    return world


def bundle(maker: World, path: Path, *options: str) -> str:
    more = {} if options else {"OPAMBIN_SIGNING_KEY": KEY.reveal()}
    words = ("bundle", "create", str(path), "--switch", f"s{maker.number}", *options)
    return maker.opam_bin(*words, more=more).out


def test_who_makes_one_is_told_what_the_other_machine_needs(maker: World, tmp_path: Path) -> None:
    assert f"'opam-bin key trust {KEY.public}' comes first\n" in bundle(maker, tmp_path / "b")
    assert "--unsigned behind the file's name takes it\n" in bundle(maker, tmp_path / "b", "--unsigned")


def test_with_its_key_nothing_is_built(maker: World, taker: World, tmp_path: Path) -> None:
    bundle(maker, tmp_path / "my file.bundle")
    taker_words = ("bundle", "install", str(tmp_path / "my file.bundle"), "--switch", f"s{taker.number}")
    more = {"OPAMBIN_TRUSTED_KEYS": str(KEY.public)}
    rehearsed = taker.opam_bin(*taker_words, "--dry-run", more=more)
    assert " from my file.bundle\n" in rehearsed.out
    rows = json.loads(taker.opam_bin(*taker_words, "--dry-run", "--json", more=more).out)["packages"]
    assert {row["remote"] for row in rows} == {"my file.bundle"}
    done = taker.opam_bin(*taker_words, more=more)
    assert taker.built == []
    assert "3 snapshots fetched from my file.bundle (" in done.out
    assert "environment (" not in done.text


BY = f"signed by the key {KEY.public.id[:16]}, which is not trusted here"


@pytest.mark.parametrize(
    ("trusted", "reason"),
    [
        pytest.param("", BY, id="no key is trusted"),
        pytest.param(str(OTHER.public), BY, id="another key is trusted"),
        pytest.param(
            f"staging@{KEY.public}", "signed by the key maker, which is for staging only", id="staging"
        ),
        pytest.param(str(KEY.public), "not signed", id="not signed"),
    ],
)
def test_without_its_key_one_is_told_which_and_opam_builds_what_was_named(
    maker: World, taker: World, tmp_path: Path, trusted: str, reason: str
) -> None:
    bundle(maker, tmp_path / "my.bundle", *(["--unsigned"] if reason == "not signed" else []))
    words = ("bundle", "install", str(tmp_path / "my.bundle"), "--switch", f"s{taker.number}")
    keys = {"OPAMBIN_TRUSTED_KEYS": trusted}
    refused = taker.opam_bin(*words, more=keys, code=2)
    assert f"opam-bin: bundle my.bundle: nothing is taken from it: it is {reason}. 'opam-bin" in refused.err
    assert taker.built == []
    done = taker.opam_bin(*words, "top", more=keys)
    lines = [line for line in done.text.splitlines() if "my.bundle" in line]
    assert lines == [
        f"opam-bin: bundle my.bundle: nothing is taken from it: it is {reason}. 'opam-bin key trust KEY' with"
        " the public key of who made it lets it count;"
        " --unsigned behind the name of the file takes it as it is"
    ]
    assert sorted(taker.built) == ["flat.1", "top.1", "tree.2"]


def test_as_it_is(maker: World, taker: World, tmp_path: Path) -> None:
    bundle(maker, tmp_path / "my.bundle")
    words = ("bundle", "install", str(tmp_path / "my.bundle"), "--unsigned", "--switch", f"s{taker.number}")
    taker.opam_bin(*words)
    assert taker.built == []
