"""Running the commands of ``conf`` packages again: what they found out yesterday says nothing about today.

A check runs in the package's build directory, with opam's environment and wrappers (its sandbox), after
what it may call is in place.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import field
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, OpambinError
from opambin.frozen import dataclass
from opambin.model import PackageName
from opambin.opam import ast, filters, hooklist
from opambin.opam.interpolation import as_text
from opambin.opam.switchfiles import PackageConfig
from opambin.universe import as_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from opambin.context import Context
    from opambin.opam.interpolation import Value
    from opambin.universe import Node, Universe

_FOLDERS = ("lib", "share", "etc", "doc")
"""Folders of which each package has one of its own."""
_COMMON = {
    "bin": "bin",
    "sbin": "sbin",
    "man": "man",
    "stublibs": "lib/stublibs",
    "toplevel": "lib/toplevel",
}
_OUTPUT_KEPT = 2_000  # characters of a failing check that are shown


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check gave.

    Attributes:
        problem: Why it failed; empty when it passed.
        config: Content of the ``NAME.config`` that it wrote, or None.
        files: Its extra files by name.
    """

    problem: str = ""
    config: str | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BuildEnvironment:
    """What variables and environment a command of a package sees.

    Attributes:
        context: The switch.
        universe: The final set.
        configs: ``NAME.config`` of packages that are in place but not registered yet, parsed.
    """

    context: Context
    universe: Universe
    configs: Mapping[str, PackageConfig]

    def lookup(self, node: Node) -> Callable[[str], Value]:
        """Return the variables of opam, paths included, as the commands of a package see them."""
        metadata = self.universe.env(node)

        def find(name: str) -> Value:
            owner, colon, local = name.rpartition(":")
            if not colon:
                found = metadata(name)
                return found if found is not None else self._global(local)
            package = str(node.package.name) if owner == "_" else owner
            if local in _FOLDERS:
                return f"{self.context.prefix}/{local}/{package}"
            if local in _COMMON:
                return f"{self.context.prefix}/{_COMMON[local]}"
            found = metadata(name)
            return found if found is not None else self._configured(package, local)

        return find

    def _global(self, name: str) -> Value:
        prefix = self.context.prefix
        if name == "prefix":
            return prefix
        if name in _FOLDERS:
            return f"{prefix}/{name}"
        if name in _COMMON:
            return f"{prefix}/{_COMMON[name]}"
        match name:
            case "root":
                return str(self.context.root.path)
            case "switch":
                return self.context.switch.name
            case "hooks":
                return f"{self.context.root.path}/opam-init/hooks"
        return as_value(self.universe.surroundings.variables.get(name))

    def _configured(self, package: str, name: str) -> Value:
        config = self.configs.get(package)
        if config is None:
            config = self.context.switch.package_config(PackageName(package))
        return config.variables.get(name)

    def process(self, node: Node) -> dict[str, str]:
        """Return the process environment for a command of a package, as opam makes it."""
        prefix = self.context.prefix
        values = dict(self.context.environ)
        values["PATH"] = f"{prefix}/bin{os.pathsep}{values.get('PATH', '')}"
        values.update(
            OPAM_SWITCH_PREFIX=prefix,
            OPAMROOT=str(self.context.root.path),
            OPAMSWITCH=self.context.switch.name,
            OPAM_PACKAGE_NAME=str(node.package.name),
            OPAM_PACKAGE_VERSION=str(node.package.version),
            OPAMCLI="2.0",
            CDPATH="",
            MAKEFLAGS="",
            MAKELEVEL="",
        )
        for name in self.universe.runtime_closure(node.package.name):
            below = self.universe.node(name)
            apply_updates(values, below.file.get("setenv"), self.lookup(below))
        apply_updates(values, node.file.get("build-env"), self.lookup(node))
        return values


def apply_updates(environ: dict[str, str], value: ast.Value | None, env: Callable[[str], Value]) -> None:
    """Carry out a ``setenv`` or ``build-env`` field.

    Raises:
        BadDataError: It is not a list of environment updates.
    """
    if value is None:
        return
    for item in value.items if isinstance(value, ast.List) else (value,):
        _apply_update(environ, item, env)


def _apply_update(environ: dict[str, str], item: ast.Value, env: Callable[[str], Value]) -> None:
    match item:
        case ast.List((inner,)):
            _apply_update(environ, inner, env)
        case ast.Option(inner, conditions):
            if filters.condition(conditions, env):
                _apply_update(environ, inner, env)
        case ast.Relop(op, ast.Ident(name), right) | ast.EnvBinding(ast.Ident(name), op, right):
            text = as_text(filters.evaluate(right, env)) if not isinstance(right, ast.String) else None
            if text is None and isinstance(right, ast.String):
                text = filters.interpolate(right.value, env)
            environ[name] = _updated(environ.get(name, ""), op, text or "")
        case _:
            raise BadDataError("environment update", f"not understood: {item!r}")


def _updated(old: str, op: str, new: str) -> str:
    """Apply one update as opam does; a value that an earlier update has added counts once.

    ``:=`` and ``=:`` leave an empty item where there was nothing, which means the default in ``MANPATH``.
    """
    parts = [part for part in old.split(os.pathsep) if part != new] if old else []
    match op:
        case "+=" | "=+=":
            return os.pathsep.join([new, *parts])
        case "=+":
            return os.pathsep.join([*parts, new])
        case ":=":
            return os.pathsep.join([new, *(parts or [""])])
        case "=:":
            return os.pathsep.join([*(parts or [""]), new])
    return new


def run_check(environment: BuildEnvironment, node: Node, files: Mapping[str, bytes]) -> CheckResult:
    """Run the commands of a ``conf`` package.

    Args:
        environment: What they see.
        node: The package.
        files: The extra files of its definition.
    """
    folder = environment.context.switch.build_dir(node.package)
    env = environment.lookup(node)
    try:
        commands = filters.commands(node.file.get("build"), env)
        if not commands and not files:
            return CheckResult(files=files)
        _fill(folder, files)
        for name in filters.strings(node.file.get("substs"), env):
            source = (folder / f"{name}.in").read_text("utf-8", "surrogateescape")
            (folder / name).write_text(filters.interpolate(source, env), "utf-8", "surrogateescape")
        problem = _run(environment, node, commands, folder)
        if problem:
            return CheckResult(problem)
        if (folder / f"{node.package.name}.install").exists():
            return CheckResult("its check installs files")
        return CheckResult("", _config(folder, str(node.package.name)), files)
    except (OpambinError, OSError) as error:
        return CheckResult(str(error))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fill(folder: Path, files: Mapping[str, bytes]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _config(folder: Path, name: str) -> str | None:
    path = folder / f"{name}.config"
    if not path.exists():
        return None
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    PackageConfig.parse(text, f"{name}.config")
    return text


def _run(environment: BuildEnvironment, node: Node, commands: list[list[str]], folder: Path) -> str:
    """Run commands one after the other; returns what went wrong."""
    process = environment.process(node)
    wrappers = wrapper(environment, node)
    for command in commands:
        try:
            done = subprocess.run(
                [*wrappers, *command],
                cwd=folder,
                env=process,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
        except OSError as error:
            return f"{command[0]} can't be run: {error.strerror}"
        if done.returncode:
            shown = done.stdout.decode("utf-8", "replace")[-_OUTPUT_KEPT:].strip()
            return f"`{' '.join(command)}` exited with {done.returncode}: {shown}"
    return ""


def wrapper(environment: BuildEnvironment, node: Node) -> list[str]:
    """Return the wrapper command that others have configured for builds: opam's sandbox as a rule."""
    config = environment.context.root.config
    env = environment.lookup(node)
    words: list[str] = []
    for command in hooklist.commands(config, "wrap-build-commands"):
        if not hooklist.is_ours(command):
            for evaluated in filters.commands(ast.List((command,)), env):
                words += evaluated
    return words


def parse_config(text: str, name: str) -> PackageConfig:
    """Parse the text of a ``NAME.config``."""
    return PackageConfig.parse(text, f"{name}.config")
