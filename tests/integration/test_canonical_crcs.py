"""Units whose CRC depends on the prefix, built by a real opam at two prefixes of different lengths."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from worlds import World

from opambin.model import PackageName
from opambin.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from opambin.model import Manifest

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("ocamlopt") is None, reason="no ocamlopt"),
]

HEAD = 'opam-version: "2.0"\nmaintainer: "m@example.org"\nsynopsis: "s"\n'
PACKAGES = {
    "where": """
build: [
  ["sh" "-c" "printf 'let prefix = %s%s%s' '\\"' \\"$1\\" '\\"' > where.ml" "--" prefix]
  ["sh" "-c" "echo 'let lib = Where.prefix ^ \\"/lib\\" let where () = Where.prefix' > top.ml"]
  ["ocamlopt" "-c" "where.ml" "top.ml"]
  ["ocamlopt" "-a" "-o" "where.cmxa" "where.cmx" "top.cmx"]
]
install: ["sh" "-c" "mkdir -p $1/where && cp *.cm* *.a *.o $1/where" "--" lib]
""",
    "user": """
depends: ["where"]
build: [
  ["sh" "-c" "echo 'let () = print_endline Top.lib' > main.ml"]
  ["ocamlopt" "-I" "%{lib}%/where" "where.cmxa" "main.ml" "-o" "main"]
]
install: [
  ["sh" "-c" "mkdir -p $1/bin $1/lib/user && cp main $1/bin && cp main.cm* main.o $1/lib/user" "--" prefix]
]
""",
}


@pytest.fixture
def world(opam_program: str, tmp_path: Path, short_folder: Path) -> World:
    repository = tmp_path / "repo"
    for name, text in PACKAGES.items():
        folder = repository / "packages" / name / f"{name}.1"
        folder.mkdir(parents=True)
        (folder / "opam").write_text(HEAD + text)
    (repository / "repo").write_text('opam-version: "2.0"\n')
    return World.make(short_folder / "crcs", opam_program, str(repository), sandbox=False)


def snapshots(world: World) -> dict[str, Manifest]:
    with Store.open(world.cache, readonly=True) as store:
        return {str(manifest.package.name): manifest for manifest in store.manifests.all()}


def test_what_was_built_against_a_package_fits_to_the_same_package_built_elsewhere(world: World) -> None:
    world.empty_switch("s")
    world.opam("install", "--switch", "s", "user")
    other, name = replace(world, number=1), "a-name-that-is-longer"
    prefix = world.empty_switch(name)
    other.opam("install", "--switch", name, "where")
    here, there = snapshots(world), snapshots(other)
    imports = {wanted.provider: wanted.symbols for wanted in here["user"].imports}
    assert {symbol.name for symbol in imports[PackageName("where")] if symbol.kind == "cmx"} >= {"Top"}
    assert here["where"].output == there["where"].output
    assert here["where"].provides == there["where"].provides
    done = world.opam_bin("install", "--switch", name, "user")
    assert "1 restored" in done.text
    assert world.run(str(prefix / "bin/main")).out == f"{prefix}/lib\n"
    # What is compiled now links with what was compiled at the other prefix.
    (world.folder / "more.ml").write_text("let () = print_endline (Top.where ())\n")
    lib = prefix / "lib/where"
    world.run(
        "ocamlopt",
        "-I",
        str(lib),
        f"{lib}/where.cmxa",
        "more.ml",
        f"{prefix}/lib/user/main.cmx",
        "-o",
        "more",
    )
    assert world.run(str(world.folder / "more")).out.split() == [str(prefix), f"{prefix}/lib"]
