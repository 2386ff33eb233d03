from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from opambin import recipes
from opambin.errors import BadDataError
from opambin.recipes import Recipe, load, parse
from opambin.resources import patches_directory

if TYPE_CHECKING:
    from pathlib import Path

SHIPPED = sorted(path.parent.name for path in patches_directory().glob("*/recipe.yaml"))


def write(directory: Path, text: str, name: str = "foo") -> Path:
    (directory / name).mkdir()
    (directory / name / "recipe.yaml").write_text(text)
    return directory


@pytest.mark.parametrize("name", SHIPPED)
def test_every_recipe_that_we_ship_is_valid_and_does_something(name: str) -> None:
    path = patches_directory() / name / "recipe.yaml"
    for entry in parse(path.read_bytes(), path):
        assert entry.recipe.reason
        assert entry.patch or entry.recipe.digest() != Recipe("").digest()
        assert not entry.patch or (path.parent / entry.patch).read_bytes().startswith(b"--- a/")


def test_shipped_recipes_are_those_that_the_experiments_ask_for() -> None:
    ocamlbuild, compiler = load("ocamlbuild", "0.14.1"), load("ocaml-base-compiler", "5.2.0")
    assert ocamlbuild is not None
    assert compiler is not None
    assert b"libdir_abs" in ocamlbuild.patch
    assert (ocamlbuild.keep_length, ocamlbuild.ocamllib) == (False, True)
    assert (compiler.keep_length, compiler.ocamllib) == (False, False)


def test_a_package_without_a_folder_costs_no_yaml() -> None:
    program = (
        "import sys; from opambin.recipes import load; print(load('zarith', '1'), 'yaml' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "None False\n"


@pytest.mark.parametrize(
    ("versions", "version", "fits"),
    [
        pytest.param("*", "anything", True, id="all"),
        pytest.param('>= "0.14" & < "0.16"', "0.15.1", True, id="range"),
        pytest.param('>= "0.14" & < "0.16"', "0.16", False, id="above a range"),
        pytest.param('= "1" | = "3"', "3", True, id="either"),
        pytest.param('!(= "1")', "1", False, id="negated"),
        pytest.param('< "1.0"', "1.0~rc1", True, id="tilde sorts before"),
    ],
)
def test_versions(tmp_path: Path, versions: str, version: str, fits: bool) -> None:
    write(tmp_path, f"- versions: '{versions}'\n  pad: false\n  reason: r\n")
    assert (load("foo", version, tmp_path) is not None) is fits


def test_a_patch_enters_the_digest_and_must_be_there(tmp_path: Path) -> None:
    folder = write(tmp_path, "- {versions: '*', patch: fix.patch, reason: r}\n")
    with pytest.raises(BadDataError, match=r"fix\.patch can't be read"):
        load("foo", "1", folder)
    digests = []
    for content in (b"one", b"two"):
        (folder / "foo" / "fix.patch").write_bytes(content)
        recipe = load("foo", "1", folder)
        assert recipe is not None
        digests.append(recipe.digest())
    assert len({*digests, Recipe("").digest()}) == 3


def test_the_first_fitting_entry_is_taken(tmp_path: Path) -> None:
    write(tmp_path, "- {versions: '< \"2\"', reason: old}\n- {versions: '*', reason: any}\n")
    reasons = [getattr(load("foo", version, tmp_path), "reason", None) for version in ("1", "2")]
    assert reasons == ["old", "any"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        pytest.param("{", ["line 1: the file ends in a bracket"], id="not yaml"),
        pytest.param("a: 1", ["not a list of recipes"], id="a map"),
        pytest.param("[]", ["not a list of recipes"], id="empty"),
        pytest.param("- 3", ["entry 1: not a map"], id="entry is no map"),
        pytest.param("- {versions: '*'}", ["entry 1: no reason"], id="no reason"),
        pytest.param("- {versions: '*', reason: ' '}", ["entry 1: no reason"], id="blank reason"),
        pytest.param("- {reason: r}", ["versions is missing"], id="no versions"),
        pytest.param("- {versions: '> 3', reason: r}", ["quoted versions"], id="unquoted version"),
        pytest.param("- {versions: 'os = \"x\"', reason: r}", ["quoted versions"], id="a filter"),
        pytest.param("- {versions: '] [', reason: r}", ["not a constraint"], id="syntax"),
        pytest.param('- {versions: \'= "1"} {= "2"\', reason: r}', ["quoted versions"], id="two braces"),
        pytest.param(
            "- {versions: '*', reason: r, pad: 'no!'}", ["pad is not true or false"], id="not a boolean"
        ),
        pytest.param(
            "- {versions: '*', reason: r, env: {A: 1}}", ["value of A is not a text"], id="env value"
        ),
        pytest.param("- {versions: '*', reason: r, env: {A-B: x}}", ["'A-B' is not the name"], id="env name"),
        pytest.param("- {versions: '*', reason: r, env: {A: '{home}'}}", ["braces: home"], id="unknown hole"),
        pytest.param(
            "- {versions: '*', reason: r, env: {OPAMBIN_PAD: x}}", ["'OPAMBIN_PAD' is not"], id="our own name"
        ),
        pytest.param(
            "- {versions: '*', reason: r, pad-variables: ['a b']}", ["'a b' is not"], id="pad variable"
        ),
        pytest.param(
            "- {versions: 1, padd: true}\n- {versions: '*', cacheable: 3}",
            [
                "entry 1: unknown field 'padd'",
                "entry 1: versions is not a text",
                "entry 1: no reason",
                "entry 2: cacheable",
                "entry 2: no reason",
            ],
            id="all problems at once",
        ),
    ],
)
def test_what_is_wrong_is_said(text: str, parts: list[str]) -> None:
    with pytest.raises(BadDataError) as caught:
        parse(text.encode(), "foo/recipe.yaml")
    assert caught.value.what == "foo/recipe.yaml"
    assert [part for part in parts if part not in caught.value.problem] == []


def test_the_digest_is_of_what_a_recipe_does() -> None:
    base = Recipe("one", pad=False)
    assert base.digest() == Recipe("another", pad=False).digest()
    others = [
        Recipe("", pad=False, keep_length=True),
        Recipe("", pad=False, ocamllib=False),
        Recipe("", pad=False, env=(("A", "b"),)),
        Recipe("", pad=False, pad_variables=("A",)),
        Recipe("", pad=False, cacheable=False),
    ]
    assert len({base.digest(), *(other.digest() for other in others)}) == 6


def test_the_fragment_sets_what_the_wrappers_read() -> None:
    recipe = Recipe(
        "r",
        pad=False,
        ocamllib=False,
        env=(("A", "{prefix}/x y:{padded}"), ("B", "it's")),
        pad_variables=("C", "D"),
    )
    script = (
        recipe.sh_fragment("/p'q", "/p//q")
        + r"""
printf '%s\n' "$OPAMBIN_PAD" "$OPAMBIN_OCAMLLIB" "$OPAMBIN_PAD_ALSO"; env | grep '^[AB]='
"""
    )
    done = subprocess.run(
        ["sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["no", "no", "C D", "A=/p'q/x y:/p//q", "B=it's"]
    assert Recipe("r").sh_fragment("/p", "/p") == ""


def test_the_recipes_module_is_light() -> None:
    assert not hasattr(recipes, "yaml")
