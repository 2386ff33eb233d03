from __future__ import annotations

from pathlib import Path

import pytest

from opambin.errors import BadDataError
from opambin.model import ConeKey, Package, Symbol
from opambin.session.folder import FOLDERS, Planned, Result, Session
from opambin.surroundings import Keyed, Platform, Surroundings

PACKAGE = Package.parse("demo.1~x+y")
KEY, OUTPUT = ConeKey("1" * 64), "2" * 64


@pytest.fixture
def session(tmp_path: Path) -> Session:
    made = Session.of(tmp_path / "root", Path("/home/me/switch"))
    made.create()
    return made


def test_it_lies_under_the_path_of_the_switch(tmp_path: Path, session: Session) -> None:
    assert session.folder == tmp_path / "root/plugins/opam-bin/session/home/me/switch"
    assert {path.name for path in session.folder.iterdir()} == set(FOLDERS)
    assert session.exists


def test_removing_leaves_no_empty_folders_and_nothing_else_goes(tmp_path: Path, session: Session) -> None:
    (tmp_path / "root/plugins/opam-bin/hooks").mkdir()
    session.remove()
    session.remove()
    assert not session.exists
    assert [path.name for path in (tmp_path / "root/plugins/opam-bin").iterdir()] == ["hooks"]


def test_a_new_session_knows_nothing_of_a_killed_one(session: Session) -> None:
    session.mark("hit", PACKAGE, f"{KEY} {OUTPUT}")
    session.add_result(Result(str(PACKAGE), "captured"))
    session.create()
    assert not session.marked("hit", PACKAGE)
    assert session.results() == []


def test_markers(session: Session) -> None:
    session.mark("hit", PACKAGE, f"{KEY} {OUTPUT}")
    assert session.marked("hit", PACKAGE)
    assert session.hit(PACKAGE) == (KEY, OUTPUT)
    session.unmark("hit", PACKAGE)
    session.unmark("hit", PACKAGE)
    assert not session.marked("hit", PACKAGE)


@pytest.mark.parametrize("content", [None, "", "one", "one two three"])
def test_damaged_markers(session: Session, content: str | None) -> None:
    if content is not None:
        session.mark("hit", PACKAGE, content)
    with pytest.raises(BadDataError, match="not the marker of a hit"):
        session.hit(PACKAGE)


def test_when_a_build_began(session: Session) -> None:
    assert session.started(PACKAGE) is None
    session.mark("start", PACKAGE)
    assert session.started(PACKAGE) == (session.folder / "start" / str(PACKAGE)).stat().st_mtime


def test_planned_packages(session: Session) -> None:
    planned = Planned(Keyed(KEY, "{}", ""), 'opam-version: "2.0"\n\u00e4', ("a", "b"), ("a:x",), "because")
    assert session.load_planned(PACKAGE) is None
    session.save_planned(PACKAGE, planned)
    assert session.load_planned(PACKAGE) == planned


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"keyed": {"x": 1}}', '{"keyed": {"key": null}, "y": 1}']
)
def test_damaged_plans(session: Session, content: str) -> None:
    session.mark("package", PACKAGE, content)
    with pytest.raises(BadDataError, match="not what a session keeps"):
        session.load_planned(PACKAGE)


@pytest.mark.parametrize("args", [None, [], ["-t", "a b"]])
def test_the_command_line(session: Session, args: list[str] | None) -> None:
    session.save_request(args)
    assert session.load_request() == args


def test_surroundings(session: Session) -> None:
    kept = Surroundings(Platform("a", "b", "c", "d"), {"x": "1"}, {"CC": "gcc"}, {"/f": "md5"})
    session.save_surroundings(kept)
    assert session.load_surroundings() == kept
    (session.folder / "surroundings").write_text("{}")
    with pytest.raises(BadDataError, match="not what a session keeps"):
        session.load_surroundings()


def test_what_outputs_provide(session: Session) -> None:
    symbols = frozenset([Symbol("cmi", "A", "1"), Symbol("so", "liba.so.1")])
    assert session.load_provides("a") is None
    session.save_provides("a", OUTPUT, symbols)
    session.save_provides("b", None, [])
    assert session.load_provides("a") == (OUTPUT, symbols)
    assert session.load_provides("b") == (None, frozenset())
    (session.folder / "provides/a").write_bytes(b"cut")
    assert session.load_provides("a") is None


def test_the_last_word_on_a_package_counts(session: Session) -> None:
    session.add_result(Result("b.1", "skipped", "why"))
    session.add_result(Result("a.1", "restored", output=OUTPUT))
    session.add_result(Result("b.1", "captured", seconds=1.5))
    (session.folder / "result/c.1.77.new").write_text("being written")
    assert [(result.package, result.what) for result in session.results()] == [
        ("a.1", "restored"),
        ("b.1", "captured"),
    ]
    assert session.result("a.1") == Result("a.1", "restored", output=OUTPUT)
    assert session.result("c.1") is None
