from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from exchange_samples import pushed, shelf, snapshot, source
from memory_remote import MemoryRemote

from opambin.exchange import planning
from opambin.model import Import, Package, PackageName, Symbol, Version
from opambin.opam.parser import parse
from opambin.plan import Site, Verdict
from opambin.store.store import Store
from opambin.surroundings import Keyed
from opambin.universe import Node

if TYPE_CHECKING:
    from pathlib import Path

    from opambin.model import Manifest
    from opambin.universe import Universe


class Machine:
    def has(self, symbol: Symbol) -> bool:
        return bool(symbol)


class Few:
    """As much of a universe as a plan asks for: packages with known keys, each on the one before."""

    def __init__(self, *manifests: Manifest) -> None:
        self.selected = {it.package.name: it.package.version for it in manifests}
        self._keys = {it.package.name: it.key for it in manifests}

    def node(self, name: PackageName) -> Node:
        package = Package(name, Version("1.0"))
        text = 'opam-version: "2.0"\nbuild: [["make"]]\n'
        return Node(package, text, parse(text, str(package)))

    def key(self, name: PackageName) -> Keyed:
        return Keyed(self._keys[name], "")

    def needed(self, name: PackageName) -> list[PackageName]:
        names = list(self.selected)
        return names[: names.index(name)]


SITE = Site("/r/sw", {}, Machine())
CRC = Symbol("cmi", "Stdlib", "1" * 32)
OTHER_CRC = Symbol("cmi", "Stdlib", "2" * 32)


@pytest.fixture
def there(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "there")


@pytest.fixture
def here(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "here")


def compiler(store: Store, build: str, crc: Symbol) -> Manifest:
    """An output of a compiler that provides a unit with a CRC."""
    made = snapshot(store, "ocaml", build=build)
    store.drop(made.key, made.output)
    made = dataclasses.replace(made, provides=(crc,))
    store.add(made)
    return made


def library(store: Store, name: str, build: str, on: Manifest, crc: Symbol) -> Manifest:
    """A library that was built against one output of the compiler."""
    made = snapshot(store, name, build=build, build_only=[on])
    store.drop(made.key, made.output)
    made = dataclasses.replace(made, imports=(Import(on.package.name, on.output, (crc,)),))
    store.add(made)
    return made


def plan(here: Store, remote: MemoryRemote, *manifests: Manifest) -> list[tuple[str, Verdict, str]]:
    universe: Universe = Few(*manifests)  # type: ignore[assignment]  # what a plan asks of one
    found = shelf(here, source(remote))
    items = planning.plan(universe, [it.package for it in manifests], found, SITE)
    return [
        (str(it.package.name), it.verdict, it.manifest.output[:6] if it.manifest is not None else it.reason)
        for it in items
    ]


def test_the_set_of_a_remote_is_taken_where_the_stores_own_fits_to_less(there: Store, here: Store) -> None:
    """A compiler built here, libraries built elsewhere with another: one consistent set, the larger one."""
    theirs = compiler(there, "theirs", CRC)
    mine = compiler(here, "mine", OTHER_CRC)
    assert (theirs.key, theirs.output) != (mine.key, mine.output)
    libraries = [library(there, name, "1", theirs, CRC) for name in ("lwt", "zed")]
    remote = MemoryRemote()
    pushed(there, [theirs, *libraries], source(remote))
    found = plan(here, remote, theirs, *libraries)
    assert [(name, verdict) for name, verdict, _ in found] == [
        ("ocaml", Verdict.HIT),
        ("lwt", Verdict.HIT),
        ("zed", Verdict.HIT),
    ]
    assert found[0][2] == theirs.output[:6]


def test_what_is_here_comes_first_where_all_fits(there: Store, here: Store) -> None:
    theirs = compiler(there, "theirs", CRC)
    mine = compiler(here, "mine", CRC)
    remote = MemoryRemote()
    made = library(there, "lwt", "1", theirs, CRC)
    pushed(there, [theirs, made], source(remote))
    assert plan(here, remote, mine, made)[0] == ("ocaml", Verdict.HIT, mine.output[:6])


def test_further_outputs_are_asked_for_only_when_the_first_does_not_fit(there: Store, here: Store) -> None:
    mine = compiler(here, "mine", OTHER_CRC)
    theirs = compiler(there, "theirs", CRC)
    wrong = library(there, "lwt", "1", theirs, CRC)
    right = library(there, "lwt", "2", mine, OTHER_CRC)
    assert wrong.key == right.key
    remote = MemoryRemote()
    pushed(there, [wrong], source(remote))
    pushed(there, [right], source(remote))
    remote.calls.clear()
    found = plan(here, remote, mine, wrong)
    assert found[1] == ("lwt", Verdict.HIT, right.output[:6])
    assert remote.calls["get_many"] >= 2


def test_without_remotes_it_is_the_plan_over_the_store(here: Store) -> None:
    mine = compiler(here, "mine", CRC)
    universe: Universe = Few(mine)  # type: ignore[assignment]  # what a plan asks of one
    items = planning.plan(universe, [mine.package], shelf(here), SITE)
    assert [it.verdict for it in items] == [Verdict.HIT]


def test_a_snapshot_that_could_not_be_fetched_is_a_miss_with_the_reason(there: Store, here: Store) -> None:
    theirs = compiler(there, "theirs", CRC)
    remote = MemoryRemote()
    pushed(there, [theirs], source(remote))
    universe: Universe = Few(theirs)  # type: ignore[assignment]  # what a plan asks of one
    found = shelf(here, source(remote))
    (first,) = planning.plan(universe, [theirs.package], found, SITE)
    (offer,) = planning.offers([first], found)
    found.reject(offer.manifest, "it broke off")
    (second,) = planning.plan(universe, [theirs.package], found, SITE)
    assert (second.verdict, second.reason) == (
        Verdict.MISS,
        "its snapshot could not be fetched: it broke off",
    )
    assert planning.offers([second], found) == []


def test_without_remotes_nothing_of_them_is_loaded(here: Store) -> None:
    """A plan over the store alone must not pay for what remotes need."""
    code = (
        "import sys, opambin.door.fetching, opambin.session.start\n"
        "heavy = ('cryptography', 'requests', 'zstandard', 'concurrent.futures', 'opambin.archive.reader',\n"
        "         'opambin.trust.policy', 'opambin.remote.open', 'opambin.exchange.catalogue')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert here.staging.readonly is False
