"""The scripts that opam calls, with a stub where Python would be."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from hook_shells import HOOKS, shells

from opambin.relocate.spelling import pad

NAME, VERSION = "foo", "1.2"
PACKAGE = f"{NAME}.{VERSION}"
SHELLS = [pytest.param(shell, id=" ".join(Path(word).name for word in shell)) for shell in shells()]
STUB = """#!/bin/sh
shift 3  # -I -S run.py
echo "$*" >>"${0%/*}/calls"
[ ! -f "${0%/*}/status" ] || exit "$(cat "${0%/*}/status")"
"""


@dataclass(frozen=True)
class Root:
    """An opam root with our scripts, and a switch in it."""

    path: Path
    shell: tuple[str, ...]

    @property
    def home(self) -> Path:
        return self.path / "plugins/opam-bin"

    @property
    def prefix(self) -> Path:
        return self.path / "sw"

    @property
    def session(self) -> Path:
        return Path(f"{self.home}/session{self.prefix}")

    @property
    def build(self) -> Path:
        return self.prefix / ".opam-switch/build" / PACKAGE

    @property
    def long(self) -> str:
        return pad(str(self.prefix).encode()).decode()

    def mark(self, *marker: str) -> Path:
        path = self.session.joinpath(*marker)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return path

    def open(self) -> None:
        for name in ("package", "start"):
            (self.session / name).mkdir(parents=True)
        self.mark("package", PACKAGE)

    def python_exits_with(self, status: int) -> None:
        (self.path / "status").write_text(str(status))

    def calls(self) -> list[str]:
        path = self.path / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def run(self, hook: str, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        variables = {
            "PATH": f"{self.prefix}/bin:{os.environ['PATH']}",
            "OPAM_SWITCH_PREFIX": str(self.prefix),
            "OPAM_PACKAGE_NAME": NAME,
            "OPAM_PACKAGE_VERSION": VERSION,
            **env,
        }
        script = str(self.home / "hooks" / hook)
        return subprocess.run(
            [*self.shell, script, *args],
            cwd=self.build,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(params=SHELLS)
def root(tmp_path: Path, request: pytest.FixtureRequest) -> Root:
    root = Root(tmp_path / "ro ot", request.param)
    root.build.mkdir(parents=True)
    shutil.copytree(HOOKS, root.home / "hooks")
    stub = root.path / "python"
    stub.write_text(STUB)
    stub.chmod(0o755)
    (root.home / "hooks/run.py").touch()
    (root.home / "hooks/interpreter").write_text(
        f"opambin_interpreter='{stub}'\nopambin_fallback='{root.path}/gone'\n"
    )
    return root


@pytest.mark.parametrize("hook", ["wrap-build", "wrap-install"])
class TestWrappers:
    def test_without_a_session_the_command_runs_as_it_is(self, root: Root, hook: str) -> None:
        done = root.run(hook, "env", PYTHONHASHSEED="1")
        assert done.returncode == 0
        assert f"OPAM_SWITCH_PREFIX={root.prefix}\n" in done.stdout
        assert "BUILD_PATH_PREFIX_MAP" not in done.stdout
        assert "opambin" not in done.stdout

    def test_arguments_arrive_unharmed(self, root: Root, hook: str) -> None:
        words = ["", " ", "*", "a\nb", "$HOME", "`x`", "'", '"', "\\", "-n"]
        for _ in range(2):
            done = root.run(hook, "printf", "<%s>", *words)
            assert done.stdout == "".join(f"<{word}>" for word in words)
            if not root.session.exists():
                root.open()

    def test_a_miss_is_built_under_the_padded_prefix(self, root: Root, hook: str) -> None:
        root.open()
        done = root.run(
            hook, "sh", "-c", 'echo "$1"; env', "x", f"--prefix={root.prefix}", OCAMLPATH=f"{root.prefix}/lib"
        )
        assert len(root.long) == 200
        assert done.stdout.startswith(f"--prefix={root.long}\n")
        assert f"\nOPAM_SWITCH_PREFIX={root.long}\n" in done.stdout
        assert f"\nPATH={root.long}/bin:" in done.stdout
        assert f"\nOCAMLPATH={root.long}/lib\n" in done.stdout
        assert "\nOCAMLLIB=" not in done.stdout
        assert "opambin_" not in done.stdout

    def test_ocamllib_is_set_when_the_switch_has_its_own_compiler(self, root: Root, hook: str) -> None:
        root.open()
        (root.prefix / "lib/ocaml").mkdir(parents=True)
        (root.prefix / "lib/ocaml/Makefile.config").touch()
        assert f"\nOCAMLLIB={root.long}/lib/ocaml\n" in root.run(hook, "env").stdout
        root.mark("recipe", NAME).write_text("OPAMBIN_OCAMLLIB=no\n")
        assert "\nOCAMLLIB=" not in root.run(hook, "env").stdout

    def test_ocamlfind_is_told_the_padded_spelling_when_it_is_there(self, root: Root, hook: str) -> None:
        root.open()
        (root.prefix / "lib").mkdir(parents=True, exist_ok=True)
        assert "OCAMLFIND_DESTDIR=" not in root.run(hook, "env").stdout
        (root.prefix / "lib/findlib.conf").touch()
        told = root.run(hook, "env").stdout.splitlines()
        assert f"OCAMLPATH={root.long}/lib" in told
        assert f"OCAMLFIND_DESTDIR={root.long}/lib" in told

    def test_what_the_user_told_ocamlfind_stays(self, root: Root, hook: str) -> None:
        root.open()
        (root.prefix / "lib").mkdir(parents=True, exist_ok=True)
        (root.prefix / "lib/findlib.conf").touch()
        told = root.run(hook, "env", OCAMLPATH="/mine", OCAMLFIND_DESTDIR="/there").stdout.splitlines()
        assert "OCAMLPATH=/mine" in told
        assert "OCAMLFIND_DESTDIR=/there" in told

    def test_a_recipe_switches_padding_off_and_sets_variables(self, root: Root, hook: str) -> None:
        root.open()
        root.mark("recipe", NAME).write_text("OPAMBIN_PAD=no\nexport FLAVOUR='a b'\n")
        done = root.run(hook, "env")
        assert f"\nOPAM_SWITCH_PREFIX={root.prefix}\n" in f"\n{done.stdout}"
        assert "FLAVOUR=a b\n" in done.stdout
        assert root.long not in done.stdout

    def test_a_recipe_names_more_variables_to_pad(self, root: Root, hook: str) -> None:
        root.open()
        root.mark("recipe", NAME).write_text("OPAMBIN_PAD_ALSO='MINE'\n")
        done = root.run(hook, "env", MINE=f"{root.prefix}/x", OTHER=f"{root.prefix}/x")
        assert f"MINE={root.long}/x\n" in done.stdout
        assert f"OTHER={root.prefix}/x\n" in done.stdout

    def test_build_directories_are_mapped_behind_what_the_user_set(self, root: Root, hook: str) -> None:
        root.open()
        done = root.run(hook, "sh", "-c", 'echo "$BUILD_PATH_PREFIX_MAP"', BUILD_PATH_PREFIX_MAP="/w=/home")
        build = f"/.opam-switch/build/{PACKAGE}"
        items = [f"/build/{PACKAGE}={prefix}{build}" for prefix in (root.prefix, root.long)]
        assert done.stdout == ":".join(["/w=/home", *items]) + "\n"

    def test_a_prefix_through_a_symbolic_link_is_mapped_too(self, root: Root, hook: str) -> None:
        root.open()
        link = root.path / "link"
        link.symlink_to(root.prefix)
        session = Path(f"{root.home}/session{link}/package")
        session.mkdir(parents=True)
        done = root.run(hook, "sh", "-c", 'echo "$BUILD_PATH_PREFIX_MAP"', OPAM_SWITCH_PREFIX=str(link))
        assert f"={link}/.opam-switch/" in done.stdout
        assert done.stdout.endswith(f"=/build/{PACKAGE}={root.build}\n") or done.stdout.endswith(
            f"={root.build}\n"
        )

    def test_a_placed_package_runs_no_command(self, root: Root, hook: str) -> None:
        root.open()
        root.mark("placed", PACKAGE)
        done = root.run(hook, "touch", "ran")
        assert (done.returncode, (root.build / "ran").exists(), root.calls()) == (0, False, [])

    def test_the_exit_code_is_the_commands(self, root: Root, hook: str) -> None:
        assert root.run(hook, "sh", "-c", "exit 7").returncode == 7
        root.open()
        assert root.run(hook, "sh", "-c", "exit 7").returncode == 7

    def test_a_long_prefix_is_left_alone(self, root: Root, hook: str) -> None:
        long = "/" + "d" * 198
        Path(f"{root.home}/session{long}/package").mkdir(parents=True)
        done = root.run(hook, "sh", "-c", 'echo "$1"', "x", long, OPAM_SWITCH_PREFIX=long)
        assert done.stdout == f"{long}\n"


def test_variables_that_a_user_exports_are_not_used_by_the_scripts(root: Root) -> None:
    root.open()
    names = dict.fromkeys(
        ("P", "Q", "S", "rest", "out", "name", "value", "n", "i", "pad", "dir", "text"), "mine"
    )
    done = root.run("wrap-build", "env", **names)
    assert [name for name in names if f"\n{name}=mine\n" not in f"\n{done.stdout}"] == []


@pytest.mark.parametrize("locale", ["C.UTF-8", "POSIX"])
def test_the_locale_is_put_back(root: Root, locale: str) -> None:
    root.open()
    assert f"LC_ALL={locale}\n" in root.run("wrap-build", "env", LC_ALL=locale).stdout
    assert "LC_ALL" not in root.run("wrap-build", "env").stdout


def test_build_commands_of_a_hit_with_install_commands_are_skipped(root: Root) -> None:
    root.open()
    root.mark("place-at-install", PACKAGE)
    done = root.run("wrap-build", "touch", "ran")
    assert (done.returncode, (root.build / "ran").exists(), root.calls()) == (0, False, [])


@pytest.mark.parametrize("status", [0, 1, 10])
def test_the_first_install_command_of_a_hit_places_it_or_fails(root: Root, status: int) -> None:
    root.open()
    root.mark("place-at-install", PACKAGE)
    root.python_exits_with(status)
    done = root.run("wrap-install", "touch", "ran")
    assert done.returncode == status
    assert root.calls() == [f"place {NAME} {VERSION}"]
    assert not (root.build / "ran").exists()


def test_without_an_interpreter_a_hit_with_install_commands_fails(root: Root) -> None:
    root.open()
    root.mark("place-at-install", PACKAGE)
    (root.path / "python").unlink()
    assert root.run("wrap-install", "true").returncode != 0


class TestSession:
    def test_the_start_hands_every_argument_over(self, root: Root) -> None:
        done = root.run("pre-session", "new=a.1 b.2", "os=linux")
        assert (done.returncode, root.calls()) == (
            0,
            [f"pre-session opam-pid={os.getpid()} new=a.1 b.2 os=linux"],
        )

    def test_a_failing_start_never_breaks_opam_and_leaves_no_stale_session(self, root: Root) -> None:
        root.open()
        root.python_exits_with(3)
        done = root.run("pre-session")
        assert (done.returncode, root.session.exists()) == (0, False)
        assert "opam-bin: the cache is not used" in done.stderr

    def test_what_python_has_said_is_not_said_again(self, root: Root) -> None:
        root.open()
        root.python_exits_with(11)
        done = root.run("pre-session")
        assert (done.returncode, root.session.exists(), done.stderr) == (0, False, "")

    def test_a_missing_interpreter_never_breaks_opam(self, root: Root) -> None:
        (root.path / "python").unlink()
        done = root.run("pre-session")
        assert done.returncode == 0
        assert "opam-bin init" in done.stderr

    def test_the_fallback_interpreter_is_used(self, root: Root) -> None:
        (root.home / "hooks/interpreter").write_text(
            f"opambin_interpreter='{root.path}/gone'\nopambin_fallback='{root.path}/python'\n"
        )
        assert root.run("pre-session").returncode == 0
        assert [call.split()[0] for call in root.calls()] == ["pre-session"]

    def test_the_end_is_told_only_while_a_session_is_open(self, root: Root) -> None:
        root.run("post-session", "success=true")
        assert root.calls() == []
        root.open()
        root.run("post-session", "success=true")
        assert root.calls() == ["post-session success=true"]

    def test_a_failing_end_keeps_what_was_installed(self, root: Root) -> None:
        root.open()
        root.python_exits_with(1)
        done = root.run("post-session")
        assert (done.returncode, root.session.exists()) == (0, False)


class TestPreBuild:
    def test_a_miss_leaves_its_time(self, root: Root) -> None:
        root.open()
        assert root.run("pre-build").returncode == 0
        assert (root.session / "start" / PACKAGE).is_file()
        assert root.calls() == []

    def test_a_time_that_cannot_be_written_does_not_matter(self, root: Root) -> None:
        root.open()
        (root.session / "start").rmdir()
        done = root.run("pre-build")
        assert (done.returncode, done.stderr) == (0, "")

    @pytest.mark.parametrize(("status", "result"), [(0, 0), (1, 0), (4, 0), (10, 1)])
    def test_a_hit_is_restored_else_built_unless_python_forbids(
        self, root: Root, status: int, result: int
    ) -> None:
        root.open()
        root.mark("hit", PACKAGE)
        root.python_exits_with(status)
        done = root.run("pre-build")
        assert (done.returncode, root.calls()) == (result, [f"pre-build {NAME} {VERSION}"])
        assert ("it is built" in done.stderr) is (status in {1, 4})

    @pytest.mark.parametrize("marked", [False, True], ids=["not announced", "a pin"])
    @pytest.mark.parametrize(("status", "result", "built"), [(0, 0, False), (1, 0, True), (10, 1, False)])
    def test_what_was_not_looked_up_is_looked_up_now(
        self, root: Root, marked: bool, status: int, result: int, built: bool
    ) -> None:
        root.open()
        if marked:
            root.mark("late", PACKAGE)
        else:
            (root.session / "package" / PACKAGE).unlink()
        root.python_exits_with(status)
        done = root.run("pre-build")
        assert (done.returncode, root.calls()) == (result, [f"late {NAME} {VERSION}"])
        assert (root.session / "start" / PACKAGE).exists() is built

    def test_nothing_is_looked_up_where_nothing_may_be_restored(self, root: Root) -> None:
        root.open()
        root.mark("late", PACKAGE)
        root.mark("norestore")
        assert root.run("pre-build").returncode == 0
        assert root.calls() == []

    def test_nothing_happens_without_a_session(self, root: Root) -> None:
        assert root.run("pre-build").returncode == 0
        assert not root.session.exists()


class TestPostInstall:
    @pytest.mark.parametrize(("status", "result"), [(0, 0), (1, 0), (10, 1)])
    def test_what_was_built_is_captured(self, root: Root, status: int, result: int) -> None:
        root.open()
        root.python_exits_with(status)
        done = root.run("post-install", "0")
        assert (done.returncode, root.calls()) == (result, [f"post-install {NAME} {VERSION}"])
        assert ("not captured" in done.stderr) is (status == 1)
        said = root.session / "reports"
        assert (said.exists() and "not captured" in said.read_text()) is (status == 1)

    def test_a_package_of_which_only_some_files_were_renamed_is_taken_out_again(self, root: Root) -> None:
        root.open()
        marker = root.mark("renaming")
        root.python_exits_with(137)
        done = root.run("post-install", "0")
        assert done.returncode == 1
        assert "do not fit to the others" in done.stderr
        assert not marker.exists()

    @pytest.mark.parametrize(
        ("marker", "code"),
        [
            pytest.param((), "1", id="failed install"),
            pytest.param(("placed", PACKAGE), "0", id="restored"),
            pytest.param(("nocapture",), "0", id="capture off"),
        ],
    )
    def test_nothing_is_captured(self, root: Root, marker: tuple[str, ...], code: str) -> None:
        root.open()
        if marker:
            root.mark(*marker)
        assert root.run("post-install", code).returncode == 0
        assert root.calls() == []

    def test_a_hit_that_was_never_placed_fails_its_installation(self, root: Root) -> None:
        root.open()
        root.mark("place-at-install", PACKAGE)
        done = root.run("post-install", "0")
        assert done.returncode == 1
        assert "nothing is installed" in done.stderr

    def test_nothing_happens_without_a_session(self, root: Root) -> None:
        assert root.run("post-install", "0").returncode == 0
        assert root.calls() == []


@pytest.mark.skipif(shutil.which("strace") is None, reason="counts processes with strace")
@pytest.mark.parametrize("hook", ["wrap-build", "pre-build", "post-install"])
def test_the_normal_path_starts_no_process(root: Root, tmp_path: Path, hook: str) -> None:
    root.open()
    root.mark("nocapture")
    root.mark("recipe", NAME)
    trace = tmp_path / "trace"
    wrapped = Root(root.path, ("strace", "-f", "-o", str(trace), "-e", "trace=process", *root.shell))
    done = wrapped.run(hook, "/bin/true" if hook == "wrap-build" else "0", f"--prefix={root.prefix}")
    if "ptrace" in done.stderr:
        pytest.skip("strace is not allowed here")
    assert done.returncode == 0
    assert [line for line in trace.read_text().splitlines() if "fork(" in line or "clone" in line] == []
