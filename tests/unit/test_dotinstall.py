from __future__ import annotations

import pytest

from opambin.errors import BadDataError
from opambin.opam.dotinstall import Installed, entries
from opambin.opam.parser import parse


def found(text: str) -> list[Installed]:
    return entries(parse(text, "demo.install"), "demo")


@pytest.mark.parametrize(
    ("text", "target"),
    [
        pytest.param('bin: ["x"]', "bin/x", id="bin"),
        pytest.param('sbin: ["x"]', "sbin/x", id="sbin"),
        pytest.param('lib: ["_build/x"]', "lib/demo/x", id="lib"),
        pytest.param('libexec: ["x"]', "lib/demo/x", id="libexec"),
        pytest.param('lib_root: ["x" {"a/b"}]', "lib/a/b", id="lib_root"),
        pytest.param('libexec_root: ["x"]', "lib/x", id="libexec_root"),
        pytest.param('toplevel: ["x"]', "lib/toplevel/x", id="toplevel"),
        pytest.param('stublibs: ["dllx.so"]', "lib/stublibs/dllx.so", id="stublibs"),
        pytest.param('share: ["x"]', "share/demo/x", id="share"),
        pytest.param('share_root: ["x" {"./a//b"}]', "share/a/b", id="share_root"),
        pytest.param('etc: ["x"]', "etc/demo/x", id="etc"),
        pytest.param('doc: ["x"]', "doc/demo/x", id="doc"),
        pytest.param('man: ["x.1"]', "man/man1/x.1", id="manual page"),
        pytest.param('man: ["x.3o.gz"]', "man/man3/x.3o.gz", id="compressed manual page"),
        pytest.param('man: ["README"]', "man/README", id="manual page without chapter"),
        pytest.param('man: ["x.1" {"man7/y.7"}]', "man/man7/y.7", id="manual page with a place"),
        pytest.param('bin: "x"', "bin/x", id="without brackets"),
    ],
)
def test_where_files_go(text: str, target: str) -> None:
    (entry,) = found(text)
    assert entry.target == target
    assert entry.section == text.partition(":")[0]
    assert not entry.optional


def test_files_that_may_be_missing() -> None:
    assert found('lib: ["?a" "b" {"c"} "?d/e" {"f"}]') == [
        Installed("lib", "a", "lib/demo/a", optional=True),
        Installed("lib", "b", "lib/demo/c", optional=False),
        Installed("lib", "d/e", "lib/demo/f", optional=True),
    ]


def test_unknown_fields_and_empty_ones_say_nothing() -> None:
    assert found('opam-version: "2.0" nonsense: ["x"] misc: []') == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param('misc: ["x" {"/etc/x"}]', "outside of the switch (misc:)", id="misc"),
        pytest.param('root: ["x"]', "outside of the switch (root:)", id="root"),
        pytest.param('rootexec: ["x"]', "outside of the switch (rootexec:)", id="rootexec"),
        pytest.param('bin: ["x" {"../../x"}]', "leaves its folder: ../../x", id="target"),
        pytest.param('bin: ["x" {"/etc/x"}]', "leaves its folder: /etc/x", id="absolute target"),
        pytest.param('bin: ["../x"]', "leaves its folder: ../x", id="source"),
        pytest.param('bin: ["/etc/passwd"]', "leaves its folder: /etc/passwd", id="absolute source"),
        pytest.param('bin: ["?/etc/passwd" {"x"}]', "leaves its folder: /etc/passwd", id="optional source"),
        pytest.param("bin: [x]", "not a file of a .install file", id="identifier"),
        pytest.param('bin: ["x" {"y" "z"}]', "not a file of a .install file", id="two targets"),
        pytest.param('bin { x: "y" }', "unexpected section bin", id="section"),
    ],
)
def test_refused(text: str, problem: str) -> None:
    with pytest.raises(BadDataError, match=r"demo\.install") as caught:
        found(text)
    assert problem in str(caught.value)
