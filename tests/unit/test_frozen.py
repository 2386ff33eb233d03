from __future__ import annotations

import builtins
import copy
import dataclasses
import pickle
from dataclasses import FrozenInstanceError, field
from typing import Any, ClassVar

import pytest

from opambin.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """A value with everything that one may have."""

    kind: ClassVar[str] = "point"
    x: int
    y: int = 2
    tags: dict[str, int] = field(default_factory=dict)
    hidden: str = field(default="h", repr=False, compare=False)
    total: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", self.x + self.y)


@dataclass(frozen=True, slots=True, order=True)
class Version:
    major: int
    minor: int = 0


@dataclass(frozen=True)
class Open:
    """Without slots."""

    x: int


@dataclass(frozen=True, slots=True)
class Own:
    """With words and comparisons of its own."""

    x: int

    def __repr__(self) -> str:
        return "mine"

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 7


@dataclass(frozen=True, slots=True)
class Fixed:
    """With fields that are not given, and one that has to be named."""

    x: int
    first: int = field(default=5, init=False)
    second: list[int] = field(default_factory=list, init=False)
    named: int = field(kw_only=True)
    optional: int = field(default=9, kw_only=True)


@dataclass(slots=True)
class Changing:
    x: int


@dataclass(frozen=True, slots=True)
class Nothing:
    pass


def test_values_are_made_as_by_pythons_decorator() -> None:
    point = Point(1, tags={"a": 1})
    assert (point.x, point.y, point.tags, point.hidden, point.total) == (1, 2, {"a": 1}, "h", 3)
    assert Point(x=1).tags is not Point(x=1).tags
    assert Point.kind == "point"
    assert not hasattr(point, "__dict__")
    assert Point.__init__.__qualname__ == "Point.__init__"
    fixed = Fixed(1, named=3)
    assert (fixed.x, fixed.first, fixed.second, fixed.named, fixed.optional) == (1, 5, [], 3, 9)
    with pytest.raises(TypeError, match="__init__"):
        Fixed(1, 3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="__init__"):
        Point()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="__init__"):
        Point(1, 2, {}, "h", 5)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword"):
        Point(1, z=1)  # type: ignore[call-arg]


def test_values_are_shown() -> None:
    assert repr(Point(1)) == "Point(x=1, y=2, tags={}, total=3)"
    assert repr(Nothing()) == "Nothing()"
    assert repr(Own(1)) == "mine"


def test_values_are_compared_by_content() -> None:
    assert Point(1, hidden="a") == Point(1, hidden="b")
    assert Point(1) != Point(2)
    others: list[object] = [(1, 0), Open(1), None]
    assert Version(1) not in others
    assert len({Version(1), Version(1, 0), Version(2)}) == 2
    assert Nothing() == Nothing()
    assert hash(Nothing()) == hash(Nothing())
    assert Own(1) == Own(2)
    assert hash(Own(1)) == 7
    with pytest.raises(TypeError, match="unhashable"):
        hash(Point(1))


def test_values_are_ordered_where_that_is_wanted() -> None:
    assert sorted([Version(2), Version(1, 5), Version(1)]) == [Version(1), Version(1, 5), Version(2)]
    assert Version(1) <= Version(1) < Version(2) > Version(1) >= Version(1)
    with pytest.raises(TypeError, match="not supported"):
        assert Version(1) < (1, 0)  # type: ignore[operator]
    with pytest.raises(TypeError, match="not supported"):
        assert Open(1) < Open(2)  # type: ignore[operator]


@pytest.mark.parametrize("value", [Version(1), Open(1), Point(1)])
def test_values_do_not_change(value: Any) -> None:  # noqa: ANN401 - any value
    with pytest.raises(FrozenInstanceError, match="frozen"):
        value.x = 5
    with pytest.raises(FrozenInstanceError, match="frozen"):
        del value.x


def test_other_classes_are_left_to_python() -> None:
    changing = Changing(1)
    changing.x = 2
    assert changing == Changing(2)


def test_what_works_with_dataclasses_works_with_these() -> None:
    point = Point(1, 5)
    assert dataclasses.is_dataclass(point)
    assert [item.name for item in dataclasses.fields(point)] == ["x", "y", "tags", "hidden", "total"]
    assert dataclasses.replace(point, x=2).total == 7
    assert dataclasses.asdict(Version(1)) == {"major": 1, "minor": 0}
    assert dataclasses.astuple(Version(1)) == (1, 0)
    match Version(3, 4):
        case Version(major, minor):
            assert (major, minor) == (3, 4)
    for value in (point, Version(1), Open(1)):
        assert copy.copy(value) == copy.deepcopy(value) == pickle.loads(pickle.dumps(value)) == value  # noqa: S301 - our own


def test_nothing_is_compiled_before_a_value_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []
    run = builtins.exec

    def counted(source: Any, *rest: Any) -> None:  # noqa: ANN401 - as exec takes it
        if "(self" in source:  # Python 3.13 compiles an empty function where there is nothing to make
            compiled.append(source)
        run(source, *rest)

    monkeypatch.setattr(builtins, "exec", counted)

    @dataclass(frozen=True, slots=True, order=True)
    class Late:
        x: int

    assert not compiled
    first = Late(1)
    assert compiled
    count = len(compiled)
    assert Late(2) > first
    assert len(compiled) == count
