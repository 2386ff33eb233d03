from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
TEXT = (TOP / "docs" / "security.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", TEXT)))
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith("| what")]


@cache
def names_in(name: str) -> frozenset[str]:
    (path,) = (TOP / "tests").rglob(name)
    return frozenset(re.findall(r"^def (test_\w+)\(", path.read_text("utf-8"), re.MULTILINE))


@pytest.mark.parametrize(("file", "test"), NAMED, ids=[test for _, test in NAMED])
def test_what_the_attackers_table_names_is_there(file: str, test: str) -> None:
    assert test in names_in(file)


def test_every_row_of_the_table_names_a_test_or_another_section() -> None:
    assert len(ROWS) > 40
    for row in ROWS:
        assert re.search(r"`test_\w+\.py::test_\w+`|see there", row), row


def test_nothing_else_looks_like_the_name_of_a_test() -> None:
    """A name with a slip would otherwise not be looked for."""
    assert len(re.findall(r"test_\w+\.py", TEXT)) == len(re.findall(r"`test_\w+\.py::test_\w+`", TEXT))
