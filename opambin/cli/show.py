"""``opam-bin show``: a snapshot in detail."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import click

from opambin.cli.output import counted, moment, print_json, print_problems, printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opambin.model import FileEntry, Import, Manifest, Symbol

WIDTH = 13  # of the labels
SYMBOLS = {
    "cmi": ("interface", ""),
    "cmx": ("implementation", ""),
    "so": ("shared library", "shared libraries"),
    "file": ("system file", ""),
    "var": ("variable", ""),
}
"""Kind of symbol -> its noun and its plural, where that is no mere s."""


@click.command("show")
@click.argument("package", metavar="NAME[.VERSION]")
@click.option("--key", default="", help="Only snapshots of this cone key; the first digits will do.")
@click.option("--files", is_flag=True, help="List the files.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(package: str, key: str, files: bool, as_json: bool) -> int:
    """Show every snapshot of a package in detail, the newest first.

    Key and output, files, how far it can be moved and what limits that, what it provides and needs, what it
    adds to files of others, and how it was built. Exit code 3 when a snapshot could not be read.
    """
    from opambin.config import load
    from opambin.errors import BadDataError
    from opambin.reports import holdings
    from opambin.store.store import Store

    cache = load(os.environ).cache
    store = Store.open(cache, create=False)
    found = holdings.snapshots(store, package, key)
    if as_json:
        print_json({"store": str(cache), "snapshots": [values(manifest, files=files) for manifest in found]})
    else:
        for at, manifest in enumerate(found):
            for line in ([""] if at else []) + lines(manifest, files=files):
                click.echo(printable(line))
    print_problems(store.problems)
    return BadDataError.exit_code if store.problems else 0


def lines(manifest: Manifest, *, files: bool) -> list[str]:
    """Lay a snapshot out for people."""
    found = [str(manifest.package)]
    found += _labelled("key", manifest.key)
    found += _labelled("output", manifest.output)
    found += _labelled("files", _sizes(manifest))
    found += _labelled("edits", *(f"{edit.path}: {line}" for edit in manifest.edits for line in edit.added))
    found += _relocation_lines(manifest)
    found += _labelled("provides", _symbols(manifest.provides))
    found += _labelled("needs", *(_import(needed) for needed in manifest.imports))
    found += _labelled("config", *(manifest.config or "").splitlines())
    found += _labelled("built", _built(manifest))
    if files:
        found += _labelled("content", *(_file(entry) for entry in manifest.files))
    return found


def _labelled(label: str, *texts: str) -> list[str]:
    """Put a label before the first text and blanks before the rest; nothing without texts."""
    kept = [text for text in texts if text]
    return [f"  {label if at == 0 else '':{WIDTH}} {text}" for at, text in enumerate(kept)]


def _sizes(manifest: Manifest) -> str:
    from opambin.summary import data_size

    counts = Counter(entry.type.value for entry in manifest.files)
    nouns = {"file": "", "symlink": "", "directory": "directories"}
    parts = [counted(counts[noun], noun, plural) for noun, plural in nouns.items() if counts[noun]]
    if manifest.extra_files:
        parts.append(counted(len(manifest.extra_files), "file") + " of its definition")
    return f"{', '.join(parts) or 'none'}; {data_size(manifest.size)}"


def _relocation_lines(manifest: Manifest) -> list[str]:
    from opambin.reports.relocatability import relocation

    summed = relocation(manifest)
    total = sum(number for _, number in summed.kinds)
    holds = "the prefix is in no file"
    if total:
        kinds = ", ".join(f"{number} {kind}" for kind, number in summed.kinds)
        stale = f"; {summed.stale} only informational" if summed.stale else ""
        holds = f"the prefix {counted(total, 'time')} in {counted(summed.files, 'file')} ({kinds}{stale})"
    reasons = [f"{bound.path}: {bound.reason}" for bound in summed.bound]
    return _labelled("holds", holds) + _labelled("movable", summed.movable, *reasons)


def _symbols(symbols: Iterable[Symbol]) -> str:
    counts = Counter(symbol.kind for symbol in symbols)
    parts = [counted(number, *SYMBOLS.get(kind, (kind, ""))) for kind, number in sorted(counts.items())]
    return ", ".join(parts)


def _import(needed: Import) -> str:
    wanted = f"output {needed.output[:12]}" if needed.output else "any output"
    symbols = _symbols(needed.symbols)
    return f"{needed.provider}: {wanted}" + (f", or another with the same {symbols}" if symbols else "")


def _built(manifest: Manifest) -> str:
    from opambin.summary import data_size, duration

    build = manifest.build
    parts = [moment(build.built_at)] if build.built_at else []
    if build.seconds:
        parts.append(f"in {duration(build.seconds)}")
    if build.opam_version:
        parts.append(f"by opam {build.opam_version}")
    if build.source_bytes:
        parts.append(f"from {data_size(build.source_bytes)} of sources")
    parts.append("under the padded prefix" if build.padded else "not padded")
    if build.adopted:
        parts.append("adopted from a switch that was built without hooks")
    return ", ".join(parts)


def _file(entry: FileEntry) -> str:
    tail = f" -> {entry.target}" if entry.target else ""
    if entry.occurrences:
        kinds = Counter(str(occurrence.kind) for occurrence in entry.occurrences)
        tail += f"  ({', '.join(f'{number} {kind}' for kind, number in sorted(kinds.items()))})"
    size = f"{entry.size}" if entry.type.value == "file" else "-"
    return f"{entry.mode:04o} {size:>10} {entry.path}{'/' if entry.type.value == 'directory' else ''}{tail}"


def values(manifest: Manifest, *, files: bool) -> dict[str, object]:
    """Return a snapshot as plain values."""
    from dataclasses import asdict

    content: dict[str, object] = {
        "name": manifest.package.name,
        "version": manifest.package.version,
        "key": manifest.key,
        "output": manifest.output,
        "bytes": manifest.size,
        "counts": dict(sorted(Counter(entry.type.value for entry in manifest.files).items())),
        "relocation": _relocation_values(manifest),
        "edits": [asdict(edit) for edit in manifest.edits],
        "provides": dict(sorted(Counter(symbol.kind for symbol in manifest.provides).items())),
        "imports": [
            {
                "provider": needed.provider,
                "output": needed.output,
                "symbols": dict(sorted(Counter(symbol.kind for symbol in needed.symbols).items())),
            }
            for needed in manifest.imports
        ],
        "config": manifest.config,
        "install": manifest.install,
        "extra_files": [asdict(extra) for extra in manifest.extra_files],
        "build": asdict(manifest.build),
    }
    if files:
        content["files"] = [_file_values(entry) for entry in manifest.files]
    return content


def _relocation_values(manifest: Manifest) -> dict[str, object]:
    from dataclasses import asdict

    from opambin.reports.relocatability import relocation

    summed = relocation(manifest)
    return {
        "movable": "anywhere" if summed.longest is None else "limited" if summed.longest else "bound",
        "longest_prefix": summed.longest or None,
        "prefix": summed.prefix or None,
        "occurrences": dict(summed.kinds),
        "informational": summed.stale,
        "files": summed.files,
        "bound": [asdict(bound) for bound in summed.bound],
    }


def _file_values(entry: FileEntry) -> dict[str, object]:
    return {
        "path": entry.path,
        "type": str(entry.type),
        "mode": f"{entry.mode:04o}",
        "bytes": entry.size,
        "digest": entry.digest,
        "target": entry.target or None,
        "hardlink": entry.hardlink or None,
        "occurrences": len(entry.occurrences),
    }
