"""Sign a published repository: bring its TUF metadata up to what lies in it.

Everything is decided, and every signature made, before the first byte is written. Then: metadata under the
names of its versions, the index, and last the timestamp, which makes it count.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from opambin.errors import MisuseError
from opambin.publish.signed.accepting import accepted, in_force
from opambin.publish.signed.contents import Contents, Pending, look_through, same
from opambin.publish.signed.delegating import Delegation, delegated_names, delegations
from opambin.publish.signed.metafolder import MetadataFolder, check_parent
from opambin.publish.signed.online import Current, Lists, Online, Pen, next_version
from opambin.publish.signed.profile import INDEX, SITE, SPEC_VERSION, TopRole, expiry, moment
from opambin.publish.signed.roots import lifetime
from opambin.publish.signed.signatures import able, sign
from opambin.replacing import replace_file

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from securesystemslib.signer import CryptoSigner
    from tuf.api.metadata import Metadata, Root, Signed, TargetFile, Targets

ONLINE = (TopRole.SNAPSHOT, TopRole.TIMESTAMP)
RENEWED_AT = 0.5  # of a lifetime: what has less left is signed again along with the rest


@dataclass(frozen=True, slots=True)
class Wishes:
    """What to do beyond signing what has changed.

    Attributes:
        renew: Sign anew although nothing has changed, so that the signatures last longer.
        delegate: Packages to hand to other publishers, or new keys of theirs.
        undelegate: Publishers to take them from.
        accept: What other publishers have signed: the bytes of their metadata, by publisher.
        pending: What is about to be written besides, and is to be signed as if it were there.
    """

    renew: bool = False
    delegate: Sequence[Delegation] = ()
    undelegate: Sequence[str] = ()
    accept: Mapping[str, bytes] = field(default_factory=dict)
    pending: Pending = field(default_factory=Pending)


@dataclass(frozen=True, slots=True)
class Signing:
    """What was done.

    Attributes:
        written: Paths that were written, in this order; nothing when all was in force already.
        files: How many files are under signature.
        timestamp: Version of the timestamp.
        expires: When the first signature ends to be valid.
    """

    written: tuple[str, ...]
    files: int
    timestamp: int
    expires: datetime


def is_signed(repository: Path) -> bool:
    """Say whether a repository has keys, so that every change of it must be signed."""
    return MetadataFolder(repository).exists()


@dataclass(frozen=True, slots=True)
class RepositorySigner:
    """Signs publications to a folder that has keys, along with what is published.

    Attributes:
        repository: The folder.
        signers: The secret keys at hand.
        now: The time.
    """

    repository: Path
    signers: Sequence[CryptoSigner]
    now: datetime

    @property
    def others(self) -> frozenset[str]:
        """Names of packages that other publishers sign."""
        targets = MetadataFolder(self.repository).targets()
        names = delegated_names(targets.signed.delegations if targets is not None else None)
        return frozenset(name for theirs in names.values() for name in theirs)

    def sign(self, new: Mapping[str, bytes | Path], gone: Collection[str]) -> Mapping[str, bytes]:
        """Sign what is about to be there; see :class:`opambin.publish.options.Signed`.

        Raises:
            MisuseError: Keys are missing.
            BadDataError: What lies there is not what other publishers signed.
        """
        wishes = Wishes(renew=True, pending=Pending(new, gone))
        return prepare(self.repository, self.signers, self.now, wishes)[0]


def check_signers(
    repository: Path,
    signers: Sequence[CryptoSigner],
    now: datetime,
    roles: Sequence[TopRole] = (TopRole.TARGETS, *ONLINE),
) -> None:
    """Make sure that a repository could be signed, before anything in it is changed.

    Raises:
        MisuseError: Keys are missing, or the root has expired; the message says what to do.
    """
    root = _usable_root(MetadataFolder(repository), now)
    for role in roles:
        able(root.signed, role, signers)


def sign_repository(
    repository: Path, signers: Sequence[CryptoSigner], now: datetime, wishes: Wishes | None = None
) -> Signing:
    """Sign what lies in a repository.

    Args:
        repository: The folder that is published; it has a root (``opam-bin tuf init``).
        signers: The secret keys at hand. Those of ``targets`` are only needed when something that opam
            installs from has changed.
        now: The time.
        wishes: What to do besides.

    Raises:
        MisuseError: Keys are missing or the root has expired; nothing was written.
        BadDataError: What lies there is not what other publishers signed; nothing was written.
        UnavailableError: Something can't be read or written.
    """
    check_parent(repository)
    new, signing = prepare(repository, signers, now, wishes)
    for path, data in new.items():
        replace_file(repository / path, data)
    MetadataFolder(repository).prune()
    return signing


def prepare(
    repository: Path, signers: Sequence[CryptoSigner], now: datetime, wishes: Wishes | None = None
) -> tuple[Mapping[str, bytes], Signing]:
    """Make what :func:`sign_repository` writes, for whoever writes it along with other files.

    Returns:
        The files by path, in the order in which they have to be written: metadata, index, catalogue, and
        last the timestamp, which makes them count. And what that amounts to.
    """
    wishes = wishes or Wishes()
    folder = MetadataFolder(repository)
    root = _usable_root(folder, now)
    current = Current(root, folder.targets(), folder.targets(SITE), folder.snapshot(), folder.timestamp())
    pen = Pen(root.signed, signers, now)
    before = in_force(folder, current.targets, wishes.undelegate)
    _check_in_time(before, wishes.accept, now)
    theirs = before | accepted(current.targets, wishes.accept, before, now)
    lists = [it.signed.targets for it in (current.site, current.targets) if it is not None]
    known = {path: target for files in lists for path, target in files.items()}
    contents = look_through(repository, known, theirs, wishes.pending)
    targets = _next_targets(current, contents, wishes, pen)
    count = len(contents.own) + len(contents.site) + sum(len(it.signed.targets) for it in theirs.values()) + 1
    fresh = targets is current.targets and not wishes.accept and not wishes.renew
    timestamp = current.timestamp
    if timestamp is not None and fresh and _site_is_same(current, contents) and not _is_due(current, pen):
        return {}, Signing((), count, timestamp.signed.version, timestamp.signed.expires)
    new, made = Online(folder, current, contents, pen).make(Lists(targets, theirs, wishes.accept))
    return new, Signing(tuple(new), count, made.version, made.expires)


def _check_in_time(
    theirs: Mapping[str, Metadata[Targets]], offered: Mapping[str, bytes], now: datetime
) -> None:
    """Refuse to sign what clients would refuse: one list that has expired spoils the whole repository."""
    for name, metadata in theirs.items():
        if metadata.signed.is_expired(now) and name not in offered:
            raise MisuseError(
                f"what {name} signed expired on {moment(metadata.signed.expires)}: accept what it has signed "
                f"since (opam-bin tuf accept), or take the packages back (opam-bin tuf undelegate)"
            )


def _usable_root(folder: MetadataFolder, now: datetime) -> Metadata[Root]:
    root = folder.root()
    if root.signed.is_expired(now):
        raise MisuseError(
            f"the root of {folder.path.parent} expired on {moment(root.signed.expires)}: "
            f"opam-bin tuf rotate, with the root keys, makes the next one"
        )
    return root


def _next_targets(current: Current, contents: Contents, wishes: Wishes, pen: Pen) -> Metadata[Targets]:
    """Return the list of files that ``targets`` signs: the one in force where nothing is new."""
    from tuf.api.metadata import Metadata, Targets

    before = current.targets
    found = delegations(
        before.signed.delegations if before is not None else None,
        pen.root,
        contents.tops,
        (wishes.delegate, wishes.undelegate),
    )
    if before is not None and _is_signed_well(before, pen.root, TopRole.TARGETS):
        unchanged = before.signed.delegations == found and _all_same(before.signed.targets, contents.own)
        days = lifetime(pen.root, TopRole.TARGETS)
        if unchanged and (not _runs_out(before.signed, days, pen.now) or not _can_sign(pen, TopRole.TARGETS)):
            if before.signed.is_expired(pen.now):
                able(pen.root, TopRole.TARGETS, pen.signers)  # says which key is missing
            return before
    signed = Targets(
        next_version(before),
        SPEC_VERSION,
        expiry(pen.now, lifetime(pen.root, TopRole.TARGETS)),
        contents.own,
        found,
    )
    metadata = Metadata(signed)
    sign(metadata, pen.root, TopRole.TARGETS, pen.signers)
    return metadata


def _site_is_same(current: Current, contents: Contents) -> bool:
    if current.site is None:
        return False
    before = {path: it for path, it in current.site.signed.targets.items() if path != INDEX}
    return _all_same(before, contents.site)


def _is_due(current: Current, pen: Pen) -> bool:
    """Say whether a signature of the keys that are online is missing, old, or made with other keys."""
    for role, found in ((TopRole.SNAPSHOT, current.snapshot), (TopRole.TIMESTAMP, current.timestamp)):
        if found is None or not _is_signed_well(found, pen.root, role):
            return True
        if _runs_out(found.signed, lifetime(pen.root, role), pen.now):
            return True
    return False


def _all_same(left: Mapping[str, TargetFile], right: Mapping[str, TargetFile]) -> bool:
    return left.keys() == right.keys() and all(same(left[path], right[path]) for path in left)


def _is_signed_well(metadata: Metadata[Any], root: Root, role: str) -> bool:
    return bool(root.get_verification_result(role, metadata.signed_bytes, metadata.signatures))


def _can_sign(pen: Pen, role: str) -> bool:
    try:
        able(pen.root, role, pen.signers)
    except MisuseError:
        return False
    return True


def _runs_out(signed: Signed, days: int, now: datetime) -> bool:
    return signed.expires - now < timedelta(days=days) * RENEWED_AT
