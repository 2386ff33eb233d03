from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import pytest

from opambin.errors import BadDataError, UnavailableError
from opambin.model import Package
from opambin.opam.client import Opam, chunked, parse_version
from opambin.opam.showraw import package_of
from opambin.opam.solution import Action, Plan, PlanFailed, Verb, parse_plan


def fake(tmp_path: Path, script: str, **environ: str) -> Opam:
    """An opam that is a shell script."""
    program = tmp_path / "opam"
    program.write_text(f"#!/bin/sh\n{script}")
    program.chmod(0o755)
    return Opam(str(program), tmp_path / "root", "s", {"PATH": "/usr/bin:/bin", "OPAMCLI": "2.0", **environ})


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("2.1.2", (2, 1, 2)),
        ("2.2.0~beta1", (2, 2, 0)),
        ("2.4", (2, 4)),
        ("2.1.0~rc2-3-gabc", (2, 1, 0)),
    ],
)
def test_versions(text: str, version: tuple[int, ...]) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize("text", ["", "2", "opam 2.1", "x.y"])
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(BadDataError, match="not a version"):
        parse_version(text)


@pytest.mark.parametrize(
    ("answer", "supported"), [("2.0.10", False), ("2.1.0", True), ("2.9.1", True), ("3.0.0", False)]
)
def test_support(tmp_path: Path, answer: str, supported: bool) -> None:
    opam = fake(tmp_path, f"echo {answer}\n")
    if supported:
        assert opam.check_supported() == parse_version(answer)
        return
    with pytest.raises(UnavailableError, match=f"opam {answer}.*install another"):
        opam.check_supported()


def test_no_opam_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"install opam 2.1"):
        Opam(str(tmp_path / "none"), environ={}).version()


def test_not_executable(tmp_path: Path) -> None:
    (tmp_path / "opam").write_text("")
    with pytest.raises(UnavailableError, match="can't be run: Permission denied"):
        Opam(str(tmp_path / "opam"), environ={}).version()


def test_environment_is_explicit_and_nothing_can_be_asked(tmp_path: Path) -> None:
    opam = fake(
        tmp_path, 'echo "$OPAMROOT|$OPAMSWITCH|${OPAMCLI-none}|$EXTRA"; read x || echo no input; exit 3\n'
    )
    done = opam.run(["list"], env_extra={"EXTRA": "e"}, capture=True)
    assert done.stdout == f"{tmp_path / 'root'}|s|none|e\nno input\n"
    assert (done.code, done.ok) == (3, False)


def test_a_failing_query_carries_opams_words(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"opam var x failed with exit code 5: no such thing"):
        fake(tmp_path, "echo no such thing >&2; exit 5\n").query(["var", "x"])


STEPS = [
    {"remove": {"name": "b", "version": "1"}},
    {"install": {"name": "b", "version": "1"}},
    {"install": {"name": "deps-of-mine", "version": "dev"}},
    {"install": {"name": "a", "version": "2.0"}},
]
WRITE = 'for arg; do case "$arg" in --json=*) printf %s "$JSON" > "${arg#--json=}";; esac; done\n'


def test_plan_keeps_the_order_and_drops_stand_ins(tmp_path: Path) -> None:
    opam = fake(tmp_path, WRITE + "echo words\n", JSON=json.dumps({"switch": "s", "solution": STEPS}))
    plan = opam.plan(["install", "a"])
    b = Package.parse("b.1")
    assert isinstance(plan, Plan)
    assert plan.actions == (
        Action(Verb.REMOVE, b),
        Action(Verb.INSTALL, b),
        Action(Verb.INSTALL, Package.parse("a.2.0")),
    )
    assert (plan.switch, plan.stdout) == ("s", "words\n")
    assert plan.installs == (b, Package.parse("a.2.0"))
    assert plan.removes == (b,)


@pytest.mark.parametrize(
    "script", [pytest.param(WRITE, id="no solution"), pytest.param("true\n", id="no file")]
)
def test_nothing_to_do(tmp_path: Path, script: str) -> None:
    plan = fake(tmp_path, script, JSON='{"opam-version":"2.1.2"}').plan(["upgrade"])
    assert isinstance(plan, Plan)
    assert plan.actions == ()


def test_a_failed_plan_is_a_value(tmp_path: Path) -> None:
    plan = fake(tmp_path, "echo conflict; echo why >&2; exit 20\n").plan(["install", "a"])
    assert plan == PlanFailed(20, "conflict\n", "why\n")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{", id="cut off"),
        pytest.param("[]", id="no object"),
        pytest.param('{"solution": {}}', id="no list"),
        pytest.param('{"solution": [{"build": {"name": "a", "version": "1"}}]}', id="unknown verb"),
        pytest.param('{"solution": [{"install": {"name": "a"}}]}', id="no version"),
        pytest.param('{"solution": [{"install": {"name": 1, "version": "1"}}]}', id="no string"),
    ],
)
def test_bad_plans_are_reported(text: str) -> None:
    with pytest.raises(BadDataError, match="opam --json"):
        parse_plan(text)


SHOW = """
[ "$OPAMNODEPEXTS" = 1 ] || exit 9
shift 2
for arg; do
  case "$arg" in
    none.*) ;;
    *) printf 'opam-version: "2.0"\\nname: "%s"\\nversion: "%s"\\nsynopsis: "x"\\n' "${arg%%.*}" "${arg#*.}";;
  esac
done
"""


def test_show_raw_counts_what_it_gets(tmp_path: Path) -> None:
    wanted = [Package.parse(text) for text in ("a.1", "none.1", "b.1.2~x")]
    found = fake(tmp_path, SHOW).show_raw(wanted)
    assert list(found) == [wanted[0], wanted[2]]
    assert found[wanted[0]] == 'opam-version: "2.0"\nname: "a"\nversion: "1"\nsynopsis: "x"\n'


def test_show_raw_of_nothing_known(tmp_path: Path) -> None:
    assert fake(tmp_path, "exit 5\n").show_raw([Package.parse("a.1")]) == {}
    with pytest.raises(UnavailableError, match="exit code 15: locked"):
        fake(tmp_path, "echo locked >&2; exit 15\n").show_raw([Package.parse("a.1")])


def test_show_raw_of_many_packages_fits_the_command_line(tmp_path: Path) -> None:
    wanted = [Package.parse(f"package-with-a-long-name-{n}.1") for n in range(6000)]
    found = fake(tmp_path, f'echo run >> "{tmp_path}/runs"\n' + SHOW).show_raw(wanted)
    assert set(found) == set(wanted)
    assert (tmp_path / "runs").read_text() == "run\n" * 2


@pytest.mark.parametrize("text", ["", 'opam-version: "2.0"\nsynopsis: "x"\n', 'name: "a"\n'])
def test_definitions_without_a_name(text: str) -> None:
    with pytest.raises(BadDataError, match="no name and version"):
        package_of(text)


EXPAND = """printf '%s' "$3" | sed -e 's/%{os}%/linux/' -e 's/%{p:v}%/y z  # a/' -e 's/%{none}%//'
echo
"""


def test_variables_are_exact(tmp_path: Path) -> None:
    values = fake(tmp_path, EXPAND).variables(["os", "p:v", "none", "os"])
    assert values == {"os": "linux", "p:v": "y z  # a", "none": ""}
    assert fake(tmp_path, EXPAND).variables([]) == {}


def test_variables_must_all_be_answered(tmp_path: Path) -> None:
    with pytest.raises(BadDataError, match="number of values"):
        fake(tmp_path, "echo x\n").variables(["os"])


TABLE = """case "$1 $2" in
  "var --global") printf 'os      linux # x\\nexe           # y\\n';;
  "var ") printf 'prefix   /p\\nos  other\\n';;
  "config expand") printf 'A\\037B\\037C\\037\\n';;
  "switch list") printf 'five\\n/a b\\n';;
  "var --cli=2.1") echo "/p/$4";;
  *) echo "$@"; exit 1;;
esac
"""


def test_questions(tmp_path: Path) -> None:
    opam = fake(tmp_path, TABLE)
    assert opam.variables(["os", "exe", "prefix"]) == {"os": "A", "exe": "B", "prefix": "C"}
    assert opam.switches() == ("five", "/a b")
    assert opam.switch_prefix("five") == Path("/p/--switch=five")
    with pytest.raises(UnavailableError, match=r"option --cli=2\.1 --global jobs=2"):
        opam.option_set("jobs=2")
    with pytest.raises(UnavailableError, match=r"option --cli=2\.1 depext-bypass="):
        opam.option_set("depext-bypass=[]", switch=True)
    with pytest.raises(UnavailableError, match=r'depext-bypass\+=\["a" "b"\]'):
        opam.bypass_depexts(["a", "b"])
    with pytest.raises(UnavailableError, match="env --switch=five --inplace-path"):
        opam.env_inplace("five")
    with pytest.raises(UnavailableError, match="switch set five"):
        opam.set_global_switch("five")


def test_chunks() -> None:
    assert chunked([], 10) == []
    assert chunked(["aaaa", "bbbb", "cc"], 10) == [["aaaa", "bbbb"], ["cc"]]
    assert chunked(["far too long for it", "b"], 10) == [["far too long for it"], ["b"]]


def test_an_opam_that_changes_something_comes_to_its_end(tmp_path: Path) -> None:
    """Interrupted while it wrote its configuration, opam 2.1 left none."""
    done = tmp_path / "done"
    opam = fake(tmp_path, f"ps -o pgid= -p $$ >{tmp_path}/group; sleep 0.5; touch {done}; echo said")
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        opam.change(["switch", "remove", "s"])
    timer.join()
    assert done.exists()
    assert int((tmp_path / "group").read_text()) != os.getpgrp(), "Ctrl-C goes to the group"
    assert opam.change(["switch", "remove", "s"]).stdout == "said\n"
