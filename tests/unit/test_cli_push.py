from __future__ import annotations

import pytest
from click.testing import CliRunner

from opambin.cli.push import command
from opambin.errors import MisuseError


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(("leaf",), id="a package"),
        pytest.param(("--all",), id="all"),
        pytest.param(("--dry-run",), id="rehearsal"),
        pytest.param(("--json",), id="JSON"),
        pytest.param(("--key", "ci"), id="key"),
    ],
)
def test_what_waiting_would_not_heed_is_refused(more: tuple[str, ...]) -> None:
    """It was passed over: ``--wait --dry-run`` pushed."""
    with pytest.raises(MisuseError, match="--wait pushes what waits"):
        CliRunner().invoke(command, ["--wait", *more], standalone_mode=False, catch_exceptions=False)
