"""Reading opam files: recursive descent over the tokens of :mod:`opambin.opam.lexer`."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, NoReturn

from opambin.errors import BadDataError
from opambin.opam import lexer
from opambin.opam.ast import (
    Bool,
    Defined,
    EnvBinding,
    Field,
    Group,
    Ident,
    Int,
    List,
    Logop,
    Not,
    OpamFile,
    Option,
    PrefixRelop,
    Relop,
    Section,
    String,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from opambin.opam.ast import Atom, Item, Value

MAX_NESTING = 100  # levels; real files stay below 10, and every reader of the result recurses
MAX_INT = 2**62 - 1  # opam's integers have 63 bits

_RELOPS = frozenset({"=", "!=", "<", "<=", ">", ">=", "~"})
_ENVOPS = frozenset({"+=", "=+", ":=", "=:", "=+="})
_BINARY = _RELOPS | _ENVOPS
_OPENING = frozenset("([{")
_CLOSING = frozenset(")]}")
_UNTERMINATED = {'"': "an unterminated string", "(*": "an unterminated comment"}
_BRACKETS: dict[str, tuple[str, Callable[[tuple[Value, ...]], Value]]] = {"(": (")", Group), "[": ("]", List)}
_PREFIX: dict[str, Callable[[Value], Value]] = {"!": Not, "?": Defined}
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_BOOLS = {"true": Bool(True), "false": Bool(False)}
_KNOWN_LENGTH = 40  # characters
_KNOWN_COUNT = 10_000
_known_atoms: dict[str, Atom] = {}
"""Atoms that were met before: of the files of a plan, nine in ten words stand in another one, too."""
_WORD = "(?:[0-9_-]*[A-Za-z][A-Za-z0-9_-]*|_)"
_IDENT = re.compile(rf"(?!_$){_WORD}(?:\+{_WORD})*(?::[A-Za-z0-9_-]+)?")
_INT = re.compile("-?[0-9][0-9_]*")
_WORD_STARTS = _LETTERS | frozenset("0123456789_-")
_ATOM_STARTS = _WORD_STARTS | {'"'}


def parse(text: str, filename: str = "") -> OpamFile:
    """Parse a whole opam file.

    Args:
        text: Its content; undecodable bytes as ``surrogateescape`` gives them.
        filename: For messages.

    Raises:
        BadDataError: The syntax is wrong; the message has the file, line and column.
    """
    parser = _Parser(text, filename)
    return OpamFile(filename, parser.file_items())


def parse_value(text: str, filename: str = "") -> Value:
    """Parse one value: what may stand after ``field:``.

    Raises:
        BadDataError: As for :func:`parse`.
    """
    return _Parser(text, filename).single_value()


def split_concatenated(text: str) -> list[str]:
    """Split several opam files that were written one after the other.

    A file starts at each ``opam-version`` field outside sections, strings and comments. What stands before
    the first one belongs to the first file.

    Raises:
        BadDataError: A bracket or string is not closed.
    """
    starts: list[int] = []
    depth = 0
    for token, following in pairwise(lexer.located_tokens(text)):
        if token.text in _OPENING:
            depth += 1
        elif token.text in _CLOSING:
            depth -= 1
        elif token.text == "opam-version" and following.text == ":" and not depth:
            starts.append(token.offset)
        if depth < 0 or token.text in _UNTERMINATED:
            break
    else:
        if not depth:
            bounds = [0, *starts[1:], len(text)]
            return [part for start, end in pairwise(bounds) if (part := text[start:end]).strip()]
    raise BadDataError(
        "opam files", "a bracket, a string or a comment is not closed, or a bracket not opened"
    )


class _Parser:
    """A position in a list of tokens. Methods named for a construct consume it."""

    __slots__ = ("_at", "_depth", "_filename", "_text", "_tokens")

    def __init__(self, text: str, filename: str) -> None:
        self._text = text
        self._filename = filename
        self._tokens = lexer.tokens(text)
        self._at = 0
        self._depth = 0

    def file_items(self) -> tuple[Item, ...]:
        items = self._items("")
        self._check_opam_version(items)
        return items

    def single_value(self) -> Value:
        value = self._value()
        if self._tokens[self._at]:
            self._fail("the end")
        return value

    def _items(self, closer: str) -> tuple[Item, ...]:
        tokens = self._tokens
        items: list[Item] = []
        while (name := tokens[self._at]) != closer:
            if not name or name[0] not in _WORD_STARTS or not isinstance(self._atom(name), Ident):
                self._fail(f"a field name or {closer!r}" if closer else "a field or section name")
            self._at += 1
            if tokens[self._at] == ":":
                self._at += 1
                items.append(Field(name, self._value()))
            else:
                items.append(self._section(name))
        return tuple(items)

    def _section(self, kind: str) -> Section:
        label = None
        lexeme = self._tokens[self._at]
        if lexeme[:1] == '"':
            label = self._string(lexeme)
            self._at += 1
            if self._tokens[self._at] != "{":
                self._fail("'{'")
        elif lexeme != "{":
            self._fail("':', '{' or a section label")
        self._enter()
        items = self._items("}")
        self._leave()
        return Section(kind, label, items)

    def _value(self) -> Value:
        """One value: ``|`` binds weakest, then ``&``."""
        tokens = self._tokens
        value = self._operand()
        lexeme = tokens[self._at]
        if lexeme not in {"&", "|"}:
            return value
        alternatives: list[Value] = []
        conjuncts = [value]
        while lexeme in {"&", "|"}:
            self._at += 1
            if lexeme == "|":
                alternatives.append(_chain("&", conjuncts))
                conjuncts = []
            conjuncts.append(self._operand())
            lexeme = tokens[self._at]
        alternatives.append(_chain("&", conjuncts))
        return _chain("|", alternatives)

    def _operand(self) -> Value:
        """A value without ``&`` and ``|``, with the options that follow it."""
        tokens = self._tokens
        lexeme = tokens[self._at]
        value: Value
        if lexeme[:1] in _ATOM_STARTS:
            value = self._atom(lexeme)
            self._at += 1
            if tokens[self._at] in _BINARY:
                value = self._binary(value)
        elif lexeme in _BRACKETS:
            closer, build = _BRACKETS[lexeme]
            value = build(self._values(closer))
        elif lexeme in _PREFIX:
            self._enter()
            value = _PREFIX[lexeme](self._operand())
            self._depth -= 1
            return value
        elif lexeme in _RELOPS:
            self._at += 1
            value = PrefixRelop(lexeme, self._next_atom())
        else:
            self._fail("a value")
        depth = self._depth
        while tokens[self._at] == "{":
            # Options of options nest to the left; they count, so that the depth of the result is bounded.
            value = Option(value, self._values("}"))
            self._depth += 1
        self._depth = depth
        return value

    def _values(self, closer: str) -> tuple[Value, ...]:
        tokens = self._tokens
        self._enter()
        values: list[Value] = []
        while (lexeme := tokens[self._at]) != closer:
            if not lexeme:
                self._fail(f"a value or {closer!r}")
            values.append(self._value())
        self._leave()
        return tuple(values)

    def _binary(self, left: Atom) -> Value:
        op = self._tokens[self._at]
        self._at += 1
        right = self._next_atom()
        return Relop(op, left, right) if op in _RELOPS else EnvBinding(left, op, right)

    def _next_atom(self) -> Atom:
        lexeme = self._tokens[self._at]
        if lexeme[:1] not in _ATOM_STARTS:
            self._fail("a string, number, boolean or identifier")
        atom = self._atom(lexeme)
        self._at += 1
        return atom

    def _atom(self, lexeme: str) -> Atom:
        found = _known_atoms.get(lexeme)
        if found is None:
            found = self._new_atom(lexeme)
            if len(lexeme) <= _KNOWN_LENGTH and len(_known_atoms) < _KNOWN_COUNT:
                _known_atoms[lexeme] = found
        return found

    def _new_atom(self, lexeme: str) -> Atom:
        if lexeme[0] == '"':
            return String(self._string(lexeme))
        if lexeme in _BOOLS:
            return _BOOLS[lexeme]
        if (lexeme[0] in _LETTERS and "+" not in lexeme) or _IDENT.fullmatch(lexeme):
            return Ident(lexeme)
        return Int(self._integer(lexeme))

    def _integer(self, lexeme: str) -> int:
        if not _INT.fullmatch(lexeme):
            self._fail("a value")
        # The length comes first because Python refuses to read numbers of thousands of digits.
        digits = lexeme.lstrip("-").replace("_", "").lstrip("0")
        number = int(digits or "0") if len(digits) < 20 else MAX_INT + 2
        if number > MAX_INT + (lexeme[0] == "-"):
            self._fail(f"an integer of at most {MAX_INT}")
        return -number if lexeme[0] == "-" else number

    def _string(self, lexeme: str) -> str:
        if len(lexeme) < 2:
            self._fail("a closing quote")
        try:
            return lexer.unquote(lexeme)
        except (lexer.EscapeError, UnicodeError) as error:
            self._fail("a string", str(error))

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_NESTING:
            self._fail(f"at most {MAX_NESTING} levels of nesting", "more")
        self._at += 1

    def _leave(self) -> None:
        self._depth -= 1
        self._at += 1

    def _check_opam_version(self, items: tuple[Item, ...]) -> None:
        """Refuse ``opam-version`` of 2.1 or later anywhere but at the start, as opam does."""
        versions = [
            (index, item.value.value)
            for index, item in enumerate(items)
            if isinstance(item, Field) and item.name == "opam-version" and isinstance(item.value, String)
        ]
        leading = versions[0][1] if versions and versions[0][0] == 0 else "2.0"
        if any(index and (_is_after_2_0(version) or _is_after_2_0(leading)) for index, version in versions):
            raise BadDataError(
                self._filename or "opam file", "opam-version must come first, and only once, in format 2.1"
            )

    def _fail(self, expected: str, observed: str = "") -> NoReturn:
        """Raise for the current lexeme; its place is only computed now."""
        found = lexer.located_tokens(self._text)
        lexeme, offset = found[min(self._at, len(found) - 1)]
        line = self._text.count("\n", 0, offset) + 1
        column = offset - self._text.rfind("\n", 0, offset)
        raise BadDataError(
            self._filename or "opam file",
            f"line {line}, column {column}: syntax error",
            expected=expected,
            observed=observed or _describe(lexeme),
        )


def _chain(op: str, operands: list[Value]) -> Value:
    return operands[0] if len(operands) == 1 else Logop(op, tuple(operands))


def _is_after_2_0(version: str) -> bool:
    major, _, rest = version.partition(".")
    minor = rest.partition(".")[0]
    return major.isdecimal() and minor.isdecimal() and (int(major), int(minor)) > (2, 0)


def _describe(lexeme: str) -> str:
    if not lexeme:
        return "the end of the text"
    if lexeme in _UNTERMINATED:
        return _UNTERMINATED[lexeme]
    return repr(lexeme if len(lexeme) <= 40 else lexeme[:37] + "...")
