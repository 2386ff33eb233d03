"""What the commands about signed repositories have in common: options, keys, the folder of what was seen."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from opambin.cli.output import date, print_json
from opambin.errors import MisuseError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from securesystemslib.signer import CryptoSigner, SSlibKey

    from opambin.publish.signed.client import Trusted
    from opambin.publish.signed.refusals import RefusedError
    from opambin.publish.signed.verifying import Start

MAX_ROOT_BYTES = 512_000

root_option = click.option(
    "--root",
    "root",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The publisher's root, the first time.",
)
anchor_option = click.option(
    "--anchor", "anchors", multiple=True, metavar="FINGERPRINT", help="A root key that is trusted."
)
quorum_option = click.option(
    "--quorum", type=int, metavar="N", help="How many of the anchors must have signed the root (all)."
)
partial_option = click.option("--partial", is_flag=True, help="It is a partial mirror: files may be missing.")
sign_option = click.option(
    "--sign-with", "keys", multiple=True, metavar="KEY", help="A secret key: its name, or its file."
)


def signers(keys: Iterable[str]) -> list[CryptoSigner]:
    """Read the secret keys to sign with, each once: files, or names of keys of the user.

    Raises:
        UnavailableError: There is no such key.
        BadDataError: A file holds no key.
        MisuseError: It is a public key, or others can read it.
    """
    from opambin.keyring import Keyring
    from opambin.publish.signed.keys import read_signer, signer

    found = {}
    for text in keys:
        named = _is_name(text) and text in Keyring(os.environ).secrets()
        key = signer(Keyring(os.environ).secret(text)) if named else read_signer(text)
        found[key.public_key.keyid] = key
    return list(found.values())


def public_key(text: str) -> SSlibKey:
    """Read a public key: a file, the key itself, or the name of a key of the user.

    Raises:
        UnavailableError: There is no such key.
        BadDataError: A file holds no key.
    """
    from opambin.keyring import Keyring
    from opambin.publish.signed.keys import metadata_key, read_public

    if _is_name(text):
        keyring = Keyring(os.environ)
        if text in keyring.secrets():
            return metadata_key(keyring.secret(text).public)
        if text in keyring.trusted():
            return metadata_key(keyring.trusted()[text].public)
    return read_public(text)


def _is_name(text: str) -> bool:
    return "/" not in text and ":" not in text and not Path(text).exists()


def states(environ: Mapping[str, str]) -> Path:
    """Return the folder where states of repositories are remembered.

    Raises:
        MisuseError: There is no home directory.
    """
    from opambin.config import state_folder

    return state_folder(environ) / "repositories"


def beginning(root: Path | None, anchors: Sequence[str], quorum: int | None) -> Start:
    """Return where trust begins, as the options say.

    Raises:
        MisuseError: They contradict each other, or an anchor is none.
        UnavailableError: The file can't be read.
        BadDataError: It holds no root.
    """
    from opambin.publish.signed.anchors import Anchors
    from opambin.publish.signed.metafolder import parse_root
    from opambin.publish.signed.verifying import Start

    if root is not None and anchors:
        raise MisuseError("give --root or --anchor, not both")
    if root is None:
        found = Anchors.parse(anchors, quorum or len(set(anchors))) if anchors else None
        return Start(anchors=found)
    try:
        with root.open("rb") as stream:
            data = stream.read(MAX_ROOT_BYTES)
    except OSError as error:
        raise UnavailableError(f"{root}: {error.strerror}") from error
    parse_root(data, str(root))
    return Start(data)


def now() -> datetime:
    """Return the time."""
    return datetime.fromtimestamp(int(time.time()), UTC)


def print_refusal(error: RefusedError, url: str) -> None:
    """Print as JSON why a repository is refused."""
    print_json({"repository": url, "verifies": False, "kind": str(error.kind), "reason": str(error)})


def shown(trusted: Trusted) -> dict[str, Any]:
    """Return what is trusted, for JSON."""
    return {
        "versions": dict(trusted.versions),
        "expires": {role: int(time.timestamp()) for role, time in trusted.expires.items()},
        "files": len(trusted.files),
    }


def soonest(trusted: Trusted) -> str:
    """Return when the first signature ends to be valid, for people."""
    role, end = min(trusted.expires.items(), key=lambda item: item[1])
    return f"{date(int(end.timestamp()))} ({role})"


def refusing(url: str, as_json: bool, action: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Carry out what may be refused; the reason is also printed as JSON where that is asked for."""
    from opambin.publish.signed.refusals import RefusedError

    try:
        return action()
    except RefusedError as error:
        if as_json:
            print_refusal(error, url)
        raise
