from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_samples import full_manifest, sha, stored_manifest

from opambin.errors import BadDataError, UnavailableError
from opambin.model import BuildRecord, ConeKey, FileEntry, FileType, Kind, Occurrence, OutputId
from opambin.store.manifest_rows import is_clean_path
from opambin.store.manifests import from_json, to_json
from opambin.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from opambin.model import Manifest


def signed(body: object) -> bytes:
    """Frame a body as a manifest with a right sha256, as a careful forger would."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(b'{"opam-bin-manifest":1,"snapshot":' + text + b"}").hexdigest()
    return b'{"opam-bin-manifest":1,"sha256":"' + digest.encode() + b'","snapshot":' + text + b"}\n"


def body_of(manifest: Manifest) -> dict[str, Any]:
    body = json.loads(to_json(manifest))["snapshot"]
    assert isinstance(body, dict)
    return body


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    body = body_of(full_manifest())
    change(body)
    return signed(body)


def test_everything_survives_the_round_trip() -> None:
    assert from_json(to_json(full_manifest()), "m") == full_manifest()


def test_the_form_is_canonical_ascii() -> None:
    data = to_json(full_manifest())
    assert data == to_json(full_manifest())
    assert data == signed(json.loads(data)["snapshot"])
    assert data.isascii()


def test_equal_manifests_give_equal_bytes() -> None:
    whole, fraction = (dataclasses.replace(full_manifest(), build=BuildRecord(seconds=n)) for n in (3, 3.0))
    assert to_json(whole) == to_json(fraction)
    assert from_json(to_json(whole), "m") == whole


def test_characters_are_escaped_as_documented() -> None:
    text = 'a"\\\n\r\t\f\b\x00\x7f\u00e9\U0001f42b'
    data = to_json(dataclasses.replace(full_manifest(), opam=text))
    assert rb'"opam":"a\"\\\n\r\t\f\b\u0000\u007f\u00e9\ud83d\udc2b"' in data
    assert from_json(data, "m").opam == text


FILE = ["f", "a", 0o644, 10, sha("a"), "", "", []]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        pytest.param(lambda b: b.update(extra=1), "unknown member 'extra'", id="unknown member"),
        pytest.param(lambda b: b.pop("edits"), "no member 'edits'", id="member lacking"),
        pytest.param(lambda b: b.update(key="ABC"), "key: not 64", id="key"),
        pytest.param(lambda b: b.update(key=7), "key: not 64", id="key is a number"),
        pytest.param(lambda b: b.update(output=sha("x")[:63]), "output: not 64", id="output"),
        pytest.param(lambda b: b.update(package="../x"), "package's package", id="name"),
        pytest.param(lambda b: b.update(version="1/2"), "package's version", id="version"),
        pytest.param(lambda b: b.update(opam=None), "opam: not a text", id="opam"),
        pytest.param(lambda b: b.update(config=3), "config: neither", id="config"),
        pytest.param(lambda b: b.update(prefix="x"), "prefix:", id="prefix"),
        pytest.param(lambda b: b.update(files=None), "files: not a list", id="files"),
        pytest.param(lambda b: b.update(files=[3]), "not a row", id="row"),
        pytest.param(lambda b: b.update(files=[["x", "a", 1]]), "not a row", id="row type"),
        pytest.param(lambda b: b.update(files=[["d", "a/../b", 0o755]]), "not relative", id="dot dot"),
        pytest.param(lambda b: b.update(files=[["d", "/etc", 0o755]]), "not relative", id="absolute"),
        pytest.param(lambda b: b.update(files=[["d", "a\0b", 0o755]]), "not relative", id="NUL"),
        pytest.param(lambda b: b.update(files=[["d", "a", 0o4755]]), "mode 0o4755", id="setuid"),
        pytest.param(lambda b: b.update(files=[["d", "a", True]]), "mode True", id="mode is a bool"),
        pytest.param(lambda b: b.update(files=[["l", "a", ""]]), "target ''", id="empty target"),
        pytest.param(lambda b: b.update(files=[[*FILE[:3], -1, *FILE[4:]]]), "size -1", id="negative size"),
        pytest.param(lambda b: b.update(files=[[*FILE[:3], 1 << 60, *FILE[4:]]]), "size", id="huge size"),
        pytest.param(lambda b: b.update(files=[[*FILE[:4], "../../x", *FILE[5:]]]), "digest", id="digest"),
        pytest.param(lambda b: b.update(files=[[*FILE[:5], "zz", *FILE[6:]]]), "identity", id="identity"),
        pytest.param(lambda b: b.update(files=[[*FILE[:6], None, []]]), "hardlink None", id="hardlink type"),
        pytest.param(lambda b: b.update(files=[[*FILE[:6], "gone", []]]), "linked to 'gone'", id="hardlink"),
        pytest.param(lambda b: b.update(files=[FILE, FILE]), "not sorted, or twice", id="twice"),
        pytest.param(lambda b: b["files"].reverse(), "not sorted", id="order"),
        pytest.param(
            lambda b: b.update(files=[["l", "a", "/etc"], ["f", "a/passwd", *FILE[2:]]]),
            "'a' is a symlink, yet",
            id="path through a link",
        ),
        pytest.param(lambda b: b.update(files=[[*FILE[:7], 5]]), "occurrences are not", id="occurrences"),
        pytest.param(
            lambda b: b.update(files=[[*FILE[:7], [["blob", 1, None, True, "", []]]]]),
            "not an occurrence",
            id="unknown kind",
        ),
        pytest.param(
            lambda b: b.update(files=[[*FILE[:7], [["text", 10, None, True, "", []]]]]),
            "past the end (10)",
            id="occurrence past the end",
        ),
        pytest.param(
            lambda b: b.update(files=[[*FILE[:7], [["text", n, None, True, "", []] for n in (5, 4)]]]),
            "at 4 is out of order",
            id="occurrence order",
        ),
        pytest.param(lambda b: b.update(provides=[["cmi", "X"]]), "provides: not a symbol", id="symbol"),
        pytest.param(lambda b: b.update(provides={}), "provides: not a list", id="symbols"),
        pytest.param(lambda b: b.update(imports=[["x", "y", []]]), "not an import", id="import"),
        pytest.param(lambda b: b.update(edits=[["a", ["x\ny"]]]), "not an edit", id="edit"),
        pytest.param(lambda b: b.update(edits=[["../a", ["x"]]]), "not an edit", id="edit path"),
        pytest.param(lambda b: b.update(bound=[["a", "why", -1]]), "not a bound", id="bound"),
        pytest.param(lambda b: b.update({"extra-files": {}}), "extra-files: not a list", id="extra files"),
        pytest.param(
            lambda b: b.update({"extra-files": [["../x", sha("x"), 1]]}),
            "extra-files: ['../x'",
            id="extra file path",
        ),
        pytest.param(
            lambda b: b.update({"extra-files": [["x", sha("x"), 1]] * 2}),
            "extra-files: not sorted",
            id="extra twice",
        ),
        pytest.param(lambda b: b.update(bound=""), "bound: not a list", id="bounds"),
        pytest.param(lambda b: b["build"].pop("padded"), "build: not exactly", id="build"),
        pytest.param(lambda b: b["build"].update(built_at=10**400), "built_at", id="time"),
        pytest.param(lambda b: b["build"].update(padded=1), "padded", id="build type"),
    ],
)
def test_bad_manifests_are_refused(change: Callable[[dict[str, Any]], object], problem: str) -> None:
    with pytest.raises(BadDataError) as caught:
        from_json(changed(change), "some/file.json")
    assert problem in caught.value.problem
    assert caught.value.what == "some/file.json"


def test_all_problems_are_told_at_once() -> None:
    def change(body: dict[str, Any]) -> None:
        body.update(prefix="x", files=[["d", "/etc", 0o4755], ["f", "..", -1, -1, "", "?", 0, []]])

    with pytest.raises(BadDataError) as caught:
        from_json(changed(change), "m")
    for part in ("prefix", "'/etc'", "0o4755", "'..'", "size -1", "digest ''", "identity '?'", "hardlink 0"):
        assert part in caught.value.problem


def test_many_problems_are_cut_short() -> None:
    with pytest.raises(BadDataError, match="and 80 more"):
        from_json(changed(lambda body: body.update(provides=[[]] * 100)), "m")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param(b"", "cut off", id="empty"),
        pytest.param(b"[1]", "no member", id="list"),
        pytest.param(b"\xff\xfe", "not a manifest", id="binary"),
        pytest.param(b"[" * 100_000, "not a manifest", id="deep"),
        pytest.param(b'{"opam-bin-manifest":NaN}', "NaN", id="nan"),
        pytest.param(b'{"opam-bin-manifest":1,"opam-bin-manifest":1}', "twice", id="member twice"),
        pytest.param(b'{"opam-bin-manifest":1}', "not exactly", id="no body"),
        pytest.param(b'{"opam-bin-manifest":true,"sha256":"","snapshot":{}}', "version", id="version true"),
    ],
)
def test_what_is_no_manifest_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(BadDataError) as caught:
        from_json(data, "m")
    assert problem in caught.value.problem


def test_too_large_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opambin.store.manifest_format.MAX_BYTES", 10)
    with pytest.raises(BadDataError, match="too large"):
        from_json(to_json(full_manifest()), "m")


def test_another_layout_of_the_same_json_is_refused() -> None:
    pretty = json.dumps(json.loads(to_json(full_manifest())), indent=1).encode()
    with pytest.raises(BadDataError, match="sha256"):
        from_json(pretty, "m")


@given(st.text(alphabet="a./\0-é", max_size=8))
def test_clean_paths_are_what_a_slow_check_says(path: str) -> None:
    slow = bool(path) and "\0" not in path and all(part not in ("", ".", "..") for part in path.split("/"))
    assert is_clean_path(path) is slow


def test_a_compiler_manifest_loads_fast() -> None:
    places = tuple(Occurrence(Kind.BLOCK, 100 + n * 300, 200, True, (8, 16, 24), ".data") for n in range(7))
    files = tuple(
        FileEntry(
            f"lib/ocaml/compiler-libs/module_{n:05}.cmt",
            FileType.FILE,
            0o644,
            full_manifest().files[1].digest,
            1 << 20,
            "",
            places if n < 100 else (),
            sha(str(n)),
        )
        for n in range(2200)
    )
    data = to_json(dataclasses.replace(full_manifest(), files=files))
    best = min(_seconds(lambda: from_json(data, "m")) for _ in range(5))
    assert best < 0.1, "owed are 25 ms on a quiet machine; a busy one gets four times that"


def _seconds(action: Callable[[], object]) -> float:
    start = time.process_time()
    action()
    return time.process_time() - start


def test_put_and_outputs(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    one = stored_manifest(store, build="1")
    two = stored_manifest(store, build="2")
    assert store.manifests.put(one)
    assert store.manifests.put(two)
    assert not store.manifests.put(one)
    assert sorted(store.outputs(one.key), key=lambda m: m.output) == sorted(
        [one, two], key=lambda m: m.output
    )
    assert store.manifests.get(one.key, one.output) == one
    assert store.manifests.get(one.key, OutputId(sha("?"))) is None
    assert list(store.manifests.all()) == store.outputs(one.key)
    assert store.manifests.read_bytes(one.key, one.output) == to_json(one)
    assert store.problems == []
    assert list((tmp_path / "store/tmp").iterdir()) == []


def test_the_first_writer_of_an_output_wins(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    first = stored_manifest(store)
    assert store.manifests.put(first)
    assert not store.manifests.put(dataclasses.replace(first, build=BuildRecord(seconds=9.0)))
    assert store.outputs(first.key) == [first]


def test_a_manifest_that_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    bad = dataclasses.replace(full_manifest(), files=(FileEntry("../x", FileType.DIRECTORY, 0o755),))
    with pytest.raises(BadDataError, match="not relative"):
        store.manifests.put(bad)
    lossy = dataclasses.replace(full_manifest(), files=(FileEntry("x", FileType.SYMLINK, 0o777, target="y"),))
    with pytest.raises(BadDataError, match="without loss"):
        store.manifests.put(lossy)
    assert list(store.manifests.paths()) == []


def test_a_key_that_is_no_key_reaches_no_other_place(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    with pytest.raises(BadDataError, match="cone key"):
        store.outputs(ConeKey("../../etc"))


def test_no_manifest_to_send(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    with pytest.raises(UnavailableError, match="no manifest"):
        store.manifests.read_bytes(ConeKey(sha("a")), OutputId(sha("b")))
