from __future__ import annotations

import base64
import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trust_samples import ALICE, BOB

from opambin.errors import BadDataError, MisuseError, OpambinError
from opambin.trust.keys import PublicKey, SecretKey, check_name, is_key_id

RAW = base64.b64encode(b"\x05" * 32).decode()


def test_text_forms_survive() -> None:
    assert PublicKey.parse(str(ALICE.public)) == ALICE.public
    assert SecretKey.parse(ALICE.reveal() + "\n") == ALICE


def test_the_text_forms_are_the_documented_ones() -> None:
    assert str(PublicKey("me", b"\x05" * 32)) == f"opam-bin-public-1:me:{RAW}"
    assert SecretKey("me", b"\x05" * 32).reveal() == f"opam-bin-secret-1:me:{RAW}"


def test_the_id_is_the_digest_of_the_raw_key_whatever_the_name() -> None:
    assert ALICE.public.id == hashlib.sha256(ALICE.public.raw).hexdigest()
    assert PublicKey("other", ALICE.public.raw).id == ALICE.public.id
    assert is_key_id(ALICE.public.id)


def test_generated_keys_differ_and_sign() -> None:
    one, two = SecretKey.generate("k"), SecretKey.generate("k")
    assert one.seed != two.seed
    assert one.public.verifies(one.sign(b"x"), b"x")
    assert not two.public.verifies(one.sign(b"x"), b"x")
    assert not one.public.verifies(one.sign(b"x"), b"y")


def test_a_known_vector_of_rfc_8032() -> None:
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    key = SecretKey("rfc", seed)
    assert key.public.raw.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert key.sign(b"\x72").hex().startswith("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8f")


def test_a_secret_is_in_no_representation() -> None:
    shown = repr(ALICE) + str(ALICE)
    assert ALICE.seed.hex() not in shown
    assert base64.b64encode(ALICE.seed).decode() not in shown
    assert "seed" not in repr(ALICE)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("", "not of the form", id="empty"),
        pytest.param(ALICE.reveal(), "not of the form", id="a secret key"),
        pytest.param(f"opam-bin-public-2:me:{RAW}", "not of the form", id="another version"),
        pytest.param(f"opam-bin-public-1:me:{RAW}:x", "not of the form", id="more fields"),
        pytest.param(f"opam-bin-public-1:../me:{RAW}", "not a name", id="a path for a name"),
        pytest.param(f"opam-bin-public-1:.me:{RAW}", "not a name", id="a hidden name"),
        pytest.param(f"opam-bin-public-1:me:{RAW[:-4]}", "32 bytes", id="too short"),
        pytest.param(f"opam-bin-public-1:me:{RAW[:-2]}W=", "32 bytes", id="bits after the end"),
        pytest.param("opam-bin-public-1:me:!!!!", "base64", id="no base64"),
        pytest.param(f"opam-bin-public-1:me:{RAW}{' ' * 200}", "not of the form", id="too long"),
    ],
)
def test_what_is_no_key_is_refused(text: str, problem: str) -> None:
    with pytest.raises(BadDataError) as caught:
        PublicKey.parse(text)
    assert problem in caught.value.problem


def test_a_broken_secret_is_not_repeated_in_the_error() -> None:
    with pytest.raises(BadDataError) as caught:
        SecretKey.parse(ALICE.reveal()[:-3])
    assert base64.b64encode(ALICE.seed).decode()[:20] not in str(caught.value)


@pytest.mark.parametrize("last", [0, 0x80])
def test_weak_public_keys_are_refused(last: int) -> None:
    raw = b"\x01" + bytes(30) + bytes([last])
    with pytest.raises(BadDataError, match="weak"):
        PublicKey.parse(str(PublicKey("weak", raw)))


def test_under_a_weak_key_anybody_can_sign() -> None:
    weak = PublicKey("weak", b"\x01" + bytes(31))
    forged = b"\x01" + bytes(31) + bytes(32)
    assert weak.verifies(forged, b"whatever"), "why these are refused"


def test_names() -> None:
    assert check_name("a.b_c+d-9") == "a.b_c+d-9"
    for name in ("", "a:b", "a@b", "a/b", ".a", "-a", "a" * 65, "a b"):
        with pytest.raises(MisuseError):
            check_name(name)


@given(st.text(max_size=120))
def test_any_text_is_a_key_or_our_error(text: str) -> None:
    for tag in ("", "opam-bin-public-1:", "opam-bin-public-1:k:"):
        with contextlib.suppress(OpambinError):
            assert PublicKey.parse(tag + text).raw


def test_the_signature_of_another_length_is_wrong_not_a_crash() -> None:
    assert not BOB.public.verifies(b"", b"x")
    assert not BOB.public.verifies(bytes(63), b"x")
