from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from opambin.checkout import revision

if TYPE_CHECKING:
    from pathlib import Path


def git(top: Path, *args: str) -> None:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, "-C", str(top), *args], check=True, capture_output=True)


def head(top: Path) -> str:
    asked = ["git", "-C", str(top), "rev-parse", "HEAD"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    if shutil.which("git") is None:
        pytest.skip("no git")
    git(tmp_path, "init")
    (tmp_path / "file").write_text("content\n")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-m", "first")
    return tmp_path


def test_a_folder_without_history(tmp_path: Path) -> None:
    assert revision(tmp_path) == ""


def test_two_tags_of_one_tree_differ(repository: Path) -> None:
    """`dune subst` wrote the version of one tag into what was restored for the other."""
    seen = {revision(repository)}
    git(repository, "tag", "-a", "v1", "-m", "one")
    seen.add(revision(repository))
    git(repository, "commit", "--allow-empty", "-m", "second")
    git(repository, "tag", "-a", "v2", "-m", "two")
    seen.add(revision(repository))
    assert len(seen) == 3
    assert revision(repository) == revision(repository)


def test_the_revision_is_the_one_that_is_documented(repository: Path) -> None:
    git(repository, "tag", "-a", "v1", "-m", "one")
    assert revision(repository) == f"git v1-0-g{head(repository)} v1"


def test_the_name_of_a_tag_may_be_any_bytes(repository: Path) -> None:
    """One that is no UTF-8 ended the planning of the session as an internal error."""
    head = subprocess.run(
        ["git", "-C", str(repository), "rev-parse", "HEAD"], check=True, capture_output=True
    )
    (repository / ".git" / "packed-refs").write_bytes(head.stdout.strip() + b" refs/tags/v\xe9\n")
    assert "v\udce9-0-g" in str(revision(repository))


def test_a_history_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: nowhere\n")
    assert revision(tmp_path) is None


@pytest.mark.parametrize(("folder", "file"), [(".hg", "dirstate"), ("_darcs", "hashed_inventory")])
def test_other_systems(tmp_path: Path, folder: str, file: str) -> None:
    (tmp_path / folder).mkdir()
    assert revision(tmp_path) is None
    (tmp_path / folder / file).write_bytes(b"a" * 64)
    one = revision(tmp_path)
    (tmp_path / folder / file).write_bytes(b"b" * 64)
    assert one
    assert revision(tmp_path) != one
