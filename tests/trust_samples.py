"""Keys and statements for tests."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

from opambin.model import ConeKey, Import, Manifest, OutputId, Package, PackageName, Version
from opambin.store.manifest_format import to_json
from opambin.trust import statement as statements
from opambin.trust.envelope import Envelope, seal
from opambin.trust.keys import SecretKey
from opambin.trust.policy import Mode, Policy, Role, TrustedKey
from opambin.trust.remotestate import RemoteState
from opambin.trust.statement import Origin, Packed, Statement

NOW = 1_800_000_000
ARCHIVE = Packed("a" * 64, 5000, "b" * 64, 400)


def secret(name: str) -> SecretKey:
    """Always the same key for a name."""
    return SecretKey(name, hashlib.sha256(name.encode()).digest())


ALICE, BOB, CI, MALLORY = (secret(name) for name in ("alice", "bob", "ci", "mallory"))
RELEASE = (TrustedKey(ALICE.public), TrustedKey(BOB.public))
STAGING = TrustedKey(CI.public, Role.STAGING)
ANY = Policy(Mode.ANY, (*RELEASE, STAGING))
NIGHTLY = dataclasses.replace(ANY, role=Role.STAGING)
UNSIGNED = Policy(Mode.UNSIGNED)


def manifest(name: str = "zarith", version: str = "1.12", **inputs: str) -> Manifest:
    values = {
        "format": "opam-bin cone key 1",
        "name": name,
        "version": version,
        "recipe": "",
        "arch": "x86_64",
        "os": "linux",
        "os-distribution": "debian",
        "os-version": "12",
    }
    text = json.dumps({**values, **inputs}, sort_keys=True)
    return Manifest(
        key=ConeKey(hashlib.sha256(text.encode()).hexdigest()),
        output=OutputId("c" * 64),
        package=Package(PackageName(name), Version(version)),
        opam="",
        inputs=text,
        imports=(
            Import(PackageName("ocaml"), OutputId("d" * 64)),
            Import(PackageName("conf-gmp"), None),
        ),
    )


MANIFEST = manifest()


def statement(**changes: Any) -> Statement:  # noqa: ANN401 - any field
    made = Statement.of(MANIFEST, to_json(MANIFEST), ARCHIVE, Origin("ci.example/1", NOW - 100))
    return dataclasses.replace(made, **changes)


def signed(*keys: SecretKey, **changes: Any) -> Envelope:  # noqa: ANN401 - any field
    return seal(statements.TYPE, statement(**changes).to_json(), keys)


def state(**changes: Any) -> RemoteState:  # noqa: ANN401 - any field
    return dataclasses.replace(RemoteState("e" * 32, 7, NOW - 1000, NOW + 86_400), **changes)
