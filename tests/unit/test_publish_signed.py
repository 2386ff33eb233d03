"""Publications to a folder that has keys: signed along with what is written, or not made at all."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from memory_remote import MemoryRemote
from signedrepo import NOW, Publisher
from snapshot_samples import VIRTUAL, Samples

from opambin.errors import MisuseError
from opambin.model import PLACEHOLDER
from opambin.publish import licences, workflow
from opambin.publish.catalogue import NAME, Catalogue
from opambin.publish.options import Asked, Options
from opambin.publish.places import Folder, OnRemote
from opambin.publish.signed.contributing import contribute, take_back, take_over
from opambin.publish.signed.delegating import Delegation
from opambin.publish.signed.keys import metadata_key
from opambin.publish.signed.sources import FolderSource
from opambin.publish.signed.uploading import upload
from opambin.publish.signed.verifying import Start, Verified, verify
from opambin.publish.tufmeta import RepositorySigner, Wishes
from opambin.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opambin.publish.workflow import Report

OPTIONS = Options(base_url="https://example.org/opam", policy=licences.load(), now=1_800_000_000, jobs=2)


@pytest.fixture
def samples(tmp_path: Path) -> Iterator[Samples]:
    with Store.open(tmp_path / "store") as store:
        found = Samples(store)
        found.add("ocaml.4.14.2", opam='opam-version: "2.0"\nflags: compiler\n', files={}, config="x")
        found.add("base-unix.base", opam=VIRTUAL, files={})
        found.add("zarith.1.12", "ocaml.4.14.2", files={"lib/zarith/META": b"dir=" + PLACEHOLDER})
        yield found


@pytest.fixture
def owner(tmp_path: Path, samples: Samples) -> Publisher:
    found = Publisher(tmp_path / "published")
    workflow.publish(samples.store, Folder(found.folder), Asked(), OPTIONS)
    found.begin()
    return found


def publish(samples: Samples, owner: Publisher, *keys: str, **changes: object) -> Report:
    signers = owner.keys.signers(*(keys or ("targets", "online")))
    signed = RepositorySigner(owner.folder, signers, NOW)
    options = dataclasses.replace(OPTIONS, signed=signed, **changes)  # type: ignore[arg-type]  # what tests change
    return workflow.publish(samples.store, Folder(owner.folder), Asked(), options)


def look(owner: Publisher, tmp_path: Path) -> Verified:
    return verify(FolderSource(owner.folder), tmp_path / "state", Start(owner.root))


def written(folder: Path) -> dict[str, bytes]:
    return {str(it.relative_to(folder)): it.read_bytes() for it in folder.rglob("*") if it.is_file()}


def test_signed_with_what_is_published(samples: Samples, owner: Publisher, tmp_path: Path) -> None:
    first = look(owner, tmp_path)
    samples.add("re.1.11", "ocaml.4.14.2", files={"lib/re/META": b"re"})
    report = publish(samples, owner)
    assert report.changed
    found = look(owner, tmp_path)
    assert set(found.trusted.files) - set(first.trusted.files) >= {"packages/re/re.1.11/opam"}
    assert found.trusted.signers[NAME] == "site"
    catalogue = Catalogue.parse((owner.folder / NAME).read_bytes())
    assert catalogue == report.catalogue


def test_nothing_new_writes_nothing(samples: Samples, owner: Publisher) -> None:
    before = written(owner.folder)
    assert not publish(samples, owner).changed
    assert written(owner.folder) == before


def test_what_is_gone_is_gone_from_the_signatures_too(
    samples: Samples, owner: Publisher, tmp_path: Path
) -> None:
    look(owner, tmp_path)
    signed = RepositorySigner(owner.folder, owner.keys.signers("targets", "online"), NOW)
    options = dataclasses.replace(OPTIONS, signed=signed)
    workflow.publish(samples.store, Folder(owner.folder), Asked(names=("ocaml",)), options)
    found = look(owner, tmp_path)
    assert "packages/zarith/zarith.1.12/opam" not in found.trusted.files
    assert not (owner.folder / "packages/zarith").exists()
    assert (owner.folder / "tuf/1.root.json").exists()


def test_missing_keys_leave_what_was_published(samples: Samples, owner: Publisher) -> None:
    before = written(owner.folder)
    samples.add("re.1.11", "ocaml.4.14.2", files={"lib/re/META": b"re"})
    with pytest.raises(MisuseError, match="--sign-with: targets"):
        publish(samples, owner, "online")
    assert written(owner.folder) == before


def test_packages_of_another_publisher_stay(samples: Samples, owner: Publisher, tmp_path: Path) -> None:
    with Store.open(tmp_path / "store2") as store:
        theirs = Samples(store)
        theirs.add("lib.1", opam='opam-version: "2.0"\nlicense: "MIT"\n', files={"lib/lib/META": b"lib"})
        friend = Publisher(tmp_path / "friend")
        workflow.publish(store, Folder(friend.folder), Asked(), OPTIONS)
    key = metadata_key(friend.keys["theirs"].public)
    owner.sign(wishes=Wishes(delegate=(Delegation("friend", ("lib",), (key,)),)))
    contribute(friend.folder, "friend", ["lib"], friend.keys.signers("theirs"), NOW)
    take_over(owner.folder, "friend", friend.folder, owner.keys.signers("online"), NOW)
    theirs_key, ours_key = friend.keys["theirs"].public.id, owner.keys["targets"].public.id
    assert "by the publisher friend" in said(owner, "lib")
    assert theirs_key in said(owner, "lib")
    assert "signed by the repository" in said(owner, "zarith")
    assert ours_key in said(owner, "zarith")
    assert "friend signs lib with this key:" in said(owner, "../verify")
    look(owner, tmp_path)  # the pages say so under signature
    assert not publish(samples, owner).changed
    samples.add("re.1.11", "ocaml.4.14.2", files={"lib/re/META": b"re"})
    report = publish(samples, owner)
    assert {"lib", "re"} <= {row.name for row in report.catalogue.builds}
    signers = look(owner, tmp_path).trusted.signers
    assert signers["packages/lib/lib.1/opam"] == "friend"
    assert signers["packages/re/re.1.11/opam"] == "targets"
    assert "by the publisher friend" in said(owner, "lib")
    take_back(owner.folder, "friend", owner.keys.signers("targets", "online"), NOW)
    assert not (owner.folder / "pages/p/lib.html").exists()
    assert "lib" not in {row.name for row in Catalogue.parse((owner.folder / NAME).read_bytes()).builds}
    look(owner, tmp_path)


def test_published_again_after_its_archives_were_uploaded_and_dropped(
    samples: Samples, owner: Publisher
) -> None:
    remote = MemoryRemote()
    upload(owner.folder, OnRemote(remote, "me"), NOW, drop=True)
    assert not publish(samples, owner).changed
    samples.add("re.1.11", "ocaml.4.14.2", files={"lib/re/META": b"re"})
    report = publish(samples, owner)
    made = sorted(str(it.relative_to(owner.folder)) for it in (owner.folder / "archives").rglob("*.gz"))
    assert made == [row.archive.path for row in report.catalogue.builds if row.name == "re" and row.archive]
    upload(owner.folder, OnRemote(remote, "me"), NOW, drop=True)
    archives = {row.archive.path for row in report.catalogue.builds if row.archive is not None}
    assert archives == {name for name in remote.content if name.startswith("archives/")}
    assert len(archives) == 3


def said(owner: Publisher, name: str) -> str:
    """Return the words of the page of a package."""
    text = (owner.folder / f"pages/p/{name}.html").read_text()
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def test_missing_keys_leave_what_another_publisher_offers(owner: Publisher, tmp_path: Path) -> None:
    """The archives and definitions were copied before the keys were looked at."""
    friend = Publisher(tmp_path / "friend")
    friend.folder.mkdir()
    friend.write("repo", b'opam-version: "2.0"\n')
    friend.package("lib", "1")
    key = metadata_key(friend.keys["theirs"].public)
    owner.sign(wishes=Wishes(delegate=(Delegation("friend", ("lib",), (key,)),)))
    contribute(friend.folder, "friend", ["lib"], friend.keys.signers("theirs"), NOW)
    before = written(owner.folder)
    with pytest.raises(MisuseError, match="keys of role snapshot must sign, 0 at hand"):
        take_over(owner.folder, "friend", friend.folder, owner.keys.signers("targets"), NOW)
    assert written(owner.folder) == before


def test_time_of_the_test_is_now() -> None:
    assert abs((datetime.now(UTC) - NOW).total_seconds()) < 86400
