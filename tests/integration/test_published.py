"""A published repository, served by nginx: plain opam installs from it, and no compiler is called."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alone import Client, busybox_root
from servers import nginx, program

from opambin.model import FileType
from opambin.publish.catalogue import NAME, Catalogue
from opambin.publish.privacy import without_build_paths
from opambin.relocate import rendering
from opambin.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import BuiltCorpus
    from servers import Running

    from opambin.model import Manifest

pytestmark = pytest.mark.integration

PROGRAM = """\
let () =
  let power = Z.to_string (Z.pow (Z.of_int 2) 100) in
  let digits = Re.compile (Re.whole_string (Re.rep1 Re.digit)) in
  Printf.printf "%s %b\\n" power (Re.execp digits power)
"""
PRINTED = "1267650600228229401496703205376 true\n"


@dataclass(frozen=True, slots=True)
class Published:
    """A published repository that is served.

    Attributes:
        built: Where its packages were built.
        server: Serves it.
        catalogue: What it holds.
    """

    built: BuiltCorpus
    server: Running
    catalogue: Catalogue


@pytest.fixture(scope="module")
def published(built_corpus: BuiltCorpus) -> Iterator[Published]:
    root = built_corpus.world.folder / "published"
    with nginx(root) as server:
        publish(built_corpus, root, "--base-url", server.url)
        yield Published(built_corpus, server, Catalogue.parse((root / NAME).read_bytes()))


def publish(built: BuiltCorpus, root: Path, *options: str) -> str:
    options = ("--unknown-licences", "allow", *options)
    return built.world.opam_bin("publish", str(root), *options).out


@pytest.fixture(scope="module", params=["shorter", "longer"])
def client(request: pytest.FixtureRequest, published: Published, opam_program: str) -> Client:
    """A fresh root with the published repository alone, and a switch with all of it."""
    folder = published.built.world.folder.parent / request.param[0]
    place = folder / "w" / ("long/" * 24 + "place")
    prefix = folder / "r" / "q" if request.param == "shorter" else place / "_opam"
    made = Client.make(folder, opam_program, prefix)
    assert (len(str(prefix)) > len(str(published.built.prefix))) == (request.param == "longer")
    place.mkdir(parents=True)
    made.opam("init", "--bare", "--no-setup", "--disable-sandboxing", published.server.url)
    made.opam("switch", "create", made.switch, published.built.corpus.compiler)
    wanted = [f"{row.name}.{row.published}" for row in published.catalogue.builds]
    made.opam("install", "--switch", made.switch, *wanted)
    return made


def test_everything_is_published(published: Published) -> None:
    installed = published.built.world.installed(published.built.switch)
    assert sorted(f"{row.name}.{row.version}" for row in published.catalogue.builds) == installed
    assert published.catalogue.left_out == ()


def test_everything_was_installed_without_a_compiler(published: Published, client: Client) -> None:
    listed = client.opam("list", "--switch", client.switch, "--installed", "--short", "--columns=package")
    assert sorted(listed.split()) == published.built.world.installed(published.built.switch)
    assert client.called == ""


def test_every_file_is_what_a_restore_gives(published: Published, client: Client) -> None:
    assert compare(published, client.prefix, os.fsencode(client.prefix)) == []


def snapshots(published: Published) -> list[Manifest]:
    known = {(row.key, row.output) for row in published.catalogue.builds}
    with Store.open(published.built.world.cache, readonly=True) as store:
        return [it for it in store.manifests.all() if (it.key, it.output) in known]


def compare(published: Published, tree: Path, prefix: bytes) -> list[str]:
    """Name the files in ``tree`` that are not what a restore to ``prefix`` gives."""
    wrong = []
    found = snapshots(published)
    edited = {edit.path for manifest in found for edit in manifest.edits}
    with Store.open(published.built.world.cache, readonly=True) as store:
        for entry in (entry for manifest in found for entry in manifest.files):
            path = tree / entry.path
            if entry.digest is not None and entry.path not in edited:
                runs = bool(entry.mode & 0o111)
                stored = store.objects.path(entry.digest, executable=runs, size=entry.size).read_bytes()
                wanted = rendering.render(without_build_paths(stored), entry.occurrences, prefix)
                fine = path.is_file() and path.read_bytes() == wanted
                wrong += [] if fine and bool(path.stat().st_mode & 0o111) == runs else [entry.path]
            elif entry.type is FileType.SYMLINK and not path.is_symlink():
                wrong.append(entry.path)
    return wrong


def test_opam_has_nothing_to_do(client: Client) -> None:
    assert "Already up-to-date" in client.opam("upgrade", "--show-actions", "--switch", client.switch)


def test_programs_link_and_run(published: Published, client: Client, tmp_path: Path) -> None:
    (tmp_path / "power.ml").write_text(PROGRAM)
    hidden = published.built.prefix.rename(published.built.prefix.with_name("moved-away"))
    try:
        for compiler in ("ocamlopt", "ocamlc"):
            options = ("-package", "zarith,re", "-linkpkg", f"{tmp_path}/power.ml", "-o", f"{tmp_path}/power")
            run = ("exec", "--switch", client.switch, "--")
            client.opam(*run, "ocamlfind", compiler, *options, compilers=True)
            assert client.opam(*run, f"{tmp_path}/power", compilers=True) == PRINTED
    finally:
        hidden.rename(published.built.prefix)


def test_publishing_again_writes_nothing(published: Published) -> None:
    root = published.server.root
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert "is as it should be" in publish(published.built, root)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_removing_everything_leaves_nothing(client: Client) -> None:
    names = client.opam("list", "--switch", client.switch, "--installed", "--short").split()
    client.opam("remove", "--switch", client.switch, "--update-invariant", *names)
    left = [path for path in client.prefix.rglob("*") if ".opam-switch" not in path.parts]
    assert [path for path in left if path.is_file()] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot is root's")
@pytest.mark.parametrize("prefix", ["/p", "/" + "deep/" * 30 + "place"], ids=["short", "long"])
def test_a_root_file_system_with_busybox_alone(published: Published, tmp_path: Path, prefix: str) -> None:
    """No compiler, no Python, no opam, no GNU tools: every file is right all the same."""
    root = busybox_root(tmp_path / "root")
    libraries = {
        symbol.name for it in snapshots(published) for needed in it.imports for symbol in needed.symbols
    }
    for name in libraries:
        if name.startswith("/"):
            if Path(name).exists():
                (root / name[1:]).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(name, root / name[1:])
        elif ".so" in name:
            (root / "lib" / name).touch()
    (root / prefix[1:]).mkdir(parents=True)
    for row in published.catalogue.builds:
        if row.archive is not None:
            with tarfile.open(published.server.root / row.archive.path) as tar:
                tar.extractall(root / "build", filter="tar")
            for verb in ("relocate", "install"):
                inside = f"cd /build/{row.name}.{row.version} && sh ./opam-bin.sh {verb} {prefix}"
                done = subprocess.run(
                    [program("chroot"), root, "/bin/sh", "-c", inside],
                    env={"PATH": "/bin"},
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert done.returncode == 0, f"{row.name} {verb}: {done.stderr}"
    assert compare(published, root / prefix[1:], prefix.encode()) == []
