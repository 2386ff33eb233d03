from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import pytest
from exchange_samples import ALICE, MALLORY, TRUSTING_ALICE, source
from memory_remote import MemoryRemote
from trust_samples import BOB, CI, STAGING

from opambin.errors import BadDataError, MisuseError
from opambin.exchange import names, seen
from opambin.exchange.vouching import Change, Voucher, countersign, vouch
from opambin.trust.envelope import Envelope, seal
from opambin.trust.policy import Mode, Policy, TrustedKey
from opambin.trust.remotestate import TYPE, RemoteState, Seen, judge_state

if TYPE_CHECKING:
    from pathlib import Path

    from opambin.trust.keys import SecretKey

DAY = Change(86_400)


@pytest.fixture
def remote() -> MemoryRemote:
    return MemoryRemote()


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(tmp_path / "state")}


def by(remote: MemoryRemote, environ: dict[str, str], secret: SecretKey = ALICE) -> Voucher:
    keys = (*TRUSTING_ALICE.keys, STAGING)
    return Voucher(source(remote, dataclasses.replace(TRUSTING_ALICE, keys=keys)), (secret,), environ)


def believed(remote: MemoryRemote, policy: Policy = TRUSTING_ALICE) -> object:
    envelope = Envelope.from_json(remote.content[names.SNAPSHOT], "s")
    return judge_state(envelope, policy, int(time.time()), None, "s")


def test_what_is_written_is_believed_and_remembered(remote: MemoryRemote, environ: dict[str, str]) -> None:
    made = vouch(by(remote, environ), DAY)
    assert believed(remote) == made
    assert seen.load(environ, remote.url) == Seen.of(made)


def test_remotes_have_ids_of_their_own(tmp_path: Path) -> None:
    ids = {
        vouch(by(MemoryRemote(), {"XDG_STATE_HOME": str(tmp_path / str(number))}), DAY).remote
        for number in range(3)
    }
    assert len(ids) == 3


def test_an_older_state_is_not_renewed(remote: MemoryRemote, environ: dict[str, str]) -> None:
    """Its successors would bring back what was withdrawn, and reach the serial that clients know."""
    vouch(by(remote, environ), DAY)
    old = remote.content[names.SNAPSHOT]
    vouch(by(remote, environ), DAY)
    remote.content[names.SNAPSHOT] = old
    with pytest.raises(BadDataError, match="rolled back"):
        vouch(by(remote, environ), DAY)
    with pytest.raises(BadDataError, match="rolled back"):
        countersign(by(remote, environ, BOB))
    assert remote.content[names.SNAPSHOT] == old


def test_one_that_has_disappeared_is_not_begun_again_silently(
    remote: MemoryRemote, environ: dict[str, str]
) -> None:
    first = vouch(by(remote, environ), DAY)
    del remote.content[names.SNAPSHOT]
    with pytest.raises(MisuseError, match="--anew"):
        vouch(by(remote, environ), DAY)
    again = vouch(by(remote, environ), dataclasses.replace(DAY, anew=True))
    assert (again.remote, again.serial) == (first.remote, 2)


@pytest.mark.parametrize("secret", [MALLORY, CI], ids=["a stranger", "a staging key"])
def test_the_state_of_who_may_not_release_is_not_followed(
    remote: MemoryRemote, environ: dict[str, str], secret: SecretKey
) -> None:
    """Whoever can write to the remote could otherwise make the next serial an impossible one."""
    now = int(time.time())
    huge = RemoteState("e" * 32, 2**48 - 1, now, now + 100)
    remote.content[names.SNAPSHOT] = seal(TYPE, huge.to_json(), [secret]).to_json()
    with pytest.raises(MisuseError, match="remove it first"):
        vouch(by(remote, environ), DAY)
    with pytest.raises(MisuseError, match=r"which is not trusted here|for staging only"):
        countersign(by(remote, environ))


def test_an_expired_one_is_renewed(remote: MemoryRemote, environ: dict[str, str]) -> None:
    now = int(time.time())
    old = RemoteState("e" * 32, 5, now - 200, now - 100)
    remote.content[names.SNAPSHOT] = seal(TYPE, old.to_json(), [ALICE]).to_json()
    assert vouch(by(remote, environ), DAY).serial == 6


def test_a_wrong_one_is_loud(remote: MemoryRemote, environ: dict[str, str]) -> None:
    made = vouch(by(remote, environ), DAY)
    envelope = Envelope.from_json(remote.content[names.SNAPSHOT], "s")
    other = dataclasses.replace(made, serial=9).to_json()
    remote.content[names.SNAPSHOT] = dataclasses.replace(envelope, payload=other).to_json()
    with pytest.raises(BadDataError, match="wrong signature"):
        vouch(by(remote, environ), DAY)


def test_several_keys_can_sign(remote: MemoryRemote, environ: dict[str, str]) -> None:
    both = Policy(Mode.THRESHOLD, (TrustedKey(ALICE.public), TrustedKey(BOB.public)), 2)
    made = vouch(by(remote, environ), DAY)
    assert not isinstance(believed(remote, both), RemoteState)
    assert countersign(by(remote, environ, BOB)) == made
    assert believed(remote, both) == made


def test_only_what_holds_is_countersigned(remote: MemoryRemote, environ: dict[str, str]) -> None:
    with pytest.raises(MisuseError, match="there is no"):
        countersign(by(remote, environ))
    now = int(time.time())
    old = RemoteState("e" * 32, 5, now - 200, now - 100)
    remote.content[names.SNAPSHOT] = seal(TYPE, old.to_json(), [ALICE]).to_json()
    with pytest.raises(MisuseError, match="expired"):
        countersign(by(remote, environ))


def test_too_much_that_is_withdrawn(
    remote: MemoryRemote, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opambin.exchange.vouching.MAX_STATE_BYTES", 100)
    with pytest.raises(MisuseError, match="--minimum-age"):
        vouch(by(remote, environ), DAY)
    assert names.SNAPSHOT not in remote.content
