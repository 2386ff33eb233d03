"""What packages want said when they are installed: field ``post-messages``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin.machine import checks
from opambin.opam import ast, filters

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opambin.context import Context
    from opambin.model import PackageName
    from opambin.opam.interpolation import Env, Value
    from opambin.universe import Universe

_OUTCOME: dict[str, Value] = {"success": True, "failure": False}


def after_install(
    context: Context, universe: Universe, names: Iterable[PackageName]
) -> list[tuple[str, tuple[str, ...]]]:
    """Return the messages of packages that are installed now, as opam would print them.

    Args:
        context: The switch.
        universe: What is installed.
        names: The packages, in the order in which they were installed.

    Returns:
        For each package that has any: name and version, and its messages.

    Raises:
        BadDataError: A field is of another shape.
    """
    environment = checks.BuildEnvironment(context, universe, {})
    found = []
    for name in names:
        node = universe.node(name)
        value = node.file.get("post-messages")
        if value is not None:
            messages = tuple(_messages(value, _with_outcome(environment.lookup(node))))
            if messages:
                found.append((str(node.package), messages))
    return found


def _with_outcome(env: Env) -> Env:
    return lambda name: _OUTCOME[name] if name in _OUTCOME else env(name)


def _messages(value: ast.Value, env: Env) -> list[str]:
    items = value.items if isinstance(value, ast.List) else (value,)
    chosen = [
        (item.value, filters.condition(item.filters, env)) if isinstance(item, ast.Option) else (item, True)
        for item in items
    ]
    return [
        filters.interpolate(text.value, env)
        for text, holds in chosen
        if holds and isinstance(text, ast.String)
    ]
