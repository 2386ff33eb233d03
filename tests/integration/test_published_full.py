"""The whole corpus with a compiler that opam built: published, signed, and installed by plain opam.

``OPAMBIN_TEST_WORLD`` names a folder in which ``make compiler`` with ``OPAMBIN_TEST_SET=full`` has built it;
nothing is written there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alone import Client, busybox_root
from servers import nginx, program
from worlds import World

from opambin.publish.catalogue import NAME, Catalogue
from opambin.publish.signed.standing import instructions
from opambin.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers import Running

pytestmark = [pytest.mark.integration, pytest.mark.slow]

VERSION = "4.13.1"
AGAIN_SECONDS = 1.0
LICENCES = ("cudf=LGPL-3.0-or-later WITH OCaml-LGPL-linking-exception", "xml-light=LGPL-2.1-or-later")
"""Of packages whose definition in the corpus names none."""
MODULES = """\
let () = Printf.printf "%s %s\\n" (Z.to_string (Z.pow (Z.of_int 2) 100)) (Fpath.to_string (Fpath.v "a/b"))
"""
PRINTED = "1267650600228229401496703205376 a/b\n"
IN_BUSYBOX = """\
export HOME=/home OPAMROOT=/o OPAMYES=1 OPAMROOTISOK=1 OPAMCOLOR=never PATH=/bin OPAMNODEPEXTS=1
opam init --bare --no-setup --disable-sandboxing {url} && opam switch create s {version} &&
opam install --switch s ocamlfind menhir dune && opam exec --switch s -- ocamlfind printconf path
"""
WGET = """\
#!/bin/sh
while [ $# -gt 1 ]; do
  if [ "$1" = -O ]; then out=$2; shift; fi
  shift
done
exec busybox wget -q -O "$out" "$1"
"""
"""opam calls wget with options of GNU's."""


@dataclass(frozen=True, slots=True)
class Published:
    """A published repository that is served.

    Attributes:
        server: Serves it.
        catalogue: What it holds.
        environ: The publisher's.
        again: Seconds that publishing again took.
        output: What publishing again printed.
        written: Files that publishing again wrote.
    """

    server: Running
    catalogue: Catalogue
    environ: dict[str, str]
    again: float
    output: str
    written: tuple[str, ...]


@pytest.fixture(scope="module")
def published(short_folder: Path) -> Iterator[Published]:
    kept = os.environ.get("OPAMBIN_TEST_WORLD")
    if not kept:
        pytest.skip(
            "OPAMBIN_TEST_WORLD names no folder that `make compiler OPAMBIN_TEST_SET=full` has filled"
        )
    cache = short_folder / "store"
    subprocess.run(["cp", "-a", "--reflink=auto", f"{kept}/w/c0", str(cache)], check=True)
    environ = os.environ | {
        "OPAMBIN_CACHE": str(cache),
        "OPAMROOT": f"{kept}/w/r",
        "XDG_STATE_HOME": str(short_folder / "state"),
        "XDG_CONFIG_HOME": str(short_folder / "config"),
    }
    root = short_folder / "published"
    with nginx(root) as server:
        command = ["publish", str(root), "--base-url", server.url]
        for licence in LICENCES:
            command += ["--licence", licence]
        opam_bin(environ, *command)
        opam_bin(environ, "key", "generate", "release")
        opam_bin(environ, "key", "generate", "online")
        signing = ("--sign-with", "release", "--sign-with", "online")
        opam_bin(
            environ, "tuf", "init", str(root), "--root-key", "release", "--online-key", "online", *signing
        )
        before = stamps(root)
        times, told = [], ""
        for _ in range(3):
            begun = time.monotonic()
            told = opam_bin(environ, *command, *signing)
            times.append(time.monotonic() - begun)
        changed = tuple(sorted(name for name, _ in before.items() ^ stamps(root).items()))
        yield Published(
            server, Catalogue.parse((root / NAME).read_bytes()), environ, min(times), told, changed
        )


def opam_bin(environ: dict[str, str], *args: str) -> str:
    """Run opam-bin to its end; returns what it printed."""
    command = [sys.executable, "-m", "opambin.cli.main", *args]
    done = subprocess.run(command, env=environ, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def stamps(root: Path) -> dict[str, tuple[int, int]]:
    """Return what tells whether a file was written, by path."""
    stats = {str(path.relative_to(root)): path.stat() for path in root.rglob("*") if path.is_file()}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


@pytest.fixture(scope="module", params=["shorter", "longer"])
def client(
    request: pytest.FixtureRequest, published: Published, opam_program: str, short_folder: Path
) -> Client:
    number = re.sub(r"\W", "", Path(opam_program).name)
    folder = short_folder / f"{number}{request.param[0]}"
    place = folder / "w" / ("long/" * 24 + "place")
    prefix = folder / "r/q" if request.param == "shorter" else place / "_opam"
    made = Client.make(folder, opam_program, prefix)
    place.mkdir(parents=True)
    made.opam("init", "--bare", "--no-setup", "--disable-sandboxing", published.server.url)
    made.opam("switch", "create", made.switch, VERSION)
    wanted = [f"{row.name}.{row.published}" for row in published.catalogue.builds]
    made.opam("install", "--switch", made.switch, *wanted)
    return made


def test_all_is_published(published: Published) -> None:
    with Store.open(published.server.root.parent / "store", readonly=True) as store:
        built = {(record.key, record.output) for record in store.index.records()}
    assert {(row.key, row.output) for row in published.catalogue.builds} == built
    assert published.catalogue.left_out == ()


def test_publishing_again_is_quick_and_writes_nothing(published: Published) -> None:
    assert "is as it should be" in published.output
    assert published.written == ()
    busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert published.again <= AGAIN_SECONDS * busy


def test_all_is_installed_and_no_compiler_was_called(published: Published, client: Client) -> None:
    listed = client.opam("list", "--switch", client.switch, "--installed", "--short", "--columns=package")
    assert sorted(listed.split()) == sorted(
        f"{row.name}.{row.published}" for row in published.catalogue.builds
    )
    assert client.called == ""


def test_every_package_has_its_page(published: Published) -> None:
    root = published.server.root
    names = {str(row.name) for row in published.catalogue.builds}
    assert (root / "index.html").is_file()
    assert {path.stem for path in (root / "pages/p").glob("*.html")} == names
    assert {path.stem for path in (root / "pages/badge").glob("*.svg")} == names


def test_it_verifies_and_opam_takes_it_with_signatures(
    published: Published, opam_program: str, short_folder: Path
) -> None:
    url, root = published.server.url, published.server.root
    told = opam_bin(published.environ, "verify-repo", url, "--root", f"{root}/tuf/root.json")
    assert f"{url} verifies" in told
    number = re.sub(r"\W", "", Path(opam_program).name)
    user = World.verifying(short_folder / f"v{number}", opam_program)
    assert "Initialised" in user.follow(instructions(root, url, "bin")).text
    listed = user.opam("list", "--all", "--short", "--columns=package", "--repos=bin").out.split()
    assert sorted(listed) == sorted(f"{row.name}.{row.published}" for row in published.catalogue.builds)


def test_programs_link_and_run(client: Client, tmp_path: Path) -> None:
    source = tmp_path / "power.ml"
    source.write_text(MODULES)
    run = ("exec", "--switch", client.switch, "--")
    for compiler in ("ocamlopt", "ocamlc"):
        options = ("-package", "zarith,fpath", "-linkpkg", str(source), "-o", f"{tmp_path}/power")
        client.opam(*run, "ocamlfind", compiler, *options, compilers=True)
        assert client.opam(*run, f"{tmp_path}/power", compilers=True) == PRINTED
    where = client.opam(*run, "ocamlfind", "ocamlc", "-where", compilers=True)
    assert where.strip() == f"{client.prefix}/lib/ocaml"


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot is root's")
def test_opam_in_a_root_file_system_with_busybox_alone(published: Published, tmp_path: Path) -> None:
    """There is no compiler, no Python, no GNU tool: only opam and the libraries that it wants."""
    root = busybox_root(tmp_path / "root")
    (root / "bin/wget").unlink()
    (root / "bin/wget").write_text(WGET)
    (root / "bin/wget").chmod(0o755)
    for name in ("etc", "home"):
        (root / name).mkdir(exist_ok=True)
    shutil.copy("/etc/os-release", root / "etc")
    for name in ("opam", "getconf"):
        shutil.copy(program(name), root / "bin" / name)
        listed = subprocess.run(["ldd", program(name)], capture_output=True, text=True, check=True).stdout
        for path in re.findall(r"/\S+", listed):
            (root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, root / path[1:])
    (root / "run.sh").write_text(IN_BUSYBOX.format(url=published.server.url, version=VERSION))
    command = [program("chroot"), str(root), "/bin/sh", "/run.sh"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("/o/s/lib\n")
