"""What the script can't move is left to opam-bin, where the publisher allows it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from macho_samples import Sample, Sect, macho
from snapshot_samples import Samples

from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.model import PLACEHOLDER, Digest, FileEntry, FileType, Kind, Occurrence
from opambin.publish import helped, indexfile, licences, workflow
from opambin.publish.options import Asked, Options
from opambin.publish.places import Folder
from opambin.relocate import rendering
from opambin.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = macho(Sample(sections=(Sect("__cstring", PLACEHOLDER + b"/lib\0", flags=2),)))
PLACE = Occurrence(Kind.CSTRING, PROGRAM.index(PLACEHOLDER), 200)
OPTIONS = Options(base_url="https://example.org", policy=licences.load(), now=1_800_000_000)


@pytest.fixture
def samples(tmp_path: Path) -> Iterator[Samples]:
    with Store.open(tmp_path / "store") as store:
        made = Samples(store)
        digest, size = store.objects.put_bytes(PROGRAM, executable=True)
        entry = FileEntry("bin/tool", FileType.FILE, 0o755, Digest(digest), size, "", (PLACE,), digest)
        made.add("mac.1", files=(entry,))
        yield made


def publish(samples: Samples, place: Folder, *, helper: bool) -> workflow.Report:
    import dataclasses

    return workflow.publish(samples.store, place, Asked(), dataclasses.replace(OPTIONS, allow_helper=helper))


def test_without_permission_it_is_left_out(samples: Samples, tmp_path: Path) -> None:
    report = publish(samples, Folder(tmp_path / "repo"), helper=False)
    assert report.catalogue.builds == ()
    (left,) = report.catalogue.left_out
    assert "opam alone can't move it: bin/tool" in left.reason


def test_with_permission_it_asks_for_the_helper(samples: Samples, tmp_path: Path) -> None:
    place = Folder(tmp_path / "repo")
    (row,) = publish(samples, place, helper=True).catalogue.builds
    assert row.helper
    text = (place.path / row.opam_path).read_text()
    assert '"conf-opambin" {= "1"}' in text
    assert '["opam-bin" "relocate-archive" prefix]' in text
    assert helped.PATH in indexfile.read_index((place.path / "index.tar.gz").read_bytes())
    assert not publish(samples, place, helper=True).changed
    assert row.archive is not None
    with tarfile.open(fileobj=io.BytesIO((place.path / row.archive.path).read_bytes())) as tar:
        tar.extractall(tmp_path / "unpacked", filter="tar")
    folder = tmp_path / "unpacked/mac.1"
    for command in (
        ["sh", "./opam-bin.sh", "relocate"],
        [sys.executable, "-m", "opambin.cli.main", helped.COMMAND],
    ):
        subprocess.run(
            [*command, "/opt/here"], cwd=folder, check=True, env=os.environ | {"PYTHONPATH": str(Path.cwd())}
        )
    moved = folder / "files/bin/tool"
    assert moved.read_bytes() == rendering.render(PROGRAM, (PLACE,), b"/opt/here")
    assert moved.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("[]", id="list"),
        pytest.param('{"opam-bin-helped":2,"files":{}}', id="later"),
        pytest.param('{"opam-bin-helped":1,"files":{"../x":[]}}', id="outside"),
        pytest.param('{"opam-bin-helped":1,"files":{"x":[["text"]]}}', id="short row"),
        pytest.param('{"opam-bin-helped":1,"files":{"x":[["magic",0,1,true,[]]]}}', id="unknown kind"),
    ],
)
def test_a_list_that_is_none(text: str) -> None:
    with pytest.raises(BadDataError):
        helped.parse(text.encode())


def test_where_there_is_nothing_to_do(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"opam-bin\.helped is not in it"):
        helped.relocate(tmp_path, "/opt")
    with pytest.raises(MisuseError):
        helped.relocate(tmp_path, "opt/")
