"""The JSON of a manifest, version 1. Exactly described in ``docs/formats/manifest.md``.

Rules that :func:`from_json` enforces, all of them, before anything is used:

* at most :data:`MAX_BYTES`; JSON in ASCII; no member twice; no member more or less than known;
* a version that is known, and the sha256 of the rest as written;
* types; digests of 64 hexadecimal digits; paths that are relative and normalized; no setuid or setgid;
* files sorted and unique, nothing inside a file or link, hard links to an earlier equal file, occurrences in
  order and within the file.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, NoReturn

from opambin.errors import BadDataError
from opambin.model import (
    BuildRecord,
    ConeKey,
    FileEntry,
    FileType,
    Import,
    Manifest,
    OutputId,
    Package,
    PackageName,
    Symbol,
    Version,
)
from opambin.store import manifest_columns as columns
from opambin.store import manifest_rows as rows
from opambin.store.layout import is_hex64

VERSION = 1
MAX_BYTES = 64_000_000  # a compiler's manifest has half a million
SHOWN_PROBLEMS = 20

_START = b'{"opam-bin-manifest":1,"sha256":"'
_MIDDLE = b'","snapshot":'
_BODY_AT = len(_START) + 64 + len(_MIDDLE)
_HASHED_START = b'{"opam-bin-manifest":1,"snapshot":'
_MEMBERS = frozenset(
    {
        "bound",
        "build",
        "config",
        "edits",
        "extra-files",
        "files",
        "imports",
        "inputs",
        "install",
        "key",
        "opam",
        "output",
        "package",
        "prefix",
        "provides",
        "version",
    }
)
_NAME = re.compile(r"[A-Za-z0-9_+-]+")
_VERSION = re.compile(r"[A-Za-z0-9_+.~-]+")
_BUILD_TYPES: dict[str, tuple[type, ...]] = {
    "adopted": (bool,),
    "built_at": (int,),
    "opam_version": (str,),
    "padded": (bool,),
    "prefix_length": (int,),
    "seconds": (int, float),
    "source_bytes": (int,),
}


def to_json(manifest: Manifest) -> bytes:
    """Return the canonical form of ``manifest``: equal manifests give equal bytes."""
    body = json.dumps(_body(manifest), sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
    return _START + _digest(body).encode("ascii") + _MIDDLE + body + b"}\n"


def from_json(data: bytes, what: object) -> Manifest:
    """Check and read a manifest.

    Args:
        data: The whole file.
        what: Its name, for the error.

    Raises:
        BadDataError: Anything is not as it should be; all problems are in the message.
    """
    body = _open(data, what)
    problems: list[str] = []
    extra = sorted(body.keys() - _MEMBERS)
    problems += [f"unknown member {name!r}" for name in extra]
    problems += [f"no member {name!r}" for name in sorted(_MEMBERS - body.keys())]
    if problems:
        _refuse(what, problems)
    manifest = Manifest(
        key=ConeKey(body["key"]),
        output=OutputId(body["output"]),
        package=Package(PackageName(body["package"]), Version(body["version"])),
        opam=body["opam"],
        inputs=body["inputs"],
        files=rows.files_of(body["files"], problems.append),
        edits=rows.edits_of(body["edits"], problems.append),
        config=body["config"],
        install=body["install"],
        extra_files=rows.extra_files_of(body["extra-files"], problems.append),
        provides=rows.symbols_of(body["provides"], "provides", problems.append),
        imports=rows.imports_of(body["imports"], problems.append),
        bound=rows.bounds_of(body["bound"], problems.append),
        prefix=body["prefix"],
        build=_build(body["build"], problems),
    )
    problems += _check_head(body)
    if problems:
        _refuse(what, problems)
    return manifest


def _digest(body: bytes) -> str:
    """Hash the document as it is without its member ``sha256``."""
    state = hashlib.sha256(_HASHED_START)
    state.update(body)
    state.update(b"}")
    return state.hexdigest()


def _open(data: bytes, what: object) -> dict[str, Any]:
    """Return the body after the checks of length, syntax, version and digest."""
    if len(data) > MAX_BYTES:
        raise BadDataError(
            what, "too large for a manifest", expected=f"<= {MAX_BYTES} bytes", observed=len(data)
        )
    try:
        document = _DECODER.decode(data.decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise BadDataError(what, f"not a manifest, or cut off: {error}") from error
    if not isinstance(document, dict) or "opam-bin-manifest" not in document:
        raise BadDataError(what, "not a manifest: no member 'opam-bin-manifest'")
    version = document["opam-bin-manifest"]
    if type(version) is not int or version != VERSION:
        raise BadDataError(
            what,
            "this version of manifests is not known to this opam-bin",
            expected=VERSION,
            observed=repr(version),
        )
    body = document.get("snapshot")
    if document.keys() != {"opam-bin-manifest", "sha256", "snapshot"} or not isinstance(body, dict):
        raise BadDataError(what, "not exactly the members 'opam-bin-manifest', 'sha256' and 'snapshot'")
    recorded = document["sha256"]
    observed = _digest(data[_BODY_AT:-2])
    if recorded != observed or not _is_framed(data, observed):
        raise BadDataError(
            what, "damaged or edited manifest: wrong sha256", expected=recorded, observed=observed
        )
    return body


def _is_framed(data: bytes, digest: str) -> bool:
    return data.startswith(_START + digest.encode("ascii") + _MIDDLE) and data.endswith(b"}\n")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is there twice")
    return members


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def _check_head(body: dict[str, Any]) -> list[str]:
    problems = [
        f"{name}: not 64 hexadecimal digits" for name in ("key", "output") if not is_hex64(body[name])
    ]
    for name, pattern in (("package", _NAME), ("version", _VERSION)):
        if type(body[name]) is not str or not pattern.fullmatch(body[name]):
            problems.append(f"{name}: {body[name]!r:.80} is not a package's {name}")
    problems += [f"{name}: not a text" for name in ("opam", "inputs") if type(body[name]) is not str]
    problems += [
        f"{name}: neither a text nor null"
        for name in ("config", "install")
        if type(body[name]) not in (str, type(None))
    ]
    prefix = body["prefix"]
    if type(prefix) is not str or (prefix and (not prefix.startswith("/") or "\0" in prefix)):
        problems.append(f"prefix: {prefix!r:.80} is neither empty nor an absolute path")
    return problems


def _build(members: object, problems: list[str]) -> BuildRecord:
    if not isinstance(members, dict) or members.keys() != _BUILD_TYPES.keys():
        problems.append(f"build: not exactly the members {', '.join(_BUILD_TYPES)}")
        return BuildRecord()
    wrong = [
        name
        for name, types in _BUILD_TYPES.items()
        if type(members[name]) not in types
        or (type(members[name]) in (int, float) and not 0 <= members[name] <= columns.COUNT_MAX)
    ]
    problems += [f"build: {name}: {members[name]!r:.80} is not possible" for name in wrong]
    return BuildRecord(**{**members, "seconds": float(members["seconds"])}) if not wrong else BuildRecord()


def _refuse(what: object, problems: list[str]) -> NoReturn:
    shown = "; ".join(problems[:SHOWN_PROBLEMS])
    more = f"; and {len(problems) - SHOWN_PROBLEMS} more" if len(problems) > SHOWN_PROBLEMS else ""
    raise BadDataError(what, f"bad manifest: {shown}{more}")


def _body(manifest: Manifest) -> dict[str, object]:
    return {
        "bound": [[bound.path, bound.reason, bound.max_prefix] for bound in manifest.bound],
        "build": {
            **{name: getattr(manifest.build, name) for name in _BUILD_TYPES},
            "seconds": float(manifest.build.seconds),  # 3 and 3.0 are equal and must look alike
        },
        "config": manifest.config,
        "edits": [[edit.path, edit.added] for edit in manifest.edits],
        "extra-files": [[extra.name, extra.digest, extra.size] for extra in manifest.extra_files],
        "files": [_file_row(entry) for entry in manifest.files],
        "imports": [_import_row(needed) for needed in manifest.imports],
        "inputs": manifest.inputs,
        "install": manifest.install,
        "key": manifest.key,
        "opam": manifest.opam,
        "output": manifest.output,
        "package": manifest.package.name,
        "prefix": manifest.prefix,
        "provides": _symbol_rows(manifest.provides),
        "version": manifest.package.version,
    }


def _file_row(entry: FileEntry) -> list[object]:
    if entry.type is FileType.SYMLINK:
        return ["l", entry.path, entry.target]
    if entry.type is FileType.DIRECTORY:
        return ["d", entry.path, entry.mode]
    return [
        "f",
        entry.path,
        entry.mode,
        entry.size,
        entry.digest,
        columns.SAME_IDENTITY if entry.identity and entry.identity == entry.digest else entry.identity,
        entry.hardlink,
        [
            [found.kind.value, found.offset, found.capacity, found.functional, found.where, found.anchor]
            for found in entry.occurrences
        ],
    ]


def _symbol_rows(symbols: tuple[Symbol, ...]) -> list[list[str]]:
    return [[symbol.kind, symbol.name, symbol.value] for symbol in symbols]


def _import_row(needed: Import) -> list[object]:
    return [needed.provider, needed.output, _symbol_rows(needed.symbols)]
