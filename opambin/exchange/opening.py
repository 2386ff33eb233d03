"""From the configuration to remotes that can be asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from opambin.config import REMOTES_VARIABLE, remotes_file
from opambin.errors import MisuseError, OpambinError, UnavailableError
from opambin.exchange.shelf import Shelf
from opambin.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opambin.context import Context
    from opambin.exchange.bundletrust import Belief
    from opambin.exchange.signing import Signer
    from opambin.exchange.sources import Source
    from opambin.keyring import Keyring
    from opambin.remotes_config import Configured
    from opambin.store.store import Store
    from opambin.trust.keys import SecretKey
    from opambin.trust.policy import Policy

REFRESH = "OPAMBIN_REFRESH"
"""In the environment, set to anything: what is known of remotes is asked for anew."""
ONLY = "OPAMBIN_ONLY_REMOTE"
"""In the environment: the URL of the one remote that is asked, whatever else is configured."""
UNSIGNED = "OPAMBIN_ONLY_REMOTE_UNSIGNED"
"""In the environment, set to anything: that one needs no signatures."""


def may_have_remotes(environ: Mapping[str, str]) -> bool:
    """Tell without reading anything whether a remote may be configured."""
    named = environ.get(ONLY) or environ.get(REMOTES_VARIABLE)
    return bool(named) or remotes_file(environ).exists()


def open_shelf(context: Context) -> Shelf:
    """Return the store and the configured remotes as one shelf; nothing is asked yet.

    A configuration that can't be used is told through the shelf, and leaves the store alone. A remote that a
    command has limited itself to is asked although others may not be: it is a file on this machine.
    """
    store = context.need_store()
    offline = context.config.offline and not context.environ.get(ONLY)
    if offline or not may_have_remotes(context.environ):
        return Shelf(store)
    return shelf_over(store, context.environ)


def shelf_over(store: Store, environ: Mapping[str, str]) -> Shelf:
    """Return a store and the remotes of an environment as one shelf."""
    from opambin.exchange.memory import Memory

    opened = open_sources(environ)
    shelf = Shelf.over(store, opened.sources, Memory(store.index, fresh=bool(environ.get(REFRESH))), environ)
    shelf.faults = list(opened.problems)
    return shelf


@dataclass(frozen=True, slots=True)
class Opened:
    """The remotes that can be asked, and why others can't.

    Attributes:
        sources: The preferred one first.
        problems: One sentence each.
    """

    sources: tuple[Source, ...]
    problems: tuple[str, ...]


def open_sources(environ: Mapping[str, str]) -> Opened:
    """Open every configured remote; none is asked for anything."""
    from opambin.exchange.sources import label
    from opambin.keyring import Keyring
    from opambin.remotes_config import configured

    try:
        only = _only(environ)
        wanted = configured(environ) if only is None else [only]
        keyring = Keyring(environ)
    except OpambinError as error:
        return Opened((), (f"{error}; no remote is asked",))
    sources, problems = [], []
    for entry in wanted:
        try:
            if only is not None:
                _belief(entry, keyring).check_useful()
            sources.append(open_source(entry, keyring, environ))
        except OpambinError as error:
            problems.append(f"{label(entry.name, entry.url)}: {error}")
    return Opened(tuple(sources), tuple(problems))


def believed(environ: Mapping[str, str]) -> Belief | None:
    """Return what may be believed of the bundle that a command has limited itself to; None without one.

    Raises:
        OpambinError: It is no bundle, can't be read, or the keys can't be.
    """
    entry = _only(environ)
    return None if entry is None else _belief(entry, _keyring(environ))


def _belief(entry: Configured, keyring: Keyring) -> Belief:
    from opambin.exchange import bundletrust

    return bundletrust.look(Path(entry.url.partition(":")[2]), policy_of(entry, keyring))


def _only(environ: Mapping[str, str]) -> Configured | None:
    """Return the one remote that a command has limited itself to, as ``bundle install`` does."""
    from opambin.remotes_config import Configured, Trust
    from opambin.trust.policy import Mode

    if not environ.get(ONLY):
        return None
    url = environ[ONLY]
    trust = Trust(Mode.UNSIGNED) if environ.get(UNSIGNED) else Trust()
    return Configured(Path(url.partition(":")[2]).name, url, trust=trust)


def open_source(
    entry: Configured, keyring: Keyring, environ: Mapping[str, str], *, write: bool = False
) -> Source:
    """Open one remote.

    Raises:
        MisuseError: Its policy can't be satisfied by any key, or its URL can't be one.
        OpambinError: The keys can't be read, or what this kind of remote needs is not installed.
    """
    from opambin.exchange.sources import Source
    from opambin.remote.access import Access
    from opambin.remote.open import open_remote

    policy = policy_of(entry, keyring)
    if not write:
        policy.check()
    access = Access(write=write or entry.write, environ=environ, plain_http=entry.plain_http)
    remote = open_remote(entry.url, access)
    return Source(entry.name, remote, policy, entry.priority, entry.write)


def policy_of(entry: Configured, keyring: Keyring) -> Policy:
    """Return whose word counts at a remote.

    Raises:
        MisuseError: It names a key that is not trusted.
        BadDataError: A key can't be read.
    """
    from opambin.trust.policy import Policy

    trusted, trust = keyring.trusted(), entry.trust
    unknown = [name for name in trust.keys if name not in trusted]
    if unknown:
        raise MisuseError(f"the key {unknown[0]} is not among the trusted ones: see opam-bin key trust")
    keys = [key for name, key in trusted.items() if not trust.keys or name in trust.keys]
    return Policy(trust.mode, tuple(keys), trust.threshold, trust.role, keyring.revoked(), trust.snapshot)


def writable(environ: Mapping[str, str], name: str | None, secrets: Sequence[SecretKey] = ()) -> Source:
    """Open the remote that is pushed to.

    What one of the trusted keys, or the one that signs now, has signed counts as there already.

    Args:
        environ: The environment.
        name: Its name, or a URL; None: the preferred one that is configured for writing.
        secrets: The keys that sign.

    Raises:
        MisuseError: There is no such remote.
        OpambinError: It can't be opened.
    """
    from opambin.trust.policy import Mode, Role, TrustedKey

    source = open_source(choose(environ, name, write=True), _keyring(environ), environ, write=True)
    keys = (*source.policy.keys, *(TrustedKey(secret.public) for secret in secrets))
    mode = Mode.ANY if secrets else Mode.UNSIGNED
    source.policy = replace(source.policy, mode=mode, keys=keys, role=Role.STAGING, state_required=False)
    return source


def existing(environ: Mapping[str, str], name: str | None, secrets: Sequence[SecretKey] = ()) -> Source:
    """Open a remote whose content is to be changed; raises as :func:`writable` does.

    Raises:
        MisuseError: Nobody has pushed anything there: it may be another place than was meant.
    """
    from opambin.remote.protocol import FORMAT_NAME, MAX_FORMAT_BYTES

    source = writable(environ, name, secrets)
    if source.remote.get(FORMAT_NAME, limit=MAX_FORMAT_BYTES) is None:
        raise MisuseError(f"nobody has pushed anything to {source.url} yet; is that the place?")
    return source


def signer(environ: Mapping[str, str], url: str, key: str = "", *, unsigned: bool = False) -> Signer:
    """Return who signs what goes to a remote.

    Args:
        environ: The environment.
        url: Of the remote.
        key: Name of the key; empty: the one of the environment, or the only one.
        unsigned: Whether the user wants no signature.

    Raises:
        MisuseError: The key was revoked: nobody who knows of that would believe it.
        UnavailableError: There is no key, and the remote is no directory.
        OpambinError: The key can't be read, or it has to be said which one.
    """
    from opambin.exchange.signing import Signer
    from opambin.remote.urls import scheme_of

    if unsigned:
        return Signer()
    keys = _keyring(environ)
    if not key and not keys.has_secret() and scheme_of(url) in ("", "file"):
        return Signer()
    try:
        secret = keys.secret(key)
    except UnavailableError as error:
        raise UnavailableError(f"{error}; --unsigned goes without a signature") from error
    if secret.public.id in keys.revoked():
        raise MisuseError(f"the key {secret.name} was revoked; name another one with --key")
    return Signer((secret,))


def choose(environ: Mapping[str, str], name: str | None, *, write: bool) -> Configured:
    """Find a configured remote by name, or make one of a URL.

    Raises:
        MisuseError: There is none.
    """
    from opambin.remote.urls import without_secrets
    from opambin.remotes_config import Configured, configured, default_trust

    known = configured(environ)
    if name is not None and (":" in name or "/" in name):
        found = next((entry for entry in known if entry.url == name), None)
        return found or Configured(without_secrets(name), name, 0, True, default_trust(name))
    fitting = [entry for entry in known if name in (None, entry.name) and (entry.write or name or not write)]
    if not fitting:
        if name:
            raise MisuseError(f"no remote has the name {name}: 'opam-bin remote list' shows them")
        raise MisuseError(
            "no remote is configured for writing: 'opam-bin remote add NAME URL --write' adds one"
        )
    return fitting[0]


def _keyring(environ: Mapping[str, str]) -> Keyring:
    from opambin.keyring import Keyring

    return Keyring(environ)
