from __future__ import annotations

import pytest

from opambin.session.folder import Result
from opambin.summary import data_size, duration, front_door, lines, names

RESTORED = Result("a.1", "restored", seconds=61.2, bytes=5, source_bytes=1500)
QUICK = Result("b.1", "restored", seconds=0.1)
CAPTURED = Result("c.1", "captured", "no snapshot has this key", seconds=3, bytes=2_500_000, source_bytes=9)
SKIPPED = Result("d.1", "skipped", "it is setuid")


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([RESTORED], ["opam-bin: 1 restored (saved 1 min 01 s of building)"], id="restored"),
        pytest.param([QUICK], ["opam-bin: 1 restored"], id="nothing saved"),
        pytest.param([CAPTURED], ["opam-bin: 1 built in 3.00 s and captured (2.5 MB)"], id="captured"),
        pytest.param(
            [SKIPPED],
            ["opam-bin: 1 built, not captured", "opam-bin: d.1 was not captured: it is setuid"],
            id="skipped",
        ),
        pytest.param(
            [SKIPPED, CAPTURED, RESTORED, QUICK],
            [
                "opam-bin: 2 restored (saved 1 min 01 s of building), "
                "1 built in 3.00 s and captured (2.5 MB), 1 built, not captured",
                "opam-bin: d.1 was not captured: it is setuid",
            ],
            id="all",
        ),
    ],
)
def test_lines(results: list[Result], expected: list[str]) -> None:
    assert lines(results) == expected


def test_front_door() -> None:
    assert "up to 2 kB" in front_door([RESTORED, CAPTURED])
    assert front_door([QUICK, CAPTURED]) == ""


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        pytest.param(0, "0.00 s", id="zero"),
        pytest.param(9.994, "9.99 s", id="short"),
        pytest.param(10.4, "10 s", id="seconds"),
        pytest.param(59.6, "1 min 00 s", id="rounded up"),
        pytest.param(3599, "59 min 59 s", id="minutes"),
        pytest.param(3725, "1 h 02 min", id="long"),
    ],
)
def test_duration(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        pytest.param(0, "0 B", id="zero"),
        pytest.param(999, "999 B", id="bytes"),
        pytest.param(1000, "1 kB", id="kB"),
        pytest.param(4_249_000, "4.2 MB", id="MB"),
        pytest.param(7e12, "7000.0 GB", id="the largest unit"),
    ],
)
def test_data_size(size: float, expected: str) -> None:
    assert data_size(size) == expected


def test_names() -> None:
    assert names([]) == ""
    assert names(list("abcdef")) == "a, b, c, d, e, f"
    assert names(list("abcdefgh")) == "a, b, c, d, e, f and 2 more"
