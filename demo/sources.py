"""Upstream source archives, fetched as Debian source packages.

Debian keeps the upstream archive of each package, for each release, with its sha256 in a signed index: real
OCaml packages for any machine that has apt. apt is used with a configuration of its own that repeats the
machine's Debian entries as ``deb-src``: nothing of the system's is changed, and root is not needed.
"""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.terminal import DemoError

APT_TIMEOUT = 300  # seconds
SUITE_ALIASES = {"stable", "testing", "unstable", "sid"}
ORIG = re.compile(r"^ ([0-9a-f]{64}) (\d+) (\S+\.orig\.tar\.(?:gz|bz2|xz))$", re.M)


@dataclass(frozen=True, slots=True)
class Source:
    """An upstream archive in Debian.

    Attributes:
        name: Of the Debian source package.
        debian: Its Debian version.
        file: Name of the upstream archive.
        sha256: Of the archive, in hexadecimal.
    """

    name: str
    debian: str
    file: str
    sha256: str

    @property
    def version(self) -> str:
        """The upstream version: ``1:1.2+really1.1+ds-3`` is 1.1."""
        upstream = self.debian.split(":", 1)[-1].rsplit("-", 1)[0]
        return re.sub(r"\+(ds|dfsg).*", "", upstream.rsplit("+really", 1)[-1])


class Debian:
    """apt with a configuration of its own under ``folder``."""

    def __init__(self, folder: Path, sources: Path) -> None:
        """Write the configuration.

        Args:
            folder: apt's private state and cache.
            sources: Where the archives go.

        Raises:
            DemoError: No apt here, or none of its entries is one of Debian's.
        """
        if shutil.which("apt-get") is None:
            raise DemoError(
                "the demo takes its sources from Debian with apt-get, which is not on this machine"
            )
        self._sources = sources
        self._lists = folder / "lists"
        entries = folder / "sources.list.d"
        for needed in (sources, entries, self._lists / "partial", folder / "cache/archives/partial"):
            needed.mkdir(parents=True, exist_ok=True)
        _write_entries(Path("/etc/apt"), entries)
        settings = {
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": entries,
            "Dir::State::lists": self._lists,
            "Dir::Cache": folder / "cache",
            "APT::Sandbox::User": "",  # apt's own user may not enter this folder
            "Acquire::Retries": "3",
        }
        self._options = [item for name, value in settings.items() for item in ("-o", f"{name}={value}")]

    def find(self, names: Iterable[str]) -> dict[str, Source]:
        """Look up source packages, by name; the newest version of each.

        Raises:
            DemoError: apt failed or doesn't know all of them.
        """
        wanted = sorted(set(names))
        found = self._show(wanted)
        if len(found) < len(wanted):
            self._apt("apt-get", "update", "-qq")
            found = self._show(wanted)
        absent = [name for name in wanted if name not in found]
        if absent:
            raise DemoError(f"apt knows no source package {', '.join(absent)}")
        return found

    def fetch(self, source: Source) -> Path:
        """Bring one archive, unless it is there already.

        Raises:
            DemoError: It can't be had, or is not what the index says.
        """
        path = self._sources / source.file
        if not _is(path, source.sha256):
            path.unlink(missing_ok=True)
            spec = f"{source.name}={source.debian}"
            self._apt("apt-get", "source", "-qq", "--download-only", "--tar-only", "--only-source", spec)
            if not _is(path, source.sha256):
                raise DemoError(f"{path.name}: the sha256 is not {source.sha256}")
        return path

    def _show(self, names: Sequence[str]) -> dict[str, Source]:
        if not any(self._lists.glob("*Sources*")):
            return {}
        found: dict[str, Source] = {}
        text = self._apt("apt-cache", "showsrc", "--only-source", *names)
        for record in re.split(r"\n\s*\n", text):
            name = re.search(r"^Package: (\S+)$", record, re.M)
            version = re.search(r"^Version: (\S+)$", record, re.M)
            archives = ORIG.findall(record)
            if name and version and len(archives) == 1:
                ((sha256, _, file),) = archives
                new = Source(name[1], version[1], file, sha256)
                old = found.get(new.name)
                if old is None or _newer(new.debian, old.debian):
                    found[new.name] = new
        return found

    def _apt(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [program, *self._options, *arguments],
            cwd=self._sources,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=APT_TIMEOUT,
            check=False,
        )
        if done.returncode != 0:
            raise DemoError(f"{program} {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout


def _newer(version: str, other: str) -> bool:
    return subprocess.run(["dpkg", "--compare-versions", version, "gt", other], check=False).returncode == 0


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def _suites() -> set[str]:
    """Names that an entry of the running release may have; other entries belong to other publishers."""
    release = Path("/etc/os-release").read_text()
    names = re.findall(r'^(?:VERSION|UBUNTU|DEBIAN)_CODENAME="?([\w.-]+)"?$', release, re.M)
    return SUITE_ALIASES.union(*({name, f"{name}-updates", f"{name}-security"} for name in names))


def _write_entries(apt: Path, out: Path) -> None:
    """Repeat the binary entries of this release as source entries, each in the form that it has."""
    suites = _suites()
    stanzas, lines = [], []
    for file in sorted(apt.glob("sources.list.d/*.sources")):
        for stanza in re.split(r"\n\s*\n", file.read_text()):
            named = re.search(r"^Suites:(.*)$", stanza, re.M)
            types = re.search(r"^Types:.*\bdeb\b(?!-)", stanza, re.M)
            disabled = re.search(r"^Enabled:\s*(no|false|0)\b", stanza, re.M | re.I)
            if types and named and suites.issuperset(named[1].split()) and not disabled:
                stanzas.append(re.sub(r"^Types:.*$", "Types: deb-src", stanza.strip(), flags=re.M))
    for file in [apt / "sources.list", *sorted(apt.glob("sources.list.d/*.list"))]:
        for line in file.read_text().splitlines() if file.is_file() else ():
            entry = re.match(r"deb(\s+(?:\[[^]]*\]\s+)?(?!cdrom:)\S+\s+(\S+)\s.*)$", line)
            if entry and entry[2] in suites:
                lines.append("deb-src" + entry[1])
    if not stanzas and not lines:
        raise DemoError(f"{apt}: no entry of this Debian release (looked for {', '.join(sorted(suites))})")
    (out / "demo.sources").write_text("\n\n".join(stanzas) + "\n")
    (out / "demo.list").write_text("\n".join(lines) + "\n")
