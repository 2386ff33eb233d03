"""The folder that our hooks share during one opam session.

It lies in opam's root, under the path of the switch, so that the scripts find it without starting a
process: ``$OPAMROOT/plugins/opam-bin/session$OPAM_SWITCH_PREFIX``. It is made before the first build and
removed after the last; what a killed session left is replaced by the next one.

================  ==================================================================================
``hit/NV``        the package will be restored instead of built; holds ``KEY OUTPUT``
``placed/NV``     its files are in place: build and install commands do nothing
``place-at-install/NV``  its tree is put in place by the first install command
``recipe/NAME``   shell fragment that the wrappers read
``patch/NAME``    the patch of its recipe; ``unpatched/NV`` says that it did not fit
``start/NV``      made when the build began
``package/NV``    the key and the opam file (JSON)
``paths/NV``      files of a hit that opam itself installs (marshalled by Python)
``provides/NAME`` what an installed output offers (marshalled by Python)
``result/NV``     what became of it (JSON)
``renaming``      live files are getting other CRCs: all of them have to, or the package goes
================  ==================================================================================
"""

from __future__ import annotations

import json
import marshal
import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opambin.errors import BadDataError
from opambin.frozen import dataclass
from opambin.model import ConeKey, OutputId, Package, Symbol
from opambin.surroundings import Keyed, Platform, Surroundings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opambin.model import Manifest

FOLDERS = (
    "hit",
    "late",
    "placed",
    "place-at-install",
    "recipe",
    "start",
    "package",
    "provides",
    "result",
    "paths",
    "patch",
    "unpatched",
)


@dataclass(frozen=True, slots=True)
class Planned:
    """What the start of the session found out about a package.

    Attributes:
        keyed: Its key, or why it has none.
        text: Its opam file.
        neighbours: Its run-time dependencies, direct and indirect.
        reads: Variables of other packages that its opam file reads.
        reason: Why it is no hit.
    """

    keyed: Keyed
    text: str
    neighbours: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one package.

    Attributes:
        package: ``NAME.VERSION``.
        what: ``restored``, ``captured`` or ``skipped`` (built, but no snapshot was made).
        reason: For skipped ones, and why a captured one was no hit.
        seconds: Of the build for captured ones; saved by restored ones.
        bytes: Of the files.
        source_bytes: Of the source archive.
        key: The cone key, when there is one.
        output: The output, when there is one.
    """

    package: str
    what: str
    reason: str = ""
    seconds: float = 0.0
    bytes: int = 0
    source_bytes: int = 0
    key: str = ""
    output: str = ""

    @classmethod
    def of_restored(cls, manifest: Manifest) -> Result:
        """Return what became of a package whose snapshot was put in place."""
        return cls(
            str(manifest.package),
            "restored",
            seconds=manifest.build.seconds,
            bytes=manifest.size,
            source_bytes=manifest.build.source_bytes,
            key=manifest.key,
            output=manifest.output,
        )


class Session:
    """One session folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, root: Path, prefix: Path) -> Session:
        """Return the session of a switch, whether it exists or not."""
        return cls(Path(f"{root}/plugins/opam-bin/session{prefix}"))

    def create(self) -> None:
        """Make the folder anew."""
        self.remove()
        for name in FOLDERS:
            (self.folder / name).mkdir(parents=True, mode=0o700)

    def remove(self) -> None:
        """Remove the folder and the empty ones above it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for parent in self.folder.parents:
            try:
                parent.rmdir()
            except OSError:
                break

    @property
    def exists(self) -> bool:
        """Whether a session is going on."""
        return (self.folder / "package").is_dir()

    def mark(self, kind: str, package: object, content: str = "") -> None:
        """Leave a marker for the scripts."""
        (self.folder / kind / str(package)).write_text(content, "utf-8", "surrogateescape")

    def unmark(self, kind: str, package: object) -> None:
        """Take a marker away."""
        (self.folder / kind / str(package)).unlink(missing_ok=True)

    def marked(self, kind: str, package: object) -> bool:
        """Tell whether a marker is there."""
        return (self.folder / kind / str(package)).exists()

    def hit(self, package: Package) -> tuple[ConeKey, OutputId]:
        """Return what the ``hit`` marker of a package names.

        Raises:
            BadDataError: It isn't there or is damaged.
        """
        path = self.folder / "hit" / str(package)
        try:
            key, output = path.read_text("utf-8").split()
        except (OSError, ValueError) as error:
            raise BadDataError(path, f"not the marker of a hit: {error}") from error
        return ConeKey(key), OutputId(output)

    def started(self, package: Package) -> float | None:
        """Return when the build of a package began, in seconds since 1970."""
        try:
            return (self.folder / "start" / str(package)).stat().st_mtime
        except FileNotFoundError:
            return None

    def save_placed(self, package: object, paths: Iterable[str]) -> None:
        """Keep which files of a hit opam will put into the prefix."""
        (self.folder / "paths" / str(package)).write_bytes(marshal.dumps(list(paths)))

    def placed_paths(self) -> list[str]:
        """Return the files of all hits of the session that opam puts, or has put, into the prefix."""
        folder = self.folder / "paths"
        return [path for file in folder.iterdir() for path in marshal.loads(file.read_bytes())]  # noqa: S302 - our own

    @property
    def index_path(self) -> Path:
        """Where the index of the prefix lies."""
        return self.folder / "index"

    def save_planned(self, package: Package, planned: Planned) -> None:
        """Keep what is known of a package."""
        _write(self.folder / "package" / str(package), asdict(planned))

    def load_planned(self, package: Package) -> Planned | None:
        """Return what the start of the session found out; None for packages it did not know of."""
        path = self.folder / "package" / str(package)
        if not path.exists():
            return None
        content = _read(path)
        try:
            planned = Planned(**{**content, "keyed": Keyed(**content["keyed"])})
            return replace(planned, neighbours=tuple(planned.neighbours), reads=tuple(planned.reads))
        except (TypeError, KeyError) as error:
            raise BadDataError(path, f"not what a session keeps: {error}") from error

    def save_request(self, args: Iterable[str] | None) -> None:
        """Keep the command line that started the session; None when it could not be read."""
        _write(self.folder / "request", {"args": None if args is None else list(args)})

    def load_request(self) -> list[str] | None:
        """Return the command line that started the session."""
        args: list[str] | None = _read(self.folder / "request").get("args")
        return args

    def save_surroundings(self, surroundings: Surroundings) -> None:
        """Keep what builds see beside their dependencies."""
        _write(self.folder / "surroundings", asdict(surroundings))

    def load_surroundings(self) -> Surroundings:
        """Return what :meth:`save_surroundings` kept.

        Raises:
            BadDataError: There is nothing, or something else.
        """
        content = _read(self.folder / "surroundings")
        try:
            return Surroundings(**{**content, "platform": Platform(**content["platform"])})
        except (TypeError, KeyError) as error:
            raise BadDataError(self.folder, f"not what a session keeps: {error}") from error

    def save_provides(self, name: str, output: str | None, symbols: Iterable[Symbol]) -> None:
        """Keep what an installed output offers, for the packages above it."""
        rows = [(symbol.kind, symbol.name, symbol.value) for symbol in symbols]
        path = self.folder / "provides" / name
        temporary = path.with_name(f"{name}.{os.getpid()}.new")
        temporary.write_bytes(marshal.dumps((output, rows)))
        temporary.replace(path)

    def load_provides(self, name: str) -> tuple[str | None, frozenset[Symbol]] | None:
        """Return what :meth:`save_provides` kept, or None."""
        try:
            output, rows = marshal.loads((self.folder / "provides" / name).read_bytes())  # noqa: S302 - our own
        except (OSError, ValueError, EOFError, TypeError):
            return None
        return output, frozenset(Symbol(*row) for row in rows)

    def add_result(self, result: Result) -> None:
        """Keep what became of a package; the last word on it counts."""
        _write(self.folder / "result" / result.package, asdict(result))

    def results(self) -> list[Result]:
        """Return what became of the packages so far, by name."""
        folder = self.folder / "result"
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
        return [Result(**_read(path)) for path in paths if not path.name.endswith(".new")]

    def result(self, package: object) -> Result | None:
        """Return what became of one package so far."""
        path = self.folder / "result" / str(package)
        return Result(**_read(path)) if path.exists() else None


def _write(path: Path, content: object) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    temporary.write_text(json.dumps(content), encoding="utf-8")
    temporary.replace(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadDataError(path, f"not what a session keeps: {error}") from error
    if not isinstance(content, dict):
        raise BadDataError(
            path, "not what a session keeps", expected="an object", observed=type(content).__name__
        )
    return content
