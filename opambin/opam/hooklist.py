"""Our hooks among those of an opam root. Pure: parsed configuration in, lists of commands out.

Rules:

* What is not ours stays, in its order, with its filters.
* Our wrappers are the first of their lists, so that they are outside the sandbox; every other hook of ours
  is the last of its list, so that it sees what the others' hooks did.
* The hook that opens a session is added last and taken out first: without it the others do nothing.
* No hook gets ``installed-files``: the command line would grow with the package.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.frozen import dataclass
from opambin.opam.ast import Field, Ident, List, Option, Section, String
from opambin.opam.printer import print_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opambin.opam.ast import OpamFile, Value

HOOKS_DIRECTORY = "plugins/opam-bin/hooks"
"""Where our scripts are, below the opam root."""

_FACTS = ("opam-version", "switch", "arch", "os", "os-distribution", "os-family", "os-version", "jobs")
_SESSION_START = tuple(f"{name}=%{{{name}}}%" for name in (*_FACTS, "new", "removed", "installed"))
_SESSION_END = tuple(f"{name}=%{{{name}}}%" for name in ("success", "failure", "new", "removed", "installed"))

OURS: Mapping[str, tuple[str, ...]] = {
    "post-session-commands": ("post-session", *_SESSION_END),
    "post-install-commands": ("post-install", "%{error-code}%"),
    "wrap-install-commands": ("wrap-install",),
    "wrap-build-commands": ("wrap-build",),
    "pre-build-commands": ("pre-build",),
    "pre-session-commands": ("pre-session", *_SESSION_START),
}
"""Field of the configuration -> script and arguments, in the order in which they are added."""

_PHASES = tuple(
    f"{when}-{what}" for when in ("pre", "wrap", "post") for what in ("build", "install", "remove")
)
HOOK_FIELDS = tuple(f"{phase}-commands" for phase in (*_PHASES, "pre-session", "post-session"))

_PEER_PROGRAMS = frozenset({"opam-bin.exe", "opam-bin"})
_PEER_COMMANDS = frozenset(field.removesuffix("-commands") for field in HOOK_FIELDS)


@dataclass(frozen=True, slots=True)
class Change:
    """A field that has to be written.

    Attributes:
        field: Its name.
        before: Its commands now.
        after: Its commands as they shall be.
    """

    field: str
    before: tuple[Value, ...]
    after: tuple[Value, ...]

    @property
    def assignment(self) -> str:
        """The argument of ``opam option --global`` that does it.

        An empty list, and not ``field=``: that would bring back opam's default, which is the sandbox.
        """
        return f"{self.field}=[{' '.join(print_value(command) for command in self.after)}]"

    def as_dict(self) -> dict[str, object]:
        """Return the change as plain values, commands in opam's syntax."""
        return {
            "field": self.field,
            "before": [print_value(command) for command in self.before],
            "after": [print_value(command) for command in self.after],
        }


@dataclass(frozen=True, slots=True)
class Configured:
    """A command of somebody else in the configuration."""

    field: str
    command: Value

    def __str__(self) -> str:
        """Show it as it stands in the configuration."""
        return f"{self.field}: {print_value(self.command)}"


def our_command(field: str) -> Value:
    """Return the command that we want in a field of :data:`OURS`."""
    script, *arguments = OURS[field]
    return List(tuple(String(word) for word in (f"%{{root}}%/{HOOKS_DIRECTORY}/{script}", *arguments)))


def commands(config: OpamFile, field: str) -> tuple[Value, ...]:
    """Return the commands of a hook field: each a list of words, or such a list with a filter.

    opam leaves out brackets where it can: one command may stand for a list of one, and a word for a command
    of one word.

    Raises:
        BadDataError: The field is of another shape.
    """
    value = config.get(field)
    if value is None or value == List():
        return ()
    if _is_word(value):
        return (List((value,)),)
    if _is_command(value):
        return (value,)
    if isinstance(value, List) and all(_is_command(item) for item in value.items):
        return value.items
    raise BadDataError(config.filename or "opam's configuration", f"{field} is not a list of commands")


def is_ours(command: Value) -> bool:
    """Tell whether a command calls a script of ours, of this version or another."""
    return f"/{HOOKS_DIRECTORY}/" in _program(command)


def is_peer(command: Value) -> bool:
    """Tell whether a command is a hook of OCaml's opam-bin."""
    words = [word.value for word in _words(command) if isinstance(word, String)]
    return (
        len(words) > 1
        and PurePosixPath(words[0]).name in _PEER_PROGRAMS
        and words[1] in _PEER_COMMANDS
        and not is_ours(command)
    )


def adding(config: OpamFile, *, replace_peer: bool = False) -> tuple[Change, ...]:
    """Return what has to be written so that our hooks are in their places; nothing when they are.

    Args:
        config: The configuration of the root.
        replace_peer: Take out the hooks of OCaml's opam-bin.
    """
    fields = [*(field for field in HOOK_FIELDS if field not in OURS), *OURS]
    return tuple(change for field in fields if (change := _adding(config, field, replace_peer)))


def _adding(config: OpamFile, field: str, replace_peer: bool) -> Change | None:
    before = commands(config, field)
    others = tuple(
        command for command in before if not is_ours(command) and not (replace_peer and is_peer(command))
    )
    ours = (our_command(field),) if field in OURS else ()
    after = ours + others if field.startswith("wrap-") else others + ours
    return None if after == before else Change(field, before, after)


def removing(config: OpamFile) -> tuple[Change, ...]:
    """Return what has to be written so that no hook of ours is left."""
    fields = [*reversed(tuple(OURS)), *(field for field in HOOK_FIELDS if field not in OURS)]
    changes = []
    for field in fields:
        before = commands(config, field)
        after = tuple(command for command in before if not is_ours(command))
        if after != before:
            changes.append(Change(field, before, after))
    return tuple(changes)


def peers(config: OpamFile) -> tuple[Configured, ...]:
    """Return the hooks of OCaml's opam-bin."""
    return tuple(hook for hook in _others(config) if is_peer(hook.command))


def foreign(config: OpamFile) -> tuple[Configured, ...]:
    """Return the hooks that are neither ours, nor OCaml's opam-bin's, nor opam's own sandbox."""
    return tuple(
        hook for hook in _others(config) if not is_peer(hook.command) and not _is_sandbox(hook.command)
    )


def _others(config: OpamFile) -> list[Configured]:
    return [
        Configured(field, command)
        for field in HOOK_FIELDS
        for command in commands(config, field)
        if not is_ours(command)
    ]


def same_without_ours(config: OpamFile, original: OpamFile) -> bool:
    """Tell whether two configurations say the same, our hooks, layout and order of fields aside."""
    return _content(config) == _content(original)


def _content(config: OpamFile) -> dict[str, object]:
    content: dict[str, object] = {
        item.name: item.value
        for item in config.items
        if isinstance(item, Field) and item.name not in HOOK_FIELDS
    }
    content["sections"] = tuple(item for item in config.items if isinstance(item, Section))
    for field in HOOK_FIELDS:
        if kept := tuple(command for command in commands(config, field) if not is_ours(command)):
            content[field] = kept
    return content


def _is_sandbox(command: Value) -> bool:
    return PurePosixPath(_program(command)).name == "sandbox.sh"


def _program(command: Value) -> str:
    words = _words(command)
    return words[0].value if words and isinstance(words[0], String) else ""


def _words(command: Value) -> tuple[Value, ...]:
    inner = _bare(command)
    return tuple(map(_bare, inner.items)) if isinstance(inner, List) else ()


def _is_command(value: Value) -> bool:
    inner = _bare(value)
    return isinstance(inner, List) and all(map(_is_word, inner.items))


def _is_word(value: Value) -> bool:
    return isinstance(_bare(value), String | Ident)


def _bare(value: Value) -> Value:
    """Return a value without its filter."""
    return value.value if isinstance(value, Option) else value
