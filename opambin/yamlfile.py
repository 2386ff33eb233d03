"""YAML files that people write: read safely, with the lines of their entries, and faults in a user's words.

The parser's own words ("expected <block end>, but found '<scalar>'") are for those who wrote the parser.
:data:`_FAULTS` says for each what is usually wrong, and how to mend it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.frozen import dataclass

if TYPE_CHECKING:
    import yaml

_CLOSED = "a bracket is closed that was not opened"
_COLON = (
    "a colon is where none can be: the line above may lack its own, this one may be indented differently,"
    " or a text with a colon lacks its quotes"
)
_MISFIT = (
    "it does not fit to the lines above: indent it like them, and put texts with quotes or colons in quotes"
)
_FAULTS = (
    # what the parser says, what is wrong, whether that is where the parser's context begins
    ("found undefined alias", "a text that begins with * has to be in quotes", False),
    ("found character '\\t'", "there is a tab, only spaces are allowed: replace it", False),
    ("cannot start any token", "a text that begins with such a sign has to be in quotes", False),
    ("scanning a quoted scalar", "a quote is opened and not closed", True),
    ("unknown escape character", "a backslash in double quotes: double it, or use single quotes", False),
    ("mapping values are not allowed", _COLON, False),
    ("could not find expected ':'", "there is no colon: write NAME: VALUE", True),
    ("found '<stream end>'", "the file ends in a bracket that is not closed", False),
    ("parsing a flow", "a bracket is opened and not closed", True),
    ("found ']'", _CLOSED, False),
    ("found '}'", _CLOSED, False),
    ("expected <block end>", _MISFIT, False),
    ("constructor for the tag", "a text that begins with ! has to be in quotes", False),
    ("single document", "a second document begins: remove the line ---", False),
    ("unhashable key", "a name has to be a text", False),
)
_ELSE = "it is not YAML"


@dataclass(frozen=True, slots=True)
class Document:
    """What a file holds.

    Attributes:
        content: Its values; None when it is empty.
        lines: For a mapping the names at its top with their lines, also those that are there twice; for a
            list the numbers of its entries, as texts, with theirs. Both count from 1.
    """

    content: object
    lines: tuple[tuple[str, int], ...] = ()

    def line_of(self, name: object) -> int:
        """Return the line of an entry; 0 when there is none of that name."""
        return dict(self.lines).get(str(name), 0)


def parse(data: bytes, path: object) -> Document:
    """Read the bytes of a file.

    Args:
        data: The bytes; the caller has limited their number.
        path: The file, for messages.

    Raises:
        BadDataError: It is no YAML, or has values that are not plain ones.
    """
    import yaml

    try:
        loader = yaml.SafeLoader(data)
        try:
            node = loader.get_single_node()
            content = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise BadDataError(path, _marked(error)) from error
    except yaml.reader.ReaderError as error:
        line = data[: error.position].count(b"\n") + 1
        problem = f"line {line}: there are bytes that are no text: save it as UTF-8"
        raise BadDataError(path, problem) from error
    except ValueError as error:  # from the types that YAML sees in bare words
        problem = f"a value looks like a date and is none ({error}): put it in quotes"
        raise BadDataError(path, problem) from error
    except RecursionError as error:
        raise BadDataError(path, "brackets in brackets, too deeply") from error
    return Document(content, tuple(_lines(node)))


def _marked(error: yaml.MarkedYAMLError) -> str:
    said = f"{error.context} {error.problem}"
    words, above = next(((words, above) for part, words, above in _FAULTS if part in said), (_ELSE, False))
    mark = (error.context_mark if above else None) or error.problem_mark or error.context_mark
    return f"line {mark.line + 1}: {words}" if mark is not None else words


def _lines(node: yaml.Node | None) -> list[tuple[str, int]]:
    import yaml

    if isinstance(node, yaml.MappingNode):
        return [(str(key.value), key.start_mark.line + 1) for key, _ in node.value]
    if isinstance(node, yaml.SequenceNode):
        return [(str(number), item.start_mark.line + 1) for number, item in enumerate(node.value, 1)]
    return []
