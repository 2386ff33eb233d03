"""The templates: every value that they show is escaped, and made visible where it could hide or turn."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from opambin import __version__
from opambin.model import PADDED_LENGTH
from opambin.publish.pages import packages, wording
from opambin.resources import templates_directory
from opambin.summary import data_size, duration

if TYPE_CHECKING:
    import jinja2

ASSETS = ("icon.svg", "site.css", "site.js")


def folder() -> Path:
    """Return the folder of the templates."""
    return templates_directory() / "pages"


@cache
def generator() -> str:
    """Return a digest of everything that turns a catalogue into pages: when it changes, all pages do."""
    digest = sha256(__version__.encode())
    for directory, pattern in ((folder(), "*"), (Path(__file__).parent, "*.py")):
        for path in sorted(directory.glob(pattern)):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@cache
def environment() -> jinja2.Environment:
    """Return the templates, ready to be rendered."""
    import jinja2
    from markupsafe import Markup

    def seen(value: object) -> object:
        return wording.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder()),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=seen,
        auto_reload=False,
    )
    made.filters.update(bytes=data_size, duration=duration, day=day, platform=packages.platform)
    made.filters.update(page=wording.file_of, web=wording.web_address)
    made.tests["limited"] = packages.is_limited
    made.globals.update(version=__version__, reproducibility=packages.reproducibility, longest=PADDED_LENGTH)
    return made


def render(template: str, **values: object) -> bytes:
    """Fill in a template."""
    return environment().get_template(template).render(**values).encode("utf-8", "replace")


def asset(name: str) -> bytes:
    """Return a file that pages use as it is."""
    return (folder() / name).read_bytes()


def day(seconds: float) -> str:
    """Write a time as a day, UTC; nothing when it is not known."""
    if not 0 < seconds < 253_000_000_000:
        return ""
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
