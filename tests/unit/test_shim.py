"""The program that stands for opam, in every shell that may be ``sh``, with stubs for the programs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from hook_shells import shells
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from opambin.cli import env, standin
from opambin.context import real_opam
from opambin.errors import UnavailableError
from opambin.resources import shim_file
from opambin.setup.shim import Shim, is_shim, programs

SHELLS = [pytest.param(shell, id=" ".join(Path(word).name for word in shell)) for shell in shells()]
# prints who was called, with what, and what of the environment matters
STUB = """#!/bin/sh
printf '%s' "${0##*/}"
printf '|%s' "$@"
printf '\\n%s\\n%s\\n%s\\n' "$PATH" "${OPAMBIN_TRANSPARENT-}" "${OPAMBIN_OPAM-}"
exit 7
"""
LEADING = ("-y", "--yes", "--confirm-level=yes", "--confirm-level=unsafe-yes", "--confirm-level=ask")
NOT_FOR_REAL = re.compile(
    r"--h.*|-h|--(show-actions|dry-run|fake|download-only|depext-only|check|no|safe|readonly|version)"
    r"|--git-version|--ro.*|--json-summary|--cli(?!=2\.[1-6]$).*",
    re.DOTALL,
)
SWITCH_CREATE = re.compile(r"sw(i|it|itc|itch)?")
VERBS = {"install": "ins", "upgrade": "upg", "reinstall": "rei"}
"""The verbs with the shortest form that is theirs alone in every opam."""


@dataclass(frozen=True)
class Called:
    """What a run of the shim ended in."""

    who: str
    args: tuple[str, ...]
    path: str
    guard: str
    opam: str


@dataclass(frozen=True)
class Place:
    """A root with the shim, and the stubs."""

    folder: Path
    shell: tuple[str, ...]

    @property
    def root(self) -> Path:
        return self.folder / "a root's"

    @property
    def shim(self) -> Path:
        return self.root / "plugins/opam-bin/shim/opam"

    @property
    def real(self) -> Path:
        return self.folder / "real/opam"

    @property
    def program(self) -> Path:
        return self.folder / "env/opam-bin"

    def environ(self, **more: str) -> dict[str, str]:
        path = f"/first:{self.shim.parent}:{self.folder}/other:/usr/bin:/bin"
        return {"PATH": path, "OPAMROOT": str(self.root), **more}

    def run(self, *args: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.shell, str(self.shim), *args],
            env=self.environ(**more),
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
        )

    def call(self, *args: str, **more: str) -> Called:
        done = self.run(*args, **more)
        assert (done.returncode, done.stderr) == (7, ""), done
        first, path, guard, opam = done.stdout[:-1].rsplit("\n", 3)
        who, *rest = first.split("|")
        return Called(who, tuple(rest), path, guard, opam)


def make(folder: Path, shell: tuple[str, ...]) -> Place:
    place = Place(folder, (str(shutil.which(shell[0])), *shell[1:]) if shell else ())
    for stub in (place.real, place.program):
        stub.parent.mkdir(exist_ok=True)
        stub.write_text(STUB)
        stub.chmod(0o755)
    place.shim.parent.mkdir(parents=True)
    place.shim.write_bytes(Shim(str(place.real), str(place.program), sys.executable).render())
    place.shim.chmod(0o755)
    return place


@pytest.fixture(params=SHELLS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return make(tmp_path, request.param)


@pytest.fixture(scope="module", params=SHELLS)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return make(tmp_path_factory.mktemp("it's a shim"), request.param)


def expected(args: list[str]) -> list[str]:
    """Say what is to be called with which arguments, by other means than the script does."""
    if any(NOT_FOR_REAL.fullmatch(arg) for arg in args):
        return ["opam", *args]
    options: list[str] = []
    rest = list(args)
    while rest and (rest[0] in LEADING or re.fullmatch(r"--cli=2\.[1-6]", rest[0])):
        options.append(rest.pop(0))
    if not rest:
        return ["opam", *args]
    for verb, shortest in VERBS.items():
        if verb.startswith(rest[0]) and rest[0].startswith(shortest):
            return ["opam-bin", verb, *options, *rest[1:]]
    if SWITCH_CREATE.fullmatch(rest[0]) and rest[1:] and rest[1] in ("cr", "cre", "crea", "creat", "create"):
        return ["opam-bin", "switch", "create", *options, *rest[2:]]
    return ["opam", *args]


WORDS = st.one_of(
    st.sampled_from(
        [
            *(
                "install",
                "ins",
                "in",
                "i",
                "upgrade",
                "upg",
                "up",
                "update",
                "reinstall",
                "rei",
                "re",
                "remove",
            ),
            *(
                "switch",
                "sw",
                "s",
                "create",
                "cr",
                "c",
                "list",
                "env",
                "exec",
                "--",
                "-y",
                "-yv",
                "--yes",
                "--no",
            ),
            *(
                "--switch=x",
                "--switch",
                "--root=/r",
                "--help",
                "--confirm-level=yes",
                "--confirm-level=no",
                ".",
            ),
            *(
                "--cli=2.1",
                "--cli=2.0",
                "--cli",
                "--cli=2.61",
                "--show-actions",
                "a b",
                "",
                "*",
                "x'y\"$z",
                "INSTALL",
            ),
            *("--json-summary", "-j2", "--with-test", "--ro", "lwt>=5.0 & <6"),
        ]
    ),
    st.text(st.characters(exclude_characters="\0|\r\n", exclude_categories=["Cs"]), max_size=6),
    st.sampled_from(["install", "upgrade", "reinstall", "switch", "create"]).flatmap(
        lambda word: st.integers(0, len(word)).map(lambda length: word[:length])
    ),
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(args=st.lists(WORDS, max_size=5))
@example(args=[])
@example(args=["install"])
@example(args=["-y", "--cli=2.1", "ins", "a b", "*"])
@example(args=["sw", "cr", "x", "--empty"])
@example(args=["install", "a", "--hel"])
def test_it_knows_a_verb_as_the_reference_does(shared: Place, args: list[str]) -> None:
    found = shared.call(*args)
    # the stub prints one empty argument where there is none
    assert [found.who, *found.args] == (expected(args) if args else ["opam", ""])


@pytest.mark.parametrize("args", [["install", "x"], ["list"]], ids=["install", "list"])
def test_what_it_hands_over(place: Place, args: list[str]) -> None:
    found = place.call(*args, OPAMBIN_OPAM="/somewhere/else")
    if args == ["list"]:
        assert (found.path, found.guard) == (place.environ()["PATH"], "")
    else:
        assert found.path == f"/first:{place.folder}/other:/usr/bin:/bin", "no build is to see our folder"
        assert (found.guard, found.opam) == ("1", str(place.real)), "the same opam for every command"


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("SHIM:/a", id="first"),
        pytest.param("/a:SHIM", id="last"),
        pytest.param("SHIM:/a:SHIM:SHIM:", id="several"),
        pytest.param(":/a::SHIM:", id="with the current folder"),
    ],
)
def test_its_folder_leaves_the_path_and_nothing_else_does(place: Place, path: str) -> None:
    full = path.replace("SHIM", str(place.shim.parent))
    done = place.call("install", PATH=full)
    assert done.path.split(":") == [entry for entry in full.split(":") if entry != str(place.shim.parent)]


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"OPAMBIN_TRANSPARENT": "1"}, id="below itself"),
        pytest.param({"OPAM_PACKAGE_NAME": "lwt"}, id="in a package's build"),
        pytest.param({"OPAMCLI": "2.0"}, id="another syntax"),
        pytest.param({"OPAMDRYRUN": "1"}, id="a rehearsal"),
        pytest.param({"OPAMNO": "true"}, id="all answers are no"),
        pytest.param({"OPAMROOT": "/another/root"}, id="a root that is not transparent"),
        pytest.param({"OPAMROOT": "", "HOME": "/nowhere"}, id="the default root"),
    ],
)
def test_surroundings_in_which_opam_is_called(place: Place, more: dict[str, str]) -> None:
    assert place.call("install", "x", **more).who == "opam"


def test_opamcli_of_a_known_syntax_is_no_hindrance(place: Place) -> None:
    assert place.call("install", "x", OPAMCLI="2.1").who == "opam-bin"


def test_the_opam_it_knew_is_gone_and_another_is_there(place: Place) -> None:
    place.real.unlink()
    other = place.folder / "other/opam"
    other.parent.mkdir()
    shutil.copy(place.program, other)
    assert place.call("list").who == "opam"
    assert place.call("install").opam == str(other)


def test_no_opam_is_behind_it(place: Place) -> None:
    place.real.unlink()
    second = place.folder / "second/plugins/opam-bin/shim"
    second.mkdir(parents=True)
    shutil.copy(place.shim, second)
    path = f"{place.shim.parent}:{second}:{place.folder}/empty"
    done = place.run("install", "x", PATH=path)
    assert (done.returncode, done.stdout) == (127, "")
    assert f"there is no opam behind {place.shim}" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("lost", ["program", "python"])
def test_our_program_is_gone(place: Place, lost: str) -> None:
    gone = {"program": str(place.program), "python": sys.executable, lost: "/gone"}
    place.shim.write_bytes(Shim(str(place.real), **gone).render())
    done = place.run("install", "x")
    assert done.stdout.startswith("opam|install|x\n")
    assert "opam goes on alone" in done.stderr
    assert place.run("list").stderr == ""


def test_it_costs_next_to_nothing(place: Place) -> None:
    """Shells call opam at every prompt."""
    for program in (place.real,):
        program.write_text("#!/bin/sh\n")

    def best(*command: str) -> float:
        times = []
        for _ in range(25):
            begun = time.perf_counter()
            subprocess.run([*command, "env", "--readonly"], env=place.environ(), check=True, close_fds=False)
            times.append(time.perf_counter() - begun)
        return min(times)

    direct = best(str(place.real))
    through = best(*place.shell, str(place.shim))
    assert through - direct < 0.004, "2 ms is the aim; this machine may be busy"


def test_reading_what_was_written(tmp_path: Path) -> None:
    shim = Shim("/a b/opam", "/it's/opam-bin", "/python")
    path = tmp_path / "opam"
    path.write_bytes(shim.render())
    assert Shim.read(path) == shim
    assert not shim.works
    assert Shim.read(tmp_path / "none") is None
    path.write_text("#!/bin/sh\nexec /usr/bin/opam\n")
    assert Shim.read(path) is None


def test_the_script_starts_no_process() -> None:
    code = [line.split("#")[0] for line in shim_file().read_text().splitlines() if not line.startswith("#")]
    assert not [line for line in code if "$(" in line.replace("$((", "") or "`" in line]


def test_we_never_call_the_shim(tmp_path: Path) -> None:
    place = make(tmp_path, ())
    link = tmp_path / "links/opam"
    link.parent.mkdir()
    link.symlink_to(place.shim)
    assert is_shim(str(link))
    path = f"{link.parent}:{place.shim.parent}:{place.real.parent}"
    assert list(programs("opam", path)) == [str(link), str(place.shim), str(place.real)]
    assert real_opam({"PATH": path}) == str(place.real)
    assert real_opam({"PATH": path, "OPAMBIN_OPAM": str(place.real)}) == str(place.real)
    for environ in ({"PATH": str(place.shim.parent)}, {"PATH": path, "OPAMBIN_OPAM": str(place.shim)}):
        with pytest.raises(UnavailableError, match="is not on the PATH"):
            real_opam(environ)


def test_opam_takes_over_only_what_the_shim_sent() -> None:
    sent = {"OPAMBIN_TRANSPARENT": "1"}
    assert standin.stands_for_opam(["opam-bin", "install", "x"], sent)
    assert not standin.stands_for_opam(["opam-bin", "install", "x"], {})
    assert not standin.stands_for_opam(["opam-bin", "stats"], sent)
    assert not standin.stands_for_opam(["opam-bin"], sent)


@pytest.mark.parametrize("shell", [shell for shell in ("sh", "bash", "zsh", "fish") if shutil.which(shell)])
@pytest.mark.parametrize("as_function", [False, True], ids=["path", "function"])
def test_what_shells_evaluate(tmp_path: Path, shell: str, as_function: bool) -> None:
    place = make(tmp_path, ())
    said = env.text(place.shim, shell, as_function=as_function)
    path = f"{place.folder}/other:/usr/bin:/bin"
    environ = {"PATH": path, "OPAMROOT": str(place.root), "HOME": str(tmp_path)}
    script = tmp_path / "script"
    # twice, as a shell below a shell does
    script.write_text(f"{said}\n{said}\nopam install 'a b'\nopam list x\n")
    bare = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}.get(shell, [])
    done = subprocess.run([shell, *bare, script], env=environ, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    called = [line for line in done.stdout.splitlines() if "|" in line]
    assert called == ["opam-bin|install|a b", "opam|list|x"]
    assert done.returncode == 7
    if not as_function:
        assert f"\n{place.shim.parent}:{path}\n" in done.stdout, "it stands there once"


def test_a_function_outlives_the_shim(tmp_path: Path) -> None:
    place = make(tmp_path, ())
    said = env.text(place.shim, "sh", as_function=True)
    place.shim.unlink()
    done = subprocess.run(
        ["sh", "-c", f"{said}\nopam list x"],
        env={"PATH": f"{place.real.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("opam|list|x\n")


@pytest.mark.parametrize("word", ["plain", "it's", "a\\b'", "\\"])
def test_quoting_for_fish(word: str) -> None:
    quoted = env.quote_for_fish(word)
    assert quoted[0] == quoted[-1] == "'"
    if shutil.which("fish"):
        done = subprocess.run(
            ["fish", "--no-config", "-c", f"printf %s {quoted}"], capture_output=True, text=True, check=True
        )
        assert done.stdout == word
