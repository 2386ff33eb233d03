from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trust_samples import MANIFEST

from opambin.errors import BadDataError
from opambin.foreign import check, is_opams_own, stays_inside
from opambin.model import PLACEHOLDER, Digest, Edit, ExtraFile, FileEntry, FileType

DIGEST = Digest("0" * 64)
HERE = PLACEHOLDER.decode()


def refused(**changes: Any) -> str:  # noqa: ANN401 - any field
    with pytest.raises(BadDataError, match="hostile snapshot") as caught:
        check(dataclasses.replace(MANIFEST, **changes), "archive of x")
    assert caught.value.what == "archive of x"
    return caught.value.problem


def file(path: str) -> tuple[FileEntry, ...]:
    return (FileEntry(path, FileType.FILE, 0o644, DIGEST, 1),)


def link(path: str, target: str) -> tuple[FileEntry, ...]:
    return (FileEntry(path, FileType.SYMLINK, target=target),)


def test_what_builds_leave_is_taken() -> None:
    check(
        dataclasses.replace(
            MANIFEST,
            files=(
                *file("lib/zarith/zarith.cma"),
                *file(".hidden/.opam-switches"),
                *link("lib/zarith/a", "zarith.cma"),
                *link("bin/b", "../lib/zarith/zarith.cma"),
                *link("bin/c", f"{HERE}/bin/d"),
            ),
            config='opam-version: "2.0"\nvariables { x: "y" }\n',
            install='lib: ["zarith.cma" "?x" {"y"}]\nbin: "z"\n',
        ),
        "m",
    )


@pytest.mark.parametrize(
    "path",
    [
        ".opam-switch",
        ".opam-switch/switch-state",
        ".opam-switch/packages/x.1/opam",
        ".Opam-Switch/switch-config",
        ".OPAM-SWITCH/switch-config",
        ".opam\u200c-switch/switch-config",
        ".opam-\u017fwitch/x",
        "\u200d.opam-switch/x",
    ],
)
def test_opams_own_records_are_never_written(path: str) -> None:
    assert is_opams_own(path)
    assert "opam's own" in refused(files=file(path))
    assert "opam's own" in refused(edits=(Edit(path, ("line",)),))


@pytest.mark.parametrize("path", ["opam-switch", "x/.opam-switch", ".opam-switches", ".opam", "caf\u00e9"])
def test_other_names_are_not_opams(path: str) -> None:
    assert not is_opams_own(path)


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a\x1b[2Jb", "a\x7f"])
def test_names_with_newlines_and_other_controls_are_refused(name: str) -> None:
    assert "control characters" in refused(files=file(name))
    assert "control characters" in refused(files=link("x", name))
    assert "control characters" in refused(edits=(Edit(name, ("x",)),))
    assert "control characters" in refused(extra_files=(ExtraFile(name, DIGEST, 1),))


@pytest.mark.parametrize(
    ("path", "target"),
    [
        pytest.param("lib/x", "/etc/passwd", id="absolute"),
        pytest.param("lib/x", f"{HERE}-other/x", id="beside the prefix"),
        pytest.param("lib/x", f"{HERE}/../x", id="above the prefix"),
        pytest.param("lib/x", "../../x", id="relative, above the prefix"),
        pytest.param("x", "..", id="the folder above"),
        pytest.param("lib/x", "a/../../../x", id="after a name"),
        pytest.param("lib/x", "a/..", id="after a name that may be a link"),
        pytest.param("lib/x", "../.opam-switch", id="opam's records"),
        pytest.param("x", ".OPAM-switch/packages", id="opam's records in capitals"),
        pytest.param("x", f"{HERE}//.//.opam-switch", id="opam's records, absolute"),
    ],
)
def test_links_that_lead_out_are_refused(path: str, target: str) -> None:
    assert "outside of the switch" in refused(files=link(path, target))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_set_of_accepted_links_leads_out(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever links there are together: what they lead to is below the prefix, or nowhere."""
    top = Path(os.path.realpath(tmp_path_factory.mktemp("t"))) / "p"
    top.mkdir()
    names = ["a", "b", "c"]
    for folder in ("a", "a/b"):
        if data.draw(st.booleans()):
            (top / folder).mkdir(parents=True, exist_ok=True)
    made = []
    for _ in range(4):
        parts = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=3))
        target = "/".join(data.draw(st.lists(st.sampled_from([*names, "..", "."]), min_size=1, max_size=5)))
        path = top / "/".join(parts)
        inside = path.parent.is_dir() and Path(os.path.realpath(path.parent)) == path.parent
        if inside and not os.path.lexists(path) and stays_inside("/".join(parts), target):
            path.symlink_to(target)
            made.append(path)
    for path in made:
        real = os.path.realpath(path)
        assert real == str(top) or real.startswith(f"{top}/")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param('misc: ["x" {"/home/me/.bashrc"}]', "outside of the switch", id="misc"),
        pytest.param('bin: ["x" {"../../.bashrc"}]', "leaves its folder", id="dot dot"),
        pytest.param('bin: ["x" {"\\x2e\\x2e/x"}]', "leaves its folder", id="dot dot, escaped"),
        pytest.param('bin: ["x" {"/etc/x"}]', "leaves its folder", id="absolute"),
        pytest.param("bin: [", "", id="no file of opam"),
    ],
)
def test_an_install_file_that_reaches_outside_is_refused(text: str, problem: str) -> None:
    """opam deletes what it names when the package is removed."""
    assert problem in refused(install=text)


def test_a_config_that_is_none_is_refused() -> None:
    assert "zarith.config" in refused(config="}{")


def test_many_problems_are_cut_short() -> None:
    problem = refused(files=tuple(entry for n in range(20) for entry in file(f".opam-switch/{n:02}")))
    assert "and 15 more" in problem
