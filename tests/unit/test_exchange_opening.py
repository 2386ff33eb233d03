"""Who signs what goes to a remote."""

from __future__ import annotations

from pathlib import Path

import pytest
from trust_samples import CI

from opambin.errors import MisuseError, UnavailableError
from opambin.exchange.opening import ONLY, UNSIGNED, existing, may_have_remotes, open_sources, signer
from opambin.keyring import Keyring
from opambin.remote.bundle import BundleWriter
from opambin.trust.policy import Mode


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


@pytest.mark.parametrize("where", ["variable", "file"])
def test_who_has_a_key_that_can_not_be_read_pushes_nothing_unsigned(
    environ: dict[str, str], where: str
) -> None:
    """A directory got unsigned snapshots, without a word, where the variable named no file."""
    keys = Keyring(environ)
    if where == "variable":
        environ["OPAMBIN_SIGNING_KEY"] = "no-such-file"
    else:
        keys.add_secret(CI).unlink()
        (keys.folder / "ci.secret").mkdir()
    with pytest.raises(UnavailableError, match="--unsigned goes without a signature"):
        signer(environ, "/srv/cache")


def test_a_place_that_nobody_has_pushed_to(environ: dict[str, str], tmp_path: Path) -> None:
    """A typing error was an empty remote, where all is well."""
    with pytest.raises(MisuseError, match="nobody has pushed anything to"):
        existing(environ, str(tmp_path / "typo"))
    assert not (tmp_path / "typo").exists()


def test_a_command_that_is_limited_to_a_bundle_looks_at_nothing_else(environ: dict[str, str]) -> None:
    # A blank in the path divided it into two remotes, and a remotes.yaml that can't be used was in the way.
    folder = Path(environ["XDG_CONFIG_HOME"]) / "opam-bin"
    folder.mkdir(parents=True)
    (folder / "remotes.yaml").write_text("- nonsense\n")
    environ |= {"OPAMBIN_REMOTE": "nonsense", "OPAMBIN_TRUSTED_KEYS": str(CI.public)}
    stick = Path(environ["HOME"]) / "a stick"
    stick.mkdir()
    with BundleWriter(stick / "my.bundle"):
        pass
    environ[ONLY] = f"bundle:{stick}/my.bundle"
    for more, mode in (({}, Mode.ANY), ({UNSIGNED: "1"}, Mode.UNSIGNED)):
        opened = open_sources(environ | more)
        assert opened.problems == ()
        (source,) = opened.sources
        assert (source.label, source.policy.mode, source.write) == ("bundle my.bundle", mode, False)
    assert may_have_remotes({ONLY: "bundle:/b"})
