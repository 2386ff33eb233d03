"""Trying out on a package whether relocation sees everything.

The package is built three times from the same dependencies: at two prefixes of different lengths, and once
more under a padded spelling of another length. In placeholder form the first two must be equal: what
differs is a prefix that left no searchable bytes, or a build that can't be repeated. Between the first and
the third the machine code must be equal: a number that differs is a length that was compiled in.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opambin.errors import UnavailableError
from opambin.model import FileType, Package
from opambin.relocate import codediff, elf
from opambin.relocate.arfile import MAGIC as AR_MAGIC
from opambin.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opambin.context import Context
    from opambin.model import FileEntry, Manifest
    from opambin.opam.client import Opam

OTHER_LENGTH = 264  # bytes; 64 more than the usual, so that every string block has eight words more
LENGTH_VARIABLE = "OPAMBIN_SELFTEST_LENGTH"
"""Tells the wrappers to pad to another length."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that relocation can't see.

    Attributes:
        package: ``NAME.VERSION``.
        path: The file, relative to the prefix.
        kind: ``hidden prefix``, ``compiled-in length``, ``code`` or ``not captured``.
        detail: Where and what, in words.
    """

    package: str
    path: str
    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class Try:
    """One of the three builds.

    Attributes:
        folder: Holds the local switch and the store.
        length: Of the padded spelling, in bytes; None means the usual one.
    """

    folder: Path
    length: int | None = None

    @property
    def prefix(self) -> Path:
        """Of the local switch."""
        return self.folder / "_opam"

    @property
    def cache(self) -> Path:
        """A store of its own, so that nothing of the package is found there."""
        return self.folder / "store"

    @property
    def environment(self) -> dict[str, str]:
        """What makes the build of the package a try."""
        values = {"OPAMBIN_CACHE": str(self.cache)}
        return values if self.length is None else {**values, LENGTH_VARIABLE: str(self.length)}


def selftest(
    context: Context, names: Sequence[str], compiler: Sequence[str], tell: Callable[[str], None]
) -> list[Finding]:
    """Build packages three times and compare.

    Args:
        context: A switch of the root, for the opam and the store.
        names: What to build, as one gives it to ``opam install``.
        compiler: The packages that the switches are made for; none makes them empty.
        tell: Called with a line when a build begins.

    Raises:
        UnavailableError: A build failed, or ``objdump`` is missing.
    """
    if shutil.which("objdump") is None:
        raise UnavailableError("objdump is missing: install binutils")
    work = Path(tempfile.mkdtemp(prefix="opam-bin-selftest-"))
    tries = (Try(work / "a"), Try(work / "another-and-longer-one"), Try(work / "c", OTHER_LENGTH))
    made: list[Try] = []
    try:
        for number, one in enumerate(tries, 1):
            tell(f"build {number} of {len(tries)} in {one.prefix}")
            made.append(one)
            _build(context, one, names, compiler)
        return _compare(tries)
    finally:
        for one in made:
            context.opam.run(["switch", "remove", str(one.folder), "--yes"], capture=True)
        shutil.rmtree(work, ignore_errors=True)


def _build(context: Context, one: Try, names: Sequence[str], compiler: Sequence[str]) -> None:
    """Make a switch, restore or build what the packages need, then build them."""
    one.folder.mkdir()
    opam = context.opam
    wanted = list(compiler) or ["--empty"]
    _must(opam, ["switch", "create", str(one.folder), *wanted, "--yes", "--no-switch"], {})
    environ = {**context.environ, "OPAMROOT": str(context.root.path)}
    dependencies = [sys.executable, "-m", "opambin", "install", "--deps-only", *names]
    done = subprocess.run(
        [*dependencies, "--switch", str(one.folder), "--yes"],
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UnavailableError(f"what {' '.join(names)} needs can't be installed: {done.stderr.strip()}")
    _must(opam, ["install", *names, "--switch", str(one.folder), "--yes"], one.environment)


def _must(opam: Opam, args: Sequence[str], extra: dict[str, str]) -> None:
    done = opam.run(args, env_extra=extra, capture=True)
    if not done.ok:
        raise UnavailableError(
            f"opam {' '.join(args)} failed: {(done.stderr or done.stdout).strip()[-2000:]}"
        )


def _compare(tries: tuple[Try, Try, Try]) -> list[Finding]:
    first, second, third = tries
    findings = []
    for manifest in _manifests(first):
        package = str(manifest.package)
        other = next((m for m in _manifests(second) if m.package == manifest.package), None)
        if other is None:
            findings.append(Finding(package, "", "not captured", "the second build gave no snapshot"))
            continue
        findings += _hidden(first, second, manifest, other)
        findings += _lengths(first, third, manifest)
    return findings


def _manifests(one: Try) -> list[Manifest]:
    with Store.open(one.cache, readonly=True) as store:
        return list(store.manifests.all())


def _hidden(first: Try, second: Try, mine: Manifest, theirs: Manifest) -> list[Finding]:
    """Compare two builds in placeholder form."""
    others = {entry.path: entry for entry in theirs.files}
    findings = []
    for entry in mine.files:
        other = others.pop(entry.path, None)
        if other is None:
            findings.append(
                Finding(str(mine.package), entry.path, "hidden prefix", "only in one of the builds")
            )
        elif entry.type is FileType.FILE and entry.identity != other.identity:
            detail = _where(_content(first, entry), _content(second, other))
            findings.append(Finding(str(mine.package), entry.path, "hidden prefix", detail))
    rest = [Finding(str(mine.package), path, "hidden prefix", "only in one of the builds") for path in others]
    return findings + rest


def _content(one: Try, entry: FileEntry) -> bytes:
    with Store.open(one.cache, readonly=True) as store:
        if entry.digest is None:
            return b""
        path = store.objects.path(entry.digest, executable=bool(entry.mode & 0o111), size=entry.size)
        return path.read_bytes()


def _where(one: bytes, other: bytes) -> str:
    """Say in which section, or at which byte, two files differ first."""
    if one.startswith(elf.MAGIC) and other.startswith(elf.MAGIC):
        sections = {section.name: section for section in elf.parse(other).sections}
        for section in elf.parse(one).sections:
            twin = sections.get(section.name)
            if section.allocated and (
                twin is None or one[section.offset : section.end] != other[twin.offset : twin.end]
            ):
                return f"section {section.name} differs"
        return "parts that are not loaded differ"
    at = next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), None)
    return f"differs from byte {at} on" if at is not None else "one is longer"


def _lengths(first: Try, third: Try, manifest: Manifest) -> list[Finding]:
    """Compare the machine code of two builds whose padded prefixes differ in length."""
    findings = []
    for entry in manifest.files:
        live, other = first.prefix / entry.path, third.prefix / entry.path
        if entry.type is not FileType.FILE or not other.is_file() or not _has_code(live):
            continue
        for found in codediff.differences(_disassembly(live), _disassembly(other)):
            kind = "compiled-in length" if found.number else "code"
            detail = f"{found.function}: `{found.left}` and `{found.right}`"
            findings.append(Finding(str(manifest.package), entry.path, kind, detail))
    return findings


def _has_code(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(8)
    return head.startswith(elf.MAGIC) or head == AR_MAGIC


def _disassembly(path: Path) -> str:
    done = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", str(path)],
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    return done.stdout


def default_compiler(context: Context) -> list[str]:
    """Return the compiler packages of the switch, for the switches of a try; none when it has none."""
    state = context.switch.state()
    known = [package for package in state.compiler if _is_compiler(context, package)]
    return [str(package) for package in sorted(known)]


def _is_compiler(context: Context, package: Package) -> bool:
    from opambin.opam import fields
    from opambin.opam.parser import parse

    return "compiler" in fields.flags(parse(context.switch.installed_opam(package), str(package)))
