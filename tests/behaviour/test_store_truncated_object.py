from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from store_worker import content, snapshot

from opambin.errors import BadDataError
from opambin.store.objects import SENTINEL_NS
from opambin.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("keep", [0, 1, 60], ids=["emptied", "one byte", "all but some"])
@pytest.mark.parametrize("sentinel", [False, True], ids=["time changed", "time as it was"])
def test_a_truncated_object_is_never_used_and_is_replaced(tmp_path: Path, keep: int, sentinel: bool) -> None:
    """As a power cut leaves it: the name is there, the bytes are not."""
    with Store.open(tmp_path / "store") as store:
        manifest = snapshot(store, "p", range(1))
        store.add(manifest)
        (entry,) = manifest.files
        assert entry.digest
        path = store.layout.object(entry.digest, executable=False)
        os.truncate(path, keep)
        if sentinel:
            os.utime(path, ns=(SENTINEL_NS, SENTINEL_NS))

        with pytest.raises(BadDataError) as caught:
            store.objects.path(entry.digest, executable=False, size=entry.size)
        assert caught.value.expected == entry.digest
        assert str(path) in str(caught.value)
        assert not path.exists()
        assert len(list(store.layout.quarantine.iterdir())) == 1

        store.add(snapshot(store, "p", range(1)))
        assert store.objects.path(entry.digest, executable=False, size=entry.size).read_bytes() == content(0)
