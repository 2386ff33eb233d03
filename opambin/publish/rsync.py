"""Publishing to a place that rsync reaches; rsync is run, and must be installed here and there."""

from __future__ import annotations

import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opambin.errors import UnavailableError
from opambin.publish.places import LOCK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opambin.publish.places import Step

_NOT_THERE = 23  # rsync's exit code for a partial transfer: the file is missing, or can't be read
_TIMEOUT = 6 * 3600  # seconds


@dataclass(frozen=True, slots=True)
class Rsync:
    """A folder on another machine.

    Attributes:
        address: As rsync takes it: ``HOST:PATH``, ``rsync://HOST/MODULE/PATH``, or a path.
        owner: Who publishes, for the lock.
        program: The rsync.
    """

    address: str
    owner: str
    program: str = "rsync"

    @property
    def shown(self) -> str:
        """It, for people."""
        return self.address

    @property
    def has_tree(self) -> bool:
        """It has all."""
        return True

    @property
    def default_url(self) -> str:
        """There is no telling."""
        return ""

    def read(self, name: str) -> bytes | None:
        """Return what a name holds; None when it is not there."""
        with tempfile.TemporaryDirectory(prefix="opam-bin-rsync-") as folder:
            done = self._run("-q", self._of(name), f"{folder}/got", fine=(0, _NOT_THERE))
            if done.returncode:
                if "No such file" in done.stderr or "change_dir" in done.stderr:
                    return None
                raise self._failed(done)
            return Path(folder, "got").read_bytes()

    def foreign(self) -> str:
        """Return the name of something that is there."""
        done = self._run("--list-only", self._of(""), fine=(0, _NOT_THERE))
        names = [line.split(maxsplit=4)[-1] for line in done.stdout.splitlines() if len(line.split()) >= 5]
        return next((name for name in names if name not in (".", LOCK)), "")

    def holds(self, name: str, size: int) -> bool:  # noqa: ARG002 - of a Place
        """Leave it to rsync, which sends nothing that is there."""
        return False

    @contextmanager
    def lock(self) -> Iterator[Path]:
        """Leave a note for other publishers. Two that start within the same second are not kept apart."""
        holder = self.read(LOCK)
        if holder is not None:
            raise UnavailableError(
                f"{holder.decode('utf-8', 'replace')} is publishing to {self.address}; "
                f"if that is not so any more, remove {LOCK} there"
            )
        with tempfile.TemporaryDirectory(prefix="opam-bin-publish-") as work:
            self._send({LOCK: self.owner.encode()}, Path(work, "lock"))
            if self.read(LOCK) != self.owner.encode():
                raise UnavailableError(f"somebody else is publishing to {self.address}: try again later")
            try:
                yield Path(work)
            finally:
                self._delete([LOCK], Path(work, "unlock"))

    def write(self, steps: Sequence[Step], gone: Sequence[str]) -> None:
        """Send files, step by step, then remove others."""
        with tempfile.TemporaryDirectory(prefix="opam-bin-rsync-") as folder:
            for number, step in enumerate(steps):
                self._send(step, Path(folder, str(number)))
            if gone:
                self._delete(gone, Path(folder, "empty"))

    def _send(self, step: Step, folder: Path) -> None:
        folder.mkdir()
        for name, content in step.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                path.symlink_to(content)
        # Renamed on the other side one after the other at the end of the transfer: steps keep the order.
        self._run("-rLtc", "--chmod=F644,D755", "--delay-updates", f"{folder}/", self._of(""))

    def _delete(self, names: Sequence[str], folder: Path) -> None:
        """Let rsync compare an empty folder with exactly these names."""
        folder.mkdir()
        rules = []
        for name in names:
            parents = [str(parent) for parent in reversed(Path(name).parents) if parent.name]
            rules += [f"+ /{_literal(parent)}/" for parent in parents] + [f"+ /{_literal(name)}"]
            for parent in parents:
                (folder / parent).mkdir(parents=True, exist_ok=True)
        listed = folder.with_name(f"{folder.name}.rules")
        listed.write_text("".join(f"{rule}\n" for rule in dict.fromkeys([*rules, "- *"])), "utf-8")
        self._run("-r", "--delete", f"--filter=merge {listed}", f"{folder}/", self._of(""))

    def _of(self, name: str) -> str:
        return f"{self.address.rstrip('/')}/{name}"

    def _run(self, *arguments: str, fine: Sequence[int] = (0,)) -> subprocess.CompletedProcess[str]:
        try:
            done = subprocess.run(
                [self.program, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TIMEOUT,
                check=False,
            )
        except FileNotFoundError as error:
            raise UnavailableError(
                f"{self.program} is not installed: it is needed to publish there"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise UnavailableError(f"{self.address}: rsync did not end within {_TIMEOUT} seconds") from error
        if done.returncode not in fine:
            raise self._failed(done)
        return done

    def _failed(self, done: subprocess.CompletedProcess[str]) -> UnavailableError:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return UnavailableError(f"{self.address}: rsync failed: {lines[0]}")


def _literal(name: str) -> str:
    """Quote what rsync's patterns would read as wildcards."""
    return "".join(f"\\{char}" if char in "*?[\\" else char for char in name)
