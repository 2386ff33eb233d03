"""Snapshots, remotes and shelves for the tests of exchange."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from typing import TYPE_CHECKING

from opambin.exchange.memory import Memory
from opambin.exchange.meter import Silent
from opambin.exchange.shelf import Shelf
from opambin.exchange.signing import Signer
from opambin.exchange.sources import Source
from opambin.exchange.uploads import Pushed, push
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
    Version,
)
from opambin.trust.keys import SecretKey
from opambin.trust.policy import Mode, Policy, Role, TrustedKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from memory_remote import MemoryRemote

    from opambin.store.store import Store

ALICE, MALLORY = (SecretKey(name, hashlib.sha256(name.encode()).digest()) for name in ("alice", "mallory"))
TRUSTING_ALICE = Policy(Mode.ANY, (TrustedKey(ALICE.public),))
UNSIGNED = Policy(Mode.UNSIGNED)


def snapshot(  # one of everything that push looks at
    store: Store,
    name: str,
    *,
    content: bytes = b"",
    build: str = "1",
    below: Iterable[Manifest] = (),
    build_only: Iterable[Manifest] = (),
    record: BuildRecord | None = None,
    inputs: Mapping[str, object] | None = None,
) -> Manifest:
    """A snapshot of two files in the store, whose inputs give its key."""
    below, build_only = list(below), list(build_only)
    document = {
        "format": "opam-bin cone key 1",
        "name": name,
        "version": "1.0",
        "recipe": "",
        "arch": "x86_64",
        "os": "linux",
        "os-distribution": "debian",
        "os-version": "12",
        "dependencies": {str(it.package.name): str(it.key) for it in (*below, *build_only)},
        **(inputs or {}),
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    content = content or f"content of {name} {build}\n".encode()
    digest, size = store.objects.put_bytes(content, executable=False)
    program, length = store.objects.put_bytes(b"#!/bin/sh\n" + content, executable=True)
    manifest = Manifest(
        key=ConeKey(hashlib.sha256(text.encode()).hexdigest()),
        output=OutputId(hashlib.sha256(f"{name} {build}".encode()).hexdigest()),
        package=Package(PackageName(name), Version("1.0")),
        opam='opam-version: "2.0"\n',
        inputs=text,
        files=(
            FileEntry(f"bin/{name}", FileType.FILE, 0o755, program, length),
            FileEntry(f"lib/{name}/data", FileType.FILE, 0o644, digest, size),
        ),
        imports=tuple(Import(it.package.name, it.output) for it in below),
        build=record or BuildRecord(seconds=2.0, built_at=1_700_000_000),
    )
    store.add(manifest)
    return manifest


def source(remote: MemoryRemote, policy: Policy = UNSIGNED, name: str = "team") -> Source:
    """A remote as if it was configured."""
    return Source(name, remote, policy, write=True)


def pushed(store: Store, manifests: Iterable[Manifest], to: Source, *secrets: SecretKey) -> Pushed:
    """Push snapshots, signed by some keys."""
    keys = (*to.policy.keys, *(TrustedKey(secret.public) for secret in secrets))
    mode = Mode.ANY if secrets else Mode.UNSIGNED
    writing = dataclasses.replace(
        to, policy=dataclasses.replace(to.policy, mode=mode, keys=keys, role=Role.STAGING)
    )
    return push(store, list(manifests), writing, Signer(secrets), Silent())


def shelf(store: Store, *sources: Source, fresh: bool = False) -> Shelf:
    """A store and remotes."""
    return Shelf.over(store, sources, Memory(store.index, fresh=fresh), os.environ)
