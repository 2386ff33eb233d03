"""A package whose files have odd names, kinds and modes: what is restored is what was built."""

from __future__ import annotations

import dataclasses
import os
import stat
import tempfile
from pathlib import Path

import pytest
import tiny
from worlds import World

pytestmark = pytest.mark.integration

FAIR = r"""set -eu
prefix=$1
mkdir "$prefix/lib/$2"; cd "$prefix/lib/$2"
echo 1 > 'a space'
echo 2 > 'quote"s and \back\slash'
echo 3 > '100%{name}%'
echo 4 > ./-dash
echo 5 > "$(printf '\303\251')"
printf 6 > "$(printf '\377\376')"
echo 7 > "it's"
: > empty
mkdir 'sub dir'; echo 8 > 'sub dir/$x'
echo linked > first; ln first second; ln first 'third name'
echo "dir: $prefix" > named; ln named also-named
truncate -s 3000000 sparse; echo end >> sparse
ln -s "$prefix/lib/$2/first" to-inside
ln -s "$prefix" to-prefix
ln -s ../../bin relative
ln -s "$(pwd -P)/first" by-pwd
ln -s "$(dirname "$prefix")//$(basename "$prefix")/lib/$2/first" by-slashes
ln -s nowhere dangling
echo 9 > secret; chmod 600 secret
echo 10 > readonly; chmod 444 readonly
mkdir closed; echo 11 > closed/x; chmod 555 closed
mkdir private; chmod 700 private
"""
ODD = rf"""{FAIR}
echo 12 > 'a
newline'
mkdir 'sub
dir '; echo 13 > 'sub
dir /y'
ln -s /etc/passwd to-outside
ln -s 'a
newline' to-newline
"""
OTHERWISE = r"""set -eu
mkdir "$1/lib/$2"
printf 'let x = "%s"' "$1" | LC_ALL=C sed 's/\o303\o251/\\195\\169/' > "$1/lib/$2/x"
"""
OTHER_SLASHES = "other=$(dirname $1)//$(basename $1)"
CONFIG = rf"""build: [["sh" "-c" "{tiny.SAY}; {OTHER_SLASHES}
  printf 'opam-version: \"2.0\"\nvariables {{ x: \"%s\" }}\n' $other > config.config" "--" prefix]]
"""
EDITED = """build: ["sh" "-c" "echo x > x.conf; echo 'share: \\"x.conf\\"' > edited.install"]\n"""
EDIT = rf"""depends: "edited"
build: ["sh" "-c" "{tiny.SAY}"]
install: ["sh" "-c" "{OTHER_SLASHES}; echo $other/lib >> $1/share/edited/x.conf" "--" prefix]
"""


@pytest.fixture(scope="module")
def odd_root(opam_program: str, short_folder: Path) -> World:
    folder = Path(tempfile.mkdtemp(dir=short_folder))
    packages = {"config.1": CONFIG, "edited.1": EDITED, "edit.1": EDIT}
    for name, script in ("fair", FAIR), ("odd", ODD), ("otherwise", OTHERWISE):
        (folder / f"{name}.sh").write_text(script)
        packages[f"{name}.1"] = (
            f'build: ["sh" "-c" "{tiny.SAY}"]\ninstall: ["sh" "{folder}/{name}.sh" prefix name]\n'
        )
    return World.make(folder / "w", opam_program, str(tiny.write(folder / "repo", packages)), sandbox=False)


def tree(prefix: Path, name: str) -> dict[bytes, tuple[int, int, bytes, bytes]]:
    """Describe what a package installed: kind, mode, content or target without the prefix, and first name."""
    here = bytes(prefix)
    found = {}
    names: dict[int, bytes] = {}
    for folder, folders, files in os.walk(here + b"/lib/" + name.encode()):
        for entry in sorted(folders + files):
            path = Path(os.fsdecode(folder + b"/" + entry))
            status, content = path.lstat(), b""
            if path.is_symlink():
                content = os.fsencode(os.readlink(path))  # noqa: PTH115 - the exact text
            elif path.is_file():
                content = path.read_bytes()
            found[bytes(path).removeprefix(here)] = (
                stat.S_IFMT(status.st_mode),
                stat.S_IMODE(status.st_mode),
                content.replace(here, b"PREFIX"),
                names.setdefault(status.st_ino, bytes(path).removeprefix(here)),
            )
    assert len(found) > 20
    return found


def test_everything_comes_back_as_it_was(odd_root: World) -> None:
    first, second = odd_root.empty_switch("first"), odd_root.empty_switch("another-second")
    odd_root.opam("install", "--switch", "first", "odd")
    odd_root.opam_bin("install", "--switch", "another-second", "odd")
    assert odd_root.built == ["odd.1"]
    assert tree(second, "odd") == tree(first, "odd")
    for link in "to-inside", "by-pwd", "by-slashes":
        assert (second / "lib/odd" / link).resolve() == second / "lib/odd/first"
    odd_root.opam("remove", "--switch", "another-second", "odd")
    assert not (second / "lib/odd").exists()


def test_remotes_and_moves_keep_it_but_for_what_others_must_not_trust(odd_root: World) -> None:
    builder = dataclasses.replace(odd_root, number=1)
    elsewhere = dataclasses.replace(odd_root, number=2)
    third, fourth = builder.empty_switch("third"), elsewhere.empty_switch("the-fourth")
    builder.opam("install", "--switch", "third", "odd", "fair")
    builder.opam_bin("remote", "add", "--write", "team", str(builder.folder / "team"))
    told = builder.opam_bin("push", "--all").text
    assert "odd.1 stays here: others would refuse it: 'lib/odd/a\\nnewline' has control characters" in told
    elsewhere.opam_bin("install", "--switch", "the-fourth", "fair")
    assert elsewhere.built == []
    builder.opam_bin("remote", "remove", "team")
    assert tree(fourth, "fair") == tree(third, "fair")
    elsewhere.opam_bin("clone", "third", "fifth")
    for name in ("odd", "fair"):
        assert tree(elsewhere.prefix("fifth"), name) == tree(third, name)


@pytest.mark.parametrize("name", ["config", "edit"])
def test_a_prefix_with_other_slashes_in_what_opam_records_or_others_own_binds(
    odd_root: World, name: str
) -> None:
    """Such a line was restored into other switches as it was, and named the first one there."""
    world = dataclasses.replace(odd_root, number=3)
    prefix = world.empty_switch(f"slashes-{name}")
    world.opam("install", "--switch", prefix.name, name)
    assert "other slashes" in world.opam_bin("show", name).out
    other = world.empty_switch(f"elsewhere-{name}")
    world.opam_bin("install", "--switch", other.name, name)
    assert world.built.count(f"{name}.1") == 2


def test_a_prefix_that_is_not_ascii_binds_only_what_writes_it_in_another_way(odd_root: World) -> None:
    """Nothing could be captured there: the reason was no file, and made a bad manifest."""
    world = dataclasses.replace(odd_root, number=4)
    folder = world.folder / "jos\u00e9"
    folder.mkdir()
    world.opam("switch", "create", str(folder), "--empty")
    world.opam("install", "--switch", str(folder), "fair", "otherwise")
    assert r"195\169" in (folder / "_opam/lib/otherwise/x").read_text()
    plain = world.empty_switch("plain")
    told = world.opam_bin("install", "--switch", "plain", "fair", "otherwise").text
    assert "bound to the prefix it was built at by lib/otherwise/x" in told
    assert (world.built.count("fair.1"), world.built.count("otherwise.1")) == (1, 2)
    assert tree(plain, "fair") == tree(folder / "_opam", "fair")
