"""Run the demonstration, step by step; see the package's docstring."""

import argparse
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from demo import repository
from demo.server import Server
from demo.sources import Debian
from demo.terminal import DemoError, Runner, headline, note, say

HERE = Path(__file__).parent
FULL = ("re", "zarith", "cppo")
SHORT = ("re", "zarith")
FIRST = "first"
SECOND = "projects/some-other-and-longer-place"  # a local switch lives in the folder of its project
THIRD = "projects/elsewhere"
SANDBOX = (
    "bwrap",
    "--unshare-net",
    "--new-session",
    "--ro-bind",
    "/",
    "/",
    "--proc",
    "/proc",
    "--dev",
    "/dev",
)


@dataclass(frozen=True, slots=True)
class Stage:
    """What the steps share.

    Attributes:
        work: The folder that holds everything.
        runner: Runs programs.
        server: Serves the opam repository.
        compiler: The compiler package, as NAME.VERSION.
        packages: What is installed in both switches.
    """

    work: Path
    runner: Runner
    server: Server
    compiler: str
    packages: tuple[str, ...]

    @property
    def root(self) -> Path:
        """The root folder of this opam."""
        return self.work / "opam"

    @property
    def second(self) -> Path:
        """The folder of the second switch."""
        return self.work / SECOND


def environment(work: Path) -> dict[str, str]:
    """The environment of all programs: nothing of the user's opam, no proxy, all state under ``work``."""
    switch = os.environ.get("OPAM_SWITCH_PREFIX")
    path = [
        entry for entry in os.environ["PATH"].split(os.pathsep) if not switch or not entry.startswith(switch)
    ]
    kept = {
        name: os.environ[name] for name in ("HOME", "LANG", "TERM", "TMPDIR", "USER") if name in os.environ
    }
    return kept | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), *path]),
        "OPAMROOT": str(work / "opam"),
        "OPAMYES": "1",
        "OPAMCOLOR": "never",
        "OPAMROOTISOK": "1",
        "OPAMBIN_CACHE": str(work / "cache"),
        "XDG_CONFIG_HOME": str(work / "config"),
        "XDG_CACHE_HOME": str(work / "xdg-cache"),
        "XDG_STATE_HOME": str(work / "state"),
    }


def sandbox_works() -> bool:
    """Whether opam's sandbox can run here: containers often allow no new namespaces."""
    try:
        return subprocess.run([*SANDBOX, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def build(stage: Stage) -> float:
    """Make a root and the first switch, and build the packages from source.

    Returns:
        Seconds of ``opam install``.
    """
    headline("1  A first switch, built from source, with opam-bin listening")
    init = ["opam", "init", "--bare", "--no-setup", f"{stage.server.url}"]
    if not sandbox_works():
        note("no new namespaces can be made on this machine (a container?): opam's sandbox is switched off")
        init.append("--disable-sandboxing")
    run = stage.runner.run
    run(init, show=False)
    run(["opam-bin", "init", "--yes"])
    run(["opam", "switch", "create", FIRST, stage.compiler], show=False)
    return run(["opam", "install", "--switch", FIRST, *stage.packages]).seconds


def take_away(stage: Stage) -> int:
    """Remove the first switch and all sources, put the server out of service.

    Returns:
        The number of requests so far.
    """
    headline("2  Everything is taken away: the switch, the sources, the downloads, the server")
    count = len(stage.server.requests)
    stage.server.in_service = False
    stage.runner.run(["opam", "switch", "remove", FIRST], show=False)
    for gone in (stage.root / "download-cache", stage.work / "served"):
        shutil.rmtree(gone)
        note(f"removed {gone.relative_to(stage.work)}")
    note("(the demo keeps its archives in sources/ for its next run; no program of opam's is told)")
    note(f"the server answered {count} requests; from now on it answers 503, and counts")
    return count


def restore(stage: Stage) -> float:
    """Make the second switch and install the packages into it.

    Returns:
        Seconds of ``opam-bin install``.
    """
    headline("3  A second switch at another, longer path")
    run = stage.runner.run
    stage.second.mkdir(parents=True)
    run(["opam", "switch", "create", str(stage.second), stage.compiler], show=False)
    return run(["opam-bin", "install", "--switch", str(stage.second), *stage.packages]).seconds


def use(stage: Stage) -> None:
    """Compile against the restored libraries, with the restored tools, and run what comes out.

    Raises:
        DemoError: Something printed other than it should.
    """
    headline("4  The restored libraries and programs at work")
    shutil.copytree(HERE / "programs", stage.second / "programs")

    def run(program: str, *command: str) -> str:
        # In a project's folder opam takes the project's own switch.
        place = stage.second / "programs" / program
        return stage.runner.run(["opam", "exec", "--", *command], folder=place).output

    run("digits", "ocamlfind", "query", "re", "zarith")
    run("digits", "ocamlfind", "ocamlopt", "-package", "re,zarith", "-linkpkg", "digits.ml", "-o", "digits")
    if "has 302 digits" not in run("digits", "./digits", "1000"):
        raise DemoError("the program printed something else")
    if "cppo" in stage.packages:
        run("greeting", "cppo", "greeting.cppo.ml", "-o", "greeting.ml")
        run("greeting", "ocamlfind", "ocamlopt", "greeting.ml", "-o", "greeting")
        if "restored" not in run("greeting", "./greeting"):
            raise DemoError("the program printed something else")


def files_naming(old: Path, switch: Path, work: Path) -> tuple[int, list[Path], int]:
    """Look for files that hold the path of another switch.

    Returns:
        The number of files, those that name ``old``, and how many do so in debug information only.
    """
    needle = str(old).encode()
    files = [path for path in switch.rglob("*") if path.is_file() and not path.is_symlink()]
    suspects = [path for path in files if needle in path.read_bytes()]
    stripped = work / "stripped"
    naming = []
    for path in suspects:
        done = subprocess.run(["strip", "-g", "-o", stripped, path], capture_output=True, check=False)
        if done.returncode != 0 or needle in stripped.read_bytes():
            naming.append(path)
    stripped.unlink(missing_ok=True)
    return len(files), naming, len(suspects) - len(naming)


def prove(stage: Stage, before: int) -> None:
    """Show that nothing was asked for, nothing names the first switch, and opam has nothing left to do.

    Raises:
        DemoError: One of these is not so.
    """
    headline("5  The proof")
    asked = stage.server.requests[before:]
    if asked:
        raise DemoError(f"the server was asked for {', '.join(asked)}")
    note("requests since the first switch was built: 0")
    count, naming, debug = files_naming(stage.root / FIRST, stage.second / "_opam", stage.work)
    if naming:
        raise DemoError(f"{len(naming)} files name the first switch: {', '.join(map(str, naming))}")
    note(f"files in the second switch: {count}; those that name the first one: 0")
    if debug:
        note(f"(beside the debug information of {debug}, which tells where the C compiler ran)")
    run = stage.runner.run
    todo = run(["opam", "install", "--switch", str(stage.second), "--show-actions", *stage.packages])
    if not all(f"Package {name} is already installed" in todo.output for name in stage.packages):
        raise DemoError("opam does not take the packages for installed")
    run(["opam", "list", "--switch", str(stage.second)])
    run(["opam-bin", "list"])
    run(["opam-bin", "explain", "--switch", str(stage.second), stage.packages[0]])


def share(stage: Stage) -> float:
    """Push the store to a shared cache, lose it, and install from the cache, as another machine would.

    Returns:
        Seconds of ``opam-bin install``.
    """
    headline("6  Another machine: an empty store, and a shared cache")
    run, shared, third = stage.runner.run, stage.work / "shared-cache", stage.work / THIRD
    public = run(["opam-bin", "key", "generate", "demo"]).output.split()[-1]
    run(["opam-bin", "key", "trust", public])
    run(["opam-bin", "remote", "add", "team", str(shared), "--write", "--key", "demo"])
    run(["opam-bin", "push", "--all", "--closure"])
    shutil.rmtree(stage.work / "cache")
    note("the store is removed; what is left is the folder shared-cache/, signed by the key `demo`")
    third.mkdir(parents=True)
    run(["opam", "switch", "create", str(third), stage.compiler], show=False)
    return run(["opam-bin", "install", "--switch", str(third), *stage.packages]).seconds


def summary(stage: Stage, built: float, restored: float, fetched: float) -> None:
    """Print the figures."""
    say()
    say(f"   {'opam install ' + ' '.join(stage.packages):<44} {'time':>8}   downloads")
    sources = sum("/sources/" in path for path in stage.server.requests)
    say(f"   {'from source':<44} {built:>6.1f} s   {sources}")
    say(f"   {'restored by opam-bin, into another switch':<44} {restored:>6.1f} s   0")
    say(f"   {'with an empty store, from a shared cache':<44} {fetched:>6.1f} s   0")


def play(work: Path, packages: tuple[str, ...]) -> None:
    """Clear ``work`` of an earlier run, keeping the downloaded sources, and run all steps."""
    for name in ("opam", "cache", "config", "xdg-cache", "state", "served", "projects", "shared-cache"):
        shutil.rmtree(work / name, ignore_errors=True)
    for name in ("config", "xdg-cache"):
        (work / name).mkdir(parents=True)
    runner = Runner(environment(work), work, work / "demo.log")
    headline("0  An opam repository on 127.0.0.1, out of Debian source packages")
    version = runner.run(["ocamlc", "-version"]).output.strip()
    debian = Debian(work / "apt", work / "sources")
    with Server(work / "served", work / "requests.log") as server:
        found = repository.packages(debian, version)
        repository.write(found, debian, work / "served", server.url)
        note(" ".join(f"{package.name}.{package.version}" for package in found if package.source))
        stage = Stage(work, runner, server, f"ocaml-system.{version}", packages)
        built = build(stage)
        before = take_away(stage)
        restored = restore(stage)
        use(stage)
        prove(stage, before)
        fetched = share(stage)
        if stage.server.requests[before:]:
            raise DemoError("the server was asked for something")
        summary(stage, built, restored, fetched)


def main() -> int:
    """Run the demonstration; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m demo", description="Show what opam-bin does, for real.")
    parser.add_argument("--short", action="store_true", help=f"only {' and '.join(SHORT)}")
    work = Path(os.environ.get("DEMO_DIR") or HERE.parent / ".demo").resolve()
    arguments = parser.parse_args()
    work.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    try:
        play(work, SHORT if arguments.short else FULL)
    except (DemoError, OSError, subprocess.TimeoutExpired) as problem:
        sys.stdout.flush()
        sys.stderr.write(f"\ndemo: FAILED: {problem}\ndemo: all output is in {work / 'demo.log'}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\ndemo: interrupted\n")
        return 130
    say(f"\n   all steps done in {time.monotonic() - began:.0f} s; everything lies in {work}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
