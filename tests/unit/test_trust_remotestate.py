from __future__ import annotations

import contextlib
import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trust_samples import ALICE, ANY, CI, MALLORY, NOW, UNSIGNED, signed, state

from opambin.errors import BadDataError
from opambin.model import ConeKey, OutputId
from opambin.trust.envelope import Envelope, seal
from opambin.trust.policy import MAX_SKEW, Policy, Untrusted
from opambin.trust.remotestate import TYPE, RemoteState, Seen, judge_state

FULL = state(
    minimum_time=5,
    withdrawn=frozenset({(ConeKey("1" * 64), OutputId("2" * 64)), (ConeKey("1" * 64), OutputId("3" * 64))}),
)
BODY: dict[str, Any] = json.loads(FULL.to_json())


def sealed(value: RemoteState, *keys: Any) -> Envelope:  # noqa: ANN401 - secret keys
    return seal(TYPE, value.to_json(), keys or (ALICE,))


def seen_after(value: RemoteState, seen: Seen | None = None, policy: Policy = ANY) -> RemoteState | Untrusted:
    return judge_state(sealed(value), policy, NOW, seen, "snapshot.json")


def test_it_survives_the_round_trip() -> None:
    assert RemoteState.read(sealed(FULL), "s") == FULL
    assert seen_after(FULL) == FULL


@pytest.mark.parametrize("keys", [(MALLORY,), (CI,)], ids=["a stranger", "a staging key"])
def test_who_may_not_release_may_not_speak_for_the_remote(keys: tuple[Any, ...]) -> None:
    assert isinstance(judge_state(sealed(FULL, *keys), ANY, NOW, None, "s"), Untrusted)


def test_an_unsigned_state_is_read_where_nothing_has_to_be_signed() -> None:
    assert judge_state(Envelope(TYPE, FULL.to_json()), UNSIGNED, NOW, None, "s") == FULL


def test_an_older_state_than_was_seen_is_a_rollback() -> None:
    seen = Seen.of(state(serial=8))
    with pytest.raises(BadDataError, match="rolled back") as caught:
        seen_after(state(serial=7), seen)
    assert (caught.value.expected, caught.value.observed) == (">= 8", 7)
    assert seen_after(state(serial=8), seen) == state(serial=8)
    assert seen_after(state(serial=9), seen) == state(serial=9)


def test_two_states_of_one_serial_are_seen() -> None:
    with pytest.raises(BadDataError, match="two different statements"):
        seen_after(state(serial=8, minimum_time=3), Seen.of(state(serial=8)))


def test_the_state_of_another_remote_is_refused() -> None:
    with pytest.raises(BadDataError, match="another remote"):
        seen_after(state(remote="f" * 32, serial=99), Seen.of(state()))


def test_an_expired_state_is_a_freeze() -> None:
    found = seen_after(state(expires=NOW))
    assert isinstance(found, Untrusted)
    assert "expired" in found.reason
    assert isinstance(seen_after(state(expires=NOW + 1)), RemoteState)


def test_a_state_from_the_future_is_not_believed() -> None:
    found = seen_after(state(issued=NOW + MAX_SKEW + 1))
    assert isinstance(found, Untrusted)
    assert "future" in found.reason


def test_a_rollback_is_loud_even_when_it_has_also_expired() -> None:
    with pytest.raises(BadDataError, match="rolled back"):
        seen_after(state(serial=1, expires=1), Seen.of(state(serial=2)))


def test_a_wrong_signature_is_loud() -> None:
    good = sealed(FULL)
    with pytest.raises(BadDataError, match="wrong signature"):
        judge_state(dataclasses.replace(good, payload=state(serial=99).to_json()), ANY, NOW, None, "s")


def test_a_statement_about_an_output_is_none_about_the_remote() -> None:
    with pytest.raises(BadDataError, match="another kind"):
        judge_state(signed(ALICE), ANY, NOW, None, "s")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        pytest.param({"serial": -1}, "serial", id="serial"),
        pytest.param({"serial": True}, "serial", id="serial is a boolean"),
        pytest.param({"issued": "now"}, "issued", id="issued"),
        pytest.param({"expires": None}, "expires", id="expires"),
        pytest.param({"minimum-time": 0.5}, "minimum-time", id="minimum"),
        pytest.param({"remote": "x"}, "remote", id="remote"),
        pytest.param({"type": "snapshot"}, "not known", id="type"),
        pytest.param({"version": 2}, "not known", id="version"),
        pytest.param({"withdrawn": {}}, "withdrawn", id="withdrawn"),
        pytest.param({"withdrawn": [["a", "b"]]}, "withdrawn", id="no digests"),
        pytest.param({"withdrawn": BODY["withdrawn"][::-1]}, "not sorted", id="order"),
        pytest.param({"withdrawn": BODY["withdrawn"][:1] * 2}, "one twice", id="twice"),
        pytest.param({"more": 1}, "unknown or lacking", id="more"),
    ],
)
def test_bad_states_are_refused(changes: dict[str, Any], problem: str) -> None:
    text = json.dumps({**BODY, **changes}, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(BadDataError) as caught:
        RemoteState.read(Envelope(TYPE, text), "s")
    assert problem in caught.value.problem


@given(
    st.recursive(st.none() | st.integers() | st.text(max_size=70), st.lists), st.sampled_from(sorted(BODY))
)
def test_any_value_of_a_member_is_read_or_our_error(value: object, member: str) -> None:
    text = json.dumps({**BODY, member: value}, sort_keys=True, separators=(",", ":")).encode()
    with contextlib.suppress(BadDataError):
        RemoteState.read(Envelope(TYPE, text), "s")
