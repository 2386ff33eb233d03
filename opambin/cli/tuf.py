"""``opam-bin tuf``: keys and signatures of a published repository."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from opambin.cli.groups import Group
from opambin.cli.output import printable
from opambin.cli.trusting import now, public_key, sign_option, signers
from opambin.cli.tuf_signing import COMMANDS, folder_argument, tell, writing
from opambin.errors import MisuseError

if TYPE_CHECKING:
    from opambin.publish.signed.profile import TopRole
    from opambin.publish.signed.rootfiles import Draft


_draft_option = click.option(
    "--draft",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the root to FILE, to be signed elsewhere; nothing comes into force.",
)
_days_option = click.option(
    "--days", multiple=True, metavar="ROLE=N", help="How long metadata of a role is valid."
)


@click.group("tuf", cls=Group)
def command() -> None:
    """Keys and signatures of a published repository.

    Four roles have keys: root (says which keys count; keep them offline), targets (what opam installs from),
    snapshot and timestamp (what is current; these are used with every publication). Keys are made with
    'opam-bin key generate'.
    """


@command.command("init")
@folder_argument
@click.option("--root-key", "root_keys", multiple=True, required=True, metavar="KEY", help="A root key.")
@click.option("--root-threshold", type=int, default=1, metavar="N", help="How many root keys must sign (1).")
@click.option(
    "--targets-key", "target_keys", multiple=True, metavar="KEY", help="A key for targets (root keys)."
)
@click.option("--targets-threshold", type=int, default=1, metavar="N", help="How many of them must sign (1).")
@click.option(
    "--online-key",
    "online_keys",
    multiple=True,
    metavar="KEY",
    help="For snapshot and timestamp (targets keys).",
)
@_days_option
@_draft_option
@sign_option
def init(
    *,
    folder: Path,
    root_keys: tuple[str, ...],
    root_threshold: int,
    target_keys: tuple[str, ...],
    targets_threshold: int,
    online_keys: tuple[str, ...],
    days: tuple[str, ...],
    draft: Path | None,
    keys: tuple[str, ...],
) -> None:
    """Give a published repository its keys, and sign it.

    A KEY is a file with a public or a secret key. Where the secret keys of the root are on other machines,
    use --draft, then 'countersign' there, then 'install'.
    """
    from opambin.publish.signed.profile import LIFETIMES, TopRole
    from opambin.publish.signed.rootfiles import draft_first
    from opambin.publish.signed.roots import RoleKeys

    root = tuple(map(public_key, root_keys))
    targets = tuple(map(public_key, target_keys)) or root
    online = tuple(map(public_key, online_keys)) or targets
    wanted = {
        TopRole.ROOT: (root, root_threshold),
        TopRole.TARGETS: (targets, targets_threshold),
        TopRole.SNAPSHOT: (online, 1),
        TopRole.TIMESTAMP: (online, 1),
    }
    lifetimes = LIFETIMES | {str(role): number for role, number in _numbers(days, "--days").items()}
    roles = {role: RoleKeys(its, need, lifetimes[role]) for role, (its, need) in wanted.items()}
    _finish(folder, draft_first(folder, roles, signers(keys), now()), draft, keys)


@command.command("rotate")
@folder_argument
@click.option("--add", multiple=True, metavar="ROLE=KEY", help="Add a key to a role.")
@click.option(
    "--remove", multiple=True, metavar="ROLE=KEY", help="Take a key (or its fingerprint) from a role."
)
@click.option("--threshold", multiple=True, metavar="ROLE=N", help="How many keys of a role must sign.")
@_days_option
@_draft_option
@sign_option
def rotate(
    *,
    folder: Path,
    add: tuple[str, ...],
    remove: tuple[str, ...],
    threshold: tuple[str, ...],
    days: tuple[str, ...],
    draft: Path | None,
    keys: tuple[str, ...],
) -> None:
    """Make the next root: other keys, thresholds, lifetimes; or the same for longer.

    It needs the signatures of enough former root keys and of enough new ones, and, unless --draft is given,
    of every role whose keys change. Clients that know any former root follow.
    """
    from opambin.publish.signed.rootfiles import draft_next
    from opambin.publish.signed.roots import RootChange

    change = RootChange(
        [(role, public_key(text)) for role, text in _pairs(add, "--add")],
        [(role, _key_id(text)) for role, text in _pairs(remove, "--remove")],
        _numbers(threshold, "--threshold"),
        _numbers(days, "--days"),
    )
    _finish(folder, draft_next(folder, change, signers(keys), now()), draft, keys)


@command.command("countersign")
@click.argument("draft", metavar="FILE", type=click.Path(path_type=Path))
@sign_option
def countersign(draft: Path, keys: tuple[str, ...]) -> None:
    """Sign a draft of a root; the repository need not be there."""
    from opambin.publish.signed.rootfiles import countersign as add_signatures
    from opambin.replacing import replace_file

    if not keys:
        raise MisuseError("nothing to sign with: give --sign-with KEY")
    found = add_signatures(_read(draft), str(draft), signers(keys))
    replace_file(draft, found.data)
    _tell_draft(draft, found)


@command.command("install")
@folder_argument
@click.argument("draft", metavar="FILE", type=click.Path(path_type=Path))
@sign_option
def install(folder: Path, draft: Path, keys: tuple[str, ...]) -> None:
    """Put a signed draft of a root into force, and sign what is below it."""
    from opambin.publish.signed.rootfiles import put_in_force

    with writing(folder):
        done, signing = put_in_force(folder, _read(draft), signers(keys), now())
    click.echo(f"Root {done.version} is in force.")
    tell(folder, signing)


def _finish(folder: Path, made: Draft, draft: Path | None, keys: tuple[str, ...]) -> None:
    from opambin.publish.signed.rootfiles import put_in_force
    from opambin.replacing import replace_file

    if draft is not None:
        replace_file(draft, made.data)
        _tell_draft(draft, made)
        return
    if not made.standing.complete:
        missing = ", ".join(made.standing.missing)
        raise MisuseError(
            f"root {made.version} can't come into force: {'; '.join(made.standing.lacking)}. Give more keys "
            f"with --sign-with ({missing}), or write it with --draft FILE and have it signed where they are"
        )
    with writing(folder):
        done, signing = put_in_force(folder, made.data, signers(keys), now())
    click.echo(f"Root {done.version} is in force.")
    tell(folder, signing)


def _tell_draft(draft: Path, found: Draft) -> None:
    signed = ", ".join(found.standing.signed) or "nobody"
    click.echo(f"{draft}: root {found.version}, signed by {signed}.")
    for lack in found.standing.lacking:
        click.echo(f"Still lacking: {lack}.")
    click.echo(
        f"Next: opam-bin tuf countersign {draft} --sign-with KEY where the other keys are, "
        f"or opam-bin tuf install DIR {draft}"
    )


def _pairs(texts: tuple[str, ...], option: str) -> list[tuple[TopRole, str]]:
    from opambin.publish.signed.profile import TopRole

    found = []
    for text in texts:
        role, equals, value = text.partition("=")
        if not equals or role not in list(TopRole):
            raise MisuseError(f"{option} {printable(text)}: give ROLE=…; roles are {', '.join(TopRole)}")
        found.append((TopRole(role), value))
    return found


def _numbers(texts: tuple[str, ...], option: str) -> dict[TopRole, int]:
    found = {}
    for role, value in _pairs(texts, option):
        if not value.isdecimal():
            raise MisuseError(f"{option} {role}={printable(value)}: that is no number")
        found[role] = int(value)
    return found


def _key_id(text: str) -> str:

    return text if len(text) == 64 and not text.strip("0123456789abcdef") else str(public_key(text).keyid)


def _read(draft: Path) -> bytes:
    from opambin.errors import UnavailableError

    try:
        return draft.read_bytes()
    except OSError as error:
        raise UnavailableError(f"{draft}: {error.strerror}") from error


for _later in COMMANDS:
    command.add_command(_later)
