from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from opambin.errors import MisuseError, UnavailableError
from opambin.remote.access import Access
from opambin.remote.directory import DirectoryRemote
from opambin.remote.open import open_remote
from opambin.remote.urls import check_url, scheme_of, without_secrets

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("form", ["{}", "file://{}", "file://localhost{}", "FILE://{}"])
def test_a_directory(tmp_path: Path, form: str) -> None:
    path = tmp_path.as_posix() if form == "{}" else tmp_path.as_uri().removeprefix("file://")
    remote = open_remote(form.format(path), Access(write=True))
    assert isinstance(remote.remote, DirectoryRemote)
    assert remote.put("x", b"1")
    assert (tmp_path / "x").read_bytes() == b"1"
    assert remote.url == str(tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("", id="nothing"),
        pytest.param("relative/path", id="relative"),
        pytest.param("ftp://host/x", id="unknown scheme"),
        pytest.param("file://host/x", id="file on another host"),
        pytest.param("http:///x", id="no host"),
        pytest.param("https://host:99999/x", id="port"),
        pytest.param("https://host/x?token=1", id="query"),
        pytest.param("s3://", id="no bucket"),
        pytest.param("oci://host", id="no repository"),
        pytest.param("oci://host/Upper", id="upper case"),
        pytest.param("oci://host/a/../b", id="dots"),
        pytest.param("bundle:relative", id="relative bundle"),
        pytest.param("https://host/a b", id="space"),
        pytest.param("https://host/a\nb", id="newline"),
        pytest.param("/" + "x" * 3000, id="long"),
    ],
)
def test_what_is_no_remote(url: str) -> None:
    with pytest.raises(MisuseError, match="not a remote"):
        check_url(url)


def test_secrets_are_not_shown() -> None:
    assert without_secrets("https://me:secret@host/x") == "https://host/x"
    assert without_secrets("/a/b@c") == "/a/b@c"
    with pytest.raises(MisuseError) as caught:
        check_url("https://me:secret@host/x?y")
    assert "secret" not in str(caught.value)


def test_schemes() -> None:
    assert [scheme_of(url) for url in ("/x", "S3://b", "bundle:/x")] == ["", "s3", "bundle"]


def test_s3_without_obstore(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(UnavailableError, match=r"pip install 'opambin\[s3\]'"):
        open_remote("s3://bucket/prefix")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://me:secret@127.0.0.1:1/x/", "http://127.0.0.1:1/x"),
        ("oci://127.0.0.1:1/me/cache", "oci://127.0.0.1:1/me/cache"),
        ("bundle:/x/y", "bundle:/x/y"),
        ("s3://bucket/prefix/", "s3://bucket/prefix"),
    ],
)
def test_the_kinds_and_how_they_are_shown(url: str, shown: str) -> None:
    remote = open_remote(url)
    assert remote.url == shown
    remote.close()


def test_opening_a_directory_loads_nothing_heavy() -> None:
    code = (
        "import sys; from opambin.remote.open import open_remote; open_remote('/x');"
        "print(sorted({'urllib3', 'requests', 'obstore', 'ssl', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
