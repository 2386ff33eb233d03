"""A store that several users of a machine share. Other users are numbers, which takes root."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from opambin.errors import MisuseError
from opambin.model import Digest
from opambin.store.permissions import Sharing, check, is_shared
from opambin.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

ALICE, BOB, TEAM = 64_001, 64_002, 64_100
SETPRIV = shutil.which("setpriv")
PROJECT = Path(__file__).resolve().parents[2]
needs_users = pytest.mark.skipif(
    os.geteuid() != 0 or SETPRIV is None, reason="only root can run programs as other users (setpriv)"
)

WRITER = """\
import os, sys
sys.path[:0] = [{project!r}, {tests!r}]
os.umask({umask})
from pathlib import Path
from store_samples import stored_manifest
from opambin.store.permissions import Sharing
from opambin.store.store import Store
with Store.open(Path({root!r}), sharing=Sharing({sharing!r})) as store:
    manifest = stored_manifest(store, {name!r}, b"{name} was here")
    store.add(manifest)
    store.touch([(manifest.key, manifest.output)], 7)
    print(*sorted(str(it.package.name) for it in store.manifests.all()))
"""


@pytest.fixture
def place() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="obs-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_user(user: int, code: str, group: int = TEAM) -> subprocess.CompletedProcess[str]:
    who = [str(SETPRIV), f"--reuid={user}", f"--regid={group}", "--clear-groups"]
    return subprocess.run(
        [*who, sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd="/"
    )


def writer(root: Path, name: str, sharing: str = "group", umask: int = 0o022) -> str:
    return WRITER.format(
        project=str(PROJECT),
        tests=str(PROJECT / "tests/unit"),
        root=str(root),
        name=name,
        sharing=sharing,
        umask=umask,
    )


@needs_users
def test_members_of_a_group_write_into_one_store(place: Path) -> None:
    os.chown(place, ALICE, TEAM)
    root = place / "store"
    first = as_user(ALICE, writer(root, "alices"))
    assert first.stdout == "alices\n", first.stderr
    second = as_user(BOB, writer(root, "bobs"))
    assert second.stdout == "alices bobs\n", second.stderr
    third = as_user(ALICE, writer(root, "alices"))
    assert third.stdout == "alices bobs\n", third.stderr
    stranger = as_user(BOB, writer(root, "x"), group=BOB)
    assert "can't be" in stranger.stderr
    for path in root.rglob("*"):
        mode = path.stat().st_mode
        assert not mode & stat.S_IWOTH, path
        assert path.stat().st_gid == TEAM, path
        if path.is_dir():
            assert mode & stat.S_ISGID, path


@needs_users
def test_an_old_object_of_another_member_is_renewed(place: Path) -> None:
    """utime on another's file is refused: a put of an object that is there already failed."""
    os.chown(place, ALICE, TEAM)
    root = place / "store"
    assert as_user(ALICE, writer(root, "alices")).returncode == 0
    code = writer(root, "alices").replace(
        "from opambin.store.store import Store",
        "from opambin.store.store import Store\nimport opambin.store.objects as o\no.FRESHEN_AFTER = -1",
    )
    done = as_user(BOB, code)
    assert done.returncode == 0, done.stderr
    objects = [path for path in (root / "objects").rglob("*") if path.is_file()]
    assert {path.stat().st_uid for path in objects} == {BOB}
    with Store.open(root, readonly=True) as store:
        for found in store.objects.all():
            store.objects.path(Digest(found.digest), executable=found.executable, size=found.size)
        assert store.problems == []


@needs_users
@pytest.mark.parametrize("sharing", ["no", "group"])
def test_a_store_that_everybody_may_write_is_refused(place: Path, sharing: str) -> None:
    root = place / "store"
    Store.open(root).close()
    (root / "objects").chmod(0o777)
    done = as_user(ALICE, writer(root, "alices", sharing))
    assert "may be written by everybody" in done.stderr
    with pytest.raises(MisuseError, match="everybody"):
        Store.open(root, sharing=Sharing(sharing))


@needs_users
def test_another_users_store_is_read_only_where_that_was_agreed(place: Path) -> None:
    os.chown(place, ALICE, TEAM)
    root = place / "store"
    assert as_user(ALICE, writer(root, "alices", "no")).returncode == 0
    refused = as_user(BOB, writer(root, "bobs", "no"))
    assert "belongs to user 64001: set 'shared: read'" in refused.stderr
    reading = writer(root, "bobs", "read").replace("stored_manifest(store", "0 and stored_manifest(store")
    reading = reading.replace("    store.add(manifest)\n", "    print(store.staging.readonly)\n")
    reading = reading.replace("    store.touch([(manifest.key, manifest.output)], 7)\n", "")
    done = as_user(BOB, reading, group=BOB)
    assert done.stdout == "True\nalices\n", done.stderr
    # The other user's name makes it theirs; root's needs no agreement.
    assert check(root, Sharing.READ) is False
    assert is_shared(root, Sharing.NO)


def test_a_group_that_may_write_has_to_be_meant(place: Path) -> None:
    root = place / "store"
    Store.open(root).close()
    root.chmod(0o775)
    if os.geteuid() == 0:
        os.chown(root, 0, TEAM)
    elif not set(os.getgroups()) - {os.getegid()}:
        pytest.skip("the user is in no group but their own")
    else:
        os.chown(root, -1, min(set(os.getgroups()) - {os.getegid()}))
    with pytest.raises(MisuseError, match="may be written by the group"):
        Store.open(root, sharing=Sharing.NO)
    Store.open(root, sharing=Sharing.GROUP).close()


def test_ones_own_store_needs_no_agreement(place: Path) -> None:
    root = place / "store"
    Store.open(root, sharing=Sharing.NO).close()
    assert check(root, Sharing.NO)
    assert not is_shared(root, Sharing.NO)
    assert is_shared(root, Sharing.GROUP)
