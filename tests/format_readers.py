"""Readers of what the program writes, made from ``docs/formats`` alone: nothing of the program is imported.

Each fails where the bytes are not what the page of that format says.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
import stat
import tarfile
from typing import TYPE_CHECKING, Any

import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SENTINEL = 1_111_111_110_000_000_000  # nanoseconds
PUBLISHED_TIME = 946_684_800  # 2000-01-01
HEX = re.compile("[0-9a-f]{64}")
SNAPSHOT = (
    "key output package version opam inputs config install prefix files extra-files edits provides imports"
    " bound build"
)
BUILD = "adopted built_at opam_version padded prefix_length seconds source_bytes"
INPUTS = (
    "format name version opam source extra-sources recipe dependencies arch os os-distribution os-version"
    " flags variables environment system-files"
)
STATEMENT = (
    "type version key key-algorithm output package package-version platform dependencies manifest-digest"
    " manifest-size archive-digest archive-size head-digest head-size recipe-digest channel builder time"
)
CATALOGUE = "opam-bin-published base-url mode serial time rules index-sha256 builds left-out"
PUBLISHED = (
    "name version published kind key output outputs platform compiler archive opam files size dependencies"
    " licence synopsis homepage max_prefix helper built_at seconds published_at serial"
)
EDITS = "edits max lib md5 sed in re at size ln to mode hl of ed add"


def canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def sha256(data: bytes | str) -> str:
    return hashlib.sha256(data.encode("ascii") if isinstance(data, str) else data).hexdigest()


def members(value: Mapping[str, Any], names: str) -> None:
    assert sorted(value) == sorted(names.split())


def read_store(root: Path) -> list[dict[str, Any]]:
    """Read a store (``store.md``); returns the bodies of its manifests."""
    assert (root / "format").read_bytes() == b"opam-bin store 1\n"
    for path in (root / "objects").glob("*/*"):
        status, executable = path.lstat(), path.suffix == ".x"
        assert stat.S_ISREG(status.st_mode)
        assert stat.S_IMODE(status.st_mode) == (0o555 if executable else 0o444)
        assert status.st_mtime_ns == SENTINEL
        assert sha256(path.read_bytes()) == path.parent.name + path.name.removesuffix(".x")
    bodies = []
    for path in (root / "manifests").glob("*/*/*.json"):
        body = read_manifest(path.read_bytes())
        assert path == root / "manifests" / body["key"][:2] / body["key"] / f"{body['output']}.json"
        for digest, executable, size in objects(body):
            data = (root / "objects" / digest[:2] / (digest[2:] + (".x" if executable else ""))).read_bytes()
            assert (len(data), sha256(data)) == (size, digest)
        bodies.append(body)
    return bodies


def read_manifest(data: bytes) -> dict[str, Any]:
    """Read a manifest (``manifest.md``, ``cone-key.md``, ``output-id.md``); returns its body."""
    document = json.loads(data)
    assert data.decode("ascii") == canonical(document) + "\n"
    body: dict[str, Any] = document["snapshot"]
    assert document == {
        "opam-bin-manifest": 1,
        "sha256": sha256(canonical({"opam-bin-manifest": 1, "snapshot": body})),
        "snapshot": body,
    }
    members(body, SNAPSHOT)
    members(body["build"], BUILD)
    inputs = json.loads(body["inputs"])
    members(inputs, INPUTS)
    assert body["inputs"] == canonical(inputs)
    assert body["key"] == sha256(body["inputs"])
    assert (inputs["format"], inputs["name"], inputs["version"]) == (
        "opam-bin cone key 1",
        body["package"],
        body["version"],
    )
    paths = [row[1] for row in body["files"]]
    assert paths == sorted(set(paths))
    if body["config"] is None and body["install"] is None:  # these are laid out afresh
        assert body["output"] == output_id(body)
    return body


def output_id(body: Mapping[str, Any]) -> str:
    """Compute the output id of a manifest (``output-id.md``)."""
    rows: list[list[object]] = []
    for kind, path, mode, *rest in body["files"]:
        if kind == "d":
            rows.append([path, "directory"])
        elif kind == "l":
            rows.append([path, "symlink", False, mode, ""])  # in a row of a link the target comes third
        else:
            _, digest, identity, hardlink, _ = rest
            content = digest if identity == "=" else identity
            rows.append([path, "file", bool(mode & 0o111), content, hardlink])
    edits = sorted([path, *lines] for path, lines in body["edits"])
    document = {"format": 1, "files": rows, "edits": edits}
    return sha256(canonical({**document, "config": body["config"], "install": body["install"]}))


def objects(body: Mapping[str, Any]) -> Iterator[tuple[str, bool, int]]:
    """Yield digest, executable and size of the objects of a manifest, in their order, each once."""
    named = [(row[4], bool(row[2] & 0o111), row[3]) for row in body["files"] if row[0] == "f"]
    named += [(digest, False, size) for _, digest, size in body["extra-files"]]
    yield from dict.fromkeys(named)


def read_remote(root: Path, keys: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """Read a remote that is a folder (``remote.md``); returns its statements.

    Args:
        root: The folder.
        keys: Public keys by id.
    """
    assert (root / "opam-bin-remote").read_bytes() == b"opam-bin remote 1\n"
    statements = []
    for path in root.glob("keys/*/*/*"):
        statement = read_envelope(path.read_bytes(), "application/vnd.opam-bin.snapshot.v1+json", keys)
        members(statement, STATEMENT)
        assert path.relative_to(root).parts[1:3] == (statement["key"][:2], statement["key"])
        digest = statement["archive-digest"]
        archive = (root / "archives" / digest[:2] / f"{digest[2:]}.tar.zst").read_bytes()
        assert (sha256(archive), len(archive)) == (digest, statement["archive-size"])
        _compare(statement, *read_archive(archive, statement["head-size"]))
        assert sha256(archive[: statement["head-size"]]) == statement["head-digest"]
        statements.append(statement)
    return statements


def _compare(statement: Mapping[str, Any], manifest: bytes, body: Mapping[str, Any]) -> None:
    """Compare a statement with the manifest that it is about (``signature.md``)."""
    inputs = json.loads(body["inputs"])
    platform = "/".join(inputs[name] for name in ("arch", "os", "os-distribution", "os-version"))
    assert (statement["manifest-digest"], statement["manifest-size"]) == (sha256(manifest), len(manifest))
    assert (statement["key"], statement["output"]) == (body["key"], body["output"])
    assert (statement["package"], statement["package-version"]) == (body["package"], body["version"])
    assert (statement["key-algorithm"], statement["platform"]) == (inputs["format"], platform)
    assert statement["dependencies"] == sorted([it[0], it[1]] for it in body["imports"])
    assert statement["recipe-digest"] == inputs["recipe"]


def read_envelope(data: bytes, kind: str, keys: Mapping[str, bytes]) -> dict[str, Any]:
    """Read a signed statement and verify all its signatures (``signature.md``)."""
    envelope = json.loads(data)
    assert data.decode("ascii") == json.dumps(envelope, separators=(",", ":")) + "\n"
    assert [*envelope] == ["payload", "payloadType", "signatures"]
    assert envelope["payloadType"] == kind
    payload = base64.b64decode(envelope["payload"], validate=True)
    signed = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    ids = [signature["keyid"] for signature in envelope["signatures"]]
    assert ids == sorted(set(ids))
    for signature in envelope["signatures"]:
        key = Ed25519PublicKey.from_public_bytes(keys[signature["keyid"]])
        key.verify(base64.b64decode(signature["sig"], validate=True), signed)
    statement: dict[str, Any] = json.loads(payload)
    assert payload.decode("ascii") == canonical(statement)
    return statement


def read_archive(data: bytes, head_size: int) -> tuple[bytes, dict[str, Any]]:
    """Read an archive (``archive.md``); returns the manifest's bytes and its body."""
    head = io.BytesIO(zstandard.ZstdDecompressor().decompress(data[:head_size]))
    manifest = _member(head, "manifest.json", 0o644)
    table_text = _member(head, "frames.json", 0o644)
    assert head.read() == b""
    table = json.loads(table_text)
    assert table_text.decode("ascii") == canonical(table) + "\n"
    members(table, "frames opam-bin-frames")
    content, at = io.BytesIO(), head_size
    for size, plain, digest in table["frames"]:
        frame = data[at : at + size]
        assert sha256(frame) == digest
        assert zstandard.get_frame_parameters(frame).content_size == plain
        content.write(zstandard.ZstdDecompressor().decompress(frame))
        at += size
    assert at == len(data)
    content.seek(0)
    body = read_manifest(manifest)
    for digest, executable, size in objects(body):
        suffix, mode = (".x", 0o755) if executable else ("", 0o644)
        found = _member(content, f"objects/{digest}{suffix}", mode)
        assert (sha256(found), len(found)) == (digest, size)
    assert content.read() == bytes(1024)
    return manifest, body


def _member(stream: io.BytesIO, name: str, mode: int) -> bytes:
    """Read a member of a tar stream whose header is given by name, mode and size."""
    header = stream.read(512)
    size = int(header[124:135], 8)
    fields = [
        name.encode().ljust(100, b"\0"),
        b"%07o\0" % mode,
        b"0000000\0" * 2,
        b"%011o\0" % size,
        b"00000000000\0",
        b" " * 8,
        b"0",
        bytes(100),
        b"ustar\x0000",
        bytes(64),
        b"0000000\0" * 2,
        bytes(167),
    ]
    wanted = b"".join(fields)
    assert header == wanted[:148] + b"%06o\0 " % sum(wanted) + wanted[156:]
    content = stream.read(size)
    assert stream.read(-size % 512) == bytes(-size % 512)
    return content


def read_published(root: Path) -> dict[str, Any]:
    """Read a published repository (``published-repository.md``, ``published-archive.md``)."""
    catalogue: dict[str, Any] = json.loads((root / "opam-bin-index.json").read_bytes().decode("ascii"))
    members(catalogue, CATALOGUE)
    packed = (root / "index.tar.gz").read_bytes()
    assert catalogue["index-sha256"] == sha256(packed)
    with tarfile.open(fileobj=io.BytesIO(packed)) as index:
        inside = {it.name: index.extractfile(it).read() for it in index if it.isfile()}  # type: ignore[union-attr]
    assert inside["repo"] == (root / "repo").read_bytes()
    names = [(build["name"], build["published"]) for build in catalogue["builds"]]
    assert names == sorted(names)
    for build in catalogue["builds"]:
        members(build, PUBLISHED)
        name, version, archive = build["name"], build["published"], build["archive"]
        path = f"packages/{name}/{name}.{version}/opam"
        assert sha256(inside[path]) == build["opam"]
        assert inside[path] == (root / path).read_bytes()
        assert (archive is None) == (build["kind"] == "definition")
        if archive is not None:
            _read_published_archive(root, archive, f"{name}.{version}")
    return catalogue


def _read_published_archive(root: Path, archive: Mapping[str, Any], package: str) -> None:
    members(archive, "path sha256 sha512 size")
    data = (root / archive["path"]).read_bytes()
    digest = sha256(data)
    assert archive == {
        "path": f"archives/{digest[:2]}/{digest[2:]}.tar.gz",
        "sha256": digest,
        "sha512": hashlib.sha512(data).hexdigest(),
        "size": len(data),
    }
    assert data[3:8] == bytes(5)  # no name, no time
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as content:
        listed = content.getmembers()
        edits = content.extractfile(f"{package}/opam-bin.edits").read().decode()  # type: ignore[union-attr]
    assert {(it.mtime, it.uid, it.gid, it.uname, it.gname) for it in listed} == {
        (PUBLISHED_TIME, 0, 0, "", "")
    }
    inside = {it.name.split("/")[1] for it in listed if "/" in it.name}
    base = package.partition(".")[0]
    assert inside <= {
        "files",
        f"{base}.config",
        "licences",
        "opam-bin.edits",
        "opam-bin.helped",
        "opam-bin.sh",
    }
    lines = edits.splitlines()
    assert lines[0] == "edits 1"
    assert {line.partition(" ")[0] for line in lines} <= set(EDITS.split())


def read_signed(root: Path) -> None:
    """Read the metadata of a signed repository, and compare the targets (``signed-repository.md``)."""
    tuf = root / "tuf"
    top = json.loads((tuf / "root.json").read_bytes())["signed"]
    assert (tuf / f"{top['version']}.root.json").read_bytes() == (tuf / "root.json").read_bytes()
    assert (top["spec_version"], top["consistent_snapshot"]) == ("1.0.31", True)
    for fingerprint, key in top["keys"].items():
        assert (key["keytype"], key["scheme"]) == ("ed25519", "ed25519")
        assert sha256(bytes.fromhex(key["keyval"]["public"])) == fingerprint
        assert "x-opam-bin-name" in key
    assert {role: it["x-opam-bin-days"] for role, it in top["roles"].items()} == {
        "root": 365,
        "targets": 180,
        "snapshot": 14,
        "timestamp": 7,
    }
    timestamp = json.loads((tuf / "timestamp.json").read_bytes())["signed"]["meta"]["snapshot.json"]
    newest = (tuf / f"{timestamp['version']}.snapshot.json").read_bytes()
    assert (timestamp["length"], timestamp["hashes"]) == (len(newest), {"sha256": sha256(newest)})
    targets: dict[str, Any] = {}
    for name, meta in json.loads(newest)["signed"]["meta"].items():
        data = (tuf / f"{meta['version']}.{name}").read_bytes()
        if name != "site.json":
            assert (meta["length"], meta["hashes"]) == (len(data), {"sha256": sha256(data)})
        mine = json.loads(data)["signed"]["targets"]
        assert not mine.keys() & targets.keys()
        targets |= mine
    files = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}
    assert targets.keys() == {name for name in files if not re.match(r"tuf/|cache/|\.", name)}
    for name, target in targets.items():
        data = files[name].read_bytes()
        assert (target["length"], target["hashes"]) == (len(data), {"sha256": sha256(data)})
