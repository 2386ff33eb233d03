"""The demo's opam repository: hand-written opam files, versions and checksums of the sources at hand."""

import hashlib
import io
import shutil
import tarfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from demo.sources import Debian, Source
from demo.terminal import DemoError

HERE = Path(__file__).parent
PLACEHOLDER = "@VERSION@"
REPO_FILE = 'opam-version: "2.0"\n'


@dataclass(frozen=True, slots=True)
class Package:
    """One package of the repository.

    Attributes:
        name: Of the opam package.
        version: Its version, that of the source or the one fixed in packages.toml.
        source: Its archive; None for packages without source.
    """

    name: str
    version: str
    source: Source | None


def packages(debian: Debian, compiler: str) -> list[Package]:
    """Read packages.toml, with the versions of this Debian release.

    Args:
        debian: Where the sources are.
        compiler: Version of the machine's ocamlc.
    """
    with (HERE / "packages.toml").open("rb") as file:
        table = tomllib.load(file)
    sources = debian.find(entry["debian"] for entry in table.values() if "debian" in entry)
    found = []
    for name, entry in table.items():
        source = sources[entry["debian"]] if "debian" in entry else None
        fixed = compiler if entry.get("version") == "compiler" else entry.get("version", "")
        found.append(Package(name, source.version if source else fixed, source))
    return found


def write(found: list[Package], debian: Debian, out: Path, url: str) -> None:
    """Write the repository to ``out``, from nothing: what opam fetches is its index.tar.gz and sources/.

    Args:
        found: The packages.
        debian: Brings the archives.
        out: The folder, which will be served as it stands.
        url: The address under which it will be served, without trailing slash.
    """
    shutil.rmtree(out, ignore_errors=True)
    (out / "sources").mkdir(parents=True)
    (out / "repo").write_text(REPO_FILE)
    for package in found:
        folder = out / "packages" / package.name / f"{package.name}.{package.version}"
        text = _opam_file(package, url)
        files = HERE / "packages" / package.name / "files"
        if files.is_dir():
            shutil.copytree(files, folder / "files")
            text += _extra_files(files)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "opam").write_text(text)
        if package.source:
            shutil.copyfile(debian.fetch(package.source), out / "sources" / package.source.file)
    _write_index(out)


def _opam_file(package: Package, url: str) -> str:
    path = HERE / "packages" / package.name / "opam"
    if not path.is_file():
        raise DemoError(f"{path}: packages.toml names the package, but it has no opam file")
    text = path.read_text().replace(PLACEHOLDER, package.version)
    if package.source:
        src = f"{url}/sources/{quote(package.source.file, safe='+~')}"
        text += f'url {{\n  src: "{src}"\n  checksum: "sha256={package.source.sha256}"\n}}\n'
    return text


def _extra_files(folder: Path) -> str:
    """The files beside an opam file, with their checksums: newer opams use no others."""
    rows = [
        f'  ["{path.name}" "sha256={hashlib.sha256(path.read_bytes()).hexdigest()}"]\n'
        for path in sorted(folder.iterdir())
    ]
    return f"extra-files: [\n{''.join(rows)}]\n"


def _write_index(out: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(out / "repo", "repo")
        archive.add(out / "packages", "packages")
    (out / "index.tar.gz").write_bytes(buffer.getvalue())
