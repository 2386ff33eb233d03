from __future__ import annotations

import os
import subprocess
import sys

import pytest

from opambin import request
from opambin.request import Request, of_process, parse


@pytest.mark.parametrize(
    ("line", "names", "folders"),
    [
        pytest.param("", set(), False, id="nothing"),
        pytest.param("a b", {"a", "b"}, False, id="names"),
        pytest.param("a.1.2 b>=2 c<3 d=1 e!=1", {"a", "b", "c", "d", "e"}, False, id="versions"),
        pytest.param("0install lwt_ppx conf-c++", {"0install", "lwt_ppx", "conf-c++"}, False, id="odd names"),
        pytest.param(".", set(), True, id="folder"),
        pytest.param("./a.opam sub/b", set(), True, id="paths"),
        pytest.param("a .", {"a"}, True, id="both"),
        pytest.param("a.opam", {"a"}, False, id="opam file"),
        pytest.param("-y a -v", {"a"}, False, id="short options"),
        pytest.param("-j 4 a", {"a"}, False, id="short option with value"),
        pytest.param("-j4 a", {"a"}, False, id="short option glued to its value"),
        pytest.param("-vj 4 a", {"a"}, False, id="cluster with value"),
        pytest.param("-m gmake a", {"a"}, False, id="make"),
        pytest.param("--jobs 4 a", {"a"}, False, id="long option with value"),
        pytest.param("--jobs=4 a", {"a"}, False, id="long option glued to its value"),
        pytest.param("--job 4 a", {"a"}, False, id="long option cut short"),
        pytest.param("--verbose a", {"a"}, False, id="not the start of another option"),
        pytest.param("--ignore-constraints-on a", {"a"}, False, id="value only behind ="),
        pytest.param("--use-internal-solver a", {"a"}, False, id="solver that has no value"),
        pytest.param("--switch s a", {"a"}, False, id="switch"),
        pytest.param("--json", set(), False, id="value missing"),
        pytest.param("-j", set(), False, id="short value missing"),
        pytest.param("-y -- a .", {"a"}, True, id="end of options"),
        pytest.param("- a", {"a"}, True, id="dash"),
    ],
)
def test_names(line: str, names: set[str], *, folders: bool) -> None:
    found = parse(line.split(), {})
    assert found.names == names
    assert found.folders == folders
    assert found.args == tuple(line.split())


@pytest.mark.parametrize(
    ("line", "environ", "expected"),
    [
        pytest.param("a", {}, set(), id="none"),
        pytest.param("-t a", {}, {"with-test"}, id="-t"),
        pytest.param("-d a", {}, {"with-doc"}, id="-d"),
        pytest.param("-ytd a", {}, {"with-test", "with-doc"}, id="cluster"),
        pytest.param("-tj4 a", {}, {"with-test"}, id="before a value"),
        pytest.param("-jt a", {}, set(), id="inside a value"),
        pytest.param("--with-test a", {}, {"with-test"}, id="long"),
        pytest.param("--with-t a", {}, {"with-test"}, id="cut short"),
        pytest.param("--build-test --build-doc", {}, {"with-test", "with-doc"}, id="old names"),
        pytest.param("--with-dev-setup", {}, {"with-dev-setup"}, id="dev setup"),
        pytest.param("a", {"OPAMWITHTEST": "true"}, {"with-test"}, id="environment"),
        pytest.param("a", {"OPAMBUILDDOC": "1"}, {"with-doc"}, id="old environment"),
        pytest.param(
            "a", {"OPAMWITHTEST": "No", "OPAMWITHDOC": "0", "OPAMWITHDEVSETUP": ""}, set(), id="off"
        ),
    ],
)
def test_flags(line: str, environ: dict[str, str], expected: set[str]) -> None:
    assert parse(line.split(), environ).flags == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("a", True, id="plain"),
        pytest.param("a -y --deps-only", True, id="dependencies only"),
        pytest.param("a --show-actions", False, id="question"),
        pytest.param("a --show-a", False, id="question, cut short"),
        pytest.param("a --dry-run", False, id="dry run"),
        pytest.param("a --depext-only", False, id="system packages only"),
        pytest.param("a --check", False, id="check"),
        pytest.param("a --destdir x", False, id="copies elsewhere"),
        pytest.param("a --download-only", False, id="download"),
        pytest.param("--help=plain", False, id="help"),
    ],
)
def test_for_real(line: str, *, expected: bool) -> None:
    assert parse(line.split(), {}).for_real == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("--switch s", "s", id="word"),
        pytest.param("--switch=./x", "./x", id="glued"),
        pytest.param("--sw s", "s", id="cut short"),
        pytest.param("--switch", "", id="missing"),
        pytest.param("a", None, id="none"),
    ],
)
def test_switch(line: str, expected: str | None) -> None:
    assert parse(line.split(), {}).switch == expected


@pytest.mark.parametrize(
    ("line", "name", "pinned", "expected"),
    [
        pytest.param("-t a", "a", False, True, id="asked for"),
        pytest.param("-t a", "b", False, False, id="dependency"),
        pytest.param("-t .", "b", True, True, id="pin by folder"),
        pytest.param("-t .", "b", False, False, id="no pin"),
        pytest.param("-t a", "b", True, False, id="pin that was not named"),
        pytest.param("a", "a", False, False, id="no flag"),
    ],
)
def test_flags_hold_for_what_was_asked_for(line: str, name: str, *, pinned: bool, expected: bool) -> None:
    found = parse(line.split(), {}).flags_of(name, pinned=pinned)
    assert found == {"with-test": expected, "with-doc": False, "with-dev-setup": False}


def test_the_command_line_of_a_process() -> None:
    code = "import sys; print(flush=True); sys.stdin.read()"
    args = [sys.executable, "-c", code, "install", "-t", "a b", "c"]
    with subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = of_process(process.pid, {"OPAMWITHDOC": "1"})
        process.communicate()
    assert found is not None
    assert {"c"} <= found.names
    assert found.flags == {"with-test", "with-doc"}


def test_where_there_is_no_proc_ps_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "_ask_ps", lambda _: ["opam", "--yes", "install", "a"])
    found = of_process(2**22 + 1, {})
    assert found is not None
    assert found.args == ("a",)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param([], None, id="no such process"),
        pytest.param(["opam"], None, id="no command"),
        pytest.param(
            ["opam", "--version"], Request(("--version",), options=frozenset(("--version",))), id="none"
        ),
    ],
)
def test_odd_processes(words: list[str], expected: Request | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "_ask_ps", lambda _: words)
    assert of_process(2**22 + 1, {}) == expected


def test_ps_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert request._ask_ps(os.getpid())
    monkeypatch.setenv("PATH", "/nowhere")
    assert request._ask_ps(os.getpid()) == []
