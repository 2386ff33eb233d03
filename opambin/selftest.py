"""Trying out on packages whether relocation sees everything in them.

A package is built at two prefixes of different lengths, and once more under a padded spelling of another
length; :mod:`opambin.buildcompare` says what differs. The build at the first prefix is taken from the store
where it has one of the same cone, so that a switch that was built under the hooks costs two builds only.
Each try has a switch and a store of its own. Kept in a folder, they are gone on with the next time: opam
builds what is not installed yet.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from opambin import buildcompare
from opambin.buildcompare import Finding, Snapshot
from opambin.errors import UnavailableError
from opambin.model import FileType, Package
from opambin.opam import fields
from opambin.opam.parser import parse
from opambin.placement.parallel import in_parallel
from opambin.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from opambin.context import Context
    from opambin.model import Manifest

OTHER_LENGTH = 264  # bytes; 64 more than the usual, so that every string block has eight words more
LENGTH_VARIABLE = "OPAMBIN_SELFTEST_LENGTH"
"""Tells the wrappers to pad to another length."""
_WATCH = 5.0  # seconds between two looks at how far the builds are


@dataclass(frozen=True, slots=True)
class Try:
    """One of the builds.

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

    @property
    def manifests(self) -> dict[Package, Manifest]:
        """What was captured so far."""
        if not (self.cache / "format").exists():
            return {}
        with Store.open(self.cache, readonly=True) as store:
            return {manifest.package: manifest for manifest in store.manifests.all()}


@dataclass(frozen=True, slots=True)
class Subject:
    """What is tried.

    Attributes:
        names: Packages, as one gives them to ``opam install``.
        compiler: What the switches are made for before; empty where a compiler is among the packages.
    """

    names: tuple[str, ...]
    compiler: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What came out.

    Attributes:
        tried: The packages that were built, sorted.
        findings: What relocation does not see, by package.
    """

    tried: tuple[str, ...]
    findings: tuple[Finding, ...]


def selftest(
    context: Context, subject: Subject, folder: Path | None, tell: Callable[[str], None]
) -> Verdicts:
    """Build packages several times and compare.

    Args:
        context: A switch of the root, for the opam and the store.
        subject: What to build.
        folder: Where switches and stores are kept; None makes and removes a temporary one.
        tell: Called with a line now and then.

    Raises:
        UnavailableError: A build failed as a whole, or ``objdump`` is missing.
    """
    if shutil.which("objdump") is None:
        raise UnavailableError("objdump is missing: install binutils")
    if folder is not None:
        return _selftest(context, subject, folder.resolve(), tell)
    work = Path(tempfile.mkdtemp(prefix="opam-bin-selftest-"))
    try:
        return _selftest(context, subject, work, tell)
    finally:
        for made in work.glob("*/_opam"):
            context.opam.run(["switch", "remove", str(made.parent), "--yes"], capture=True)
        shutil.rmtree(work, ignore_errors=True)


def _selftest(context: Context, subject: Subject, work: Path, tell: Callable[[str], None]) -> Verdicts:
    again, longer = Try(work / "another-and-longer-one"), Try(work / "c", OTHER_LENGTH)
    problems = _build_all(context, subject, [again, longer], tell)
    made = again.manifests
    first = Try(work / "a")
    lacking = tuple(str(package) for package, found in made.items() if not _stored(context, found))
    if lacking:
        problems |= _build_all(context, replace(subject, names=lacking), [first], tell)
    findings = [
        Finding(str(name), "", "not built", reason)
        for name, reason in sorted(problems.items())
        if name not in made
    ]
    wanted = {Package.parse(name) for name in subject.names if "." in name}
    findings += [
        Finding(str(package), "", "not captured", "the build gave no snapshot")
        for package in sorted(wanted - set(made) - set(problems))
    ]
    for at, (package, manifest) in enumerate(sorted(made.items()), 1):
        tell(f"comparing {package} ({at} of {len(made)})")
        references = _stored(context, manifest) or _of_try(first, package)
        findings += _compare(manifest, references, again, longer)
    return Verdicts(tuple(map(str, sorted(made))), tuple(findings))


def _stored(context: Context, manifest: Manifest) -> list[Snapshot]:
    """Return builds of the same cone under padding that the store has."""
    store = context.need_store()
    return [
        Snapshot(context.config.cache, found)
        for found in store.outputs(manifest.key)
        if found.build.padded and not found.build.adopted
    ]


def _of_try(one: Try, package: Package) -> list[Snapshot]:
    found = one.manifests.get(package)
    return [Snapshot(one.cache, found)] if found is not None else []


def _compare(manifest: Manifest, references: Sequence[Snapshot], again: Try, longer: Try) -> list[Finding]:
    package = str(manifest.package)
    mine = Snapshot(again.cache, manifest)
    # Where the store has several outputs, a build that equals one of them hides nothing.
    compared = [buildcompare.hidden(mine, reference) for reference in references]
    findings = min(compared, key=len, default=[])
    if not references:
        findings = [Finding(package, "", "not captured", "the other build gave no snapshot")]
    files = [entry.path for entry in manifest.files if entry.type is FileType.FILE]
    return findings + buildcompare.lengths(package, files, again.prefix, longer.prefix)


def _build_all(
    context: Context, subject: Subject, tries: Sequence[Try], tell: Callable[[str], None]
) -> dict[Package, str]:
    """Make what is missing of some tries, side by side; returns the packages that could not be built."""
    for one in tries:
        _make_switch(context, one, subject)
    problems: dict[Package, str] = {}
    with _watched(tries, tell):
        in_parallel(len(tries), iter(tries), lambda one: problems.update(_build(context, one, subject)))
    return problems


def _make_switch(context: Context, one: Try, subject: Subject) -> None:
    if (one.prefix / ".opam-switch").is_dir():
        return
    one.folder.mkdir(parents=True, exist_ok=True)
    wanted = subject.compiler or ("--empty",)
    _must(context, ["switch", "create", str(one.folder), *wanted, "--yes", "--no-switch"])


def _build(context: Context, one: Try, subject: Subject) -> dict[Package, str]:
    """Restore or build what the packages need, then build them.

    Raises:
        UnavailableError: Nothing could be built.
    """
    environ = {**context.environ, "OPAMROOT": str(context.root.path)}
    # -P: nothing is imported from the folder that the user is in
    dependencies = [sys.executable, "-P", "-m", "opambin", "install", "--deps-only", *subject.names]
    done = subprocess.run(
        [*dependencies, "--switch", str(one.folder), "--yes"],
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        needing = " ".join(subject.names)
        raise UnavailableError(f"what {needing} needs can't be installed: {done.stderr.strip()}")
    args = ["install", *subject.names, "--switch", str(one.folder), "--yes"]
    built = context.opam.run(args, env_extra=one.environment, capture=True)
    if built.ok:
        return {}
    words = (built.stderr or built.stdout).strip()[-2000:]
    if not one.manifests:
        raise UnavailableError(f"opam {' '.join(args)} failed: {words}")
    wanted = {Package.parse(name) for name in subject.names if "." in name}
    return dict.fromkeys(wanted - set(one.manifests), "opam could not build it")


def _must(context: Context, args: Sequence[str]) -> None:
    done = context.opam.run(args, capture=True)
    if not done.ok:
        words = (done.stderr or done.stdout).strip()[-2000:]
        raise UnavailableError(f"opam {' '.join(args)} failed: {words}")


@contextmanager
def _watched(tries: Sequence[Try], tell: Callable[[str], None]) -> Iterator[None]:
    """Tell what was captured while the block runs."""
    over = threading.Event()

    def watch() -> None:
        seen: dict[Try, set[Package]] = {one: set(one.manifests) for one in tries}
        while not over.wait(_WATCH):
            for one in tries:
                new = set(one.manifests) - seen[one]
                seen[one] |= new
                if new:
                    named = ", ".join(map(str, sorted(new)))
                    tell(f"{one.folder.name}: {named} ({len(seen[one])} so far)")

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def of_names(context: Context, names: Sequence[str], compiler: Sequence[str]) -> Subject:
    """Try packages on a compiler: the given one, or that of the switch where none is given.

    A compiler among the packages is built in an empty switch.
    """
    exact = [Package.parse(name) for name in names if "." in name]
    known = context.opam.show_raw(exact) if exact else {}
    if any("compiler" in fields.flags(parse(text)) for text in known.values()):
        return Subject(tuple(names))
    return Subject(tuple(names), tuple(compiler) or tuple(default_compiler(context)))


def of_switch(context: Context) -> Subject:
    """Try all packages of the switch, its compiler with them."""
    installed = context.switch.state().installed
    return Subject(tuple(f"{name}.{version}" for name, version in sorted(installed.items())))


def default_compiler(context: Context) -> list[str]:
    """Return the compiler packages of the switch, for the switches of a try; none when it has none."""
    state = context.switch.state()
    known = [package for package in state.compiler if _is_compiler(context, package)]
    return [str(package) for package in sorted(known)]


def _is_compiler(context: Context, package: Package) -> bool:
    return "compiler" in fields.flags(parse(context.switch.installed_opam(package), str(package)))
