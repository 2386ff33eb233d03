from __future__ import annotations

import pytest
from memory_remote import MemoryRemote
from remote_contract import drop

from opambin.errors import BadDataError, UnavailableError
from opambin.remote.faults import RefusedError, RemoteDownError
from opambin.remote.guard import Guarded


def test_a_dead_remote_is_asked_once() -> None:
    memory = MemoryRemote()
    guarded = Guarded(memory)
    memory.fail = error = RemoteDownError("http://x", "no answer within 3 s")
    for call in (
        lambda: guarded.get("a", limit=1),
        lambda: guarded.get_many(["a"], limit=1),
        lambda: guarded.fetch("a", drop, size=1),
        lambda: guarded.put("a", b""),
        lambda: guarded.remove("a"),
        lambda: list(guarded.entries("")),
    ):
        with pytest.raises(RemoteDownError) as caught:
            call()
        assert caught.value is error
    assert sum(memory.calls.values()) == 1


def test_who_may_not_write_may_still_read() -> None:
    memory = MemoryRemote({"a": b"1"})
    memory.readonly = RefusedError("http://x", "403", writing=True)
    guarded = Guarded(memory)
    for _ in range(2):
        with pytest.raises(RefusedError):
            guarded.put("b", b"")
    assert memory.calls["put"] == 1
    assert guarded.get("a", limit=1) == b"1"


def test_who_may_not_read_may_still_write() -> None:
    memory = MemoryRemote()
    guarded = Guarded(memory)
    memory.fail = RefusedError("http://x", "403")
    with pytest.raises(RefusedError):
        guarded.get("a", limit=1)
    memory.fail = None
    with pytest.raises(RefusedError):
        guarded.get_many(["a"], limit=1)
    assert guarded.put("b", b"")


@pytest.mark.parametrize("error", [BadDataError("x", "wrong"), UnavailableError("can't list")])
def test_other_faults_close_nothing(error: Exception) -> None:
    memory = MemoryRemote({"a": b"1"})
    guarded = Guarded(memory)
    memory.fail = error
    with pytest.raises(type(error)):
        guarded.get("a", limit=1)
    memory.fail = None
    assert guarded.get("a", limit=1) == b"1"
