"""``switch create NAME COMPILER`` with the compiler restored: steps that give what opam's own command gives.

Rules:

* Only where one package is asked for, by name or by name and version; all else is opam's.
* opam makes the switch, empty, and sets its invariant. It is not selected before it is complete.
* Whatever fails before something was installed removes the switch again, and opam creates it in its own way.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from opambin import request
from opambin.config import load as load_config
from opambin.context import open_context, open_store, real_opam
from opambin.door import front
from opambin.door.asking import ask_for_plan
from opambin.errors import OpambinError, UnavailableError
from opambin.exchange.opening import may_have_remotes
from opambin.machine import systempackages
from opambin.model import PackageName
from opambin.opam.ast import List, Option, PrefixRelop, String
from opambin.opam.client import Opam, PlanFailed
from opambin.opam.root import Root
from opambin.opam.switch import Switch, locate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opambin.context import Context
    from opambin.opam.ast import Value

_UNDERSTOOD = frozenset(
    ("--yes", "--description", "--no-switch", "--jobs", "--color", "--quiet", "--verbose", "--confirm-level")
)
"""Options that change nothing about what is made; ``--description`` is handed on."""
_BY_VERSION = ("ocaml-base-compiler", "ocaml-system", "ocaml-variants")
"""What a version alone may stand for."""
_INVARIANT_AS_SYNOPSIS = (2, 2)
"""Since this opam a switch is described by its invariant; before, by its name."""
_VALUED = frozenset(("--description", "--jobs", "--color", "--confirm-level", "-j"))
_SHORT = frozenset(("-y", "-q", "-v"))


@dataclass(frozen=True, slots=True)
class Wish:
    """A switch that is to be created.

    Attributes:
        name: As given.
        compiler: As given; where only a name was, that.
        description: As given, or None.
        select: Whether it becomes the current switch.
        yes: Whether questions are answered with yes.
        options: For opam when it installs what is not restored.
    """

    name: str
    compiler: str
    description: str | None = None
    select: bool = True
    yes: bool = False
    options: tuple[str, ...] = ()


def parse(args: Sequence[str], environ: Mapping[str, str]) -> Wish | None:
    """Read the words behind ``switch``; None for everything that is opam's alone."""
    words: list[str] = []
    options: list[str] = []
    values: dict[str, str] = {}
    rest = list(args)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            words.append(word)
            continue
        option, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if option not in _UNDERSTOOD | _SHORT | {"-j"} or (not equals and option in _VALUED and not rest):
            return None
        if option in _VALUED:
            values[option] = value if equals else rest.pop(0)
        if option not in ("--description", "--no-switch"):
            options += [option, values[option]] if option in _VALUED else [option]
    if words[:1] != ["create"] or not 2 <= len(words) <= 3 or not _one_package(words[-1]):
        return None
    local = "/" in words[1] or words[1].startswith(".")
    if local and (len(words) == 2 or _has_definitions(Path(words[1]))):
        return None
    return Wish(
        words[1],
        words[-1],
        values.get("--description"),
        "--no-switch" not in args and not local,
        request.parse(args, environ).yes,
        tuple(options),
    )


def _one_package(compiler: str) -> bool:
    return bool(compiler) and not set(compiler) & set(",=<>!&| ()/\"'")


def _has_definitions(folder: Path) -> bool:
    """Tell whether opam would offer to install what the folder defines."""
    return any(folder.glob("*.opam")) or any(folder.glob("opam*"))


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


def make(wish: Wish, environ: Mapping[str, str]) -> Made | str:
    """Make the switch, empty, and plan its compiler; returns why opam has to do it.

    Then there is no such switch.

    Raises:
        OpambinError: No root, no opam, or a bad configuration.
    """
    root = Root.find(environ)
    opam = Opam(real_opam(environ), root=root.path, environ=environ)
    name, prefix = locate(root.path, wish.name, Path.cwd())
    if prefix.exists() or name in root.switches:
        return "there is something already"
    if not _may_be_stored(wish, environ):
        return "no snapshot of its compiler is in the store"
    version = opam.check_supported()
    root.check_opam(version)
    opam = replace(opam, switch=name)
    try:
        hint = _create_empty(opam, wish, named=version < _INVARIANT_AS_SYNOPSIS)
    except UnavailableError as error:
        return str(error)
    try:
        made = _plan(Switch.open(root, name, environ), wish, hint, environ)
        if isinstance(made, Made):
            describe(made, opam, named=version < _INVARIANT_AS_SYNOPSIS)
    except OpambinError as error:
        remove(opam, name)
        return str(error)
    except BaseException:
        remove(opam, name)
        raise
    if isinstance(made, str):
        remove(opam, name)
    return made


def _may_be_stored(wish: Wish, environ: Mapping[str, str]) -> bool:
    """Look whether the store has the compiler at all, before anything is done."""
    config = load_config(environ)
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


def _create_empty(opam: Opam, wish: Wish, *, named: bool) -> str:
    """Let opam make the switch; returns its hint for the shell."""
    description = wish.description
    if description is None:
        name, dot, version = wish.compiler.partition(".")
        description = opam.switch if named and opam.switch else (f"{name} = {version}" if dot else name)
    done = opam.run(
        ["switch", "create", wish.name, "--empty", "--no-switch", "--description", description],
        env_extra={"OPAMYES": "1", "OPAMSWITCH": ""},
        capture=True,
    )
    if not done.ok:
        raise UnavailableError(f"opam can't make an empty switch: {done.stderr.strip()}")
    return next((line for line in (done.stdout + done.stderr).splitlines() if line.startswith("# ")), "")


def _plan(switch: Switch, wish: Wish, hint: str, environ: Mapping[str, str]) -> Made | str:
    context = open_context(environ, switch.name)
    obstacle = front.obstacle_to_restoring(context)
    if obstacle:
        return obstacle
    context.opam.query(
        ["switch", "set-invariant", wish.compiler, f"--switch={switch.name}", "--no-action"],
        env_extra={"OPAMNODEPEXTS": "1"},
    )
    package = _single(switch.config().invariant)
    if package is None:
        return "its invariant is not a single package"
    command = front.Command("install", (package, f"--switch={switch.name}"))
    plan, fingerprint = ask_for_plan(context, command)
    if isinstance(plan, PlanFailed):
        return ""
    prepared = front.prepare_plan(context, command, plan, fingerprint)
    if isinstance(prepared, front.PlainOpam):
        return prepared.reason
    missing = systempackages.missing(prepared)
    if missing.wanted:
        return f"system packages are missing: {', '.join(missing.names)}"
    if not prepared.hits:
        return "nothing of this is in the store"
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
        opam.query(["switch", "set-description", wanted, f"--switch={opam.switch}"])


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


def remove(opam: Opam, name: str) -> None:
    """Remove a switch with all that is in it.

    Raises:
        UnavailableError: opam fails.
    """
    opam.query(["switch", "remove", name, "--yes"])
