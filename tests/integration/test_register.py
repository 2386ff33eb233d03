"""What we write into a switch against what opam writes for the same packages, byte by byte.

One switch is installed by opam, the other gets a copy of the files and our records. ``OPAMBIN_TEST_OPAMS``
may name the opams to try (paths joined by ``:``); otherwise it is the one on the PATH.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from opambin.model import Package, PackageName
from opambin.opam import environment
from opambin.opam.changes import Changes
from opambin.opam.client import Opam
from opambin.opam.lock import SwitchLock
from opambin.opam.register import Guard, Registration, register, removal_obstacle, unregister
from opambin.opam.root import Root
from opambin.opam.solution import Plan
from opambin.opam.switch import Switch

pytestmark = pytest.mark.integration

OPAMS = [path for path in os.environ.get("OPAMBIN_TEST_OPAMS", "opam").split(":") if path]

HEAD = 'opam-version: "2.0"\nmaintainer: "m@example.org"\nsynopsis: "s"\n'
REPOSITORY = {
    "comp.1": HEAD + 'flags: compiler\ndepends: ["base" {post} "rt" "tool" {build}]\n'
    'setenv: [[COMP_DIR = "%{lib}%/comp"]]\n',
    "comp.2": HEAD + 'flags: compiler\ndepends: ["base" {post} "rt"]\n',
    "base.1": HEAD,
    "rt.1": HEAD + 'install: [["touch" "%{lib}%/rt"]]\n',
    "tool.1": HEAD,
    "tree.1": HEAD
    + """depends: ["comp"]
setenv: [[TREE += "%{lib}%/tree"]]
description: \"\"\"
Long text with "quotes" and \\\\ backslashes.
\"\"\"
install: [["sh" "-c" "
  mkdir -p \\"$1/lib/tree/sub\\" \\"$1/lib/tree/empty\\" \\"$1/share/tree\\"
  echo hi > \\"$1/lib/tree/x\\"; ln -s x \\"$1/lib/tree/l\\"; ln -s nowhere \\"$1/lib/tree/dangling\\"
  ln -s sub \\"$1/lib/tree/dirlink\\"; touch -d @1577836800 \\"$1/lib/tree/sub/whole\\"
  echo y > \\"$1/lib/tree/sub/with space\\"; ln \\"$1/lib/tree/x\\" \\"$1/share/tree/hard\\"
  " "--" prefix]]
""",
    "fast.1": HEAD
    + """build: [["sh" "-c" "echo 1 > f; echo 2 > g
  printf 'lib: [\\"f\\" \\"?no\\" \\"g\\" {\\"deep/er/g\\"}]\\nbin: [\\"f\\" {\\"fast\\"}]\\n' > fast.install
  printf 'opam-version: \\"2.0\\" variables { words: \\"y z # a\\" }' > fast.config"]]
""",
    "opam-plug.1": HEAD
    + """flags: plugin
depends: ["tree" "fast"]
install: [["sh" "-c" "mkdir -p $1/bin; echo '#!/bin/sh' > $1/bin/opam-plug" "--" prefix]]
""",
    "leaf.1": HEAD + 'install: [["touch" "%{lib}%/leaf"]]\n',
    "only-meta.1": HEAD,
}
WANTED = ["opam-plug", "only-meta"]


@pytest.fixture(scope="module", params=OPAMS)
def opam(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Opam:
    """An opam with a root of its own, a small repository, and two empty switches."""
    program = shutil.which(request.param)
    if program is None:
        pytest.skip(f"no {request.param}")
    folder = tmp_path_factory.mktemp("opam")
    repository = folder / "repo"
    for package, text in REPOSITORY.items():
        target = repository / "packages" / package.split(".", maxsplit=1)[0] / package
        target.mkdir(parents=True)
        (target / "opam").write_text(text)
    (repository / "repo").write_text('opam-version: "2.0"\n')
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPAM")}
    root = folder / "root"
    client = Opam(program, root, None, {**kept, "OPAMROOTISOK": "1", "OPAMYES": "1", "HOME": str(folder)})
    client.query(["init", "--bare", "--no-setup", "--disable-sandboxing", str(repository)])
    return client


def switch_of(client: Opam, name: str) -> Switch:
    return Switch.open(Root.open(client.root or Path()), name, {})


def fresh(client: Opam, name: str) -> tuple[Opam, Switch]:
    done = client.run(["switch", "remove", name], capture=True)
    assert done.code in (0, 2, 5), done.stderr
    client.query(["switch", "create", name, "--empty", "--description", "same"])
    client.query(["switch", "set-invariant", "comp", f"--switch={name}", "--no-action"])
    return Opam(client.program, client.root, name, client.environ), switch_of(client, name)


def plan_of(client: Opam, args: list[str]) -> Plan:
    plan = client.plan(args)
    assert isinstance(plan, Plan), plan
    return plan


def registration(source: Switch, package: Package, text: str, target: Switch, *, root: bool) -> Registration:
    """Copy a package's files from one switch to the other, and describe them."""
    changes = source.changes(package.name)
    assert changes is not None
    for path in changes.added():
        old, new = source.prefix / path, target.prefix / path
        if old.is_dir() and not old.is_symlink():
            new.mkdir(exist_ok=True, parents=True)
        else:
            new.parent.mkdir(exist_ok=True, parents=True)
            shutil.copy2(old, new, follow_symlinks=False)
    config, install = source.config_file(package.name), source.install_file(package.name)
    return Registration(
        package,
        text,
        Changes.from_disk(target.prefix, changes.added()),
        source.installed_files(package),
        config.read_text() if config.exists() else None,
        install.read_text() if install.exists() else None,
        root=root,
    )


def register_like(
    client: Opam, source: Switch, target: Switch, packages: list[Package], roots: list[str]
) -> None:
    texts = client.show_raw(packages)
    assert set(texts) == set(packages)
    fingerprint = target.fingerprint()
    with SwitchLock(target.meta, target.root.path, timeout=5) as lock:
        items = [registration(source, p, texts[p], target, root=p.name in roots) for p in packages]
        written = register(target, items, Guard(lock, fingerprint))
    if written.environment_stale:
        environment.refresh(client, target)


def records(switch: Switch) -> dict[str, str]:
    """All that opam keeps about a switch, without its prefix and the times of its ``.config`` files."""
    found = {}
    for path in sorted(switch.meta.rglob("*")):
        name = str(path.relative_to(switch.meta))
        if (
            not path.is_file()
            or name.split("/", maxsplit=1)[0] in {"lock", "backup", "build", "sources"}
            or path.name == "cache"
        ):
            continue
        text = (
            path.read_text()
            .replace(str(switch.prefix), "PREFIX")
            .replace(f"switch\\ {switch.name}", "switch")
        )
        if name.endswith(".changes"):
            text = "".join(
                line for line in text.splitlines(keepends=True) if '".opam-switch/config' not in line
            )
        found[name] = text
    return found


def timeless(switch: Switch) -> dict[str, str]:
    """The records of a switch some of whose packages were built at another time."""
    return {name: re.sub(r'(F:S\d+)T[\d.]+"', r'\1"', text) for name, text in records(switch).items()}


def shell_environment(client: Opam, name: str) -> str:
    """What ``opam env`` says, without the file where newer opams keep the last one."""
    lines = client.query(["env", f"--switch={name}"]).replace(name, "SWITCH").splitlines()
    return "\n".join(line for line in lines if "OPAM_LAST_ENV" not in line)


def payload(switch: Switch) -> list[str]:
    return sorted(
        str(path.relative_to(switch.prefix))
        for path in switch.prefix.rglob("*")
        if switch.meta not in (path, *path.parents)
    )


def test_registered_switch_equals_installed_one(opam: Opam) -> None:
    by_opam, first = fresh(opam, "first")
    by_hand, second = fresh(opam, "second")
    empty = payload(second)
    plan = plan_of(by_hand, ["install", *WANTED])
    by_opam.query(["install", *WANTED])
    assert set(plan.installs) == first.state().packages

    register_like(by_hand, first, second, list(plan.installs), [*WANTED])

    expected, observed = records(first), records(second)
    assert observed.keys() == expected.keys()
    assert observed == expected
    assert payload(second) == payload(first)
    assert by_hand.query(["list"]).replace("second", "first") == by_opam.query(["list"])
    assert by_hand.query(["switch", "export", "-"]) == by_opam.query(["switch", "export", "-"])
    assert shell_environment(by_hand, "second") == shell_environment(by_opam, "first")
    assert plan_of(by_hand, ["install", *WANTED]).actions == ()
    assert plan_of(by_hand, ["upgrade"]).actions == ()
    link = second.root.path / "plugins" / "bin" / "opam-plug"
    assert link.resolve() == second.prefix / "bin" / "opam-plug"

    done = by_hand.run(["remove", "--yes", "--auto-remove", *WANTED, "tree", "fast"], capture=True)
    assert done.ok, done.stderr
    assert "modified" not in done.stdout + done.stderr
    by_opam.query(["remove", "--yes", "--auto-remove", *WANTED, "tree", "fast"])
    assert payload(second) == payload(first)
    by_hand.query(["remove", "--yes", "--update-invariant", "--auto-remove", "comp"])
    assert payload(second) == empty


def test_upgrade_of_the_compiler(opam: Opam) -> None:
    by_opam, first = fresh(opam, "up1")
    by_hand, second = fresh(opam, "up2")
    for client in (by_opam, by_hand):
        client.query(["install", "comp.1", "fast"])
    by_opam.query(["upgrade", "comp"])
    plan = plan_of(by_hand, ["upgrade", "comp"])
    assert [str(p) for p in plan.removes] == ["comp.1"]

    register_like(by_hand, first, second, list(plan.installs), [])

    assert timeless(second) == timeless(first)
    assert plan_of(by_hand, ["upgrade"]).actions == ()


def test_undo_leaves_no_trace(opam: Opam) -> None:
    by_opam, first = fresh(opam, "undo1")
    by_hand, second = fresh(opam, "undo2")
    by_opam.query(["install", *WANTED])
    by_hand.query(["install", "fast"])
    pending = plan_of(by_hand, ["upgrade"]).actions
    before = {path: path.read_bytes() for path in second.meta.rglob("*") if path.is_file()}
    packages = sorted(first.state().packages)
    texts = by_hand.show_raw(packages)
    with SwitchLock(second.meta, second.root.path, timeout=5) as lock:
        items = [Registration(p, texts[p], Changes(), root=True) for p in packages]
        journal = register(second, items, Guard(lock))
        assert second.state().packages == frozenset(packages)
        journal.undo()
    cache = second.meta / "packages" / "cache"
    after = {path: path.read_bytes() for path in second.meta.rglob("*") if path.is_file()}
    assert after == before
    assert cache in after
    assert plan_of(by_hand, ["upgrade"]).actions == pending


def test_removal_by_hand_equals_opams(opam: Opam) -> None:
    by_opam, first = fresh(opam, "rm1")
    by_hand, second = fresh(opam, "rm2")
    for client in (by_opam, by_hand):
        client.query(["install", "fast", "leaf", "only-meta"])
    state = second.state()
    removable = {package.name for package in state.packages if not removal_obstacle(second, package)}
    named = {PackageName("fast"), PackageName("leaf")}
    assert removable >= named
    assert "no record" in (removal_obstacle(second, Package.parse("only-meta.1")) or "")
    with SwitchLock(second.meta, second.root.path, timeout=5) as lock:
        unregister(second, named, Guard(lock))
    by_opam.query(["remove", "fast", "leaf"])
    assert timeless(second) == timeless(first)


def test_opam_waits_for_our_lock(opam: Opam) -> None:
    by_hand, second = fresh(opam, "busy")
    command = [by_hand.program, "install", "only-meta"]
    with (
        SwitchLock(second.meta, second.root.path),
        subprocess.Popen(
            command, env=by_hand.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as other,
    ):
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                other.wait(1)
            assert not second.state().installed
        finally:
            other.kill()


def test_variables_and_options(opam: Opam) -> None:
    client, switch = fresh(opam, "vars")
    client.query(["install", "fast"])
    values = client.variables(["os", "fast:words", "no-such", "prefix"])
    assert values["os"] == "linux" or values["os"]
    assert values["fast:words"] == "y z # a"
    assert values["no-such"] == ""
    assert values["prefix"] == str(switch.prefix) == str(client.switch_prefix("vars"))
    assert "vars" in client.switches()
    client.option_set('pre-session-commands=["true"]')
    assert client.query(["option", "--global", "pre-session-commands"]).strip() in {'["true"]', '"true"'}
    client.option_set("pre-session-commands=")
    client.bypass_depexts(["libx-dev", "liby-dev"])
    assert switch.config().depext_bypass == ("libx-dev", "liby-dev")
    assert client.query(["option", "invariant"]).strip() == '["comp"]'
