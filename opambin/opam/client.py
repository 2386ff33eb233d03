"""The one place that runs opam.

Rules:

* The program, the root and the switch are given, never guessed: a shim of ours that stands for ``opam`` on
  the PATH is never called from here.
* ``OPAMCLI`` is taken out of the environment: opam sets it to 2.0 for its hooks, where 2.1's commands fail.
* What is only asked (everything but :meth:`Opam.run` without ``capture``) can't wait for an answer: stdin is
  empty.
* A failing plan is a value, not an error: the caller shows opam's own words and lets the user's opam run.
"""

from __future__ import annotations

import os
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, UnavailableError
from opambin.frozen import dataclass
from opambin.opam import showraw
from opambin.opam.solution import Action, Plan, PlanFailed, Verb, parse_plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from opambin.model import Package

__all__ = ["Action", "Completed", "Opam", "Plan", "PlanFailed", "Verb", "parse_version"]

SUPPORTED_MIN = (2, 1)
SUPPORTED_BELOW = (3,)
ARGUMENT_BYTES = 100_000  # of one command line; Linux allows 128 KiB per argument and 2 MiB in all
NOT_FOUND = 5  # opam's exit code when no package matches
UNSET_FOR_OPAM = ("OPAMCLI",)
SEPARATOR = "\x1f"  # between expanded values; no opam variable holds a control character


@dataclass(frozen=True, slots=True)
class Completed:
    """What a run of opam gave.

    Attributes:
        args: The command line, without the program.
        code: The exit code; negative when a signal ended it.
        stdout: Empty unless captured.
        stderr: Empty unless captured.
    """

    args: tuple[str, ...]
    code: int
    stdout: str = ""
    stderr: str = ""

    @property
    def ok(self) -> bool:
        """Whether opam exited with 0."""
        return self.code == 0


@dataclass(frozen=True, slots=True)
class Opam:
    """An opam program, with the root and the switch that it shall work on.

    Attributes:
        program: Path of the real opam.
        root: Passed as ``OPAMROOT``; None leaves it to the environment.
        switch: Passed as ``OPAMSWITCH``; None leaves it to the environment.
        environ: What opam's environment is made from.
    """

    program: str
    root: Path | None = None
    switch: str | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Make the environment that opam runs in."""
        env = {name: value for name, value in self.environ.items() if name not in UNSET_FOR_OPAM}
        if self.root is not None:
            env["OPAMROOT"] = str(self.root)
        if self.switch is not None:
            env["OPAMSWITCH"] = self.switch
        env.update(extra or {})
        return env

    def run(
        self,
        args: Sequence[str],
        *,
        env_extra: Mapping[str, str] | None = None,
        capture: bool = False,
        apart: bool = False,
    ) -> Completed:
        """Run opam to its end.

        Args:
            args: The command line, without the program.
            env_extra: Added to the environment.
            capture: Take its output and give it no input; otherwise it has the terminal.
            apart: In a process group of its own, which Ctrl-C does not reach.

        Raises:
            UnavailableError: The program is missing or can't be run.
        """
        import subprocess  # loaded late: most hooks run nothing

        stdin, out = (subprocess.DEVNULL, subprocess.PIPE) if capture else (None, None)
        quiet = {"OPAMCOLOR": "never"} if capture else {}
        try:
            done = subprocess.run(
                [self.program, *args],
                env=self.environment({**quiet, **(env_extra or {})}),
                stdin=stdin,
                stdout=out,
                stderr=out,
                check=False,
                process_group=0 if apart else None,
            )
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UnavailableError(
                f"{self.program} is not there: install opam 2.1 or later (https://opam.ocaml.org/doc/Install.html)"
            ) from error
        except OSError as error:
            raise UnavailableError(f"{self.program} can't be run: {error.strerror}") from error
        return Completed(tuple(args), done.returncode, _text(done.stdout), _text(done.stderr))

    def change(self, args: Sequence[str], *, env_extra: Mapping[str, str] | None = None) -> Completed:
        """Let opam change its own files, its output captured, and come to its end: signals wait for that.

        opam 2.1 leaves the root's configuration empty, or none, when it is interrupted while writing it.

        Raises:
            UnavailableError: The program is missing or can't be run.
        """
        from opambin.interrupts import held_back

        with held_back():
            return self.run(args, env_extra=env_extra, capture=True, apart=True)

    def query(self, args: Sequence[str], *, env_extra: Mapping[str, str] | None = None) -> str:
        """Run opam for its standard output.

        Raises:
            UnavailableError: It failed; the message holds its words.
        """
        return _expected(self.run(args, env_extra=env_extra, capture=True))

    def version(self) -> tuple[int, ...]:
        """Ask for the version, as numbers: ``2.1.0~rc2`` is (2, 1, 0).

        Raises:
            UnavailableError: No opam.
            BadDataError: The program does not answer like opam.
        """
        answer = self.query(["--version"]).strip()
        return parse_version(answer, self.program)

    def check_supported(self) -> tuple[int, ...]:
        """Return the version, when it is one that we know.

        Raises:
            UnavailableError: It is older than 2.1 or not a 2.x.
        """
        version = self.version()
        if SUPPORTED_MIN <= version < SUPPORTED_BELOW:
            return version
        shown = ".".join(map(str, version))
        raise UnavailableError(
            f"{self.program} is opam {shown}; opambin works with opam 2.1 up to 2.x: install another opam"
        )

    def plan(self, args: Sequence[str], *, env_extra: Mapping[str, str] | None = None) -> Plan | PlanFailed:
        """Ask what ``opam ARGS`` would do; nothing is changed and no hook runs.

        It takes the switch's write lock for a moment: never call it while holding that lock.

        Args:
            args: The verb (install, upgrade, reinstall, remove) and its arguments.
            env_extra: Added to the environment.

        Raises:
            BadDataError: opam's JSON is not what it should be.
        """
        import tempfile

        with tempfile.TemporaryDirectory(prefix="opambin-plan-") as directory:
            answer = Path(directory, "plan.json")
            # before the arguments, because behind -- nothing is an option
            verb, *rest = args
            words = [verb, "--show-actions", f"--json={answer}", *rest]
            done = self.run(words, env_extra=env_extra, capture=True)
            if not done.ok:
                return PlanFailed(done.code, done.stdout, done.stderr)
            text = answer.read_text(encoding="utf-8") if answer.exists() else "{}"
        switch, actions, stand_ins = parse_plan(text)
        return Plan(actions, switch, done.stdout, done.stderr, stand_ins)

    def show_raw(self, packages: Iterable[Package]) -> dict[Package, str]:
        """Ask for the repository's (or the pin's) definitions of packages.

        Returns:
            The opam file of each; a package that opam does not know is absent.

        Raises:
            UnavailableError: opam failed.
        """
        from opambin.opam.parser import split_concatenated

        found: dict[Package, str] = {}
        for chunk in chunked([str(package) for package in packages], ARGUMENT_BYTES):
            args = ["show", "--raw", *chunk]
            # without this, opam asks the system's package manager first: 0.8 s instead of 0.02 s
            done = self.run(args, env_extra={"OPAMNODEPEXTS": "1"}, capture=True)
            if done.code not in (0, NOT_FOUND):
                raise UnavailableError(
                    f"opam show --raw failed with exit code {done.code}: {done.stderr.strip()}"
                )
            for text in showraw.split(done.stdout, chunk) or split_concatenated(done.stdout):
                found[showraw.package_of(text)] = text
        return found

    def variables(self, names: Iterable[str]) -> dict[str, str]:
        """Ask for the values of variables in the switch, ``name`` or ``package:name``, in one run.

        Values come from ``opam config expand``, which gives them exactly; the table of ``opam var`` has
        comments behind the values. A variable that opam does not know has an empty value there, and here.

        Raises:
            UnavailableError: opam failed, for instance because the switch does not exist.
            BadDataError: The answer does not have one value per name.
        """
        wanted = list(dict.fromkeys(names))
        values: dict[str, str] = {}
        for chunk in chunked(wanted, ARGUMENT_BYTES // 2):
            template = SEPARATOR.join(f"%{{{name}}}%" for name in chunk)
            answer = self.query(["config", "expand", template + SEPARATOR])
            parts = answer.split(SEPARATOR)
            if len(parts) != len(chunk) + 1:
                raise BadDataError(
                    "opam config expand",
                    "wrong number of values",
                    expected=len(chunk),
                    observed=len(parts) - 1,
                )
            values.update(zip(chunk, parts[:-1], strict=True))
        return values

    def option_set(self, assignment: str, *, switch: bool = False) -> None:
        """Change a field: ``name=value``, ``name+=value``, ``name-=value`` or ``name=`` to drop it."""
        scope = [] if switch else ["--global"]
        self.query(["option", "--cli=2.1", *scope, assignment])

    def bypass_depexts(self, names: Iterable[str]) -> None:
        """Note in the switch that system packages are there though opam can't see them.

        opam takes the switch's lock for it: call it when the lock was released.
        """
        from opambin.opam.statefile import quote

        self.option_set(f"depext-bypass+=[{' '.join(map(quote, names))}]", switch=True)

    def switch_prefix(self, switch: str) -> Path:
        """Ask for the directory of a switch; opam answers for switches that don't exist, too."""
        return Path(self.query(["var", "--cli=2.1", "prefix", f"--switch={switch}"]).strip())

    def switches(self) -> tuple[str, ...]:
        """Ask for the names of the switches that opam knows."""
        return tuple(self.query(["switch", "list", "--short"]).split("\n")[:-1])

    def env_inplace(self, switch: str) -> None:
        """Let opam write the switch's ``environment`` file anew.

        Call it after the lock was released: ``opam env`` waits for it when it has something to write. The
        plain form, without ``--inplace-path``, writes another file than an installation does.
        """
        self.query(["env", f"--switch={switch}", "--inplace-path"])

    def set_global_switch(self, switch: str) -> None:
        """Make opam write ``opam-init/variables.*`` of its root for the global switch."""
        _expected(self.change(["switch", "set", switch]))

    def describe_switch(self, switch: str, description: str) -> None:
        """Give a switch a description."""
        _expected(self.change(["switch", "set-description", description, f"--switch={switch}"]))


def _expected(done: Completed) -> str:
    """Return what opam printed.

    Raises:
        UnavailableError: It failed; the message holds its words.
    """
    if not done.ok:
        words = done.stderr.strip() or done.stdout.strip() or "no message"
        raise UnavailableError(f"opam {' '.join(done.args)} failed with exit code {done.code}: {words}")
    return done.stdout


def parse_version(text: str, what: str = "opam --version") -> tuple[int, ...]:
    """Read the numbers at the head of a version.

    Raises:
        BadDataError: There are none.
    """
    numbers: list[int] = []
    for part in text.replace("~", ".~").split("."):
        if not part.isdecimal():
            break
        numbers.append(int(part))
    if len(numbers) < 2:
        raise BadDataError(what, "not a version of opam", expected="MAJOR.MINOR...", observed=repr(text))
    return tuple(numbers)


def chunked(words: Sequence[str], limit: int) -> list[list[str]]:
    """Cut a list of words so that each part stays under ``limit`` bytes, with one byte for each separator."""
    parts: list[list[str]] = []
    size = limit + 1
    for word in words:
        cost = len(os.fsencode(word)) + 1
        if size + cost > limit:
            parts.append([])
            size = 0
        parts[-1].append(word)
        size += cost
    return parts


def _text(data: bytes | None) -> str:
    return "" if data is None else data.decode("utf-8", "surrogateescape")
