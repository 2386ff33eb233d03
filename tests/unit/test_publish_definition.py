from __future__ import annotations

import json
from dataclasses import replace

import pytest
from snapshot_samples import OPAM, PLATFORM, sha

from opambin.model import (
    ConeKey,
    FileEntry,
    FileType,
    Import,
    Manifest,
    OutputId,
    Package,
    PackageName,
    Symbol,
    Version,
)
from opambin.opam.ast import Field
from opambin.opam.parser import parse
from opambin.opam.printer import print_value
from opambin.publish import definition
from opambin.publish.catalogue import Archive, ContentKind, Dependency, archive_path
from opambin.publish.definition import Around

KEY = ConeKey(sha("key"))
HEX = sha("archive")
ARCHIVE = Archive(archive_path(HEX), HEX, HEX * 2, 10)
FILE = FileEntry("lib/x", FileType.DIRECTORY, 0o755), FileEntry("lib/x/META", FileType.SYMLINK, target="y")


def sample(opam: str, dependencies: dict[str, str] | None = None, **changes: object) -> Manifest:
    inputs = {
        **PLATFORM,
        "name": "x",
        "version": "1.0",
        "dependencies": dependencies or {},
        "flags": {"with-test": False},
        "variables": {"os-family": "debian"},
    }
    manifest = Manifest(
        KEY,
        OutputId(sha("output")),
        Package(PackageName("x"), Version("1.0")),
        opam,
        json.dumps(inputs),
        FILE,
    )
    return replace(manifest, **changes)  # type: ignore[arg-type]  # what tests change


def defined(manifest: Manifest, around: Around | None = None) -> dict[str, str]:
    file = parse(manifest.opam)
    text, _ = definition.define(manifest, file, around or Around({}, url="https://e/a", archive=ARCHIVE))
    found = parse(text)
    values = {item.name: print_value(item.value) for item in found.items if isinstance(item, Field)}
    section = next(iter(found.sections("url")), None)
    if section is not None:
        values["src"] = print_value(section.get("src"))  # type: ignore[arg-type]
        values["checksum"] = print_value(section.get("checksum"))  # type: ignore[arg-type]
    return values


def test_what_stays_and_what_goes() -> None:
    text = """\
opam-version: "2.0"
synopsis: "Words"
license: "MIT"
flags: [compiler light-uninstall]
setenv: [[X = "%{lib}%/x"]]
depexts: [["libx-dev"] {os-family = "debian"}]
post-messages: ["hello" {success}]
conflict-class: "core"
patches: ["a.patch"]
substs: ["x.conf"]
build: [make]
install: [make "install"]
remove: [make "uninstall"]
extra-source "a.patch" { src: "https://example.org/a" checksum: "md5=00000000000000000000000000000000" }
url { src: "https://example.org/x.tgz" }
"""
    found = defined(sample(text))
    assert found.keys() == {
        "opam-version", "synopsis", "license", "flags", "setenv", "depexts", "post-messages",
        "conflict-class", "available", "build", "install", "x-opam-bin-key",
        "x-opam-bin-output", "src", "checksum",
    }  # fmt: skip
    assert found["flags"] == "[compiler]"
    assert found["build"] == '[["sh" "./opam-bin.sh" "relocate" prefix]]'
    assert found["install"] == '[["sh" "./opam-bin.sh" "install" prefix]]'
    assert found["src"] == '"https://e/a"'
    assert found["checksum"] == f'["sha256={HEX}" "sha512={HEX * 2}"]'


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        pytest.param("", "", id="none"),
        pytest.param("available: true", "", id="always"),
        pytest.param('available: os != "win32"', 'os != "win32" & ', id="one"),
        pytest.param('available: [ arch = "a" & os = "b" ]', 'arch = "a" & os = "b" & ', id="both"),
        pytest.param(
            'available: arch = "a" | arch = "b"', '(arch = "a" | arch = "b") & ', id="either in parentheses"
        ),
    ],
)
def test_for_which_machines(own: str, wanted: str) -> None:
    here = 'arch = "x86_64" & os = "linux" & os-distribution = "debian" & os-version = "12"'
    assert defined(sample(f'opam-version: "2.0"\n{own}\n'))["available"] == wanted + here


@pytest.mark.parametrize(
    ("depopts", "there", "conflicts"),
    [
        pytest.param('["libev"]', {}, '["libev"]', id="absent"),
        pytest.param('["libev"]', {"libev": "k"}, "", id="there"),
        pytest.param('["libev" {>= "4"}]', {}, '["libev" {>= "4"}]', id="a version"),
        pytest.param('["a" | "b"]', {"a": "k"}, '["b"]', id="one of two"),
        pytest.param('["a" {os = "macos"}]', {}, "", id="for other machines"),
        pytest.param(
            '["a" {os = "linux" & >= "2"}]',
            {},
            '["a" {>= "2"}]',
            id="mixed",
        ),
        pytest.param('["a" {os = "macos" | >= "2"}]', {}, '["a"]', id="hopelessly mixed"),
        pytest.param(
            '["a" {>= "1" & < "2"}]',
            {},
            '["a" {>= "1" & < "2"}]',
            id="a range",
        ),
        pytest.param('["a" {with-test}]', {}, "", id="for tests"),
    ],
)
def test_absent_optional_dependencies(depopts: str, there: dict[str, str], conflicts: str) -> None:
    text = f'opam-version: "2.0"\ndepopts: {depopts}\n'
    around = Around({PackageName(name): Version("1") for name in there})
    assert defined(sample(text, there), around).get("conflicts", "") == conflicts


def test_its_own_conflicts_stay() -> None:
    text = 'opam-version: "2.0"\ndepopts: ["b"]\nconflicts: ["a" {< "2"}]\n'
    assert defined(sample(text))["conflicts"] == '["a" {< "2"} "b"]'


def test_dependencies_are_exact() -> None:
    around = Around(
        {PackageName("b"): Version("2"), PackageName("a"): Version("1+bin+1+ab")},
        {PackageName("c"): Version("3")},
    )
    text, found = definition.define(sample('opam-version: "2.0"\n'), parse(""), around)
    assert 'depends: [\n  "a" {= "1+bin+1+ab"}\n  "b" {= "2"}\n  "c" {= "3" & post}\n]' in text
    assert found[2] == Dependency(PackageName("c"), Version("3"), post=True)


def test_what_only_the_build_needs_is_no_dependency() -> None:
    depends = '["a" "b" {build} "c" {build & >= "1"} "d" {with-test}]'
    text = f'opam-version: "2.0"\ndepends: {depends}\ndepopts: ["b"]\n'
    keys = dict.fromkeys("abc", "k")
    manifest = sample(text, keys)
    versions = dict.fromkeys("abc", "1")
    assert definition.runtime_names(manifest, parse(text), versions) == ["a", "b"]


def test_what_is_wanted_afterwards() -> None:
    text = 'opam-version: "2.0"\ndepends: ["a" "ocaml" {post & >= "4"} "base-x" {post}]\n'
    versions = {"a": "1", "ocaml": "4.14.2", "base-x": "base"}
    assert definition.post_names(sample(text), parse(text), versions) == ["base-x", "ocaml"]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        pytest.param({}, ContentKind.BINARY, id="files"),
        pytest.param({"files": ()}, ContentKind.DEFINITION, id="nothing"),
        pytest.param({"files": FILE[:1]}, ContentKind.DEFINITION, id="folders only"),
        pytest.param({"files": (), "config": "x"}, ContentKind.BINARY, id="variables"),
    ],
)
def test_what_needs_an_archive(changes: dict[str, object], kind: ContentKind) -> None:
    assert definition.kind_of(sample("", None, **changes)) is kind


def test_checks_of_the_machine_are_not_run() -> None:
    """A machine without a C compiler could install no library that has a conf package below it."""
    text = 'opam-version: "2.0"\nflags: conf\nbuild: ["cc" "-c" "test.c"]\ndepexts: [["libgmp-dev"]]\n'
    found = defined(sample(text, None, files=()), Around({}))
    assert "build" not in found
    assert found["flags"] == "[conf]"
    assert found["depexts"] == '[["libgmp-dev"]]'


def test_a_conf_package_with_variables_is_no_conf_package_any_more() -> None:
    """opam expects no source of one."""
    text = 'opam-version: "2.0"\nflags: conf\n'
    assert "flags" not in defined(sample(text, None, files=(), config="x"))


def test_what_a_binary_needs_is_looked_for() -> None:
    from opambin.publish.archive import _needs

    own = Import(
        PackageName("x"),
        None,
        (Symbol("lib", "libgmp.so.10", "A_1"), Symbol("file", "/usr/bin/ocamlc", "ab")),
    )
    gone = Import(PackageName("x"), None, (Symbol("file", "/usr/lib/graphics.cmi", ""),))
    other = Import(PackageName("y"), None, (Symbol("cmi", "Y", "ab"),))
    assert list(_needs(sample("", None, imports=(own, gone, other)))) == [
        "lib libgmp.so.10",
        "md5 ab /usr/bin/ocamlc",
        "md5 none /usr/lib/graphics.cmi",
    ]


def test_short_names() -> None:
    text = definition.short_definition("lwt", "5.7.0+bin+1+ab", "Promises")
    assert 'depends: ["lwt" {= "5.7.0+bin+1+ab"}]' in text
    assert "Binary of lwt: Promises" in text


def test_the_template_parses() -> None:
    assert parse(OPAM.format(depends='"a"', name="x", digits=sha("x"))).get("depends") is not None
