from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opambin.publish.pages import search
from opambin.publish.pages.wording import file_of, visible

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def decoded(data: bytes) -> list[tuple[str, str, int, str]]:
    """Read the index as the script does."""
    rows, before = [], ""
    for line in data.decode().split("\n")[:-1]:
        tail, version, users, page = [*line.split("\t"), "", "", ""][:4]
        name = before[: int(tail[0], 36)] + tail[1:]
        before = name
        rows.append((name, version, int(users or "0", 36), page or name))
    return rows


@patient
@given(st.dictionaries(st.text(), st.tuples(st.text(), st.integers(0, 10**6))))
def test_the_script_reads_what_was_written(packages: dict[str, tuple[str, int]]) -> None:
    rows = [(name, version, users) for name, (version, users) in sorted(packages.items())]
    expected = [(visible(name), visible(version), users, file_of(name)) for name, version, users in rows]
    assert decoded(search.names(rows)) == expected


def test_names_share_beginnings() -> None:
    made = search.names([("ppx_deriving", "1", 36), ("ppx_deriving_yojson", "2", 0), ("x" * 40, "", 1)])
    assert made.decode().split("\n")[:2] == ["0ppx_deriving\t1\t10", "c_yojson\t2"]


def test_words_are_lines() -> None:
    assert search.words(["a\nb", "", "x" * 999]).decode().split("\n") == ["a b", "", "x" * 159 + "…", ""]


def test_the_index_of_ten_thousand_packages_is_small() -> None:
    rows = [(f"ppx_something_{at:05}", "1.2.3", at % 7) for at in range(10_000)]
    assert len(search.names(rows)) < 150_000
