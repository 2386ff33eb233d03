"""A disk that really fills up while something is published: what was there before stays whole."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from snapshot_samples import Samples

from opambin.errors import UnavailableError
from opambin.publish import licences, workflow
from opambin.publish.options import Asked, Options
from opambin.publish.places import Folder
from opambin.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE = 6_000_000  # bytes of the disk
OPTIONS = Options(base_url="https://example.org/opam", policy=licences.load(), now=1_800_000_000)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
        pytest.skip("no small disk can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("room", [0, 20_000, 700_000, 1_400_000], ids=["none", "little", "some", "much"])
def test_what_was_published_stays_whole(tmp_path: Path, disk: Path, room: int) -> None:
    """Where it fills up: while the first archive is made, or a later one, or pages and definitions."""
    place = Folder(disk / "published")
    with Store.open(tmp_path / "store") as store:
        samples = Samples(store)
        samples.add("first.1")
        workflow.publish(store, place, Asked(), OPTIONS)
        before = tree(place.path)
        for number in range(3):
            samples.add(f"big{number}.1", files={f"lib/big{number}": os.urandom(600_000)})
        status = os.statvfs(disk)
        (disk / "filler").write_bytes(b"x" * max(0, status.f_bavail * status.f_frsize - room))
        later = dataclasses.replace(OPTIONS, now=OPTIONS.now + 1)
        with pytest.raises(UnavailableError, match="No space left"):
            workflow.publish(store, place, Asked(), later)
        assert tree(place.path) == before
        (disk / "filler").unlink()
        assert len(workflow.publish(store, place, Asked(), later).catalogue.builds) == 4
