"""Remotes of a malicious publisher, whose key is trusted, with a real opam."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

import pytest
from hostile_remote import content

from opambin.model import FileEntry, FileType
from opambin.store.store import Store
from opambin.trust.keys import SecretKey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worlds import Done, World

    from opambin.model import Manifest

pytestmark = pytest.mark.integration
KEY = SecretKey("publisher", b"p" * 32)
_numbers = itertools.count(700)


@dataclasses.dataclass(frozen=True, slots=True)
class Publisher:
    """A machine that has nothing, and the store of who publishes."""

    world: World
    switch: str
    store: Store
    folder: Path

    def publish(self, change: Callable[[Manifest], Manifest], name: str = "leaf") -> None:
        """Put a package on the remote, its manifest changed and signed."""
        (manifest,) = (it for it in self.store.manifests.all() if it.package.name == name)
        for path, data in content(self.store, manifest, KEY, change(manifest)).items():
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_bytes(data)

    def install(self, *names: str) -> Done:
        """Install packages in the switch."""
        environ = {
            "OPAMBIN_REMOTE": str(self.folder),
            "OPAMBIN_TRUSTED_KEYS": str(KEY.public),
            "XDG_STATE_HOME": str(self.folder.parent / "state"),
        }
        return self.world.opam_bin("install", "--switch", self.switch, *(names or ("leaf",)), more=environ)

    @property
    def opam_file(self) -> bytes:
        """What opam has on record."""
        prefix = self.world.prefix(self.switch)
        return (prefix / ".opam-switch/packages/leaf.1/opam").read_bytes()


@pytest.fixture(scope="module")
def built(tiny_root: World) -> World:
    """A world where the package was built and captured."""
    world = dataclasses.replace(tiny_root, number=next(_numbers))
    world.empty_switch(f"s{world.number}")
    world.opam("install", "--switch", f"s{world.number}", "leaf", "lone")
    return world


@pytest.fixture
def publisher(built: World, tmp_path: Path) -> Publisher:
    world = dataclasses.replace(built, number=next(_numbers))
    world.empty_switch(f"s{world.number}")
    (tmp_path / "remote").mkdir()
    store = Store.open(built.cache, readonly=True)
    return Publisher(world, f"s{world.number}", store, tmp_path / "remote")


def test_what_is_registered_is_the_repositorys_opam_file(
    publisher: Publisher, built: World, tmp_path: Path
) -> None:
    """The manifest holds an opam file, too; its commands would run with the user's rights."""
    harm = f'remove: [["sh" "-c" "touch {tmp_path}/harm"]]'
    publisher.publish(lambda it: dataclasses.replace(it, opam=f'opam-version: "2.0"\n{harm}\n'))
    publisher.install()
    assert publisher.world.built == [], "it was restored"
    built_here = built.prefix(f"s{built.number}") / ".opam-switch/packages/leaf.1/opam"
    assert publisher.opam_file == built_here.read_bytes()
    publisher.world.opam("remove", "--switch", publisher.switch, "leaf")
    assert not (tmp_path / "harm").exists()


def link(target: str) -> Callable[[Manifest], Manifest]:
    added = FileEntry("lib/zzz", FileType.SYMLINK, target=target)
    return lambda it: dataclasses.replace(it, files=(*it.files, added))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(link("/etc"), "outside of the switch", id="a link that leads out"),
        pytest.param(
            lambda it: dataclasses.replace(it, install='misc: ["x" {"/etc/passwd"}]'),
            "outside of the switch",
            id="an install file that reaches outside",
        ),
        pytest.param(
            lambda it: dataclasses.replace(
                it, files=(FileEntry(".opam-switch/switch-state", FileType.DIRECTORY, 0o755), *it.files)
            ),
            "opam's own",
            id="opam's records",
        ),
        pytest.param(
            lambda it: dataclasses.replace(
                it, files=(*it.files, FileEntry("lib/zz\nz", FileType.DIRECTORY, 0o755))
            ),
            "control characters",
            id="a name with a newline",
        ),
    ],
)
def test_a_hostile_snapshot_is_reported_and_the_package_built(
    publisher: Publisher, change: Callable[[Manifest], Manifest], words: str
) -> None:
    publisher.publish(change)
    done = publisher.install()
    assert words in done.text
    assert publisher.world.built == ["leaf.1"]
    assert publisher.world.installed(publisher.switch) == ["leaf.1"]
    prefix = publisher.world.prefix(publisher.switch)
    assert (prefix / "lib/leaf/x").read_text() == "leaf\n"
    assert not list((prefix / "lib").glob("zz*"))


def claims_files_of_lone(manifest: Manifest) -> Manifest:
    (own,) = (entry for entry in manifest.files if entry.path == "lib/leaf/x")
    return dataclasses.replace(manifest, files=(*manifest.files, dataclasses.replace(own, path="lib/lone/x")))


def contents(publisher: Publisher) -> list[str]:
    lib = publisher.world.prefix(publisher.switch) / "lib"
    return [(lib / name / "x").read_text() for name in ("leaf", "lone")]


@pytest.mark.parametrize("names", [("leaf", "lone"), ("lone", "leaf")])
def test_files_of_another_package_of_the_plan_are_not_taken(
    publisher: Publisher, names: tuple[str, str]
) -> None:
    """Whose they are can't be known from the snapshots, so opam builds both."""
    publisher.publish(claims_files_of_lone)
    publisher.publish(lambda it: it, "lone")
    shown = publisher.install("--dry-run", *names)
    assert "lib/lone/x comes with leaf, too" in shown.text
    assert "lib/lone/x comes with lone, too" in shown.text
    publisher.install(*names)
    assert sorted(publisher.world.built) == ["leaf.1", "lone.1"]
    assert contents(publisher) == ["leaf\n", "lone\n"]


def test_files_of_an_installed_package_are_not_taken(publisher: Publisher) -> None:
    publisher.publish(claims_files_of_lone)
    publisher.publish(lambda it: it, "lone")
    publisher.install("lone")
    assert publisher.world.built == []
    done = publisher.install("leaf")
    assert "lib/lone/x is in the switch already" in done.text
    assert publisher.world.built == ["leaf.1"]
    assert contents(publisher) == ["leaf\n", "lone\n"]
