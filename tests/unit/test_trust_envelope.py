from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trust_samples import ALICE, BOB, signed

from opambin.errors import BadDataError
from opambin.trust.envelope import MAX_BYTES, Envelope, Signature, seal

if TYPE_CHECKING:
    from collections.abc import Callable


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    content = json.loads(signed(ALICE, BOB).to_json())
    change(content)
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def test_the_text_form_survives() -> None:
    envelope = signed(ALICE, BOB)
    assert Envelope.from_json(envelope.to_json(), "e") == envelope


def test_what_is_signed_is_the_form_of_dsse() -> None:
    assert Envelope("http://example.com/HelloWorld", b"hello world").signed_bytes == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_a_signature_for_one_type_is_none_for_another() -> None:
    good = seal("a", b"payload", [ALICE])
    (found,) = good.signatures
    assert ALICE.public.verifies(found.value, good.signed_bytes)
    assert not ALICE.public.verifies(found.value, Envelope("b", b"payload").signed_bytes)


def test_signing_twice_gives_one_signature() -> None:
    assert signed(ALICE).with_signature(ALICE) == signed(ALICE)
    assert signed(ALICE).with_signature(BOB) == signed(BOB).with_signature(ALICE)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param(b"", "cut off", id="empty"),
        pytest.param(b"\xff", "not an envelope", id="binary"),
        pytest.param(b"[" * 60_000, "not an envelope", id="deep"),
        pytest.param(b"[]", "not an envelope", id="list"),
        pytest.param(b"x" * (MAX_BYTES + 1), "too large", id="too large"),
        pytest.param(signed(ALICE).to_json()[:-20], "cut off", id="truncated"),
        pytest.param(signed(ALICE).to_json() + b"\n", "canonical", id="more follows"),
        pytest.param(changed(lambda c: c.update(extra=1)), "not an envelope", id="unknown member"),
        pytest.param(changed(lambda c: c.pop("payload")), "not an envelope", id="lacking member"),
        pytest.param(changed(lambda c: c.update(payload="?")), "base64", id="payload"),
        pytest.param(changed(lambda c: c.update(payloadType="é")), "not an envelope", id="type"),
        pytest.param(changed(lambda c: c["signatures"].reverse()), "canonical", id="order"),
        pytest.param(
            changed(lambda c: c.update(signatures=c["signatures"][:1] * 2)), "canonical", id="signer twice"
        ),
        pytest.param(
            changed(lambda c: c.update(signatures=c["signatures"][:1] * 17)), "not an envelope", id="too many"
        ),
        pytest.param(
            changed(lambda c: c["signatures"][0].update(keyid="A" * 64)), "not a signature", id="key id"
        ),
        pytest.param(changed(lambda c: c["signatures"][0].update(sig="AAAA")), "not a signature", id="short"),
        pytest.param(changed(lambda c: c.update(signatures=[3])), "not a signature", id="number"),
    ],
)
def test_what_is_no_envelope_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(BadDataError) as caught:
        Envelope.from_json(data, "slot")
    assert problem in caught.value.problem
    assert caught.value.what == "slot"


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20),
    st.binary(max_size=200),
    st.sets(st.binary(min_size=32, max_size=32), max_size=5),
)
def test_any_envelope_survives(kind: str, payload: bytes, keys: set[bytes]) -> None:
    from opambin.trust.keys import KeyId

    made = tuple(Signature(KeyId(key.hex()), key * 2) for key in sorted(keys))
    envelope = Envelope(kind, payload, made)
    assert Envelope.from_json(envelope.to_json(), "e") == envelope


@given(st.data())
def test_damage_is_our_error(data: st.DataObject) -> None:
    text = bytearray(signed(ALICE).to_json())
    at = data.draw(st.integers(0, len(text) - 1))
    text[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadDataError):
        Envelope.from_json(bytes(text), "e")
