"""What the files of a package provide and import."""

from __future__ import annotations

import pytest

from opambin.provided import bytecode_alone


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        pytest.param(["lib/a/a.cma", "lib/a/a.cmi"], ["lib/a/a.cma"], id="no native code"),
        pytest.param(["lib/a/a.cma", "lib/a/a.cmxa"], [], id="library"),
        pytest.param(["lib/a/a.cmo", "lib/a/a.cmx"], [], id="unit"),
        pytest.param(["lib/a/a.cma", "lib/a/b.cma", "lib/a/b.cmxa"], ["lib/a/a.cma"], id="one of two"),
        pytest.param(["lib/a/a.cma", "lib/b/a.cmxa"], ["lib/a/a.cma"], id="another folder"),
        pytest.param(["lib/a/a.cmxa", "bin/a.byte", "lib/a/a.cmxs"], [], id="other files"),
    ],
)
def test_byte_code_is_read_where_no_native_code_names_its_imports(
    paths: list[str], expected: list[str]
) -> None:
    assert bytecode_alone(paths) == expected
