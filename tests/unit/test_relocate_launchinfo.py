from __future__ import annotations

import pytest
from caml_samples import PADDED, PREFIX, SPELLING, TARGETS
from hypothesis import given
from hypothesis import strategies as st

from opambin.errors import BadDataError
from opambin.model import PLACEHOLDER, Kind, Occurrence
from opambin.relocate import launchinfo
from opambin.relocate.rendering import render


def info(prefix: bytes, kind: bytes = b"sh", launcher: bytes = b"MZ\0launcher\xff") -> bytes:
    return kind + b"\n" + prefix + b"/bin\0\n" + launcher


@pytest.mark.parametrize("spelled", [PREFIX, PADDED], ids=["canonical", "padded"])
@pytest.mark.parametrize("target", TARGETS)
def test_the_folder_may_have_any_length(spelled: bytes, target: bytes) -> None:
    located = launchinfo.locate(info(spelled), SPELLING, "lib/ocaml/runtime-launch-info")
    assert located.content == info(PLACEHOLDER)
    assert [(found.kind, found.capacity) for found in located.occurrences] == [(Kind.TEXT, None)]
    assert render(located.content, located.occurrences, target) == info(target)


def test_the_shell_may_stand_under_the_prefix() -> None:
    located = launchinfo.locate(info(PADDED, PADDED + b"/bin/sh"), SPELLING, "x")
    assert render(located.content, located.occurrences, b"/o") == info(b"/o", b"/o/bin/sh")


def test_the_folder_may_be_the_prefix_itself() -> None:
    located = launchinfo.locate(b"sh\n" + PREFIX + b"\0\nx", SPELLING, "x")
    assert located.content == b"sh\n" + PLACEHOLDER + b"\0\nx"


def test_a_prefix_in_an_unknown_launcher_binds_the_file() -> None:
    located = launchinfo.locate(info(b"/usr", launcher=b"MZ\0" + PREFIX + b"\0"), SPELLING, "x")
    assert (located.content, len(located.bound)) == (info(b"/usr", launcher=b"MZ\0" + PREFIX + b"\0"), 1)
    glued = launchinfo.locate(info(b"/usr", launcher=b"MZ\0A" + PREFIX + b"B"), SPELLING, "x")
    assert len(glued.bound) == 1  # nobody knows what stands beside it
    build = b"MZ\0" + PREFIX + b"/.opam-switch/build/ocaml/x.c\0"
    located = launchinfo.locate(info(b"/usr", launcher=build), SPELLING, "x")
    assert (located.bound, located.leaks) == ((), 1)


def test_a_launcher_that_claims_to_be_an_elf_file_and_is_none_is_refused() -> None:
    with pytest.raises(BadDataError):
        launchinfo.locate(info(b"/usr", launcher=b"\x7fELF" + PADDED), SPELLING, "x")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"sh\n",
        b"sh\n/usr/bin\0",
        b"#!/bin/sh\n/usr\0\n",
        b"shell\n/usr\0\n",
        b"/" + b"x" * 5000 + b"\n/u\0\n",
    ],
)
def test_other_files_are_not_recognised(data: bytes) -> None:
    assert not launchinfo.recognises(data)
    with pytest.raises(BadDataError, match="not a runtime-launch-info"):
        launchinfo.locate(data, SPELLING, "x")


@given(st.integers(-5, 400), st.sampled_from(list(Kind)))
def test_damaged_occurrences_raise_only_bad_data(offset: int, kind: Kind) -> None:
    content = info(PLACEHOLDER)
    occurrence = Occurrence(kind, offset)
    if offset == 3 and kind in (Kind.TEXT, Kind.CSTRING):
        assert render(content, (occurrence,), b"/o").endswith(b"o/bin\0\nMZ\0launcher\xff")
    else:
        with pytest.raises(BadDataError):
            render(content, (occurrence,), b"/o")
