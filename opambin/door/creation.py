"""``switch create NAME COMPILER`` with the compiler restored: steps that give what opam's own command gives.

Rules:

* Only what :mod:`opambin.door.wishes` understands; all else is opam's.
* opam makes the switch, empty, and sets its invariant. It is not selected before it is complete.
* Whatever fails before something was installed removes the switch again, and opam creates it in its own way.
"""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from opambin.config import load as load_config
from opambin.context import open_context, open_store, real_opam
from opambin.door import front
from opambin.door.asking import ask_for_plan
from opambin.errors import MisuseError, OpambinError, UnavailableError
from opambin.exchange.opening import may_have_remotes
from opambin.machine import systempackages
from opambin.model import PackageName
from opambin.opam.ast import List, Option, PrefixRelop, String
from opambin.opam.client import Opam, PlanFailed
from opambin.opam.root import Root
from opambin.opam.switch import Switch, locate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opambin.config import Config
    from opambin.context import Context
    from opambin.door.wishes import Wish
    from opambin.opam.ast import Value
    from opambin.opam.client import Completed

_BY_VERSION = ("ocaml-base-compiler", "ocaml-system", "ocaml-variants")
"""What a version alone may stand for."""
_INVARIANT_AS_SYNOPSIS = (2, 2)
"""Since this opam a switch is described by its invariant; before, by its name."""


@dataclass(frozen=True, slots=True)
class Made:
    """An empty switch whose compiler can be restored.

    Attributes:
        wish: What was asked for.
        prepared: The plan.
        hint: What opam says at the end about the shell's environment.
        invariant: As opam prints it.
        package: The compiler, as one names it to opam.
    """

    wish: Wish
    prepared: front.Prepared
    hint: str
    invariant: str
    package: str

    @property
    def context(self) -> Context:
        """The switch and the store."""
        return self.prepared.context


@dataclass(frozen=True, slots=True)
class _Empty:
    """An empty switch that opam has just made.

    Attributes:
        opam: Set to it.
        switch: The switch.
        hint: What opam said about the shell's environment.
        named: Whether this opam describes a switch by its name.
        folders: Of a local switch, those that were not there before, the deepest first.
    """

    opam: Opam
    switch: Switch
    hint: str
    named: bool
    folders: tuple[Path, ...]


def make(wish: Wish, environ: Mapping[str, str]) -> Made | front.PlainOpam:
    """Make the switch, empty, and plan its compiler; where opam has to do it, there is no such switch.

    Raises:
        UnavailableError: There is no opam.
    """
    empty = _make_empty(wish, environ, or_else="no snapshot of its compiler is in the store")
    if isinstance(empty, front.PlainOpam):
        return empty
    try:
        made = _planned(empty, wish, environ)
        if isinstance(made, Made) and not made.prepared.hits:
            made = front.PlainOpam("nothing of this is in the store")
        if isinstance(made, Made):
            describe(made, empty.opam, named=empty.named)
    except BaseException:  # Ctrl-C, too: nothing may stay of it
        _remove_empty(empty)
        raise
    if isinstance(made, front.PlainOpam):
        _remove_empty(empty)
    return made


def rehearse(wish: Wish, environ: Mapping[str, str]) -> front.Prepared | front.PlainOpam:
    """Plan the compiler of a switch; opam plans only for what exists, so it is made, and removed again.

    Raises:
        UnavailableError: There is no opam.
    """
    empty = _make_empty(wish, environ)
    if isinstance(empty, front.PlainOpam):
        return empty
    try:
        made = _planned(empty, wish, environ)
    finally:
        _remove_empty(empty)
    return made.prepared if isinstance(made, Made) else made


def _make_empty(wish: Wish, environ: Mapping[str, str], *, or_else: str = "") -> _Empty | front.PlainOpam:
    """Let opam make the empty switch.

    Args:
        wish: What is asked for.
        environ: The environment.
        or_else: Why not, where no snapshot of the compiler can be had; empty to make it all the same.
    """
    program = real_opam(environ)
    try:
        root = Root.find(environ)
    except UnavailableError as error:
        return front.PlainOpam(error=error)  # opam says that itself
    except OpambinError as error:
        return front.PlainOpam(str(error), error=error)
    name, prefix = locate(root.path, wish.name, Path.cwd())
    if prefix.exists() or name in root.switches:
        return front.PlainOpam(error=MisuseError(f"there is a switch {name}, or something else at {prefix}"))
    opam = Opam(program, root=root.path, environ=environ)
    try:
        config = load_config(environ)
        if or_else and not _may_be_stored(wish, config, environ):
            return front.PlainOpam(or_else)
        version = opam.check_supported()
        root.check_opam(version)
    except OpambinError as error:
        return front.PlainOpam(str(error), error=error)
    named = version < _INVARIANT_AS_SYNOPSIS
    folders = _missing(Path(name)) if "/" in name else ()
    opam = replace(opam, switch=name)
    try:
        hint = _create_empty(opam, wish, named=named)
        if isinstance(hint, front.PlainOpam):
            return hint
        return _Empty(opam, Switch.open(root, name, environ), hint, named, folders)
    except BaseException:  # Ctrl-C, too
        remove(opam, Switch(root, name, prefix))  # where opam was through with it
        raise


def _missing(folder: Path) -> tuple[Path, ...]:
    return tuple(path for path in (folder, *folder.parents) if not path.exists())


def _remove_empty(empty: _Empty) -> None:
    remove(empty.opam, empty.switch)
    with suppress(OSError):  # something else is in one by now
        for folder in empty.folders:
            folder.rmdir()


def _planned(empty: _Empty, wish: Wish, environ: Mapping[str, str]) -> Made | front.PlainOpam:
    try:
        return _plan(empty.switch, wish, empty.hint, environ)
    except OpambinError as error:
        return front.PlainOpam(str(error), error=error)


def _may_be_stored(wish: Wish, config: Config, environ: Mapping[str, str]) -> bool:
    """Look whether the store has the compiler at all, before anything is done."""
    if not config.enabled or not config.restore:
        return False
    if not config.offline and may_have_remotes(environ):
        return True  # what they have shows when there is a switch
    store, _ = open_store(config, readonly=True)
    if store is None:
        return False
    name, _, version = wish.compiler.partition(".")
    candidates = [(name, version)] if any(char.isalpha() for char in name) else []
    candidates = candidates or [(name, wish.compiler) for name in _BY_VERSION]
    return any(
        not wanted or record.version == wanted
        for known, wanted in candidates
        for record in store.by_name(PackageName(known))
    )


def _create_empty(opam: Opam, wish: Wish, *, named: bool) -> str | front.PlainOpam:
    """Let opam make the switch; returns its hint for the shell."""
    description = wish.description
    if description is None:
        name, dot, version = wish.compiler.partition(".")
        description = opam.switch if named and opam.switch else (f"{name} = {version}" if dot else name)
    done = opam.change(
        ["switch", "create", wish.name, "--empty", "--no-switch", "--description", description],
        env_extra={"OPAMYES": "1", "OPAMSWITCH": ""},
    )
    if not done.ok:
        return _refused(done)
    return next((line for line in (done.stdout + done.stderr).splitlines() if line.startswith("# ")), "")


def _refused(done: Completed) -> front.PlainOpam:
    """Return what opam refuses; asked for the whole, it says so itself."""
    return front.PlainOpam(failed=PlanFailed(done.code, done.stdout, done.stderr))


def _plan(switch: Switch, wish: Wish, hint: str, environ: Mapping[str, str]) -> Made | front.PlainOpam:
    context = open_context(environ, switch.name)
    obstacle = front.obstacle_to_restoring(context)
    if obstacle:
        return front.PlainOpam(obstacle)
    invariant = ["switch", "set-invariant", wish.compiler, f"--switch={switch.name}", "--no-action"]
    done = context.opam.change(invariant, env_extra={"OPAMNODEPEXTS": "1"})
    if not done.ok:
        return _refused(done)
    package = _single(switch.config().invariant)
    if package is None:
        return front.PlainOpam("its invariant is not a single package")
    command = front.Command("install", (package, f"--switch={switch.name}"))
    begun = time.monotonic()
    plan, fingerprint = ask_for_plan(context, command)
    solved = time.monotonic()
    if isinstance(plan, PlanFailed):
        return front.PlainOpam(failed=plan)
    prepared = front.prepare_plan(context, command, plan, fingerprint)
    if isinstance(prepared, front.PlainOpam):
        return prepared
    prepared = replace(prepared, seconds=time.monotonic() - solved, opam_seconds=solved - begun)
    missing = systempackages.missing(prepared)
    if missing.wanted:
        return front.PlainOpam(f"system packages are missing: {', '.join(missing.names)}")
    name, equals, version = package.partition("=")
    shown = f'["{name}" {{= "{version}"}}]' if equals else f'["{name}"]'
    return Made(wish, prepared, hint, shown, package)


def _single(invariant: Value | None) -> str | None:
    """Return the one package that an invariant names, as an argument for opam; None for anything else."""
    if isinstance(invariant, List) and len(invariant.items) == 1:
        invariant = invariant.items[0]
    match invariant:
        case String(value=name):
            return name
        case Option(value=String(value=name), filters=(PrefixRelop(op="=", value=String(value=version)),)):
            return f"{name}={version}"
    return None


def describe(made: Made, opam: Opam, *, named: bool) -> None:
    """Give the switch the description that opam gives it, where the compiler's name was not known before."""
    wanted = made.package.replace("=", " = ")
    if made.wish.description is None and not named and wanted.partition(" ")[0] not in made.wish.compiler:
        opam.describe_switch(str(opam.switch), wanted)


def complete(made: Made) -> None:
    """Leave the switch as opam does when all is installed: selected, without traces of planning.

    Raises:
        UnavailableError: opam fails.
    """
    context = made.context
    shutil.rmtree(context.switch.meta / "backup", ignore_errors=True)
    if made.wish.select:
        context.opam.set_global_switch(context.switch.name)


def install_rest(made: Made) -> int:
    """Let opam install what was not restored; returns its exit code."""
    import signal

    context = made.context
    words = ["install", made.package, f"--switch={context.switch.name}", "--yes", *made.wish.options]
    # Ctrl-C goes to opam as well, which needs its time to end.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return context.opam.run(words).code
    finally:
        signal.signal(signal.SIGINT, before)


def remove(opam: Opam, switch: Switch) -> None:
    """Remove a switch that was made here, with all that is in it.

    Raises:
        UnavailableError: opam can't remove it.
    """
    done = opam.change(["switch", "remove", switch.name, "--yes"])
    if not done.ok and switch.name in Root.open(switch.root.path).switches:
        raise UnavailableError(f"opam can't remove the switch {switch.name}: {done.stderr.strip()}")
