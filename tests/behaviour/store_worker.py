"""What other processes do in the tests of the store; importable by name, so that they can be spawned."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

from opambin.errors import OpambinError
from opambin.model import (
    BuildRecord,
    ConeKey,
    FileEntry,
    FileType,
    Manifest,
    OutputId,
    Package,
    PackageName,
    Version,
)
from opambin.store.records import InstalledRecord
from opambin.store.store import Store


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def content(number: int) -> bytes:
    """The bytes of the object with this number: the same in every process."""
    return sha(str(number)).encode() * (1 + number % 700)


def snapshot(store: Store, name: str, numbers: range, output: str = "o") -> Manifest:
    """Put the objects of a snapshot, and return its manifest."""
    files = []
    for number in numbers:
        digest, size = store.objects.put_bytes(content(number), executable=bool(number % 2))
        mode = 0o755 if number % 2 else 0o644
        files.append(FileEntry(f"lib/{number:05}", FileType.FILE, mode, digest, size))
    return Manifest(
        key=ConeKey(sha(f"key {name}")),
        output=OutputId(sha(f"{output} {name}")),
        package=Package(PackageName(name), Version("1")),
        opam="",
        inputs="{}",
        files=tuple(files),
    )


def fill(root: str, who: int, rounds: int) -> list[str]:
    """Write the snapshots that every other worker writes too; return what went wrong."""
    problems = []
    try:
        with Store.open(Path(root)) as store:
            for turn in range(rounds):
                with store.writing():
                    manifest = snapshot(store, f"p{turn}", range(turn * 5, turn * 5 + 20))
                    mine = dataclasses.replace(manifest, build=BuildRecord(seconds=float(who)))
                    store.add(mine)
                store.touch([(manifest.key, manifest.output)], turn)
                found = store.outputs(manifest.key)
                if [it.files for it in found] != [manifest.files]:
                    problems.append(f"{who}: wrong outputs in round {turn}")
                record = InstalledRecord(
                    manifest.package.name, manifest.package.version, manifest.key, manifest.output, ""
                )
                store.record_installed(f"/switch{who}", [record])
            problems += store.problems
    except OpambinError as error:
        problems.append(f"{who}: {error}")
    return problems


def fill_forever(root: str) -> None:
    """Write one snapshot after another until killed."""
    with Store.open(Path(root)) as store:
        turn = 0
        while True:
            store.add(snapshot(store, f"p{turn}", range(turn * 40, turn * 40 + 40)))
            turn += 1
