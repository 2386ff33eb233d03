from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from store_worker import snapshot

from opambin.errors import BadDataError
from opambin.store.manifests import from_json
from opambin.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "text",
    ["opam-bin store 2\n", "", "opam-bin store 1", "opam-bin store 1\nmore\n", "\xff" * 5000],
    ids=["newer", "empty", "no line end", "more lines", "long"],
)
@pytest.mark.parametrize("readonly", [True, False], ids=["read-only", "writable"])
def test_a_store_of_another_format_is_left_alone(tmp_path: Path, text: str, readonly: bool) -> None:
    root = tmp_path / "store"
    Store.open(root)
    (root / "format").write_text(text)
    with pytest.raises(BadDataError) as caught:
        Store.open(root, readonly=readonly)
    assert caught.value.expected == repr("opam-bin store 1\n")
    assert caught.value.what == str(root / "format")
    assert "OPAMBIN_CACHE" in str(caught.value)
    assert (root / "format").read_text() == text


@pytest.mark.parametrize("version", ["2", "0", "1.0", '"1"', "null"], ids=str)
def test_a_manifest_of_another_version(tmp_path: Path, version: str) -> None:
    with Store.open(tmp_path / "store") as store:
        manifest = snapshot(store, "p", range(2))
        store.add(manifest)
        path = store.layout.manifest(manifest.key, manifest.output)
        data = path.read_bytes().replace(b'"opam-bin-manifest":1', f'"opam-bin-manifest":{version}'.encode())
        with pytest.raises(BadDataError, match="version") as caught:
            from_json(data, path)
        assert caught.value.expected == 1, "the version that is known"
        path.chmod(0o644)
        path.write_bytes(data)
        assert store.outputs(manifest.key) == []
        assert "version" in store.problems[0]
