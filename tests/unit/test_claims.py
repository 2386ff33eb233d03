from __future__ import annotations

import dataclasses

from trust_samples import manifest

from opambin.claims import Unclaimed, disputes
from opambin.model import ConeKey, FileEntry, FileType, Manifest, OutputId

KEY = ConeKey("k" * 64)


def brings(name: str, *entries: FileEntry) -> Manifest:
    return dataclasses.replace(manifest(name), output=OutputId(name * 64), files=entries)


def link(path: str) -> FileEntry:
    return FileEntry(path, FileType.SYMLINK, target="x")


def folder(path: str) -> FileEntry:
    return FileEntry(path, FileType.DIRECTORY, 0o755)


def test_folders_are_shared_and_files_are_not() -> None:
    one, two = brings("a", folder("lib"), link("lib/x")), brings("b", folder("lib"), link("lib/x"))
    assert disputes([(KEY, one), (KEY, brings("c", folder("lib"), link("lib/y")))]) == {}
    assert disputes([(KEY, one), (KEY, two)]) == {
        (KEY, one.output): "lib/x comes with b, too",
        (KEY, two.output): "lib/x comes with a, too",
    }


def test_a_file_where_another_has_a_folder_is_left_to_the_placing() -> None:
    assert disputes([(KEY, brings("a", folder("lib/x"))), (KEY, brings("b", link("lib/x")))]) == {}


def test_a_shelf_without_what_is_disputed() -> None:
    one, two = brings("a"), brings("b")

    class Shelf:
        def outputs(self, _: ConeKey) -> list[Manifest]:
            return [one, two]

    assert Unclaimed(Shelf()).outputs(KEY) == [one, two]
    left = Unclaimed(Shelf(), {(KEY, one.output): "why"})
    assert left.outputs(KEY) == [two]
    assert left.reason(KEY) == "why"
    assert left.reason(ConeKey("o" * 64)) == ""
