"""Which of the packages that get installed count as asked for, as opam decides it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin.model import Package, Version
from opambin.opam import formula
from opambin.opam.parser import parse
from opambin.universe import Node

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opambin.context import Context
    from opambin.door.decision import Decision
    from opambin.door.projects import Project
    from opambin.model import PackageName
    from opambin.opam.ast import OpamFile
    from opambin.opam.client import Plan
    from opambin.request import Request


def asked_for(
    context: Context, asked: Request, plan: Plan, decision: Decision, folders: Sequence[Project]
) -> frozenset[str]:
    """Return the names of the packages that become roots.

    Those which are named; with ``--deps-only``, where these are not installed, what they depend on directly.

    Args:
        context: The switch.
        asked: The command line.
        plan: opam's plan for it.
        decision: What gets installed.
        folders: The packages that the command line names by folder.

    Raises:
        OpambinError: The definition of a named package can't be had.
    """
    new = frozenset(str(item.package.name) for item in decision.items)
    if "--deps-only" not in asked.options:
        return new & asked.names
    files = {project.name: project.file for project in folders}
    named = [
        package
        for package in (*plan.installs, *plan.stand_ins)
        if package.name in asked.names and package.name not in files
    ]
    for package, text in context.opam.show_raw(named).items() if named else ():
        files[package.name] = parse(text, f"{package}/opam")
    found = {below for name, file in files.items() for below in _direct(decision, asked, name, file)}
    return new & found


def _direct(decision: Decision, asked: Request, name: PackageName, file: OpamFile) -> set[str]:
    universe = decision.universe
    flags = {flag: flag in asked.flags for flag in ("with-test", "with-doc", "with-dev-setup")}
    env = universe.env(Node(Package(name, Version("dev")), "", file, flags))
    selected = {str(key): str(version) for key, version in universe.selected.items()}
    return {dependency.name for dependency in formula.resolved(file.get("depends"), env, selected)}
