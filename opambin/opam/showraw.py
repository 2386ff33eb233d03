"""What ``opam show --raw`` prints: opam files, one after the other."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.model import Package, PackageName, Version

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEAD = re.compile(r'^opam-version: "[^"\n]*"\nname: "([^"\n]+)"\nversion: "([^"\n]+)"$', re.MULTILINE)


def split(text: str, wanted: Sequence[str]) -> list[str]:
    """Split it by the heads of its files.

    Much faster than reading every token. A description may hold what looks like a head, so this counts only
    where each package that was asked for is met exactly once.

    Returns:
        The files; empty when they have to be told apart by a closer look.
    """
    heads = list(_HEAD.finditer(text))
    if sorted(f"{head[1]}.{head[2]}" for head in heads) != sorted(wanted) or not heads or heads[0].start():
        return []
    bounds = [*(head.start() for head in heads), len(text)]
    return [text[start:end] for start, end in pairwise(bounds)]


def package_of(text: str) -> Package:
    """Read name and version at the head of what ``opam show --raw`` printed for one package.

    Raises:
        BadDataError: They are not there.
    """
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if not colon or key not in {"opam-version", "name", "version"}:
            break
        fields[key] = value.strip().strip('"')
    if "name" not in fields or "version" not in fields:
        raise BadDataError("opam show --raw", "no name and version at the head", observed=repr(text[:100]))
    return Package(PackageName(fields["name"]), Version(fields["version"]))
