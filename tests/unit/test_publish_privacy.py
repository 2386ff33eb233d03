from __future__ import annotations

import pytest

from opambin.model import PLACEHOLDER
from opambin.publish.privacy import Identity, Scanner, without_build_paths

ALICE = Identity(
    homes=(b"/home/alice", b"/srv/alice-opam", b"/root"),
    users=("alice", "ci", "root"),
    hosts=("anvil.example.org", "anvil", "localhost"),
    others=(b"Project Heron",),
)
SCANNER = Scanner(ALICE, ("fixtures:share/keys/*",))
GH = b"ghp_" + b"a1" * 18
AWS = b"AKIA" + b"ABCDEFGH23456767"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        pytest.param(b"x /home/alice/secret", "a directory of yours", id="home"),
        pytest.param(b"4/srv/alice-opam/5.1/lib\0", "a directory of yours", id="root, behind a length"),
        pytest.param(b"/data/alice/x", "your user name", id="user in a path"),
        pytest.param(b"alice@laptop", "your user name", id="user at a machine"),
        pytest.param(b"built on anvil\n", "the name of your machine", id="host"),
        pytest.param(b"anvil.example.org", "the name of your machine", id="host with domain"),
        pytest.param(b"-- Project Heron --", "a text that you keep private", id="other"),
        pytest.param(b"-----BEGIN RSA PRIVATE KEY-----\nMII", "a private key", id="private key"),
        pytest.param(b"-----BEGIN PRIVATE KEY-----\nMII", "a private key", id="PKCS 8"),
        pytest.param(b"key=" + AWS + b"\n", "an AWS key", id="AWS"),
        pytest.param(b"token: " + GH + b"\n", "a GitHub token", id="GitHub"),
        pytest.param(b"glpat-" + b"x" * 20, "a GitLab token", id="GitLab"),
        pytest.param(b"opam-bin-secret-1:me:AAAA", "a secret key of opam-bin", id="ours"),
    ],
)
def test_what_is_found(data: bytes, what: str) -> None:
    found = SCANNER.findings(b"\x00\xff" + data, "pkg:lib/x")
    assert what in {finding.what for finding in found}
    assert str(found[0]).startswith("pkg:lib/x, byte ")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"/home/alicette /home/alice-2/x", id="another's home"),
        pytest.param(b"Alice wrote this; alice@example.org", id="an author"),
        pytest.param(b"/root/x root@x /ci/ localhost", id="what says nothing"),
        pytest.param(b"anvils, on.anvil-like", id="other words"),
        pytest.param(b"-----BEGIN CERTIFICATE-----", id="certificate"),
        pytest.param(b"AKIAabc ghp_short npm_install xoxo", id="no tokens"),
    ],
)
def test_what_is_not(data: bytes) -> None:
    assert SCANNER.findings(data, "pkg:lib/x") == []


def test_secrets_are_not_repeated() -> None:
    (found,) = SCANNER.findings(GH + b"\n", "pkg:lib/x")
    assert GH.decode() not in str(found)


def test_a_file_may_be_let_through() -> None:
    assert SCANNER.findings(GH, "fixtures:share/keys/test.pem") == []
    assert SCANNER.findings(GH, "fixtures:share/other")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(
            b"\0/home/alice/.opam/5.1/.opam-switch/build/x.1/a.ml\0",
            b"\0////////////////build/.opam-switch/build/x.1/a.ml\0",
            id="build directory",
        ),
        pytest.param(b"-I/o/.opam-switch/sources/x", b"-I///.opam-switch/sources/x", id="short"),
        pytest.param(
            b"4/aaaaaaaa/.opam-switch/build/x", b"4////build/.opam-switch/build/x", id="length before"
        ),
        pytest.param(b"/a/b/c/d/.opam-switch/lock", b"/a/b/c/d/.opam-switch/lock", id="another folder"),
        pytest.param(
            PLACEHOLDER + b"/.opam-switch/build/x", PLACEHOLDER + b"/.opam-switch/build/x", id="placeholder"
        ),
        pytest.param(b"see .opam-switch/build/", b"see .opam-switch/build/", id="relative"),
        pytest.param(b"nothing", b"nothing", id="nothing"),
    ],
)
def test_build_directories_are_overwritten(before: bytes, after: bytes) -> None:
    assert without_build_paths(before) == after
    assert len(before) == len(after)


def test_folders_in_typed_trees_are_overwritten() -> None:
    tree = b"Caml1999T030" + b"4/srv/alice-opam/built/lib/ocaml/compiler-libs"
    cleaned = SCANNER.cleaned(tree)
    assert cleaned == b"Caml1999T030" + b"4//////////build/built/lib/ocaml/compiler-libs"
    assert SCANNER.findings(cleaned, "x:y") == []
    code = b"Caml1999X030" + b"4/srv/alice-opam/built"
    assert SCANNER.cleaned(code) == code


def test_a_compressed_value_is_looked_into() -> None:
    """OCaml 5.1 and later compress what is in .cmt files; a search of the raw bytes finds nothing there."""
    import zstandard

    tokens = b"\x29/home/alice/x" * 40
    frame = zstandard.ZstdCompressor().compress(tokens)

    def vlq(number: int) -> bytes:
        return bytes([0x80 | number >> 14 & 0x7F, 0x80 | number >> 7 & 0x7F, number & 0x7F])

    numbers = b"".join(vlq(number) for number in (len(frame), len(tokens), 1, 1, 1))
    data = b"Caml1999T033\x84\x95\xa6\xbd" + bytes([5 + len(numbers)]) + numbers + frame
    found = SCANNER.findings(data, "x:y")
    assert "a directory of yours, in a compressed value" in {finding.what for finding in found}
