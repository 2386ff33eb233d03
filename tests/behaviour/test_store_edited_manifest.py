from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from store_worker import snapshot

from opambin.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(b'"lib/00001"', b'"lib/00009"', id="path"),
        pytest.param(b",493,", b",511,", id="mode"),
        pytest.param(b'"opam":""', b'"opam":"x"', id="opam file"),
        pytest.param(b"}}\n", b"}}", id="cut off"),
        pytest.param(b'"sha256":"', b'"sha256":"0', id="digest"),
        pytest.param(b'"bound":[]', b'"bound": []', id="a space"),
    ],
)
def test_an_edited_manifest_is_reported_and_the_other_outputs_still_come(
    tmp_path: Path, old: bytes, new: bytes
) -> None:
    with Store.open(tmp_path / "store") as store:
        edited = snapshot(store, "p", range(3), output="edited")
        good = snapshot(store, "p", range(3), output="good")
        store.add(edited)
        store.add(good)
        path = store.layout.manifest(edited.key, edited.output)
        data = path.read_bytes()
        assert old in data
        path.chmod(0o644)
        path.write_bytes(data.replace(old, new))

        assert store.outputs(edited.key) == [good]
        assert len(store.problems) == 1
        assert str(path) in store.problems[0]
        assert not path.exists()
        assert len(list(store.layout.quarantine.iterdir())) == 1
        assert store.outputs(edited.key) == [good]
        assert len(store.problems) == 1, "it is reported once"

        assert store.add(edited), "a build puts it back"
        assert len(store.outputs(edited.key)) == 2


def test_the_last_output_takes_its_key_along(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        manifest = snapshot(store, "p", range(3))
        store.add(manifest)
        path = store.layout.manifest(manifest.key, manifest.output)
        path.chmod(0o644)
        path.write_bytes(b"")
        assert store.outputs(manifest.key) == []
