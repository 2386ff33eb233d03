"""Who signs what goes to a remote."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from trust_samples import CI

from opambin.errors import MisuseError, UnavailableError
from opambin.exchange.opening import signer
from opambin.keyring import Keyring

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}


def test_a_revoked_key_signs_nothing(environ: dict[str, str]) -> None:
    # It went on signing, without a word.
    keys = Keyring(environ)
    keys.add_secret(CI)
    assert signer(environ, "https://example.org/c").secrets == (CI,)
    keys.revoke(CI.public.id, "")
    for name in ("", "ci"):
        with pytest.raises(MisuseError, match="the key ci was revoked"):
            signer(environ, "https://example.org/c", name)


def test_only_directories_go_without_a_key(environ: dict[str, str]) -> None:
    assert signer(environ, "/srv/cache").secrets == ()
    assert signer(environ, "https://example.org/c", unsigned=True).secrets == ()
    with pytest.raises(UnavailableError, match="--unsigned goes without a signature"):
        signer(environ, "https://example.org/c")
