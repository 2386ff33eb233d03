"""Real Mach-O files, out of wheels for macOS: there is no Mac to run them on, so lief and hashes have to do.

The prefix is put into a real string table of theirs, as a linker would have, and the file is signed again.
"""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import lief
import pytest
from macho_samples import wrong_pages

from opambin.model import PLACEHOLDER, Kind
from opambin.relocate import machofile
from opambin.relocate.analysis import analyse
from opambin.relocate.rendering import render
from opambin.relocate.spelling import Spelling, pad

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration
SPELLING = Spelling.of(b"/Users/me/.opam/5.1")
TARGET = b"/opt/elsewhere"
WHEELS = [
    pytest.param("zstandard==0.23.0", "macosx_11_0_arm64", 1, id="arm64, ad-hoc signed"),
    pytest.param("zstandard==0.23.0", "macosx_10_9_x86_64", 1, id="x86_64"),
    pytest.param("markupsafe==3.0.2", "macosx_10_9_universal2", 2, id="universal"),
]


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wheels")


def libraries(folder: Path, requirement: str, platform: str) -> list[bytes]:
    """Return the extension modules of a wheel for macOS."""
    target = folder / f"{requirement}-{platform}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", "3.11", "--platform", platform, "--dest", str(target), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no wheel of {requirement} for {platform}: {done.stderr.strip()[-200:]}")
    with zipfile.ZipFile(next(target.glob("*.whl"))) as wheel:
        return [wheel.read(name) for name in wheel.namelist() if name.endswith(".so")]


def slices(data: bytes) -> list[bytes]:
    found = lief.MachO.parse(list(data))
    assert found is not None
    return [data[one.fat_offset : one.fat_offset + one.original_size] for one in found]


@pytest.mark.parametrize(("requirement", "platform", "count"), WHEELS)
def test_headers_are_read_as_lief_reads_them(
    wheels: Path, requirement: str, platform: str, count: int
) -> None:
    for data in libraries(wheels, requirement, platform):
        parsed = lief.MachO.parse(list(data))
        assert parsed is not None
        assert len(slices(data)) == count
        for ours, theirs in zip(map(machofile.parse, slices(data)), parsed, strict=True):
            names = [f"{one.segment_name},{one.name!s}" for one in theirs.sections]
            assert [part.name for part in ours.sections] == names
            assert [part.address for part in ours.sections] == [
                one.virtual_address for one in theirs.sections
            ]
            paths = [one for one in ours.parts if one.name.startswith("LC_")]
            assert len(paths) == len(list(theirs.libraries)) + len(list(theirs.rpaths))
            assert (ours.signature is not None) is theirs.has_code_signature
            if ours.signature is not None:
                signed = theirs.code_signature
                assert signed is not None
                assert ours.signature == (signed.data_offset, signed.data_size)
        assert machofile.finish(data) == data


def with_prefix(part: bytes, text: bytes) -> bytes:
    """Put a C string into the place of some of a file's own."""
    section = max(
        (one for one in machofile.parse(part).sections if one.name.startswith("__TEXT,__")),
        key=lambda one: (one.name.endswith("__cstring"), one.size),
    )
    if section.size < 1000:  # too small a file: put it among its code
        section = machofile.parse(part).sections[0]
    assert section.size > len(text)
    at = section.offset + section.size - len(text)
    return part[:at] + text + part[at + len(text) :]


@pytest.mark.parametrize(("requirement", "platform", "count"), WHEELS)
def test_a_real_file_moves_there_and_back_with_a_signature_that_fits(
    wheels: Path, requirement: str, platform: str, count: int
) -> None:
    text = b"\0" + SPELLING.padded + b"/x\0"
    for original in libraries(wheels, requirement, platform):
        data = original
        for part in slices(original):
            data = data.replace(part, with_prefix(part, text))
        unsigned = analyse(data, SPELLING, "lib/x.so")
        signed = [part for part in slices(data) if machofile.parse(part).signature is not None]
        assert [("does not fit" in item.reason) for item in unsigned.bound] == [True] * len(signed)
        data = machofile.finish(data)
        found = analyse(data, SPELLING, "lib/x.so")
        assert (found.bound, len(found.occurrences)) == ((), count)
        assert {item.kind for item in found.occurrences} == {Kind.CSTRING}
        assert found.content is not None
        live = render(found.content, found.occurrences, TARGET)
        assert len(live) == len(data)
        assert live.count(pad(TARGET) + b"/x\0") == count
        assert not re.search(re.escape(PLACEHOLDER) + b"|" + re.escape(SPELLING.padded), live)
        for part in slices(live):
            if machofile.parse(part).signature is not None:
                assert wrong_pages(part) == []
        back = analyse(live, Spelling.of(TARGET), "lib/x.so")
        assert (back.content, back.occurrences) == (found.content, found.occurrences)
        assert render(found.content, found.occurrences, SPELLING.padded) == data


def thin(data: bytes) -> lief.MachO.Binary:
    """Let lief read a file for one machine."""
    fat = lief.MachO.parse(list(data))
    assert fat is not None
    binary = fat.at(0)
    assert binary is not None
    return binary


def test_install_names_and_run_paths_of_a_real_file(wheels: Path) -> None:
    (data, *_) = libraries(wheels, "zstandard==0.23.0", "macosx_11_0_arm64")
    binary = thin(data)
    binary.remove_signature()
    run_path = lief.MachO.RPathCommand.create(SPELLING.padded.decode() + "/lib")
    assert run_path is not None
    binary.add(run_path)
    binary.add(lief.MachO.DylibCommand.load_dylib(SPELLING.padded.decode() + "/lib/libfoo.dylib"))
    written = bytes(binary.write_to_bytes())
    found = analyse(written, SPELLING, "lib/x.so")
    assert [item.where for item in found.occurrences] == ["LC_RPATH", "LC_LOAD_DYLIB"]
    again = thin(render(found.content or b"", found.occurrences, TARGET))
    expected = pad(TARGET).decode()
    assert [one.path for one in again.rpaths] == [f"{expected}/lib"]
    assert [one.name for one in again.libraries][-1] == f"{expected}/lib/libfoo.dylib"
