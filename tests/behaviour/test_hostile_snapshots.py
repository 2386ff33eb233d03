"""Snapshots made to do harm, signed by a trusted key, on a remote: none is offered, each is reported.

So it is built from source, as a miss, and nothing was written: not into the store, let alone into a prefix.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from exchange_samples import ALICE, MALLORY, TRUSTING_ALICE, pushed, shelf, snapshot, source
from hostile_remote import content
from memory_remote import MemoryRemote

from opambin.exchange import names
from opambin.exchange.downloads import pull
from opambin.exchange.meter import Silent
from opambin.model import Digest, Edit, ExtraFile, FileEntry, FileType
from opambin.store.store import Store
from opambin.trust.statement import Packed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from opambin.exchange.shelf import Shelf
    from opambin.model import Manifest


@pytest.fixture
def there(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "there")


@pytest.fixture
def here(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "here")


@pytest.fixture
def remote() -> MemoryRemote:
    return MemoryRemote()


def publish(
    remote: MemoryRemote,
    store: Store,
    manifest: Manifest,
    shown: Manifest | None = None,
    **lies: Any,  # noqa: ANN401 - any field
) -> None:
    remote.content.update(content(store, manifest, ALICE, shown, **lies))


def ask(here: Store, remote: MemoryRemote, manifest: Manifest) -> Shelf:
    found = shelf(here, source(remote, TRUSTING_ALICE), fresh=True)
    found.look([manifest.key])
    return found


def refused(here: Store, remote: MemoryRemote, manifest: Manifest) -> str:
    """Ask for a snapshot that must not be offered; returns what is reported."""
    found = ask(here, remote, manifest)
    assert found.outputs(manifest.key) == []
    assert found.offer(manifest) is None
    assert list(here.objects.all()) == []
    (problem,) = found.problems()
    return problem


def entries(manifest: Manifest, *more: FileEntry) -> tuple[FileEntry, ...]:
    return tuple(sorted((*manifest.files, *more), key=lambda entry: entry.path))


def file(manifest: Manifest, path: str, mode: int = 0o644) -> FileEntry:
    (plain,) = (entry for entry in manifest.files if not entry.mode & 0o111)
    return dataclasses.replace(plain, path=path, mode=mode)


def link(path: str, target: str) -> FileEntry:
    return FileEntry(path, FileType.SYMLINK, target=target)


def test_the_snapshots_of_this_test_are_good_but_for_the_harm(
    there: Store, here: Store, remote: MemoryRemote
) -> None:
    manifest = snapshot(there, "zed")
    publish(remote, there, manifest)
    offer = ask(here, remote, manifest).offer(manifest)
    assert offer is not None
    assert pull(here, [offer], Silent()).manifests == [manifest]


HARM: list[Any] = [
    pytest.param(lambda m: file(m, "/etc/passwd"), "not relative and normalized", id="absolute name"),
    pytest.param(lambda m: file(m, "../../.bashrc"), "not relative and normalized", id="dot dot"),
    pytest.param(lambda m: file(m, "lib/../../x"), "not relative and normalized", id="dot dot inside"),
    pytest.param(lambda m: file(m, "lib//x"), "not relative and normalized", id="two slashes"),
    pytest.param(lambda m: file(m, "bin/zed"), "not sorted, or twice", id="a name twice"),
    pytest.param(lambda m: file(m, "bin/su", 0o4755), "mode 0o4755", id="setuid"),
    pytest.param(lambda m: file(m, "bin/sg", 0o2755), "mode 0o2755", id="setgid"),
    pytest.param(lambda m: file(m, "lib/a\nb"), "control characters", id="newline"),
    pytest.param(lambda m: file(m, "lib/a\x1b[2J"), "control characters", id="terminal control"),
    pytest.param(lambda m: file(m, ".opam-switch/switch-state"), "opam's own", id="opam's records"),
    pytest.param(lambda m: file(m, ".OPAM-switch/switch-state"), "opam's own", id="opam's, in capitals"),
    pytest.param(lambda _: link("lib/x", "/etc/passwd"), "outside of the switch", id="link, absolute"),
    pytest.param(lambda _: link("lib/x", "../../../.ssh"), "outside of the switch", id="link, relative"),
    pytest.param(lambda _: link("lib/x", "../.opam-switch"), "outside of the switch", id="link to opam's"),
    pytest.param(
        lambda m: dataclasses.replace(file(m, "lib/zzz"), hardlink="/etc/shadow"),
        "no earlier file like it",
        id="hard link outwards",
    ),
    pytest.param(
        lambda m: dataclasses.replace(file(m, "bin/aaa"), hardlink="bin/zed"),
        "no earlier file like it",
        id="hard link to another content",
    ),
    pytest.param(
        lambda m: dataclasses.replace(file(m, "bin/aaa"), digest=Digest("../../../../etc/passwd")),
        "is not 64 hexadecimal digits",
        id="a path for a digest",
    ),
]


@pytest.mark.parametrize(("harm", "problem"), HARM)
def test_hostile_files_are_refused(
    there: Store,
    here: Store,
    remote: MemoryRemote,
    harm: Callable[[Manifest], FileEntry],
    problem: str,
) -> None:
    manifest = snapshot(there, "zed")
    bad = dataclasses.replace(manifest, files=entries(manifest, harm(manifest)))
    publish(remote, there, manifest, bad)
    assert problem in refused(here, remote, manifest)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        pytest.param({"edits": (Edit("../x", ("y",)),)}, "not an edit", id="edit outside"),
        pytest.param({"edits": (Edit("a", ("y\nz",)),)}, "not an edit", id="two lines as one"),
        pytest.param(
            {"edits": (Edit(".opam-switch/switch-state", ("y",)),)}, "opam's own", id="edit of opam's records"
        ),
        pytest.param(
            {"extra_files": (ExtraFile("../opam", Digest("0" * 64), 1),)},
            "extra-files",
            id="extra file outside",
        ),
        pytest.param({"install": 'misc: ["x" {"/home/me/.bashrc"}]'}, "outside of the switch", id="misc"),
        pytest.param(
            {"install": 'bin: ["x" {"../../../.bashrc"}]'}, "leaves its folder", id="install outside"
        ),
        pytest.param({"config": "no config"}, "zed.config", id="config"),
    ],
)
def test_hostile_texts_are_refused(
    there: Store, here: Store, remote: MemoryRemote, changes: dict[str, Any], problem: str
) -> None:
    manifest = snapshot(there, "zed")
    publish(remote, there, manifest, dataclasses.replace(manifest, **changes))
    assert problem in refused(here, remote, manifest)


def test_a_path_through_a_link_of_the_same_snapshot_is_refused(
    there: Store, here: Store, remote: MemoryRemote
) -> None:
    manifest = snapshot(there, "zed")
    files = entries(manifest, link("share", "../../outside"), file(manifest, "share/x"))
    publish(remote, there, manifest, dataclasses.replace(manifest, files=files))
    assert "'share' is a symlink, yet other paths are inside it" in refused(here, remote, manifest)


def test_the_manifest_of_another_package_is_refused(there: Store, here: Store, remote: MemoryRemote) -> None:
    """A good archive of another package, version or platform under the key that was asked for."""
    manifest, other = snapshot(there, "zed"), snapshot(there, "lwt")
    publish(remote, there, other, key=manifest.key, package=manifest.package)
    remote.content[names.slot(manifest.key, 0)] = remote.content.pop(names.slot(other.key, 0))
    assert "the manifest is not what was signed: " in refused(here, remote, manifest)


@pytest.mark.parametrize(
    ("lies", "problem"),
    [
        pytest.param({"manifest_digest": "0" * 64}, "another manifest than was signed", id="manifest"),
        pytest.param({"archive": Packed("0" * 64, 10, "0" * 64, 5)}, "archive is not there", id="archive"),
        pytest.param({"platform": "arm64/macos/homebrew/15"}, "platform: ", id="platform"),
        pytest.param({"dependencies": ()}, "dependencies: ", id="dependencies"),
        pytest.param({"recipe_digest": "1" * 64}, "recipe_digest: ", id="recipe"),
    ],
)
def test_a_statement_that_lies_about_its_manifest_is_refused(
    there: Store, here: Store, remote: MemoryRemote, lies: dict[str, Any], problem: str
) -> None:
    manifest = snapshot(there, "zed", below=[snapshot(there, "ocaml")])
    publish(remote, there, manifest, **lies)
    assert problem in refused(here, remote, manifest)


def test_a_manifest_of_a_million_files_is_refused(
    there: Store, here: Store, remote: MemoryRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is on bytes: 64,000,000, some half a million files. Here it is as if it was 100,000."""
    manifest = snapshot(there, "zed")
    monkeypatch.setattr("opambin.store.manifest_format.MAX_BYTES", 100_000)
    rows = (FileEntry(f"lib/{number:07}", FileType.DIRECTORY, 0o755) for number in range(5000))
    files = entries(manifest, *rows)
    publish(remote, there, manifest, dataclasses.replace(manifest, files=files))
    assert "too large for a manifest" in refused(here, remote, manifest)


def test_an_object_of_another_size_than_the_manifest_says_is_refused(
    there: Store, here: Store, remote: MemoryRemote
) -> None:
    manifest = snapshot(there, "zed")
    files = tuple(dataclasses.replace(entry, size=entry.size + 5) for entry in manifest.files)
    publish(remote, there, manifest, dataclasses.replace(manifest, files=files))
    found = ask(here, remote, manifest)
    (lying,) = found.outputs(manifest.key)
    offer = found.offer(lying)
    assert offer is not None
    got = pull(here, [offer], Silent())
    assert "wrong size" in got.problems[0]
    assert here.outputs(manifest.key) == []
    assert list(here.objects.all()) == []


def test_a_strangers_snapshot_is_not_even_looked_at(there: Store, here: Store, remote: MemoryRemote) -> None:
    """Verification comes before a single byte of the archive is asked for."""
    manifest = snapshot(there, "zed")
    pushed(there, [manifest], source(remote), MALLORY)
    remote.calls.clear()
    found = ask(here, remote, manifest)
    assert found.outputs(manifest.key) == []
    assert found.problems() == []
    assert remote.calls["get"] <= 1, "what the remote says of itself"
