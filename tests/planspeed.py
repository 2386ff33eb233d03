"""How long the keys and the plan of 200 packages take, cold: in a process that does nothing else.

``python tests/planspeed.py prepare OPAM-FILES FOLDER`` makes a switch and a store in ``FOLDER`` that has a
snapshot of each package with a key; ``python tests/planspeed.py measure FOLDER`` plans the
installation of all of them once, as ``opam-bin install`` does when opam has answered, and prints what that
took as JSON. The opam files are real, the snapshots as large as real ones.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

from opambin import request
from opambin.collecting import collect_seldom
from opambin.context import Context, open_context
from opambin.door import warmup
from opambin.door.decision import decide
from opambin.frozen import dataclass
from opambin.model import (
    ConeKey,
    Digest,
    FileEntry,
    FileType,
    Import,
    Kind,
    Manifest,
    Occurrence,
    OutputId,
    Package,
    PackageName,
    Symbol,
)
from opambin.opam import formula
from opambin.opam.client import Action, Opam, Plan, Verb
from opambin.opam.parser import parse
from opambin.plan import Verdict, is_check
from opambin.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PACKAGES = 200
FILES = 70  # of each snapshot
OCCURRENCES = 16  # of the placeholder in each snapshot
UNITS = 10  # of each snapshot
_QUOTED = re.compile(r'"([^"\s]+)"')
TEXTS = "texts.json"
PLATFORM = {"arch": "x86_64", "os": "linux", "os-distribution": "debian", "os-version": "12"}


@dataclass(frozen=True, slots=True)
class Answering(Opam):
    """An opam that knows the platform, and takes no time."""

    def variables(self, names: Iterable[str]) -> dict[str, str]:
        """Answer for the platform only; no other variable has a value."""
        return {name: PLATFORM.get(name, "") for name in names}


def corpus(folder: Path) -> dict[Package, str]:
    """Read real opam files: one version of each name, spread over all ``NAME.VERSION.opam`` of a folder.

    Their dependencies get the names of packages that come before them, since their own are not all there.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*.opam")):
        found.setdefault(path.name.partition(".")[0], path)
    paths = list(found.values())
    chosen = [paths[number * len(paths) // PACKAGES] for number in range(PACKAGES)]
    packages = [Package.parse(path.stem) for path in chosen]
    texts: dict[Package, str] = {}
    for number, path in enumerate(chosen):
        text = path.read_text(errors="surrogateescape")
        below = [name for name, _ in formula.atoms(parse(text).get("depends"))]
        names = {name: packages[crc32(name.encode()) % max(1, number)].name for name in below}
        texts[packages[number]] = _renamed(text, names)
    return texts


def _renamed(text: str, names: Mapping[str, PackageName]) -> str:
    return _QUOTED.sub(lambda quoted: f'"{names.get(quoted[1], quoted[1])}"', text)


def make_switch(root: Path) -> None:
    """Make a root with one switch, in which nothing is installed."""
    meta = root / "s/.opam-switch"
    meta.mkdir(parents=True)
    head = 'opam-version: "2.0"\n'
    (meta / "switch-config").write_text(head)
    (meta / "switch-state").write_text(head)
    (root / "config").write_text(f'{head}opam-root-version: "2.1"\ninstalled-switches: "s"\nswitch: "s"\n')


def open_switch(texts: Mapping[Package, str], folder: Path) -> Context:
    """Open the switch with an opam that has answered what it is asked while it solves."""
    environ = {
        "OPAMROOT": f"{folder}/root",
        "OPAMBIN_CACHE": f"{folder}/store",
        "HOME": str(folder),
        "PATH": "",
    }
    context = open_context(environ, "s", program="opam")
    context.opam = Answering("opam", context.root.path, "s", environ)
    context.definitions.update(texts)
    return context


def plan_of(packages: Iterable[Package]) -> Plan:
    """Return opam's plan to install packages."""
    return Plan(tuple(Action(Verb.INSTALL, package) for package in packages), "s")


def snapshot(package: Package, key: ConeKey, below: Iterable[PackageName]) -> Manifest:
    """Make a snapshot of average size."""
    name = package.name
    places = [Occurrence(Kind.CSTRING, 300 * n, 200, n < 2, (), ".rodata") for n in range(OCCURRENCES)]
    files = [FileEntry(f"lib/{name}", FileType.DIRECTORY, 0o755)]
    for number in range(FILES):
        digest = Digest(_sha(f"{package} {number}"))
        inside = tuple(places) if number == 0 else ()
        path = f"lib/{name}/module_{number:03}.cmx"
        files.append(FileEntry(path, FileType.FILE, 0o644, digest, 9000, "", inside, digest))
    units = tuple(Symbol("cmi", f"{name}__Module_{n}", _sha(f"{package} {n}")[:32]) for n in range(UNITS))
    imports = tuple(Import(provider, OutputId(_sha(provider)), units[:3]) for provider in below)
    output = OutputId(_sha(name))
    return Manifest(
        key, output, package, "x" * 1500, "y" * 1500, tuple(files), provides=units, imports=imports
    )


def prepare(opam_files: Path, folder: Path) -> None:
    """Make the switch, a store with a snapshot for each package that has a key, and a file of the texts."""
    texts = corpus(opam_files)
    make_switch(folder / "root")
    whole = decide(open_switch(texts, folder), request.parse([], {}), plan_of(texts)).universe
    with Store.open(folder / "store") as store:
        for package in texts:
            key = whole.key(package.name).key
            if key is not None:
                below = [
                    name
                    for name in whole.runtime_dependencies(package.name)
                    if not is_check(whole.node(name))
                ]
                store.manifests.put(snapshot(package, key, below))
    rows = [(package.name, package.version, text) for package, text in texts.items()]
    (folder / TEXTS).write_text(json.dumps(rows))


def measure(folder: Path) -> dict[str, float]:
    """Plan once: parse the opam files, compute the keys, read the snapshots, decide."""
    collect_seldom()
    for thread in warmup.begin(open_switch({}, folder)).threads:
        thread.join()  # what a command loads while opam solves
    texts = {Package(name, version): text for name, version, text in json.loads((folder / TEXTS).read_text())}
    context, asked, plan = open_switch(texts, folder), request.parse([], {}), plan_of(texts)
    wall, cpu = time.perf_counter(), time.process_time()
    universe = decide(context, asked, plan)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    verdicts = [item.verdict for item in universe.items]
    counted = {str(verdict): verdicts.count(verdict) for verdict in Verdict}
    dependencies = sum(len(universe.universe.dependencies(package.name)) for package in texts)
    return {"cpu": cpu, "wall": wall, "packages": len(verdicts), "dependencies": dependencies, **counted}


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        prepare(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        print(json.dumps(measure(Path(sys.argv[2]))))  # noqa: T201 - what it is for
