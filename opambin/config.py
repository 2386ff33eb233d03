"""The configuration: one YAML file, and environment variables that win over it.

All settings are in one table, :data:`SETTINGS`; ``docs/configuration.md`` describes them for people. What is
wrong is told all at once, in one error.
"""

from __future__ import annotations

import os
from dataclasses import field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from opambin import yamlfile
from opambin.errors import BadDataError, MisuseError
from opambin.frozen import dataclass
from opambin.yamlfile import Document

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_FILE_BYTES = 1_000_000
REMOTES_VARIABLE = "OPAMBIN_REMOTE"
MAX_JOBS = 256
LINKS = ("auto", "copy", "hard")
SHARING = ("no", "read", "group")
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Config:
    """What the user has set.

    Attributes:
        cache: Directory of the store, absolute.
        enabled: False: do nothing at all, in no hook and no command.
        capture: Whether builds are put into the store.
        restore: Whether snapshots are put back.
        link: How files come into a prefix: ``auto`` (reflink, else copy), ``copy``, ``hard`` (hard links
            where that is safe, else as auto).
        jobs: How many files are worked on at once.
        fsync: Whether writes into the store wait for the disk.
        shared: Whether other users share the store: ``no``, ``read`` (it is another's, and only read) or
            ``group`` (all members of its group write into it).
        offline: Whether no remote is asked for anything.
        autopush: Whether what a session has built is pushed in the background when it ends.
        exclude_switches: Globs on the name or the prefix of switches that are left alone.
        exclude_packages: Globs on the names of packages that are neither captured nor restored.
        origins: Where each setting comes from, in words, by setting.
    """

    cache: Path
    enabled: bool = True
    capture: bool = True
    restore: bool = True
    link: str = "auto"
    jobs: int = 1
    fsync: bool = False
    shared: str = "no"
    offline: bool = False
    autopush: bool = False
    exclude_switches: tuple[str, ...] = ()
    exclude_packages: tuple[str, ...] = ()
    origins: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    def excludes_package(self, name: str) -> bool:
        """Say whether a package is excluded."""
        return any(fnmatchcase(name, glob) for glob in self.exclude_packages)

    def describe(self) -> list[tuple[str, str, str]]:
        """Return setting, value and where it came from, for every setting."""
        origins = dict(self.origins)
        return [
            (it.name, _shown(getattr(self, it.attribute)), origins.get(it.name, "default")) for it in SETTINGS
        ]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        name: In the file.
        variable: In the environment.
        parse: Turns a value of the file, or the text of the variable, or raises ValueError.
        allowed: The values it takes, in words.
    """

    name: str
    variable: str
    parse: Callable[[object, Mapping[str, str]], object]
    allowed: str

    @property
    def attribute(self) -> str:
        """Its name in :class:`Config`."""
        return self.name.replace("-", "_")


def load(environ: Mapping[str, str]) -> Config:
    """Read the configuration.

    Args:
        environ: The environment; nothing else of the process is looked at but its number of CPUs.

    Raises:
        BadDataError: The file is no YAML, or no mapping.
        MisuseError: Something in it, or in the environment, is wrong; all problems are in the message.
    """
    problems: list[str] = []
    values: dict[str, object] = {}
    origins: list[tuple[str, str]] = []
    path = config_file(environ)
    found = _read_file(path, wanted=bool(environ.get("OPAMBIN_CONFIG")), problems=problems)
    settings = _known(path, found, problems)
    for setting in SETTINGS:
        candidates = []
        if setting.name in settings:
            where = f"{path}: line {found.line_of(setting.name)}: {setting.name}"
            candidates.append((settings[setting.name], where, str(path)))
        if environ.get(setting.variable):
            candidates.append(
                (environ[setting.variable], setting.variable, f"environment ({setting.variable})")
            )
        for value, where, _ in candidates:  # the environment comes last, and wins
            try:
                values[setting.attribute] = setting.parse(value, environ)
            except ValueError:
                problems.append(f"{where}: {_shown(value)!r} is not {setting.allowed}")
        if candidates:
            origins.append((setting.name, candidates[-1][2]))
    if problems:
        raise MisuseError("the configuration can't be used: " + "; ".join(problems))
    values.setdefault("cache", default_cache(environ))
    values.setdefault("jobs", usable_cpus())
    return Config(**values, origins=tuple(origins))  # type: ignore[arg-type]  # the table's parsers give the types


def config_file(environ: Mapping[str, str]) -> Path:
    """Return where the configuration file is looked for."""
    if environ.get("OPAMBIN_CONFIG"):
        return Path(environ["OPAMBIN_CONFIG"])
    return _xdg(environ, "XDG_CONFIG_HOME", ".config") / "opam-bin" / "config.yaml"


def default_cache(environ: Mapping[str, str]) -> Path:
    """Return where the store is when nothing is set."""
    return _xdg(environ, "XDG_CACHE_HOME", ".cache") / "opam-bin"


def config_folder(environ: Mapping[str, str]) -> Path:
    """Return where remotes and keys are configured."""
    return _xdg(environ, "XDG_CONFIG_HOME", ".config") / "opam-bin"


def remotes_file(environ: Mapping[str, str]) -> Path:
    """Return where remotes are configured; :mod:`opambin.remotes_config` reads it."""
    return config_folder(environ) / "remotes.yaml"


def state_folder(environ: Mapping[str, str]) -> Path:
    """Return where is kept what must outlive the cache."""
    return _xdg(environ, "XDG_STATE_HOME", ".local/state") / "opam-bin"


def usable_cpus() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _home(environ: Mapping[str, str]) -> Path:
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 (pathlib raises where there is none)
    if not home.startswith("/"):
        raise MisuseError("there is no home directory: set HOME, or OPAMBIN_CACHE and OPAMBIN_CONFIG")
    return Path(home)


def _xdg(environ: Mapping[str, str], variable: str, fallback: str) -> Path:
    # The specification: a relative path in these variables is invalid and has to be ignored.
    path = Path(environ.get(variable) or ".")
    return path if path.is_absolute() else _home(environ) / fallback


def _read_file(path: Path, *, wanted: bool, problems: list[str]) -> Document:
    """Return what the file holds, a mapping."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        if wanted:
            problems.append(f"OPAMBIN_CONFIG: there is no file {path}")
        return Document({})
    except OSError as error:
        problems.append(f"{path} can't be read: {error.strerror}")
        return Document({})
    if len(data) > MAX_FILE_BYTES:
        raise BadDataError(path, "too large", expected=f"<= {MAX_FILE_BYTES} bytes", observed="more")
    found = yamlfile.parse(data, path)
    if found.content is None:
        return Document({})
    if not isinstance(found.content, dict):
        raise BadDataError(
            path, "not a list of settings", expected="lines like `jobs: 4`", observed=repr(found.content)[:60]
        )
    return found


def _known(path: Path, found: Document, problems: list[str]) -> dict[str, Any]:
    """Return the settings that are known by name, and add a problem for every other and for repeated ones."""
    content = cast("dict[Any, Any]", found.content)
    names = [setting.name for setting in SETTINGS]
    lines: dict[str, int] = {}
    for name, line in found.lines:
        if name in lines:  # YAML forbids it, PyYAML takes the last
            problems.append(f"{path}: {name} is set twice, in lines {lines[name]} and {line}")
        elif name not in names:
            problems.append(f"{path}: line {line}: there is no setting {name!r}{_hint(name, names)}")
        lines[name] = line
    return {name: content[name] for name in names if name in content}


def _hint(name: str, names: list[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name.lower().replace("_", "-"), names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(names)}"


def _boolean(value: object, _: Mapping[str, str]) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() in _TRUE:
        return True
    if str(value).lower() in _FALSE:
        return False
    raise ValueError(value)


def _directory(value: object, environ: Mapping[str, str]) -> Path:
    text = value if isinstance(value, str) else ""
    if text == "~" or text.startswith("~/"):
        text = f"{_home(environ)}{text[1:]}"
    if not text.startswith("/") or "\0" in text:
        raise ValueError(value)
    return Path(text)


def _globs(value: object, _: Mapping[str, str]) -> tuple[str, ...]:
    items: object = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ValueError(value)
    return tuple(item for item in items if item)


def _link(value: object, _: Mapping[str, str]) -> str:
    if value not in LINKS:
        raise ValueError(value)
    return str(value)


def _sharing(value: object, _: Mapping[str, str]) -> str:
    value = "no" if value is False else value  # what YAML makes of a bare `no`
    if value not in SHARING:
        raise ValueError(value)
    return str(value)


def _jobs(value: object, _: Mapping[str, str]) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError(value)
    number = int(value)
    if not 1 <= number <= MAX_JOBS:
        raise ValueError(value)
    return number


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list)):
        return ", ".join(str(item) for item in value)
    return str(value)


_YES_NO = "true or false"
_LIST = "a list of globs (in the environment: separated by commas)"
SETTINGS = (
    Setting("cache", "OPAMBIN_CACHE", _directory, "an absolute path, or one that begins with ~/"),
    Setting("enabled", "OPAMBIN_ENABLED", _boolean, _YES_NO),
    Setting("capture", "OPAMBIN_CAPTURE", _boolean, _YES_NO),
    Setting("restore", "OPAMBIN_RESTORE", _boolean, _YES_NO),
    Setting("link", "OPAMBIN_LINK", _link, "one of auto, copy, hard"),
    Setting("jobs", "OPAMBIN_JOBS", _jobs, f"a number from 1 to {MAX_JOBS}"),
    Setting("fsync", "OPAMBIN_FSYNC", _boolean, _YES_NO),
    Setting("shared", "OPAMBIN_SHARED_STORE", _sharing, "one of no, read, group"),
    Setting("offline", "OPAMBIN_OFFLINE", _boolean, _YES_NO),
    Setting("autopush", "OPAMBIN_AUTOPUSH", _boolean, _YES_NO),
    Setting("exclude-switches", "OPAMBIN_EXCLUDE_SWITCHES", _globs, _LIST),
    Setting("exclude-packages", "OPAMBIN_EXCLUDE_PACKAGES", _globs, _LIST),
)
