from __future__ import annotations

import pytest
import yaml

from opambin import yamlfile
from opambin.errors import BadDataError


def test_values_and_their_lines() -> None:
    found = yamlfile.parse(b"# ours\na: 1\n\nb: [x]\na: 2\n", "f")
    assert found.content == {"a": 2, "b": ["x"]}
    assert found.lines == (("a", 2), ("b", 4), ("a", 5))
    assert (found.line_of("b"), found.line_of("c")) == (4, 0)


def test_entries_of_a_list_are_counted_from_one() -> None:
    found = yamlfile.parse(b"- a\n- b: 1\n  c: 2\n- d\n", "f")
    assert found.lines == (("1", 1), ("2", 2), ("3", 4))
    assert found.line_of(2) == 2


@pytest.mark.parametrize("data", [b"", b"# nothing\n", b"---\n"])
def test_nothing_in_it(data: bytes) -> None:
    assert yamlfile.parse(data, "f") == yamlfile.Document(None)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(
            "jobs 4\ncache: /x", "line 2: a colon is where none can be: the line above", id="no colon above"
        ),
        pytest.param("jobs: 4\n cache: /x", "line 2: a colon is where none can be", id="indented"),
        pytest.param("cache: /x\njobs 4\n", "line 2: there is no colon", id="no colon"),
        pytest.param("jobs: 4\n\tx: 4", "line 2: there is a tab", id="tab"),
        pytest.param('a: 1\ncache: "/x\njobs: 4\n', "line 2: a quote is opened and not closed", id="quote"),
        pytest.param("a: 'it's'", "line 1: it does not fit to the lines above", id="quote in quotes"),
        pytest.param("a: b\n- c\n", "line 2: it does not fit to the lines above", id="list in a mapping"),
        pytest.param('a: "\\q"', "line 1: a backslash in double quotes", id="backslash"),
        pytest.param("exclude: *-dev", "line 1: a text that begins with \\* has to be in quotes", id="glob"),
        pytest.param("a: @x", "line 1: a text that begins with such a sign", id="sign"),
        pytest.param("a: [b\nc: 2\n", "line 1: a bracket is opened and not closed", id="bracket"),
        pytest.param("a: [b,\n", "line 2: the file ends in a bracket", id="bracket at the end"),
        pytest.param("a: ]", "line 1: a bracket is closed", id="closed"),
        pytest.param("a: !x 1", "line 1: a text that begins with !", id="tag"),
        pytest.param("a: 1\n---\nb: 2", "line 2: a second document", id="two documents"),
        pytest.param("? [a]\n: b", "line 1: a name has to be a text", id="name"),
        pytest.param("a: 1\nb: \0", "line 2: there are bytes that are no text", id="control character"),
        pytest.param("a: |x", "line 1: it is not YAML", id="what nobody writes"),
        pytest.param("a: 2000-13-45", "a value looks like a date and is none", id="date"),
        pytest.param("[" * 3000, "brackets in brackets", id="depth"),
    ],
)
def test_faults_in_words_of_a_user(data: str, words: str) -> None:
    with pytest.raises(BadDataError, match=f"^f: {words}") as caught:
        yamlfile.parse(data.encode(), "f")
    if isinstance(caught.value.__cause__, yaml.MarkedYAMLError):
        assert str(caught.value.__cause__.problem) not in str(caught.value)
        assert "\n" not in str(caught.value)
