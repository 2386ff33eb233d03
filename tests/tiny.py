"""A repository of packages that take no compiler: each build command is a shell's, and says that it ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HEAD = 'opam-version: "2.0"\nmaintainer: "m@example.org"\nsynopsis: "s"\n'
SAY = "echo %{name}%.%{version}% >> $TEST_BUILD_LOG"

TREE = f"""build: [["sh" "-c" "{SAY}; echo lib: $1 > where" "--" lib]]
install: [["sh" "-c" "
  mkdir -p $1/lib/tree/sub $1/lib/tree/empty $1/bin
  cp where $1/lib/tree/where; ln -s where $1/lib/tree/link; ln -s nowhere $1/lib/tree/dangling
  echo %{{version}}% > $1/lib/tree/sub/version
  printf '#!/bin/sh\\\\ncat %s/lib/tree/where\\\\n' $1 > $1/bin/tree; chmod 755 $1/bin/tree
  " "--" prefix]]
"""
FLAT = f"""build: [["sh" "-c" "{SAY}; echo %{{prefix}}% > f; echo 2 > g
  printf 'lib: [\\"f\\" \\"?nope\\" \\"g\\" {{\\"deep/er/g\\"}}]\\n' > flat.install
  printf 'bin: [\\"g\\" {{\\"flat\\"}}]\\n' >> flat.install"]]
"""
LEAF = f"""build: [["sh" "-c" "{SAY}; echo %{{name}}% > x
  printf 'lib: [\\"x\\"]\\n' > %{{name}}%.install"]]
"""
BIG = f"""build: [["sh" "-c" "{SAY}; head -c 3000000 /dev/urandom > x
  printf 'lib: [\\"x\\"]\\n' > big.install"]]
"""
SLOW = f"""build: [
  ["sh" "-c" "{SAY}"]
  ["sh" "-c" "touch $TEST_BUILD_LOG.slow; i=0; while test -e $TEST_BUILD_LOG.hold -a $i -lt 600
    do sleep 0.1; i=$(expr $i + 1); done"]
  ["sh" "-c" "echo slow > x; printf 'lib: [\\"x\\"]\\n' > slow.install"]
]
"""
HALF = f"""build: [["sh" "-c" "{SAY}"]]
install: [
  ["sh" "-c" "mkdir -p $1/lib/half; echo 1 > $1/lib/half/one" "--" prefix]
  ["sh" "-c" "exit 3"]
]
"""
PACKAGES = {
    "tree.1": TREE,
    "tree.2": TREE,
    "flat.1": f'depends: ["tree"]\n{FLAT}',
    "top.1": f'depends: ["flat"]\n{LEAF}',
    "leaf.1": LEAF,
    "lone.1": LEAF,
    "big.1": BIG,
    "slow.1": SLOW,
    "failing.1": f'depends: ["leaf"]\nbuild: [["sh" "-c" "{SAY}; exit 7"]]\n',
    "half.1": HALF,
    "comp.1": f"flags: compiler\n{LEAF}",
    "virtual.1": 'depends: ["leaf"]\n',
}


def write(folder: Path, more: Mapping[str, str] | None = None) -> Path:
    """Write the repository, with some packages more, and return its folder."""
    for package, text in {**PACKAGES, **(more or {})}.items():
        target = folder / "packages" / package.partition(".")[0] / package
        target.mkdir(parents=True)
        (target / "opam").write_text(HEAD + text)
    (folder / "repo").write_text('opam-version: "2.0"\n')
    return folder
