from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cli_runs import Cli

from opambin.model import Bound, Kind, Occurrence, PackageName
from opambin.reports.reach import limits_of
from opambin.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from opambin.model import Manifest

OPAM = 'opam-version: "2.0"\ndepends: ["below" "tool" {build} "gone"]\n'


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    return Cli(monkeypatch, capsys, tmp_path)


def change(cli: Cli, manifest: Manifest, **more: object) -> Manifest:
    """Replace a snapshot of the store."""
    new = replace(manifest, **more)  # type: ignore[arg-type]
    with Store.open(cli.cache) as store:
        store.drop(manifest.key, manifest.output)
        store.add(new)
    return new


def stack(cli: Cli) -> None:
    """Make a package that needs one that can be moved a little, and was built with one that can't."""
    top, below, tool = cli.fill("top", "below", "tool")
    change(cli, tool, bound=(Bound("bin/tool", "a hidden prefix"),), prefix="/opt/x")
    change(cli, below, bound=(Bound("bin/below", "no room", 40),))
    keys = {"below": below.key, "tool": tool.key, "gone": "9" * 64}
    document = ",".join(f'"{name}":"{key}"' for name, key in keys.items())
    change(cli, top, opam=OPAM, inputs=f'{{"dependencies":{{{document}}}}}')


def test_a_snapshot_with_its_closure(cli: Cli) -> None:
    stack(cli)
    done = cli("relocatable", "--store", "top", "--json")
    assert done.code == 0
    (row,) = done.json
    assert (row["movable"], row["source"], row["limits"]) == ("anywhere", "snapshot", [])
    closure = row["closure"]
    assert (closure["movable"], closure["longest_prefix"]) == ("limited", 40)
    assert closure["unknown"] == ["gone"]
    assert [limit["path"] for limit in closure["limits"]] == ["bin/below"]


def test_words(cli: Cli) -> None:
    stack(cli)
    said = cli("relocatable", "--store", "top", "tool")
    assert said.code == 5
    top, tool = (line for line in said.out.splitlines()[1:3])
    assert top.split()[1:5] == ["anywhere", "up", "to", "40"]
    assert "not known: gone" in top
    assert tool.split()[1:3] == ["bound", "bound"]
    assert "bin/tool: bound: a hidden prefix" in said.out


@pytest.mark.parametrize(
    ("args", "code"),
    [
        pytest.param(("--store",), 2, id="no names"),
        pytest.param(("--store", "nothing"), 2, id="not in the store"),
        pytest.param(("--store", "top", "--switch", "s"), 2, id="both"),
        pytest.param((), 4, id="no root"),
    ],
)
def test_misuse(cli: Cli, args: tuple[str, ...], code: int) -> None:
    cli.fill("top")
    assert cli("relocatable", *args).code == code


def test_no_store(cli: Cli) -> None:
    done = cli("relocatable", "--store", "top")
    assert (done.code, "no store" in done.err) == (4, True)


def test_the_tightest_limit_comes_first(cli: Cli) -> None:
    (manifest,) = cli.fill("x")
    file = manifest.files[0]
    occurrences = (
        Occurrence(Kind.CSTRING, 0, 200, where=".rodata"),
        Occurrence(Kind.BLOCK, 300, 90),
        Occurrence(Kind.CSTRING, 600, 10, functional=False),
        Occurrence(Kind.TEXT, 900),
    )
    limits = limits_of(
        "x.1", [replace(file, occurrences=occurrences)], [Bound("b", "r", 100), Bound("a", "s")]
    )
    assert [(limit.longest, limit.path) for limit in limits] == [(0, "a"), (90, file.path), (100, "b")]
    assert limits[1].reason == "room in a block"
    assert PackageName(limits[0].package) == "x.1"
