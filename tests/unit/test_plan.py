from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from opambin.fitting import refusal
from opambin.model import (
    Bound,
    ConeKey,
    Digest,
    Edit,
    ExtraFile,
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
from opambin.opam.parser import parse
from opambin.plan import (
    AfterCheck,
    FromManifest,
    Item,
    NotYetBuilt,
    Site,
    Verdict,
    conflicting,
    is_check,
    make_plan,
)
from opambin.surroundings import Platform, Surroundings
from opambin.universe import Node, Universe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAME = PackageName
A = NAME("a")
UNIT = Symbol("cmi", "Unit", "crc1")
UNITS = frozenset([UNIT])
OTHER_UNIT = Symbol("cmi", "Unit", "crc2")
SYSTEM_FILE = Symbol("file", "/usr/bin/ocamlc", "md5")


@dataclass
class FakeShelf:
    """Snapshots by package name; what is asked is kept."""

    snapshots: dict[str, list[Manifest]] = field(default_factory=dict)
    names: dict[ConeKey, str] = field(default_factory=dict)

    def outputs(self, key: ConeKey) -> Sequence[Manifest]:
        return self.snapshots.get(self.names[key], [])


@dataclass(frozen=True)
class FakeProvided:
    """An installed package."""

    output: OutputId | None = None
    symbols: frozenset[Symbol] = frozenset()

    def has(self, symbol: Symbol) -> bool:
        return symbol in self.symbols


@dataclass(frozen=True)
class FakeMachine:
    symbols: frozenset[Symbol] = frozenset()

    def has(self, symbol: Symbol) -> bool:
        return symbol in self.symbols


def output(number: int) -> OutputId:
    return OutputId(f"{number:064}")


def snapshot(package: str, number: int = 1, **more: Any) -> Manifest:  # noqa: ANN401 - any field
    return Manifest(ConeKey("0" * 64), output(number), Package.parse(package), "", "", **more)


def universe(texts: Mapping[str, str]) -> Universe:
    packages = {package.name: package for package in map(Package.parse, texts)}
    return Universe(
        {name: package.version for name, package in packages.items()},
        lambda package: Node(package, texts[str(package)], parse(texts[str(package)], "")),
        Surroundings(Platform("x86_64", "linux", "debian", "12"), {}),
    )


def site(**more: Any) -> Site:  # noqa: ANN401 - any field
    return replace(Site("/opt/switch", {}, FakeMachine()), **more)


def plan(
    texts: Mapping[str, str], snapshots: Sequence[Manifest], where: Site | None = None
) -> dict[str, Item]:
    """Plan all packages of ``texts``, in their order."""
    there = universe(texts)
    shelf = FakeShelf()
    for manifest in snapshots:
        shelf.snapshots.setdefault(manifest.package.name, []).append(manifest)
    for name in there.selected:
        key = there.key(name).key
        if key is not None:
            shelf.names[key] = name
    items = make_plan(there, [Package.parse(text) for text in texts], shelf, where or site())
    return {str(item.package.name): item for item in items}


def verdicts(items: Mapping[str, Item]) -> dict[str, Verdict]:
    return {name: item.verdict for name, item in items.items()}


# Verdicts


def test_a_chain_of_hits() -> None:
    texts = {"a.1": "", "b.1": 'depends: ["a"]', "c.1": 'depends: ["b"]'}
    hits = [snapshot("a.1"), snapshot("b.1"), snapshot("c.1")]
    items = plan(texts, hits)
    assert [item.manifest for item in items.values()] == hits
    assert {item.reason for item in items.values()} == {""}
    assert [item.text for item in items.values()] == list(texts.values())


def test_what_stands_above_a_miss_waits_all_the_way_up() -> None:
    texts = {"a.1": "", "b.1": 'depends: ["a"]', "c.1": 'depends: ["b"]'}
    items = plan(texts, [snapshot("b.1"), snapshot("c.1")])
    assert verdicts(items) == {"a": Verdict.MISS, "b": Verdict.WAIT, "c": Verdict.WAIT}
    assert items["a"].reason == "no snapshot has this key"
    assert items["c"].reason == "b below it is built from source"


def test_inside_opams_session_nothing_waits() -> None:
    texts = {"a.1": "", "b.1": 'depends: ["a"]'}
    above = snapshot("b.1", imports=(Import(A, output(9), (UNIT,)),))
    assert plan(texts, [above], site(wait=False))["b"].verdict is Verdict.HIT


def test_a_build_dependency_that_misses_is_waited_for() -> None:
    """opam says that b is installed already, and never builds a."""
    texts = {"a.1": "", "b.1": 'depends: ["a" {build}]'}
    assert verdicts(plan(texts, [snapshot("b.1")])) == {"a": Verdict.MISS, "b": Verdict.WAIT}


def test_no_key_is_a_miss_with_the_reason() -> None:
    item = plan({"a.1": 'url { src: "https://e/x" }'}, [snapshot("a.1")])["a"]
    assert (item.verdict, item.reason) == (Verdict.MISS, "its source has no checksum")


@pytest.mark.parametrize("glob", ["a", "a*", "?"])
def test_excluded_by_the_configuration(glob: str) -> None:
    item = plan({"a.1": ""}, [snapshot("a.1")], site(exclude=("zzz", glob)))["a"]
    assert (item.verdict, item.reason) == (Verdict.MISS, "the configuration excludes it")


def test_a_replaced_package_is_opams_and_what_is_above_waits() -> None:
    texts = {"a.2": "", "b.1": 'depends: ["a"]'}
    where = site(replaced=frozenset([NAME("a")]), installed={NAME("a"): FakeProvided(output(1))})
    items = plan(texts, [snapshot("a.2"), snapshot("b.1")], where)
    assert verdicts(items) == {"a": Verdict.MISS, "b": Verdict.WAIT}
    assert "removed first" in items["a"].reason


@pytest.mark.parametrize(
    ("conflicts", "more", "expected"),
    [
        pytest.param('conflicts: ["a" {< "2"}]', {"replaced": frozenset(["a"])}, Verdict.WAIT, id="with it"),
        pytest.param('conflicts: ["z"]', {"replaced": frozenset(["a"])}, Verdict.HIT, id="with another"),
        pytest.param("", {"in_the_way": frozenset(["b"])}, Verdict.WAIT, id="it with the package"),
    ],
)
def test_a_package_that_conflicts_with_what_is_upgraded_waits(
    conflicts: str, more: dict[str, Any], expected: Verdict
) -> None:
    """Two packages that exclude each other would be on record as installed together."""
    items = plan({"a.2": "", "b.1": conflicts}, [snapshot("a.2"), snapshot("b.1")], site(**more))
    assert items["b"].verdict is expected
    assert ("conflicts with" in items["b"].reason) == (expected is Verdict.WAIT)


def test_names_of_conflicts() -> None:
    node = Node(Package.parse("a.1"), "", parse('conflicts: ["x" {< "2"} "y" {os = "win32"} | "z"]', ""))
    assert conflicting(node) == {"x", "y", "z"}


def test_a_snapshot_of_another_package_under_the_key_is_refused() -> None:
    there = universe({"a.1": ""})
    key = there.key(NAME("a")).key
    assert key is not None
    shelf = FakeShelf({"a": [snapshot("evil.1")]}, {key: "a"})
    (item,) = make_plan(there, [Package.parse("a.1")], shelf, site())
    assert (item.verdict, item.reason) == (Verdict.MISS, "the snapshot of its key is of evil.1")


# Several outputs


def needs(number: int, *symbols: Symbol, name: str = "a") -> tuple[Import, ...]:
    return (Import(NAME(name), output(number), symbols),)


def test_the_first_output_that_fits_what_is_installed_is_picked() -> None:
    texts = {"b.1": 'depends: ["a"]', "a.1": ""}
    there = universe(texts)
    key = there.key(NAME("b")).key
    assert key is not None
    outputs = [snapshot("b.1", 1, imports=needs(5, UNIT)), snapshot("b.1", 2, imports=needs(6, OTHER_UNIT))]
    where = site(installed={NAME("a"): FakeProvided(output(6), frozenset([OTHER_UNIT]))})
    (item,) = make_plan(there, [Package.parse("b.1")], FakeShelf({"b": outputs}, {key: "b"}), where)
    assert item.manifest == outputs[1]


def test_outputs_fit_to_what_was_picked_before() -> None:
    texts = {"a.1": "", "b.1": 'depends: ["a"]'}
    below = [snapshot("a.1", 3, bound=(Bound("x", "r"),), prefix="/elsewhere"), snapshot("a.1", 4)]
    above = [snapshot("b.1", 1, imports=needs(3, UNIT)), snapshot("b.1", 2, imports=needs(4, UNIT))]
    items = plan(texts, [*below, *above])
    assert [items[name].manifest for name in "ab"] == [below[1], above[1]]


def brings(package: str, *paths: str, number: int = 1) -> Manifest:
    files = tuple(FileEntry(path, FileType.FILE, 0o644, Digest("0" * 64)) for path in sorted(paths))
    folder = FileEntry("lib", FileType.DIRECTORY, 0o755)
    return snapshot(package, number, files=(folder, *files))


def test_of_two_snapshots_that_bring_one_file_neither_is_taken() -> None:
    """One of them may claim what is the other's; folders may be shared."""
    there = [brings("a.1", "lib/a", "lib/b"), brings("b.1", "lib/b"), brings("c.1", "lib/c")]
    items = plan({"a.1": "", "b.1": "", "c.1": ""}, there)
    assert verdicts(items) == {"a": Verdict.MISS, "b": Verdict.MISS, "c": Verdict.HIT}
    assert items["a"].reason == "lib/b comes with b, too"
    assert items["b"].reason == "lib/b comes with a, too"


def test_another_output_that_brings_no_disputed_file_is_taken() -> None:
    there = [
        brings("a.1", "lib/a", "lib/b"),
        brings("a.1", "lib/a", number=2),
        brings("b.1", "lib/b", number=3),
        brings("b.1", "lib/b", number=4),
    ]
    items = plan({"a.1": "", "b.1": ""}, there)
    assert [item.manifest.output for item in items.values() if item.manifest] == [output(2), output(4)]


def test_no_output_fits_and_the_first_reason_is_told() -> None:
    texts = {"a.1": "", "b.1": 'depends: ["a"]'}
    above = [snapshot("b.1", 1, imports=needs(8, UNIT)), snapshot("b.1", 2, imports=needs(9, OTHER_UNIT))]
    items = plan(texts, [snapshot("a.1", 1), *above])
    assert items["b"].verdict is Verdict.MISS
    assert items["b"].reason == "a has another interface of module Unit than it was built against"
    assert items["b"].manifest is None


# Checks


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("flags: conf", True, id="nothing to run"),
        pytest.param('flags: conf build: ["pkg-config" "x"]', True, id="check"),
        pytest.param('flags: conf url { src: "https://e/x" }', False, id="source"),
        pytest.param('flags: conf install: "x"', False, id="installs"),
        pytest.param('flags: conf patches: "x"', False, id="patched"),
        pytest.param('flags: conf extra-source "x" { src: "y" }', False, id="extra source"),
        pytest.param("", False, id="no conf package"),
    ],
)
def test_is_check(text: str, *, expected: bool) -> None:
    assert is_check(Node(Package.parse("a.1"), text, parse(text, ""))) == expected


FILES = 'flags: conf build: "sh" extra-files: ["t.c" "md5=' + "0" * 32 + '"]'


def test_checks_run_again_without_a_snapshot() -> None:
    items = plan({"conf-x.1": "flags: conf", "b.1": 'depends: ["conf-x"]'}, [snapshot("b.1")])
    assert verdicts(items) == {"conf-x": Verdict.CHECK, "b": Verdict.HIT}


def test_a_check_with_files_takes_them_from_its_snapshot() -> None:
    kept = snapshot("conf-x.1", extra_files=(ExtraFile("t.c", Digest("0" * 64), 1),))
    item = plan({"conf-x.1": FILES}, [kept])["conf-x"]
    assert (item.verdict, item.manifest) == (Verdict.CHECK, kept)


def test_a_check_whose_files_nobody_has_is_opams() -> None:
    item = plan({"conf-x.1": FILES}, [])["conf-x"]
    assert (item.verdict, item.reason) == (Verdict.MISS, "the files of its check are not in the store")


def test_a_check_without_a_key_has_no_files() -> None:
    texts = {"a.1": 'url { src: "https://e/x" }', "conf-x.1": 'depends: ["a" {build}] ' + FILES}
    assert plan(texts, [], site(wait=False))["conf-x"].verdict is Verdict.MISS


def test_a_check_that_needs_what_opam_builds_waits() -> None:
    texts = {"a.1": "", "conf-x.1": 'flags: conf depends: ["a"]'}
    item = plan(texts, [])["conf-x"]
    assert (item.verdict, item.reason) == (Verdict.WAIT, "its check needs a, which opam installs")
    assert plan(texts, [], site(wait=False))["conf-x"].verdict is Verdict.CHECK


# Refusals


@pytest.mark.parametrize(
    ("path", "refused"),
    [
        pytest.param(".opam-switch/switch-state", True, id="state"),
        pytest.param(".opam-switch", True, id="the folder itself"),
        pytest.param(".opam-switch/opam-bin.staging/x", True, id="staging"),
        pytest.param(".opam-switches/x", False, id="another name"),
        pytest.param("lib/.opam-switch/x", False, id="deeper"),
    ],
)
@pytest.mark.parametrize("how", ["file", "folder", "link", "edit"])
def test_nothing_is_written_into_opams_folder(path: str, how: str, *, refused: bool) -> None:
    """A hostile snapshot could tell opam that anything is installed, with commands of its own."""
    entry = {
        "file": FileEntry(path, FileType.FILE, 0o644, Digest("0" * 64)),
        "folder": FileEntry(path, FileType.DIRECTORY, 0o755),
        "link": FileEntry(path, FileType.SYMLINK, target="x"),
    }
    manifest = (
        snapshot("a.1", edits=(Edit(path, ("x",)),))
        if how == "edit"
        else snapshot("a.1", files=(entry[how],))
    )
    reason = refusal(manifest, {}, site())
    assert bool(reason) == refused
    assert not refused or reason == f"it would write {path}, which is opam's own"


@pytest.mark.parametrize(
    ("bounds", "prefix", "reason"),
    [
        pytest.param((), "/opt/switch", "", id="free"),
        pytest.param((Bound("bin/x", "why"),), "/opt/switch", "", id="at its own prefix"),
        pytest.param((Bound("bin/x", "why"),), "/opt/other", "by bin/x: why", id="elsewhere"),
        pytest.param((Bound("bin/x", "why", 11),), "", "", id="just fits"),
        pytest.param((Bound("bin/x", "why", 10),), "", "more than 10 bytes: why", id="too long"),
        pytest.param((Bound("a", "", 99), Bound("b", "why", 5)), "", "b can't hold", id="the second"),
    ],
)
def test_bounds(bounds: tuple[Bound, ...], prefix: str, reason: str) -> None:
    found = refusal(snapshot("a.1", bound=bounds, prefix=prefix), {}, site())
    assert reason in found
    assert bool(found) == bool(reason)


@pytest.mark.parametrize(
    ("here", "built_at", "moves", "refused"),
    [
        pytest.param("/opt/x", "", True, False, id="plain"),
        pytest.param("/opt/my x", "", True, True, id="a space"),
        pytest.param("/opt/o'x", "", True, True, id="a quote"),
        pytest.param("/opt/my x", "", False, False, id="no prefix in it"),
        pytest.param("/opt/my x", "/opt/my x", True, False, id="built there"),
        pytest.param("/opt/\u00e4", "", True, False, id="not ASCII"),
    ],
)
def test_prefixes_that_scripts_could_not_name(
    here: str, built_at: str, *, moves: bool, refused: bool
) -> None:
    found = (Occurrence(Kind.TEXT, 0),) if moves else ()
    entry = FileEntry("x", FileType.FILE, 0o644, Digest("0" * 64), occurrences=found)
    reason = refusal(snapshot("a.1", files=(entry,), prefix=built_at), {}, site(prefix=here))
    assert ("scripts and makefiles could not name" in reason) is refused
    assert bool(reason) is refused


@pytest.mark.parametrize(
    ("length", "capacity", "functional", "refused"),
    [(199, 199, True, False), (200, 199, True, True), (200, None, True, False), (200, 199, False, False)],
)
def test_the_longest_prefix_that_a_file_holds(
    length: int, capacity: int | None, *, functional: bool, refused: bool
) -> None:
    found = Occurrence(Kind.BLOCK, 0, capacity, functional)
    entry = FileEntry("bin/x", FileType.FILE, 0o755, Digest("0" * 64), occurrences=(found,))
    reason = refusal(snapshot("a.1", files=(entry,)), {}, site(prefix="/" + "x" * (length - 1)))
    assert reason == ("bin/x can't hold a prefix of more than 199 bytes" if refused else "")


def test_the_length_of_a_prefix_counts_bytes() -> None:
    bound = snapshot("a.1", bound=(Bound("x", "r", 4),))
    assert refusal(bound, {}, site(prefix="/\u00e4\u00e4\u00e4"))
    assert not refusal(bound, {}, site(prefix="/\u00e4x"))


@pytest.mark.parametrize(
    ("wanted", "have", "reason"),
    [
        pytest.param(Import(A, output(1), (UNIT,)), FakeProvided(output(1)), "", id="same output"),
        pytest.param(
            Import(A, output(1), (UNIT,)),
            FakeProvided(output(2), frozenset([UNIT])),
            "",
            id="same symbols",
        ),
        pytest.param(
            Import(A, output(1), (UNIT,)),
            FakeProvided(None, frozenset([UNIT])),
            "",
            id="unknown output",
        ),
        pytest.param(
            Import(A, output(1), (UNIT,)),
            FakeProvided(output(2)),
            "another interface of module Unit",
            id="cmi",
        ),
        pytest.param(
            Import(A, None, (Symbol("cmx", "Unit", "1"),)),
            FakeProvided(),
            "another implementation of module",
            id="cmx",
        ),
        pytest.param(
            Import(A, None, (Symbol("so", "liba.so.1"),)),
            FakeProvided(),
            "shared library liba.so.1",
            id="so",
        ),
        pytest.param(
            Import(A, None, (Symbol("var", "a:native", "true"),)),
            FakeProvided(),
            "variable a:native",
            id="var",
        ),
        pytest.param(Import(A, None, (Symbol("new", "x"),)), FakeProvided(), "another new x", id="new kind"),
        pytest.param(Import(A, output(1), ()), None, "a isn't there", id="not there"),
        pytest.param(Import(A, None, (UNIT,)), None, "a isn't there", id="not there, known by a unit"),
        pytest.param(Import(A, None, ()), None, "", id="nothing wanted"),
        pytest.param(Import(A, None, (SYSTEM_FILE,)), None, "", id="system file"),
        pytest.param(
            Import(A, None, (Symbol("file", "/usr/bin/ocamlc", "md6"),)),
            None,
            "/usr/bin/ocamlc is another one on this machine",
            id="another system file",
        ),
    ],
)
def test_imports(wanted: Import, have: FakeProvided | None, reason: str) -> None:
    chosen = {} if have is None else {NAME("a"): have}
    where = site(machine=FakeMachine(frozenset([SYSTEM_FILE])))
    found = refusal(snapshot("b.1", imports=(wanted,)), chosen, where)
    assert reason in found
    assert bool(found) == bool(reason)


def test_every_import_counts() -> None:
    imports = (Import(A, output(1)), Import(NAME("c"), output(1)))
    assert "c isn't there" in refusal(
        snapshot("b.1", imports=imports), {NAME("a"): FakeProvided(output(1))}, site()
    )


def test_what_planned_packages_provide() -> None:
    placed = FromManifest(snapshot("a.1", 7, provides=(UNIT,)))
    assert (placed.output, placed.has(UNIT), placed.has(OTHER_UNIT)) == (output(7), True, False)
    variable = Symbol("var", "conf-x:y", "1")
    assert (AfterCheck().output, AfterCheck().has(variable), AfterCheck().has(UNIT)) == (None, True, False)
    assert (NotYetBuilt().output, NotYetBuilt().has(UNIT)) == (None, True)
