"""``opam-bin selftest-relocation`` on packages that hide the prefix, and on one that does not."""

from __future__ import annotations

import dataclasses
import json
import shutil
from typing import TYPE_CHECKING

import pytest
from worlds import World

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("objdump") is None, reason="no objdump"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler"),
]

HEAD = 'opam-version: "2.0"\nmaintainer: "m@example.org"\nsynopsis: "s"\n'
BUILD = """build: [
  ["sh" "-c" "printf '%s\\n' '#include <stdio.h>' '{code}' > x.c"]
  ["sh" "-c" "h=$(echo $1 | cksum | cut -d' ' -f1)
    cc -O2 -DHASH=${{h}}u -DPREFIX=\\\\\\"$1\\\\\\" x.c -o x" "--" prefix]
  ["sh" "-c" "printf 'bin: [\\"x\\" {{\\"{name}\\"}}]\\n' > {name}.install"]
]
"""
PACKAGES = {
    "open": "int main(void){return puts(PREFIX);}",
    "hashed": "int main(void){return printf(PREFIX) + HASH;}",
    "measured": "int main(void){return printf(PREFIX) == sizeof(PREFIX) - 1;}",
}


@pytest.fixture
def programs(opam_program: str, tmp_path: Path, short_folder: Path) -> World:
    repository = tmp_path / "repo"
    for name, code in PACKAGES.items():
        folder = repository / "packages" / name / f"{name}.1"
        folder.mkdir(parents=True)
        text = BUILD.replace("{code}", code).replace("{name}", name).replace("{{", "{").replace("}}", "}")
        (folder / "opam").write_text(HEAD + text)
    (repository / "repo").write_text('opam-version: "2.0"\n')
    world = World.make(short_folder / "selftest", opam_program, str(repository), sandbox=False)
    world.empty_switch("here")
    return dataclasses.replace(world)


def test_what_is_hidden_is_named(programs: World) -> None:
    done = programs.opam_bin("selftest-relocation", *PACKAGES, "--switch", "here", "--json", code=1)
    found = {(item["package"], item["kind"]) for item in json.loads(done.out)}
    assert ("hashed.1", "hidden prefix") in found
    assert ("measured.1", "compiled-in length") in found
    assert not [item for item in found if item[0] == "open.1"]
    assert programs.opam("switch", "list", "--short").out.split() == ["here"]
