"""From where another machine can install what is installed here."""

from __future__ import annotations

import json
from importlib import metadata

import pytest

from opambin.errors import BadDataError
from opambin.setup import origin

COMMIT = "0123456789abcdef0123456789abcdef01234567"
GIT = {"vcs": "git", "commit_id": COMMIT, "requested_revision": "main"}


@pytest.mark.parametrize(
    ("record", "wanted"),
    [
        pytest.param(
            {"url": "https://example.org/it.git", "vcs_info": GIT},
            f"opambin @ git+https://example.org/it.git@{COMMIT}",
            id="git",
        ),
        pytest.param(
            {"url": "ssh://git@example.org/it", "vcs_info": GIT, "subdirectory": "py"},
            f"opambin @ git+ssh://git@example.org/it@{COMMIT}#subdirectory=py",
            id="folder of a repository",
        ),
        pytest.param(
            {"url": "https://example.org/o.whl", "archive_info": {}},
            "opambin @ https://example.org/o.whl",
            id="wheel",
        ),
        pytest.param(
            {"url": "https://example.org/o.whl", "archive_info": {"hashes": {"sha256": "ab"}}},
            "opambin @ https://example.org/o.whl#sha256=ab",
            id="wheel with its digest",
        ),
        pytest.param({"url": "file:///srv/it", "dir_info": {"editable": True}}, "", id="folder"),
        pytest.param({"url": "file:///srv/o.whl", "archive_info": {}}, "", id="wheel here"),
        pytest.param({"url": "file:///srv/it.git", "vcs_info": GIT}, "", id="repository here"),
    ],
)
def test_where_it_came_from(record: dict[str, object], wanted: str) -> None:
    assert origin.requirement("opambin", json.dumps(record)) == wanted


@pytest.mark.parametrize("record", ["", "[]", '{"url": "https://x"}', '{"url": 3, "dir_info": {}}'])
def test_a_record_that_is_none(record: str) -> None:
    with pytest.raises(BadDataError, match="direct_url"):
        origin.requirement("opambin", record)


class Installed:
    def __init__(self, record: str | None) -> None:
        self.record = record

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return self.record


@pytest.mark.parametrize(("stores", "name"), [(True, "opambin[s3]"), (False, "opambin")])
def test_what_came_from_an_index_is_named(monkeypatch: pytest.MonkeyPatch, stores: bool, name: str) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object() if stores else None)
    monkeypatch.setattr(metadata, "distribution", lambda _: Installed(None))
    assert origin.own_requirement() == name
    url = '{"url": "https://example.org/o.whl", "archive_info": {}}'
    monkeypatch.setattr(metadata, "distribution", lambda _: Installed(url))
    assert origin.own_requirement() == f"{name} @ https://example.org/o.whl"


def test_a_checkout_that_nobody_has_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", nothing)
    assert origin.own_requirement() == ""
