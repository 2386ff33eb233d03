"""opam asks ``opam-bin verify-update`` before it takes an update of a signed repository, over http.

``OPAMBIN_TEST_OPAMS`` names the opams to try: what they hand over differs (folders, archives, patches).
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from servers import nginx
from signedrepo import NOW, Publisher
from worlds import World

from opambin.publish.indexfile import read_index, write_index
from opambin.publish.signed.keys import metadata_key
from opambin.publish.signed.metafolder import MetadataFolder
from opambin.publish.signed.profile import TopRole
from opambin.publish.signed.rootfiles import draft_next, put_in_force
from opambin.publish.signed.roots import RootChange
from opambin.publish.signed.standing import instructions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from servers import Running
    from worlds import Done

pytestmark = pytest.mark.integration
REFUSED = 40  # opam's exit code when a repository can't be updated
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with nginx(tmp_path_factory.mktemp("signed") / "served") as running:
        yield running


@pytest.fixture(scope="module")
def root(opam_program: str, short_folder: Path) -> World:
    """An opam root without a switch, in which opam-bin is asked about updates."""
    return World.verifying(short_folder / f"u{next(_numbers)}", opam_program)


@dataclass(frozen=True)
class Client:
    """An opam root, and a repository for it to follow."""

    world: World
    publisher: Publisher
    url: str
    name: str

    def follow(self, url: str | None = None) -> Done:
        """Do what the publisher tells users to do."""
        return self.world.follow(instructions(self.publisher.folder, url or self.url, self.name))

    def update(self) -> Done:
        return self.world.opam("update", "--repositories", self.name, code=None)

    def accepted(self) -> None:
        done = self.update()
        assert done.code == 0, done.text

    def refused(self, says: str) -> None:
        before = self.packages
        done = self.update()
        assert done.code == REFUSED, done.text
        assert "Invalid repository signatures" in done.text
        assert self.packages == before
        reason = (self.world.folder / "home/.local/state/opam-bin/repositories/last-refusal").read_text()
        assert re.search(says, reason), reason

    @property
    def packages(self) -> list[str]:
        listed = self.world.opam("list", "--all", "--short", "--columns=package", f"--repos={self.name}")
        return sorted(listed.out.split())


@pytest.fixture
def client(root: World, server: Running) -> Client:
    name = f"r{next(_numbers)}"
    url = f"{server.url}/{name}"
    return Client(root, Publisher.make(server.root / name, base_url=url), url, name)


def repack(folder: Path, **changes: bytes) -> None:
    """Change files in the index, as someone who has no keys would."""
    index = folder / "index.tar.gz"
    index.write_bytes(write_index(read_index(index.read_bytes()) | changes))


def test_followed_and_updated(client: Client) -> None:
    done = client.follow()
    assert "Initialised" in done.text
    assert client.packages == ["alpha.1", "beta.1"]
    client.publisher.package("gamma", "2", base_url=client.url)
    client.publisher.sign()
    client.accepted()
    assert client.packages == ["alpha.1", "beta.1", "gamma.2"]
    (client.publisher.folder / "packages/beta/beta.1/opam").unlink()
    client.publisher.sign()
    client.accepted()
    assert client.packages == ["alpha.1", "gamma.2"]
    client.publisher.renew()
    client.accepted()


def test_taken_from_a_folder(client: Client) -> None:
    assert "Initialised" in client.follow(f"file://{client.publisher.folder}").text
    client.publisher.package("gamma", "2")
    client.publisher.sign()
    client.accepted()
    assert "gamma.2" in client.packages
    client.publisher.write("packages/gamma/gamma.2/opam", b'opam-version: "2.0"\n')
    client.refused("gamma.2/opam: tampered")


def test_a_new_repository_that_does_not_verify_is_not_added(client: Client) -> None:
    repack(client.publisher.folder, **{"packages/alpha/alpha.1/opam": b'opam-version: "2.0"\n'})
    done = client.follow()
    assert done.code == REFUSED, done.text


def test_of_a_stranger(client: Client, tmp_path: Path) -> None:
    stranger = Publisher.make(tmp_path / "stranger")
    client.follow()
    client.publisher.restore(stranger.folder)
    client.refused("unsigned.*anchors")


def test_tampered(client: Client) -> None:
    client.follow()
    repack(
        client.publisher.folder, **{"packages/alpha/alpha.1/opam": b'opam-version: "2.0"\nbuild: ["evil"]\n'}
    )
    client.refused("alpha.1/opam: tampered")


def test_with_a_package_more(client: Client) -> None:
    client.follow()
    repack(client.publisher.folder, **{"packages/evil/evil.1/opam": b'opam-version: "2.0"\n'})
    client.refused("evil.1/opam: tampered: nobody has signed")


def test_with_a_package_less(client: Client) -> None:
    client.follow()
    index = client.publisher.folder / "index.tar.gz"
    members = read_index(index.read_bytes())
    del members["packages/beta/beta.1/opam"]
    index.write_bytes(write_index(members))
    client.refused("incomplete.*beta")


def test_rolled_back(client: Client, tmp_path: Path) -> None:
    old = client.publisher.copy(tmp_path / "old")
    client.follow()
    client.publisher.package("gamma", "2", base_url=client.url)
    client.publisher.sign()
    client.accepted()
    client.publisher.restore(old)
    client.refused("rolled back")


def test_rolled_back_where_nothing_is_remembered_but_by_opam(client: Client, tmp_path: Path) -> None:
    import shutil

    old = client.publisher.copy(tmp_path / "old")
    client.follow()
    client.publisher.package("gamma", "2", base_url=client.url)
    client.publisher.sign()
    client.accepted()
    shutil.rmtree(client.world.folder / "home/.local/state/opam-bin/repositories")
    client.publisher.restore(old)
    client.refused("rolled back")


def test_frozen(client: Client) -> None:
    client.follow()
    client.publisher.renew(days=-8)  # an old state that the client has not seen
    client.refused("expired")


def test_mixed(client: Client) -> None:
    client.follow()
    old = read_index((client.publisher.folder / "index.tar.gz").read_bytes())
    client.publisher.package("gamma", "2", base_url=client.url)
    client.publisher.sign()
    repack(client.publisher.folder, **{"tuf/targets.json": old["tuf/targets.json"]})
    client.refused("mixed")


def test_without_metadata(client: Client) -> None:
    client.follow()
    index = client.publisher.folder / "index.tar.gz"
    members = {path: it for path, it in read_index(index.read_bytes()).items() if not path.startswith("tuf/")}
    index.write_bytes(write_index(members | {"packages/gamma/gamma.1/opam": b'opam-version: "2.0"\n'}))
    client.refused("not signed")


def test_root_keys_changed(client: Client) -> None:
    client.follow()
    publisher = client.publisher
    for number in (1, 2):
        names = f"root{number - 1 or ''}", f"root{number}"
        change = RootChange(
            add=[(TopRole.ROOT, metadata_key(publisher.keys[names[1]].public))],
            remove=[(TopRole.ROOT, publisher.keys[names[0]].public.id)],
        )
        draft = draft_next(publisher.folder, change, publisher.keys.signers(*names), NOW)
        put_in_force(publisher.folder, draft.data, publisher.keys.signers("targets", "online"), NOW)
    assert MetadataFolder(publisher.folder).root().signed.version == 3
    client.accepted()
    publisher.package("gamma", "2", base_url=client.url)
    publisher.sign()
    client.accepted()
    assert "gamma.2" in client.packages


def test_not_asked_without_anchors(client: Client) -> None:
    client.follow()
    plain = f"{client.name}-plain"
    client.world.opam("repository", "add", plain, client.url, "--dont-select")
    repack(client.publisher.folder, **{"packages/evil/evil.1/opam": b'opam-version: "2.0"\n'})
    assert client.world.opam("update", "--repositories", plain, code=None).code == 0
    assert client.update().code == REFUSED


def test_asked_about_a_repository_that_was_there_before(client: Client) -> None:
    world, publisher = client.world, client.publisher
    sound = (publisher.folder / "index.tar.gz").read_bytes()
    client.follow()  # configures opam
    name = f"{client.name}-plain"
    world.opam("repository", "add", name, client.url, "--dont-select")
    anchored = ["repository", "set-url", name, client.url, "1", *publisher.anchors]
    repack(publisher.folder, **{"packages/evil/evil.1/opam": b'opam-version: "2.0"\n'})
    assert "Invalid repository signatures" in world.opam(*anchored, code=None).text
    (publisher.folder / "index.tar.gz").write_bytes(sound)
    assert "Invalid" not in world.opam(*anchored, code=None).text
    repack(publisher.folder, **{"packages/evil/evil.1/opam": b'opam-version: "2.0"\n'})
    assert world.opam("update", "--repositories", name, code=None).code == REFUSED


def test_archives_from_a_mirror(client: Client, server: Running) -> None:
    # the publisher's own server is gone: opam looks for archives by digest in its archive-mirrors
    name = f"m{next(_numbers)}"
    far = Publisher.make(server.root.parent / f"{name}-far", base_url="http://127.0.0.1:9/gone")
    mirrored = Client(client.world, far, f"{server.url}/{name}", name)
    copied = client.world.opam_bin(
        "mirror", str(far.folder), str(server.root / name), "--anchor", far.anchors[0]
    )
    assert "2 packages" in copied.out
    assert "Initialised" in mirrored.follow().text
    config = client.world.root / "config"
    before = config.read_text()  # `opam option` knows the field from 2.2 on
    config.write_text(f'{before}archive-mirrors: ["{server.url}/{name}/cache"]\n')
    try:
        client.world.opam("switch", "create", name, "--empty", f"--repos={name}")
        done = client.world.opam("install", "--switch", name, "--download-only", "beta")
        assert "alpha.1" in done.text
    finally:
        config.write_text(before)
    asked = [line for line in server.requests() if f"/{name}/cache/sha256/" in line]
    assert len(asked) == 2
