"""What is damaged in the store is told, and built again; it never reaches a switch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from trees import changes_problems, differences

from opambin.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worlds import World

pytestmark = pytest.mark.integration


@pytest.fixture
def built(world: World, switch: str) -> Path:
    """A switch with two packages from source, and the store that has them."""
    world.opam("install", "--switch", switch, "flat")
    assert world.manifests == ["flat.1", "tree.2"]
    world.log.unlink()
    return world.prefix(switch)


def objects_of(world: World, package: str) -> list[Path]:
    with Store.open(world.cache) as store:
        manifest = next(it for it in store.manifests.all() if str(it.package) == package)
        return [store.layout.object(digest, executable=bit) for digest, bit, _ in manifest.objects]


def manifest_of(world: World, package: str) -> Path:
    with Store.open(world.cache) as store:
        manifest = next(it for it in store.manifests.all() if str(it.package) == package)
        return store.layout.manifest(manifest.key, manifest.output)


def truncate_object(world: World) -> None:
    for path in objects_of(world, "tree.2"):
        path.chmod(0o644)
        path.write_bytes(b"")


def edit_object(world: World) -> None:
    for path in objects_of(world, "tree.2"):
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-1] + b"X")


def lose_object(world: World) -> None:
    for path in objects_of(world, "tree.2"):
        path.unlink()


def truncate_manifest(world: World) -> None:
    path = manifest_of(world, "tree.2")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-40])


def edit_manifest(world: World) -> None:
    path = manifest_of(world, "tree.2")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"lib/tree/where", b"lib/tree/there"))


def escape_in_manifest(world: World) -> None:
    path = manifest_of(world, "tree.2")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"lib/tree/where", b"../../../where"))


def opam_file_in_manifest(world: World) -> None:
    path = manifest_of(world, "tree.2")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"opam-version: ", b"opam-version} "))


DAMAGE = [
    pytest.param(truncate_object, id="truncated object"),
    pytest.param(edit_object, id="edited object"),
    pytest.param(lose_object, id="lost object"),
    pytest.param(truncate_manifest, id="truncated manifest"),
    pytest.param(edit_manifest, id="edited manifest"),
    pytest.param(escape_in_manifest, id="manifest that leaves the switch"),
    pytest.param(opam_file_in_manifest, id="opam file of the manifest"),
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_front_door_reports_it_and_opam_builds(
    world: World, built: Path, damage: Callable[[World], None]
) -> None:
    damage(world)
    second = f"second-{world.number}"
    world.empty_switch(second)
    done = world.opam_bin("install", "--switch", second, "flat")
    assert world.built[0] == "tree.2"
    assert str(world.cache) in done.text, "the damaged file is named"
    assert differences(built, world.prefix(second)) == []
    assert changes_problems(world.prefix(second)) == []
    assert world.manifests == ["flat.1", "tree.2"], "the build has put it back"
    assert "Nothing is wrong" in world.opam_bin("verify").text


@pytest.mark.parametrize("damage", [DAMAGE[1], DAMAGE[3]])
def test_the_hooks_report_it_and_opam_builds(
    world: World, built: Path, damage: Callable[[World], None]
) -> None:
    damage(world)
    second = f"second-{world.number}"
    world.empty_switch(second)
    done = world.opam("install", "--switch", second, "flat")
    assert world.built[0] == "tree.2"
    assert str(world.cache) in done.text, "the damaged file is named"
    assert differences(built, world.prefix(second)) == []
    assert world.manifests == ["flat.1", "tree.2"]
    assert world.sessions == []


def test_a_manifest_of_an_unknown_version_is_told(world: World, built: Path) -> None:
    path = manifest_of(world, "tree.2")
    path.chmod(0o644)
    content = path.read_bytes()
    assert b'"opam-bin-manifest":1' in content
    path.write_bytes(content.replace(b'"opam-bin-manifest":1', b'"opam-bin-manifest":99'))
    second = f"second-{world.number}"
    world.empty_switch(second)
    done = world.opam_bin("install", "--switch", second, "flat")
    assert "version" in done.text
    assert "99" in done.text
    assert world.built[0] == "tree.2"
    assert differences(built, world.prefix(second)) == []


def test_a_store_of_the_future_is_not_touched(world: World, built: Path) -> None:
    with Store.open(world.cache) as store:
        format_file = store.layout.format_file
    before = format_file.read_bytes()
    format_file.chmod(0o644)
    format_file.write_bytes(before.replace(b"1", b"99"))
    second = f"second-{world.number}"
    world.empty_switch(second)
    done = world.opam_bin("install", "--switch", second, "flat")
    assert "99" in done.text
    assert "everything is built from source" in done.text
    assert sorted(world.built) == ["flat.1", "tree.2"]
    assert differences(built, world.prefix(second)) == []
    format_file.write_bytes(before)
    assert world.manifests == ["flat.1", "tree.2"]
