"""Whether the licence of a package allows that its binaries are given away: policy and judgement.

The policy is data (``licences.yaml`` beside this module, and a file of the publisher's in the same form).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opambin import yamlfile
from opambin.errors import BadDataError
from opambin.opam.ast import List, String

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opambin.opam.ast import OpamFile

DEFAULT_POLICY = Path(__file__).with_name("licences.yaml")
MAX_BYTES = 1_000_000  # of a policy file
_LISTS = ("allow", "deny")
_MAPPINGS = ("aliases", "packages")
_UNKNOWN = ("leave-out", "allow")
FILE_NAMES = ("license*", "licence*", "copying*", "copyright*", "notice*", "unlicense*")
"""What licence files are called, in lower case."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Which licences allow publication.

    Attributes:
        allow: Globs on SPDX identifiers.
        deny: The same; they win.
        unknown: Whether a package is published whose licence is in neither list, or can't be read.
        aliases: Spellings that are no SPDX expressions, in lower case, and what they mean.
        packages: Package names whose definition has no licence, and the licence.
    """

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    unknown: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)

    def with_options(self, allow: Sequence[str], deny: Sequence[str], *, unknown: bool | None) -> Policy:
        """Return the policy with what the command line adds to it; what it allows is not denied any more."""
        return replace(
            self,
            allow=(*self.allow, *allow),
            deny=(*_without(self.deny, allow), *deny),
            unknown=self.unknown if unknown is None else unknown,
        )


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a policy says of a package.

    Attributes:
        declared: The field of its definition.
        expression: As one SPDX expression; empty when it can't be read.
        problem: Why it may not be published; empty when it may.
    """

    declared: tuple[str, ...]
    expression: str
    problem: str = ""


def load(path: Path | None = None) -> Policy:
    """Read the built-in policy, and a file that adds to it.

    Raises:
        BadDataError: A file is no policy; all problems are named.
    """
    base = _parse(DEFAULT_POLICY)
    if path is None:
        return base
    own = _parse(path)
    return Policy(
        (*base.allow, *own.allow),
        (*_without(base.deny, own.allow), *own.deny),
        own.unknown,
        {**base.aliases, **own.aliases},
        {**base.packages, **own.packages},
    )


def _without(deny: Sequence[str], allow: Sequence[str]) -> list[str]:
    """Drop from what is denied what is allowed by name."""
    return [glob for glob in deny if not any(fnmatchcase(name.lower(), glob.lower()) for name in allow)]


def _parse(path: Path) -> Policy:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadDataError(path, f"can't be read: {error.strerror}") from error
    content = yamlfile.parse(data, path).content if len(data) <= MAX_BYTES else None
    if not isinstance(content, dict):
        raise BadDataError(path, "not a licence policy", expected="lists `allow`, `deny`", observed="else")
    problems = _problems(content)
    if problems:
        raise BadDataError(path, "; ".join(problems))
    return Policy(
        tuple(content.get("allow") or ()),
        tuple(content.get("deny") or ()),
        content.get("unknown") == "allow",
        {name.lower(): value for name, value in (content.get("aliases") or {}).items()},
        dict(content.get("packages") or {}),
    )


def _problems(content: dict[Any, Any]) -> list[str]:
    found = [f"{name!r} is not known" for name in content if name not in {*_LISTS, *_MAPPINGS, "unknown"}]
    for name in _LISTS:
        value = content.get(name) or []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            found.append(f"{name} is no list of texts")
    for name in _MAPPINGS:
        value = content.get(name) or {}
        texts = isinstance(value, dict) and all(
            isinstance(item, str) for pair in value.items() for item in pair
        )
        if not texts:
            found.append(f"{name} is no mapping of texts to texts")
    if content.get("unknown", _UNKNOWN[0]) not in _UNKNOWN:
        found.append(f"unknown is neither {_UNKNOWN[0]} nor {_UNKNOWN[1]}")
    return found


def declared(file: OpamFile) -> tuple[str, ...]:
    """Return what the field ``license`` of a definition lists."""
    value = file.get("license")
    items = value.items if isinstance(value, List) else () if value is None else (value,)
    return tuple(item.value for item in items if isinstance(item, String))


def judge(policy: Policy, name: str, licences: Sequence[str]) -> Judgement:
    """Say whether a package may be published.

    Args:
        policy: What allows it.
        name: Of the package.
        licences: What its definition declares; several of them all apply.
    """
    shown = _joined(policy, licences)
    if name in policy.packages and _leaves_open(policy, shown):
        shown = _joined(policy, [policy.packages[name]])
    problem = unreadable(shown)
    if problem:
        return _unknown(policy, licences, "", problem, _NAME_IT)
    verdicts = _verdict(policy, _read(shown))
    if "denied" in verdicts:
        return Judgement(tuple(licences), shown, f"its licence is not to be published: {shown}")
    if "unknown" in verdicts:
        remedy = _NAME_IT if in_words(shown) else "allow it with --allow-licence SPDX"
        problem = f"its licence is in no list of the policy: {shown}"
        return _unknown(policy, licences, shown, problem, remedy)
    return Judgement(tuple(licences), shown)


def _leaves_open(policy: Policy, text: str) -> bool:
    """Tell whether a definition does not say in SPDX's terms what the licence is; then the publisher may."""
    return bool(unreadable(text)) or (_verdict(policy, _read(text)) == "unknown" and bool(in_words(text)))


def in_words(text: str) -> str:
    """Return the part of an expression that is words of somebody's own; empty when all are identifiers."""
    keys = (str(symbol.key) for symbol in _licensing().license_symbols(_read(text), decompose=True))
    return next((key for key in keys if " " in key), "")


def _joined(policy: Policy, licences: Sequence[str]) -> str:
    """Return one expression for several licences that all apply."""
    texts = [policy.aliases.get(text.strip().lower(), text.strip()) for text in licences if text.strip()]
    return " AND ".join(f"({text})" if " " in text and len(texts) > 1 else text for text in texts)


def unreadable(text: str) -> str:
    """Say why a text is no SPDX expression; empty when it is one."""
    if not text:
        return "its definition names no licence"
    try:
        _read(text)
    except ValueError as error:
        return f"its licence can't be read ({text}): {error}"
    return ""


def _unknown(policy: Policy, licences: Sequence[str], shown: str, problem: str, remedy: str) -> Judgement:
    found = "" if policy.unknown else f"{problem}; {remedy}, or publish it with --unknown-licences allow"
    return Judgement(tuple(licences), shown, found)


_NAME_IT = "say what it is with --licence NAME=EXPRESSION"


@cache
def _licensing() -> Any:  # noqa: ANN401 - the library's types
    """Return the library's table of licences; to make it takes some 50 ms."""
    from license_expression import get_spdx_licensing

    return get_spdx_licensing()


@cache
def _read(text: str) -> Any:  # noqa: ANN401 - the library's types
    """Parse an SPDX expression.

    Raises:
        ValueError: It is none.
    """
    from license_expression import ExpressionError

    try:
        found = _licensing().parse(text, validate=False)
    except ExpressionError as error:
        raise ValueError(" ".join(str(error).split())) from error
    if found is None:
        raise ValueError("it is empty")
    return found


def _verdict(policy: Policy, node: Any) -> str:  # noqa: ANN401 - the library's types
    """Return ``allowed``, ``unknown`` or ``denied`` for an expression: the best of OR, the worst of AND."""
    order = ("allowed", "unknown", "denied")
    operands = getattr(node, "args", ())
    if operands:
        ranks = [order.index(_verdict(policy, operand)) for operand in operands]
        return order[min(ranks) if type(node).__name__ == "OR" else max(ranks)]
    symbol = getattr(node, "license_symbol", node)  # of "A WITH exception" the licence decides
    key = str(getattr(symbol, "key", symbol))
    if any(fnmatchcase(key.lower(), glob.lower()) for glob in policy.deny):
        return "denied"
    return "allowed" if any(fnmatchcase(key.lower(), glob.lower()) for glob in policy.allow) else "unknown"


def is_licence_file(path: str) -> bool:
    """Tell from its name whether a file holds a licence."""
    base = path.rpartition("/")[2].lower()
    return any(fnmatchcase(base, glob) for glob in FILE_NAMES)
