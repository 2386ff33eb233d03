"""What other publishers have signed: is it theirs to sign, and is it newer than what was there?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin.errors import BadDataError, MisuseError
from opambin.publish.signed.delegating import publishers
from opambin.publish.signed.metafolder import parse
from opambin.publish.signed.profile import moment

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from tuf.api.metadata import Metadata, Targets

    from opambin.publish.signed.metafolder import MetadataFolder


def in_force(
    folder: MetadataFolder, targets: Metadata[Targets] | None, without: Collection[str] = ()
) -> dict[str, Metadata[Targets]]:
    """Return what other publishers have signed and the repository has taken over, by publisher."""
    found: dict[str, Metadata[Targets]] = {}
    for name in publishers(targets.signed.delegations if targets is not None else None):
        theirs = folder.targets(name)
        if theirs is not None and name not in without:
            found[name] = theirs
    return found


def accepted(
    targets: Metadata[Targets] | None,
    offered: Mapping[str, bytes],
    before: Mapping[str, Metadata[Targets]],
    now: datetime,
) -> dict[str, Metadata[Targets]]:
    """Check what other publishers offer.

    Args:
        targets: Delegates to them.
        offered: Metadata, by publisher.
        before: What they had signed before.
        now: The time.

    Raises:
        MisuseError: Nothing is delegated to one of them.
        BadDataError: Wrong signatures, another's packages, older than what is there, or expired.
    """
    return {name: _accept(targets, name, data, before.get(name), now) for name, data in offered.items()}


def _accept(
    targets: Metadata[Targets] | None,
    name: str,
    data: bytes,
    before: Metadata[Targets] | None,
    now: datetime,
) -> Metadata[Targets]:
    from tuf.api.exceptions import UnsignedMetadataError

    delegated = targets.signed.delegations if targets is not None else None
    if targets is None or delegated is None or name not in publishers(delegated) or delegated.roles is None:
        raise MisuseError(f"nothing is delegated to {name!r:.80}: opam-bin tuf delegate does it")
    offered = parse(data, f"what {name} signed")
    what = f"what {name} signed"
    if offered.signed.type != "targets" or offered.signed.delegations is not None:
        raise BadDataError(what, "not a plain list of files")
    try:
        targets.signed.verify_delegate(name, offered.signed_bytes, offered.signatures)
    except UnsignedMetadataError as error:
        raise BadDataError(what, f"not signed with the keys that the delegation names ({error})") from error
    foreign = [path for path in offered.signed.targets if not delegated.roles[name].is_delegated_path(path)]
    if foreign:
        raise BadDataError(what, f"{foreign[0]} is not {name}'s to sign")
    if before is not None and offered.signed.version < before.signed.version:
        raise BadDataError(
            what, "older than what is there", expected=before.signed.version, observed=offered.signed.version
        )
    if offered.signed.is_expired(now):
        raise BadDataError(what, f"expired on {moment(offered.signed.expires)}; {name} has to sign it again")
    return offered
