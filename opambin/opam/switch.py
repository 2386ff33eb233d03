"""A switch on disk: where it is, what is installed in it, and its packages' own files.

Only reading; :mod:`opambin.opam.register` writes. Everything under ``.opam-switch`` is opam's own record, so
a file that does not parse is reported and never taken for an empty one.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from opambin.errors import UnavailableError
from opambin.frozen import dataclass
from opambin.opam.changes import Changes
from opambin.opam.statefile import read_text
from opambin.opam.switchfiles import PackageConfig, SwitchConfig, SwitchState, parse_package_list

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opambin.model import Package, PackageName
    from opambin.opam.root import Root

META = ".opam-switch"
LOCAL = "_opam"
FINGERPRINTED = ("switch-state", "switch-config", "reinstall")


@dataclass(frozen=True, slots=True)
class Switch:
    """A switch on disk.

    Attributes:
        root: The root that it belongs to.
        name: As opam calls it; of a local switch its folder.
        prefix: Its directory, without trailing slash; what opam calls ``prefix``.
    """

    root: Root
    name: str
    prefix: Path

    @classmethod
    def open(
        cls, root: Root, name: str | None, environ: Mapping[str, str], cwd: Path | None = None
    ) -> Switch:
        """Find a switch as opam does.

        Args:
            root: opam's root.
            name: A name or, with a ``/`` or a leading ``.``, a folder; None takes ``OPAMSWITCH``, else the
                closest ``_opam`` above the current directory, else the one that is set globally.
            environ: The environment.
            cwd: The current directory, when it is another one.

        Raises:
            UnavailableError: There is no such switch, or its path is not UTF-8, which neither the store nor
                JSON can hold.
        """
        here = (cwd or Path.cwd()).resolve()
        wanted = name or environ.get("OPAMSWITCH") or _local_above(here) or root.current_switch
        if wanted is None:
            raise UnavailableError("no switch is set: run 'opam switch set', or set OPAMSWITCH")
        called, prefix = locate(root.path, wanted, here)
        if not (prefix / META / "switch-config").is_file():
            known = ", ".join(root.switches) or "none"
            raise UnavailableError(f"there is no switch {called} in {root.path}; known switches: {known}")
        try:
            str(prefix).encode()
        except UnicodeEncodeError:
            raise UnavailableError(
                f"the path of switch {called} is not UTF-8; opam alone can use it"
            ) from None
        return cls(root, called, prefix)

    @property
    def meta(self) -> Path:
        """``.opam-switch``."""
        return self.prefix / META

    @property
    def is_global(self) -> bool:
        """Whether this is the switch that is set globally."""
        return self.root.current_switch == self.name

    def state(self) -> SwitchState:
        """Read what is installed; a switch without the file is empty.

        Raises:
            BadDataError: The file is broken.
            UnavailableError: It can't be read.
        """
        path = self.meta / "switch-state"
        try:
            text = read_text(path)
        except FileNotFoundError:
            return SwitchState({}, frozenset(), frozenset(), {})
        return SwitchState.parse(text, str(path))

    def config(self) -> SwitchConfig:
        """Read the switch's configuration.

        Raises:
            BadDataError: The file is broken.
            UnavailableError: It is missing or can't be read.
        """
        path = self.meta / "switch-config"
        return SwitchConfig.parse(self._needed(path), str(path))

    def installed_opam(self, package: Package) -> str:
        """Read the definition that a package was installed with.

        Raises:
            UnavailableError: It is not there.
        """
        # Joined as text: it is asked for each package of a switch, and pathlib takes longer than the reading.
        return self._needed(Path(f"{self.prefix}/{META}/packages/{package}/opam"))

    def installed_files(self, package: Package) -> dict[str, bytes]:
        """Read the extra files that came with the definition, by their path below ``files/``."""
        top = self.package_dir(package) / "files"
        return {
            str(path.relative_to(top)): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()
        }

    def package_config(self, name: PackageName) -> PackageConfig:
        """Read the variables of an installed package; none when it has no file.

        Raises:
            BadDataError: The file is broken.
        """
        path = self.config_file(name)
        try:
            return PackageConfig.parse(read_text(path), str(path))
        except FileNotFoundError:
            return PackageConfig()

    def changes(self, name: PackageName) -> Changes | None:
        """Read what opam believes that a package did to the prefix; None when opam has no record.

        Raises:
            BadDataError: The file is broken. Mind that `opam reinstall --dry-run` empties these files.
        """
        path = self.changes_file(name)
        try:
            return Changes.parse(read_text(path), str(path))
        except FileNotFoundError:
            return None

    def reinstall(self) -> frozenset[Package]:
        """Read which packages opam means to install again.

        Raises:
            BadDataError: The file is broken.
        """
        path = self.meta / "reinstall"
        try:
            return frozenset(parse_package_list(read_text(path), str(path)))
        except FileNotFoundError:
            return frozenset()

    def fingerprint(self) -> str:
        """Digest what a plan depends on: state, configuration and pending reinstallations."""
        total = hashlib.sha256()
        for name in FINGERPRINTED:
            try:
                data = (self.meta / name).read_bytes()
            except FileNotFoundError:
                total.update(b"-;")
            else:
                total.update(b"%d:%s;" % (len(data), data))
        return total.hexdigest()

    def package_dir(self, package: Package) -> Path:
        """Where the definition of an installed package is."""
        return self.meta / "packages" / str(package)

    def config_file(self, name: PackageName) -> Path:
        """Where ``NAME.config`` is."""
        return self.meta / "config" / f"{name}.config"

    def changes_file(self, name: PackageName) -> Path:
        """Where ``NAME.changes`` is."""
        return self.meta / "install" / f"{name}.changes"

    def install_file(self, name: PackageName) -> Path:
        """Where ``NAME.install`` is."""
        return self.meta / "install" / f"{name}.install"

    def sources_dir(self, name: PackageName) -> Path:
        """Where opam keeps the sources of a pin."""
        return self.meta / "sources" / name

    def build_dir(self, package: Package) -> Path:
        """Where opam builds a package."""
        return self.meta / "build" / str(package)

    def _needed(self, path: Path) -> str:
        try:
            return read_text(path)
        except FileNotFoundError as error:
            raise UnavailableError(f"{path} is missing") from error


def locate(root: Path, name: str, cwd: Path) -> tuple[str, Path]:
    """Say what opam calls a switch, and where it is; it need not exist.

    Args:
        root: opam's root.
        name: A name, or a folder: then it has a ``/`` or starts with ``.``.
        cwd: What a relative folder starts from.
    """
    if "/" not in name and not name.startswith("."):
        return name, root / name
    folder = (cwd / name).resolve()
    prefix = (folder / LOCAL).resolve()
    if prefix.parent == root:
        return prefix.name, prefix
    return str(prefix.parent if prefix.name == LOCAL else folder), prefix


def _local_above(cwd: Path) -> str | None:
    for folder in (cwd, *cwd.parents):
        if (folder / LOCAL / META / "switch-config").is_file():
            return str(folder)
    return None
