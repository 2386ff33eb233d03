"""What the demonstration shows, and the one function that runs programs."""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

COLOURED = sys.stdout.isatty() and "NO_COLOR" not in os.environ
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class DemoError(Exception):
    """A step that did not do what it should have done."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that ended well.

    Attributes:
        output: Its standard output and error, as they came.
        seconds: Wall-clock time.
    """

    output: str
    seconds: float


def _paint(code: str, text: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if COLOURED else text


def say(text: str = "") -> None:
    """Print a line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def headline(text: str) -> None:
    """Print the head of a step."""
    say()
    say(_paint("1", f"== {text}"))


def note(text: str) -> None:
    """Print a remark of the demonstration's own."""
    say(_paint("36", f"   {text}"))


class Runner:
    """Runs programs in one environment and folder, and keeps all they print in a log file."""

    def __init__(self, environment: Mapping[str, str], folder: Path, log: Path) -> None:
        """Start with an empty log.

        Args:
            environment: The whole environment of the programs.
            folder: Their working directory.
            log: Where their output is kept.
        """
        self._environment = dict(environment)
        self._folder = folder
        self._log = log
        log.write_text("")

    def run(self, command: Sequence[str], *, show: bool = True, folder: Path | None = None) -> Finished:
        """Run ``command`` to its end; its output is shown as it comes when ``show`` is set.

        Raises:
            DemoError: The program is missing or failed; the message holds its output when it was not shown.
        """
        line = f"$ {shlex.join(command)}"
        say(_paint("32", line))
        began = time.monotonic()
        printed = []
        with self._log.open("a") as log:
            log.write(line + "\n")
            try:
                process = subprocess.Popen(
                    command,
                    cwd=folder or self._folder,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                )
            except OSError as problem:
                raise DemoError(f"{command[0]}: {problem.strerror}") from problem
            with process:
                for raw in process.stdout or ():
                    text = ESCAPES.sub("", raw).rstrip()
                    printed.append(text)
                    log.write(text + "\n")
                    if show and text:
                        say(f"   {text}")
        if process.returncode != 0:
            tail = "" if show else "\n" + "\n".join(printed[-30:])
            raise DemoError(f"exit status {process.returncode}: {shlex.join(command)}{tail}")
        return Finished("\n".join(printed), time.monotonic() - began)
