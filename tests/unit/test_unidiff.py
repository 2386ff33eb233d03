"""Patches as GNU diff and opam write them, carried out exactly or not at all."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opambin.errors import BadDataError
from opambin.publish.signed.unidiff import patched

if TYPE_CHECKING:
    from pathlib import Path

OPAM_2_6 = b"""--- r2.tar.gz/tuf/timestamp.json
+++ r2.tar.gz.new/tuf/timestamp.json
@@ -1,1 +1,1 @@
-{"x":1}
+{"x":2}
--- /dev/null
+++ r2.tar.gz.new/packages/b/b.1/opam
@@ -0,0 +1,1 @@
+opam-version: "2.0"
--- r2.tar.gz/packages/a/a.1/opam
+++ r2.tar.gz.new/packages/a/a.1/opam
@@ -2,1 +2,1 @@
-synopsis: "a"
+synopsis: "changed"
--- r2.tar.gz/gone
+++ /dev/null
@@ -1,1 +0,0 @@
-gone
"""
BEFORE = {
    "tuf/timestamp.json": b'{"x":1}\n',
    "packages/a/a.1/opam": b'opam-version: "2.0"\nsynopsis: "a"\n',
    "gone": b"gone\n",
    "other": b"stays",
}
AFTER = {
    "tuf/timestamp.json": b'{"x":2}\n',
    "packages/a/a.1/opam": b'opam-version: "2.0"\nsynopsis: "changed"\n',
    "packages/b/b.1/opam": b'opam-version: "2.0"\n',
    "other": b"stays",
}


def test_written_by_opam() -> None:
    assert patched(BEFORE, OPAM_2_6) == AFTER


def test_nothing_to_do() -> None:
    assert patched(BEFORE, b"") == BEFORE


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        pytest.param(
            b"--- a/other\n+++ b/other\n@@ -1 +1 @@\n-left\n+right\n", "does not fit other", id="no fit"
        ),
        pytest.param(b"--- a/nope\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n", "is not there", id="removes nothing"),
        pytest.param(b"--- a/gone\n+++ /dev/null\n", "something of it is left", id="removes a part"),
        pytest.param(b"--- a/../x\n+++ b/../x\n@@ -0,0 +1 @@\n+x\n", "not the path", id="leaves the folder"),
        pytest.param(b"--- x\n+++ x\n@@ -0,0 +1 @@\n+x\n", "not the path", id="no folder to drop"),
        pytest.param(b'--- "a/x y"\n+++ "b/x y"\n@@ -0,0 +1 @@\n+x\n', "not the path", id="quoted"),
        pytest.param(b"--- a/gone\n+++ b/gone\n@@ -1,2 +1 @@\n-gone\n", "breaks off", id="breaks off"),
        pytest.param(b"--- a/gone\n+++ b/gone\n@@ nonsense @@\n", "not a place", id="no place"),
        pytest.param(
            b"--- a/gone\n+++ b/gone\n@@ -1 +1 @@\n-gone\n-more\n+x\n", "has others", id="miscounted"
        ),
        pytest.param(b"Binary files a/x and b/x differ\n", "is not understood", id="binary"),
        pytest.param(b"@@ -1 +1 @@\n-a\n+b\n", "is not understood", id="of no file"),
    ],
)
def test_refused(patch: bytes, says: str) -> None:
    with pytest.raises(BadDataError, match=says):
        patched(BEFORE, patch)


CONTENT = st.one_of(
    st.none(),
    st.lists(st.sampled_from([b"a", b"b", b"", b"--- x/y", b"+++ x/y", b"@@ -1 +1 @@", b"\r", b"\\ No"])).map(
        b"\n".join
    ),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["f", "d/g", "d/e/h"]), st.tuples(CONTENT, CONTENT)))
def test_as_gnu_diff_writes_them(tmp_path: Path, files: dict[str, tuple[bytes | None, bytes | None]]) -> None:
    for at, name in enumerate(("r", "r.new")):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
        (tmp_path / name).mkdir()
        for path, pair in files.items():
            content = pair[at]
            if content is not None:
                place = tmp_path / name / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
    done = subprocess.run(["diff", "-ruaN", "r", "r.new"], cwd=tmp_path, capture_output=True, check=False)
    before = {path: old for path, (old, _) in files.items() if old is not None}
    # an empty file and none are the same to diff -N; an update does not bring one
    after = {path: new for path, (old, new) in files.items() if new or (new is not None and new == old)}
    kept = {path: old for path, (old, new) in files.items() if old == b"" and new is None}
    assert patched(before, done.stdout) == after | kept
