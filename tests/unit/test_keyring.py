from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from trust_samples import ALICE, BOB, CI

from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.keyring import Keyring, parse_trusted
from opambin.trust.policy import Role, TrustedKey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "config"


def keyring(home: Path, **variables: str) -> Keyring:
    return Keyring({"XDG_CONFIG_HOME": str(home), **variables})


@pytest.mark.parametrize("umask", [0o022, 0o000, 0o077])
def test_a_secret_is_written_so_that_nobody_else_can_read_it(home: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        path = keyring(home).add_secret(ALICE)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert keyring(home).secret() == keyring(home).secret("alice") == ALICE


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610])
def test_a_secret_that_others_can_read_is_refused(home: Path, mode: int) -> None:
    keyring(home).add_secret(ALICE).chmod(mode)
    with pytest.raises(MisuseError, match="can be read by others"):
        keyring(home).secret("alice")


def test_a_secret_is_never_replaced(home: Path) -> None:
    keyring(home).add_secret(ALICE)
    with pytest.raises(MisuseError, match="exists already"):
        keyring(home).add_secret(ALICE)


def test_nothing_is_written_through_a_link(home: Path, tmp_path: Path) -> None:
    (home / "opam-bin/keys").mkdir(parents=True, mode=0o700)
    (home / "opam-bin/keys/alice.secret").symlink_to(tmp_path / "elsewhere")
    (home / "opam-bin/keys/revoked").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MisuseError):
        keyring(home).add_secret(ALICE)
    with pytest.raises(UnavailableError):
        keyring(home).revoke(ALICE.public.id, "")
    assert not (tmp_path / "elsewhere").exists()


def test_which_key_signs(home: Path, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no key to sign with"):
        keyring(home).secret()
    keyring(home).add_secret(ALICE)
    keyring(home).add_secret(BOB)
    with pytest.raises(MisuseError, match="alice, bob"):
        keyring(home).secret()
    assert keyring(home, OPAMBIN_SIGNING_KEY=f"{CI.reveal()}\n").secret() == CI
    assert keyring(home, OPAMBIN_SIGNING_KEY=CI.reveal()).secret("bob") == BOB
    (tmp_path / "file").write_text(CI.reveal())
    (tmp_path / "file").chmod(0o600)
    assert keyring(home, OPAMBIN_SIGNING_KEY=str(tmp_path / "file")).secret() == CI
    with pytest.raises(UnavailableError, match="can't be read"):
        keyring(home, OPAMBIN_SIGNING_KEY="/no/such").secret()


def test_trusted_keys_and_their_roles(home: Path) -> None:
    keyring(home).add_trusted(TrustedKey(ALICE.public))
    keyring(home).add_trusted(TrustedKey(CI.public, Role.STAGING))
    assert keyring(home).trusted() == {
        "alice": TrustedKey(ALICE.public, Role.RELEASE),
        "ci": TrustedKey(CI.public, Role.STAGING),
    }
    keyring(home).add_trusted(TrustedKey(CI.public, Role.RELEASE))
    assert keyring(home).trusted()["ci"].role is Role.RELEASE


def test_trusted_keys_of_the_environment_win(home: Path) -> None:
    keyring(home).add_trusted(TrustedKey(ALICE.public))
    given = f"staging@{ALICE.public}  {BOB.public}"
    found = keyring(home, OPAMBIN_TRUSTED_KEYS=given).trusted()
    assert {name: key.role for name, key in found.items()} == {"alice": Role.STAGING, "bob": Role.RELEASE}


def test_two_keys_of_one_name_are_refused(home: Path) -> None:
    other = str(BOB.public).replace(":bob:", ":alice:")
    with pytest.raises(MisuseError, match="two keys"):
        keyring(home, OPAMBIN_TRUSTED_KEYS=f"{ALICE.public} {other}").trusted()
    keyring(home).add_trusted(TrustedKey(ALICE.public))
    with pytest.raises(MisuseError, match="another key has the name"):
        keyring(home).add_trusted(parse_trusted(other))


def test_a_list_that_others_could_write_is_refused(home: Path) -> None:
    """Another user of the machine could add a key of his own."""
    path = keyring(home).add_trusted(TrustedKey(ALICE.public))
    keyring(home).revoke(BOB.public.id, "bob")
    for target, mode in ((path, 0o646), (path, 0o664), (path.parent, 0o770), (path.parent, 0o707)):
        before = stat.S_IMODE(target.stat().st_mode)
        target.chmod(mode)
        with pytest.raises(MisuseError, match="can be written by others"):
            keyring(home).trusted()
        target.chmod(before)
    (path.parent / "revoked").chmod(0o666)
    with pytest.raises(MisuseError, match="can be written by others"):
        keyring(home).revoked()


def test_a_list_of_another_user_is_refused(home: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    path = keyring(home).add_trusted(TrustedKey(ALICE.public))
    os.chown(path, 12345, -1)
    with pytest.raises(MisuseError, match="another user"):
        keyring(home).trusted()


def test_a_file_under_another_name_is_refused(home: Path) -> None:
    path = keyring(home).add_trusted(TrustedKey(ALICE.public))
    path.rename(path.with_name("bob.pub"))
    with pytest.raises(BadDataError, match="another name"):
        keyring(home).trusted()


def test_revoked_keys(home: Path) -> None:
    assert keyring(home).revoked() == frozenset()
    assert keyring(home).revoke(ALICE.public.id, "alice\n2026")
    assert not keyring(home).revoke(ALICE.public.id, "again")
    assert keyring(home, OPAMBIN_REVOKED_KEYS=BOB.public.id).revoked() == {ALICE.public.id, BOB.public.id}
    with pytest.raises(MisuseError, match="was revoked"):
        keyring(home).add_trusted(TrustedKey(ALICE.public))


def test_a_damaged_list_of_revoked_keys_is_an_error(home: Path) -> None:
    """Otherwise a cut-off line would bring a key back."""
    keyring(home).revoke(ALICE.public.id, "alice")
    path = home / "opam-bin/keys/revoked"
    path.write_text(path.read_text()[10:])
    with pytest.raises(BadDataError, match="not the id of a key"):
        keyring(home).revoked()


def test_keys_are_identified_by_name_id_or_text(home: Path) -> None:
    keyring(home).add_trusted(TrustedKey(ALICE.public))
    keyring(home).add_secret(BOB)
    for text, expected in (
        ("alice", (ALICE.public.id, "alice")),
        ("bob", (BOB.public.id, "bob")),
        (CI.public.id, (CI.public.id, "")),
        (str(CI.public), (CI.public.id, "ci")),
        (f"staging@{CI.public}", (CI.public.id, "ci")),
    ):
        assert keyring(home).identify(text) == expected
    with pytest.raises(MisuseError, match="no key 'carol'"):
        keyring(home).identify("carol")


@pytest.mark.parametrize("text", ["root@x", "@", "", "release@staging@x", "release@"])
def test_what_is_no_trusted_key(text: str) -> None:
    with pytest.raises(BadDataError):
        parse_trusted(text)


def test_large_files_are_not_read(home: Path) -> None:
    path = keyring(home).add_trusted(TrustedKey(ALICE.public))
    path.write_bytes(b"x" * 1_000_001)
    with pytest.raises(BadDataError, match="too large"):
        keyring(home).trusted()


@pytest.mark.parametrize(
    ("variable", "value", "read"),
    [
        ("OPAMBIN_TRUSTED_KEYS", "foo", Keyring.trusted),
        ("OPAMBIN_TRUSTED_KEYS", f"boss@{ALICE.public}", Keyring.trusted),
        ("OPAMBIN_REVOKED_KEYS", "foo", Keyring.revoked),
        ("OPAMBIN_SIGNING_KEY", "opam-bin-secret-1:x:AAAA", Keyring.secret),
    ],
)
def test_what_is_wrong_in_a_variable_names_it(
    home: Path, variable: str, value: str, read: Callable[[Keyring], object]
) -> None:
    """It blamed a key, or a file that was not there."""
    with pytest.raises(BadDataError, match=f"^{variable}: "):
        read(keyring(home, **{variable: value}))


def test_a_key_that_is_not_there(home: Path) -> None:
    with pytest.raises(UnavailableError, match=r"^OPAMBIN_SIGNING_KEY: /no/file can't be read"):
        keyring(home, OPAMBIN_SIGNING_KEY="/no/file").secret()
    keyring(home).add_secret(BOB)
    with pytest.raises(UnavailableError, match=r"there is no secret key alice in .*; there are: bob$"):
        keyring(home).secret("alice")
