from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trust_samples import (
    ALICE,
    ANY,
    BOB,
    CI,
    MALLORY,
    MANIFEST,
    NIGHTLY,
    NOW,
    RELEASE,
    STAGING,
    UNSIGNED,
    manifest,
    signed,
    state,
    statement,
)

from opambin.errors import BadDataError, MisuseError
from opambin.trust.envelope import Envelope, Signature
from opambin.trust.keys import PublicKey
from opambin.trust.policy import (
    MAX_SKEW,
    Mode,
    Policy,
    Question,
    Role,
    TrustedKey,
    Untrusted,
    Verified,
    judge,
)
from opambin.trust.statement import TYPE, Channel, Origin

if TYPE_CHECKING:
    from opambin.trust.keys import SecretKey

ASKED = Question(MANIFEST.key, NOW, MANIFEST.package)
TWO = Policy(Mode.THRESHOLD, (*RELEASE, STAGING), threshold=2)


def verdict(envelope: Envelope, policy: Policy = ANY, **changes: Any) -> Verified | Untrusted:  # noqa: ANN401 - any field
    return judge(envelope, policy, dataclasses.replace(ASKED, **changes), "slot 0")


def reason(envelope: Envelope, policy: Policy = ANY, **changes: Any) -> str:  # noqa: ANN401 - any field
    found = verdict(envelope, policy, **changes)
    assert isinstance(found, Untrusted)
    return found.reason


def signers(envelope: Envelope, policy: Policy = ANY, **changes: Any) -> tuple[str, ...]:  # noqa: ANN401 - any field
    found = verdict(envelope, policy, **changes)
    assert isinstance(found, Verified)
    return found.signers


def forged(key: SecretKey, by: SecretKey) -> Envelope:
    """An envelope that says it is signed by ``key``."""
    plain = signed()
    return dataclasses.replace(plain, signatures=(Signature(key.public.id, by.sign(plain.signed_bytes)),))


def test_a_release_key_is_enough() -> None:
    assert verdict(signed(ALICE)) == Verified(statement(), ("alice",))


def test_an_unsigned_statement_is_a_miss_where_keys_are_asked_for() -> None:
    assert reason(signed()) == "not signed"
    assert signers(signed(), UNSIGNED) == ()


def test_a_strangers_signature_counts_for_nothing() -> None:
    assert reason(signed(MALLORY)) == f"signed by the key {MALLORY.public.id[:16]}, which is not trusted here"
    assert signers(signed(MALLORY, ALICE)) == ("alice",)


def test_a_staging_signature_never_satisfies_a_release_policy() -> None:
    assert reason(signed(CI)) == "signed by the key ci, which is for staging only"
    assert signers(signed(CI), NIGHTLY) == ("ci",)
    assert reason(signed(CI, ALICE), TWO) == "signed by 1 of the 2 keys that have to"


def test_the_channel_in_a_statement_makes_no_staging_key_a_release_key() -> None:
    claimed = signed(CI, origin=Origin("ci", NOW - 5, Channel.RELEASE))
    assert reason(claimed) == "signed by the key ci, which is for staging only"


def test_promotion_is_one_more_signature() -> None:
    staged = signed(CI)
    promoted = staged.with_signature(ALICE)
    assert promoted.payload == staged.payload
    assert signers(promoted) == ("alice",)
    assert signers(promoted, NIGHTLY) == ("alice", "ci")


def test_k_of_n_counts_different_keys() -> None:
    assert signers(signed(ALICE, BOB), TWO) == ("alice", "bob")
    assert reason(signed(ALICE), TWO) == "signed by 1 of the 2 keys that have to"
    assert reason(signed(ALICE, MALLORY), TWO) == "signed by 1 of the 2 keys that have to"


def test_one_key_under_two_names_counts_once() -> None:
    twice = Policy(
        Mode.THRESHOLD,
        (TrustedKey(ALICE.public), TrustedKey(PublicKey("alias", ALICE.public.raw))),
        threshold=2,
    )
    assert isinstance(verdict(signed(ALICE), twice), Untrusted)
    with pytest.raises(MisuseError, match="only 1 can count"):
        twice.check()


def test_a_revoked_key_never_counts() -> None:
    policy = dataclasses.replace(ANY, revoked=frozenset({ALICE.public.id}))
    assert reason(signed(ALICE), policy) == "signed by the key alice, which is revoked"
    assert signers(signed(ALICE, BOB), policy) == ("bob",)
    assert "revoked" in reason(forged(ALICE, MALLORY), policy)


@pytest.mark.parametrize("policy", [ANY, NIGHTLY, TWO, dataclasses.replace(UNSIGNED, keys=RELEASE)])
def test_a_wrong_signature_is_loud_under_every_policy(policy: Policy) -> None:
    with pytest.raises(BadDataError, match="wrong signature by the key alice") as caught:
        verdict(forged(ALICE, MALLORY), policy)
    assert caught.value.what == "slot 0"


def test_a_wrong_signature_beside_a_right_one_is_loud() -> None:
    both = tuple(sorted((*forged(ALICE, MALLORY).signatures, *signed(BOB).signatures), key=lambda it: it.key))
    with pytest.raises(BadDataError, match="wrong signature"):
        verdict(dataclasses.replace(signed(), signatures=both))


@pytest.mark.parametrize("at", [0, 100, -1])
def test_a_changed_payload_is_a_wrong_signature(at: int) -> None:
    good = signed(ALICE)
    payload = bytearray(good.payload)
    payload[at] ^= 1
    with pytest.raises(BadDataError, match="wrong signature"):
        verdict(dataclasses.replace(good, payload=bytes(payload)))


def test_the_signature_of_another_kind_of_statement_does_not_count() -> None:
    from opambin.trust.envelope import seal

    other = seal("application/other", statement().to_json(), [ALICE])
    with pytest.raises(BadDataError, match="wrong signature"):
        verdict(Envelope(TYPE, other.payload, other.signatures))


def test_a_good_statement_about_another_key_is_loud() -> None:
    """A remote that answers a key with a properly signed statement of something else."""
    with pytest.raises(BadDataError, match="another key"):
        verdict(signed(ALICE), key=manifest("num").key)
    with pytest.raises(BadDataError, match="another package"):
        verdict(signed(ALICE), package=manifest("num").package)


def test_the_payload_is_not_read_before_it_is_trusted() -> None:
    junk = Envelope(TYPE, b"junk").with_signature(MALLORY)
    assert "trusted" in reason(junk)
    with pytest.raises(BadDataError, match="no JSON"):
        verdict(Envelope(TYPE, b"junk").with_signature(ALICE))


def test_statements_from_the_future_are_not_believed() -> None:
    assert signers(signed(ALICE, origin=Origin("b", NOW + MAX_SKEW)))
    assert "future" in reason(signed(ALICE, origin=Origin("b", NOW + MAX_SKEW + 1)))


def test_a_withdrawn_output_is_a_miss() -> None:
    gone = state(withdrawn=frozenset({(MANIFEST.key, MANIFEST.output)}))
    assert "withdrawn" in reason(signed(ALICE), state=gone)
    assert signers(signed(ALICE), state=state())


def test_a_statement_older_than_the_minimum_is_a_miss() -> None:
    assert signers(signed(ALICE), state=state(minimum_time=NOW - 100))
    assert "older" in reason(signed(ALICE), state=state(minimum_time=NOW - 99))


def test_a_state_can_be_required() -> None:
    policy = dataclasses.replace(ANY, state_required=True)
    assert "snapshot.json" in reason(signed(ALICE), policy)
    assert signers(signed(ALICE), policy, state=state())


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        pytest.param(Policy(Mode.ANY), "only 0", id="no keys"),
        pytest.param(Policy(Mode.ANY, (STAGING,)), "only 0", id="staging keys for releases"),
        pytest.param(Policy(Mode.THRESHOLD, RELEASE, 3), "only 2", id="more than there are"),
        pytest.param(Policy(Mode.THRESHOLD, RELEASE, 0), "none", id="threshold of nothing"),
        pytest.param(
            dataclasses.replace(ANY, revoked=frozenset(key.public.id for key in RELEASE)),
            "only 0",
            id="revoked",
        ),
    ],
)
def test_policies_that_nothing_can_satisfy_are_told(policy: Policy, problem: str) -> None:
    with pytest.raises(MisuseError, match=problem):
        policy.check()


def test_good_policies() -> None:
    for policy in (ANY, NIGHTLY, TWO, UNSIGNED):
        policy.check()


def test_roles() -> None:
    assert Role.RELEASE.covers(Role.STAGING)
    assert not Role.STAGING.covers(Role.RELEASE)


@given(
    st.sets(st.sampled_from([ALICE, BOB, CI, MALLORY])),
    st.sampled_from(list(Mode)),
    st.integers(1, 3),
    st.sampled_from(list(Role)),
    st.sets(st.sampled_from([ALICE, BOB, CI])),
)
def test_enough_is_what_a_simple_count_says(
    by: set[SecretKey], mode: Mode, threshold: int, role: Role, revoked: set[SecretKey]
) -> None:
    policy = Policy(mode, (*RELEASE, STAGING), threshold, role, frozenset(it.public.id for it in revoked))
    counted = by & ({ALICE, BOB, CI} if role is Role.STAGING else {ALICE, BOB}) - revoked
    needed = {Mode.UNSIGNED: 0, Mode.ANY: 1, Mode.THRESHOLD: threshold}[mode]
    assert isinstance(verdict(signed(*by), policy), Verified) is (len(counted) >= needed)


def test_verifying_takes_less_than_two_milliseconds() -> None:
    data = signed(ALICE, BOB).to_json()
    judge(Envelope.from_json(data, "slot"), TWO, ASKED, "slot")  # cryptography is imported once
    rounds = 100
    start = time.process_time()
    for _ in range(rounds):
        judge(Envelope.from_json(data, "slot"), TWO, ASKED, "slot")
    assert (time.process_time() - start) / rounds < 0.002
