from __future__ import annotations

import os
import sys
from pathlib import Path
from subprocess import run

import pytest

from opambin.config import SETTINGS, Config, config_file, load, usable_cpus
from opambin.errors import BadDataError, MisuseError


def configured(tmp_path: Path, text: str, **environ: str) -> Config:
    (tmp_path / "config.yaml").write_text(text)
    return load({"HOME": "/home/me", "OPAMBIN_CONFIG": str(tmp_path / "config.yaml"), **environ})


def test_defaults() -> None:
    config = load({"HOME": "/home/nobody-here"})
    assert config == Config(cache=Path("/home/nobody-here/.cache/opam-bin"), jobs=usable_cpus())
    assert config.enabled
    assert config.link == "auto"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({"HOME": "/h"}, "/h/.config/opam-bin/config.yaml", id="home"),
        pytest.param({"HOME": "/h", "XDG_CONFIG_HOME": "/x"}, "/x/opam-bin/config.yaml", id="xdg"),
        pytest.param(
            {"HOME": "/h", "XDG_CONFIG_HOME": "x"}, "/h/.config/opam-bin/config.yaml", id="relative xdg"
        ),
        pytest.param(
            {"HOME": "/h", "XDG_CONFIG_HOME": ""}, "/h/.config/opam-bin/config.yaml", id="empty xdg"
        ),
        pytest.param({"HOME": "/h", "OPAMBIN_CONFIG": "/c.yaml"}, "/c.yaml", id="variable"),
    ],
)
def test_where_the_file_is(environ: dict[str, str], expected: str) -> None:
    assert config_file(environ) == Path(expected)


def test_the_cache_follows_xdg() -> None:
    assert load({"HOME": "/h", "XDG_CACHE_HOME": "/x"}).cache == Path("/x/opam-bin")


def test_a_whole_file(tmp_path: Path) -> None:
    text = """
cache: ~/store
enabled: false
capture: no
restore: off
link: hard
jobs: 3
fsync: true
exclude-switches: ["/scratch/*", scratch]
exclude-packages:
  - conf-*
"""
    assert configured(tmp_path, text) == Config(
        cache=Path("/home/me/store"),
        enabled=False,
        capture=False,
        restore=False,
        link="hard",
        jobs=3,
        fsync=True,
        exclude_switches=("/scratch/*", "scratch"),
        exclude_packages=("conf-*",),
    )


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"], ids=["empty", "comment", "document"])
def test_an_empty_file_sets_nothing(tmp_path: Path, text: str) -> None:
    assert configured(tmp_path, text).enabled


@pytest.mark.parametrize(
    ("variable", "text", "attribute", "value"),
    [
        pytest.param("OPAMBIN_CACHE", "/c", "cache", Path("/c"), id="cache"),
        pytest.param("OPAMBIN_ENABLED", "0", "enabled", False, id="enabled"),
        pytest.param("OPAMBIN_CAPTURE", "no", "capture", False, id="capture"),
        pytest.param("OPAMBIN_RESTORE", "OFF", "restore", False, id="restore"),
        pytest.param("OPAMBIN_LINK", "copy", "link", "copy", id="link"),
        pytest.param("OPAMBIN_JOBS", "7", "jobs", 7, id="jobs"),
        pytest.param("OPAMBIN_FSYNC", "1", "fsync", True, id="fsync"),
        pytest.param("OPAMBIN_EXCLUDE_SWITCHES", "a*, /b", "exclude_switches", ("a*", "/b"), id="switches"),
        pytest.param("OPAMBIN_EXCLUDE_PACKAGES", "x,", "exclude_packages", ("x",), id="packages"),
    ],
)
def test_the_environment_wins(
    tmp_path: Path, variable: str, text: str, attribute: str, value: object
) -> None:
    file = "cache: /f\nenabled: true\ncapture: true\nrestore: true\nlink: hard\njobs: 2\nfsync: false\n"
    file += "exclude-switches: [f]\nexclude-packages: [f]\n"
    config = configured(tmp_path, file, **{variable: text})
    assert getattr(config, attribute) == value
    (origin,) = [origin for name, _, origin in config.describe() if name.replace("-", "_") == attribute]
    assert variable in origin


def test_an_empty_variable_is_not_set() -> None:
    assert load({"HOME": "/h", "OPAMBIN_ENABLED": ""}).enabled


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        pytest.param("exclude_packages: [a]", ["did you mean 'exclude-packages'?"], id="underscore"),
        pytest.param("Enabeld: true", ["no setting 'Enabeld'", "did you mean 'enabled'?"], id="typo"),
        pytest.param("zzz: 1", ["no setting 'zzz'", "there are: cache, enabled"], id="nothing like it"),
        pytest.param("7: 1", ["no setting '7'"], id="number"),
        pytest.param(
            "link: soft", ["config.yaml: line 1: link: 'soft' is not one of auto, copy, hard"], id="link"
        ),
        pytest.param("link: [auto]", ["one of auto, copy, hard"], id="link list"),
        pytest.param("jobs: 0", ["jobs: '0' is not a number from 1 to 256"], id="no jobs"),
        pytest.param("jobs: true", ["jobs"], id="jobs true"),
        pytest.param("jobs: many", ["jobs"], id="jobs text"),
        pytest.param("enabled: maybe", ["enabled: 'maybe' is not true or false"], id="boolean"),
        pytest.param("enabled:", ["enabled: 'None'"], id="null"),
        pytest.param("cache: store", ["cache: 'store' is not an absolute path"], id="relative"),
        pytest.param("cache: 3", ["cache"], id="cache number"),
        pytest.param("exclude-packages: [1]", ["exclude-packages", "globs"], id="globs"),
        pytest.param("exclude-packages: {a: b}", ["exclude-packages", "globs"], id="mapping"),
        pytest.param("jobs: 1\nlink: auto\njobs: 2", ["jobs is set twice, in lines 1 and 3"], id="twice"),
    ],
)
def test_wrong_settings(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(MisuseError) as caught:
        configured(tmp_path, text)
    for part in parts:
        assert part in str(caught.value)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(MisuseError) as caught:
        configured(tmp_path, "link: x\njobs: -1\nfoo: 1", OPAMBIN_LINK="y", OPAMBIN_ENABLED="2")
    for part in (
        "config.yaml: line 1: link: 'x'",
        "config.yaml: line 3: there is no setting 'foo'",
        "jobs: '-1'",
        "'foo'",
        "OPAMBIN_LINK: 'y'",
        "OPAMBIN_ENABLED: '2'",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param(b"jobs: 4\ncache: [", "line 2: the file ends in a bracket", id="syntax"),
        pytest.param(b"\xff\xfe\xfd", "line 1: there are bytes that are no text", id="binary"),
        pytest.param(b"- a", "not a list of settings", id="list"),
        pytest.param(b"hello", "not a list of settings", id="text"),
        pytest.param(b"? [a]\n: b", "line 1: a name has to be a text", id="list as key"),
        pytest.param(
            b"a: !!python/object/apply:os.system [true]", "line 1: a text that begins with !", id="code"
        ),
    ],
)
def test_files_that_are_no_configuration(tmp_path: Path, data: bytes, problem: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(data)
    with pytest.raises(BadDataError) as caught:
        load({"HOME": "/h", "OPAMBIN_CONFIG": str(path)})
    assert problem in caught.value.problem
    assert caught.value.what == str(path)


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadDataError, match="too large"):
        configured(tmp_path, "#" * 1_000_001)


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="there is no file"):
        load({"HOME": "/h", "OPAMBIN_CONFIG": str(tmp_path / "none")})


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="can't be read"):
        load({"HOME": "/h", "OPAMBIN_CONFIG": str(tmp_path)})


def test_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(MisuseError, match="set HOME"):
        load({})


def test_describe_says_where_things_come_from(tmp_path: Path) -> None:
    rows = {name: (value, origin) for name, value, origin in configured(tmp_path, "link: hard").describe()}
    assert list(rows) == [setting.name for setting in SETTINGS]
    assert rows["link"] == ("hard", str(tmp_path / "config.yaml"))
    assert rows["enabled"] == ("true", "default")


def test_exclusion() -> None:
    config = Config(Path("/c"), exclude_packages=("conf-*",))
    assert config.excludes_package("conf-gmp")
    assert not config.excludes_package("Conf-gmp")


def test_yaml_is_not_imported_without_a_file() -> None:
    code = "import sys, opambin.config as c; c.load({'HOME': '/none'}); print('yaml' in sys.modules)"
    assert run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
