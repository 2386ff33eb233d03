"""After the installation of one package that opam built: find its files, capture them, keep the books."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin import recipes
from opambin.capture import Build, build_record, capture
from opambin.context import open_context
from opambin.errors import BadDataError
from opambin.filelist import FileList, from_comparison, from_install_file
from opambin.model import Package, PackageName, Version
from opambin.opam import fields
from opambin.opam.buildfields import cares_for_tests
from opambin.opam.parser import parse
from opambin.opam.prefixindex import PrefixIndex
from opambin.provided import InstalledPackage
from opambin.session import replaced
from opambin.session.folder import Result

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from opambin.capture import Captured
    from opambin.context import Context
    from opambin.opam.ast import OpamFile
    from opambin.session.folder import Planned


def after_install(named: tuple[str, str], environ: Mapping[str, str]) -> None:
    """Capture a package that was just built and installed, and give its files their true spelling.

    Raises:
        OpambinError: The live files could not be looked at or written.
    """
    context = open_context(environ, hook=True)
    package = Package(PackageName(named[0]), Version(named[1]))
    planned = context.session.load_planned(package)
    if planned is None or planned.keyed.key is None:
        from opambin.session import late  # rarely needed: the look before the build has mostly done it

        _, planned = late.plan(context, package, planned)
    file = parse(planned.text, f"{package}/opam")
    index = PrefixIndex.load(context.session.index_path)
    replaced.forget(context, package.name, index)
    files, after = _files(context, package, file, index)
    problem = _problem(context, package, planned)
    captured = _capture(context, package, planned, file, (files, index))
    after.carry(context.switch.prefix, [*captured.touched, *files.added])
    after.save(context.session.index_path)
    _keep_books(context, package, planned, captured, problem)


def _problem(context: Context, package: Package, planned: Planned) -> str:
    """Say why no snapshot may be made of a package, whatever its files."""
    if context.config.excludes_package(str(package.name)):
        return "the configuration excludes it"
    recipe = recipes.load(str(package.name), str(package.version))
    if recipe is not None and not recipe.cacheable:
        return recipe.reason
    if context.session.marked("unpatched", package):
        return "the patch of its recipe does not fit to it"
    if planned.keyed.key is None:
        return planned.keyed.reason
    if context.session.load_request() is None and cares_for_tests(parse(planned.text, str(package))):
        return "opam's command line can't be read, so it may have been built with tests"
    return ""


def _files(
    context: Context, package: Package, file: OpamFile, index: PrefixIndex
) -> tuple[FileList, PrefixIndex]:
    """Find out what was installed; returns the prefix's index after it as well."""
    prefix = context.switch.prefix
    if file.get("install") is None:
        path = context.switch.install_file(package.name)
        text = path.read_bytes().decode("utf-8", "surrogateescape") if path.exists() else ""
        return from_install_file(prefix, text, str(package.name), index), index
    # What opam installed of hits meanwhile is no change of this package's.
    index.carry(prefix, context.session.placed_paths())
    owners = _Owners(context, package.name)
    return from_comparison(prefix, index, owners.of)


class _Owners:
    """Which installed package owns a path, by opam's own lists; read when first asked."""

    def __init__(self, context: Context, but: PackageName) -> None:
        self._context = context
        self._but = but
        self._owners: dict[str, str] | None = None

    def of(self, path: str) -> str | None:
        """Return the owner of ``path``, or None."""
        if self._owners is None:
            self._owners = {}
            for name in self._context.switch.state().installed:
                changes = self._context.switch.changes(name) if name != self._but else None
                for added in changes.added() if changes is not None else ():
                    self._owners.setdefault(added, str(name))
        return self._owners.get(path)


def _capture(
    context: Context,
    package: Package,
    planned: Planned,
    file: OpamFile,
    found: tuple[FileList, PrefixIndex],
) -> Captured:
    files, index = found
    installed = context.switch.state().installed
    neighbours = {
        PackageName(name): InstalledPackage(context, PackageName(name), installed[PackageName(name)])
        for name in planned.neighbours
        if name in installed
    }
    recipe = recipes.load(str(package.name), str(package.version))
    build = Build(
        package,
        planned.keyed.key,
        planned.keyed.inputs,
        planned.text,
        build_record(
            context,
            started=context.session.started(package),
            source_bytes=source_bytes(context, file),
            opam_version=context.session.load_surroundings().variables.get("opam-version", ""),
        ),
        frozenset(planned.reads),
        keep_length=recipe is not None and recipe.keep_length,
        refusal=_problem(context, package, planned),
        extra_files=extra_files(context.switch.build_dir(package), file),
    )
    return capture(context, build, files, index, neighbours)


def extra_files(folder: Path, file: OpamFile) -> dict[str, bytes] | None:
    """Read the files that came with the definition from the build directory, checking their checksums.

    Returns:
        Content by name; None when one of them isn't there any more as it came.
    """
    import hashlib

    found: dict[str, bytes] = {}
    for name, checksum in fields.extra_files(file):
        kind, _, digits = checksum.partition("=")
        try:
            content = (folder / name).read_bytes()
        except OSError:
            return None
        if hashlib.new(kind, content, usedforsecurity=False).hexdigest() != digits:
            return None
        found[name] = content
    return found


def source_bytes(context: Context, file: OpamFile) -> int:
    """Return the size of the source archive in opam's download cache; 0 when it isn't there."""
    try:
        checksum = fields.checksums(file)
    except BadDataError:
        return 0
    for section in file.sections("url"):
        for candidate in (checksum, *_all_checksums(section)):
            if candidate:
                kind, _, digits = candidate.partition("=")
                path = context.root.path / "download-cache" / kind / digits[:2] / digits
                try:
                    return path.stat().st_size
                except OSError:
                    continue
    return 0


def _all_checksums(section: object) -> list[str]:
    from opambin.opam import ast

    value = section.get("checksum") if isinstance(section, ast.Section) else None
    items = value.items if isinstance(value, ast.List) else () if value is None else (value,)
    return [item.value for item in items if isinstance(item, ast.String)]


def _keep_books(
    context: Context, package: Package, planned: Planned, captured: Captured, problem: str
) -> None:
    manifest = captured.manifest
    if manifest is None:
        result = Result(str(package), "skipped", problem or captured.problem)
    else:
        result = Result(
            str(package),
            "captured",
            planned.reason,
            manifest.build.seconds,
            manifest.size,
            manifest.build.source_bytes,
            manifest.key,
            manifest.output,
        )
    context.session.add_result(result)
    context.session.save_provides(str(package.name), result.output or None, captured.provides)
