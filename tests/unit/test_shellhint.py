from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from opambin import request
from opambin.door import shellhint

if TYPE_CHECKING:
    from pathlib import Path

OLD = "# Run %s to update the current shell environment"
NEW = "# To update the current shell environment, run: %s"


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401 - stands for a Context
    meta = tmp_path / "r/s/.opam-switch"
    meta.mkdir(parents=True)
    prefix = f"{tmp_path}/r/s"
    lines = [
        f"OPAM_SWITCH_PREFIX\t=\t{prefix}\tx",
        f"PATH\t=+=\t{prefix}/bin\tx",
        f"MANPATH\t=:\t{prefix}/man\tx",
    ]
    (meta / "environment").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(shellhint, "_shell", lambda environ: environ.get("SHELL", ""))
    monkeypatch.chdir(tmp_path)
    root = SimpleNamespace(path=tmp_path / "r", current_switch="s")
    switch = SimpleNamespace(meta=meta, name="s", is_global=True)
    environ = {"OPAMROOT": f"{tmp_path}/r", "PATH": "/bin"}
    return SimpleNamespace(root=root, switch=switch, environ=environ, opam_version=(2, 1, 2))


def test_a_shell_without_the_switch(context: Any) -> None:  # noqa: ANN401
    assert shellhint.hint(context, request.parse([], {})) == (OLD, "eval $(opam env)")
    context.opam_version = (2, 6, 1)
    assert shellhint.hint(context, request.parse([], {})) == (NEW, "eval $(opam env)")


def test_a_shell_that_has_the_environment(context: Any) -> None:  # noqa: ANN401
    prefix = str(context.switch.meta.parent)
    context.environ |= {
        "OPAM_SWITCH_PREFIX": prefix,
        "PATH": f"/x:{prefix}/bin:/bin",
        "MANPATH": f":{prefix}/man",
    }
    assert shellhint.hint(context, request.parse([], {})) == ("", "")
    context.environ["PATH"] = f"{prefix}/bin2:/bin"
    assert shellhint.hint(context, request.parse([], {}))[0]


@pytest.mark.parametrize(("is_global", "told"), [(True, True), (False, False)])
def test_a_switch_that_the_command_line_names(context: Any, is_global: bool, told: bool) -> None:  # noqa: ANN401
    context.switch.is_global = is_global
    assert bool(shellhint.hint(context, request.parse(["--switch=s"], {}))[0]) is told


@pytest.mark.parametrize(
    ("change", "command"),
    [
        pytest.param({"OPAMSWITCH": "other"}, "eval $(opam env --switch=s)", id="another switch"),
        pytest.param({"OPAMROOT": "/nowhere"}, "eval $(opam env --root={})", id="another root"),
        pytest.param({"SHELL": "fish"}, "eval (opam env)", id="fish"),
        pytest.param({"SHELL": "tcsh"}, "eval `opam env`", id="csh"),
    ],
)
def test_commands(context: Any, change: dict[str, str], command: str) -> None:  # noqa: ANN401
    context.environ |= change
    found = shellhint.hint(context, request.parse([], {}))[1]
    assert found == command.format(context.root.path)


def test_quotes_and_silence(context: Any) -> None:  # noqa: ANN401
    context.switch.name = "my switch"
    assert shellhint.hint(context, request.parse([], {}))[1] == "eval $(opam env --switch=my switch)"
    context.opam_version = (2, 3, 0)
    assert shellhint.hint(context, request.parse([], {}))[1] == "eval $(opam env '--switch=my switch')"
    context.environ["OPAMNOENVNOTICE"] = "1"
    assert shellhint.hint(context, request.parse([], {})) == ("", "")
