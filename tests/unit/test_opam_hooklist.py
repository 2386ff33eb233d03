from __future__ import annotations

import pytest

from opambin.errors import BadDataError
from opambin.opam import hooklist
from opambin.opam.ast import OpamFile
from opambin.opam.hooklist import OURS, adding, commands, foreign, peers, removing, same_without_ours
from opambin.opam.parser import parse, parse_value
from opambin.opam.printer import print_value

SANDBOX = '["%{hooks}%/sandbox.sh" "build"] {os = "linux" | os = "macos"}'
OURS_BUILD = '["%{root}%/plugins/opam-bin/hooks/wrap-build"]'
PEER = '["/home/me/.opam/plugins/opam-bin/opam-bin.exe" "wrap-build" name version depends "--"]'


def config(*fields: str) -> OpamFile:
    return parse("\n".join(('opam-version: "2.0"', *fields)), "config")


def apply(file: OpamFile, changes: tuple[hooklist.Change, ...]) -> OpamFile:
    """Do what `opam option` does: replace fields; an empty list drops one."""
    kept = [
        item for item in file.items if getattr(item, "name", "") not in {change.field for change in changes}
    ]
    added = parse(
        "\n".join(change.assignment.replace("=", ": ", 1) for change in changes if change.after)
    ).items
    return OpamFile(file.filename, (*kept, *added))


def shown(file: OpamFile, field: str) -> list[str]:
    return [print_value(command) for command in commands(file, field)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("[]", [], id="empty list"),
        pytest.param('"a"', ['["a"]'], id="a word for a command"),
        pytest.param("a", ["[a]"], id="a variable for a command"),
        pytest.param('"a" {x}', ['["a" {x}]'], id="a word with a filter"),
        pytest.param('["a" b]', ['["a" b]'], id="one command"),
        pytest.param('["a"] {x}', ['["a"] {x}'], id="one command with a filter"),
        pytest.param('["a" {x} "b"]', ['["a" {x} "b"]'], id="one command with a filtered word"),
        pytest.param('[["a"] ["b" c] {x}]', ['["a"]', '["b" c] {x}'], id="list"),
    ],
)
def test_commands_have_one_shape_however_opam_abbreviates_them(value: str, expected: list[str]) -> None:
    assert shown(config(f"wrap-build-commands: {value}"), "wrap-build-commands") == expected


@pytest.mark.parametrize("value", ["1", "true", '["a" ["b"]]', "[[[]]]", '(["a"])'])
def test_another_shape_is_refused(value: str) -> None:
    with pytest.raises(BadDataError) as caught:
        commands(config(f"wrap-build-commands: {value}"), "wrap-build-commands")
    assert caught.value.what == "config"
    assert "wrap-build-commands" in caught.value.problem


def test_a_fresh_root_gets_every_hook_and_the_session_opens_last() -> None:
    changes = adding(config())
    assert [change.field for change in changes] == list(OURS)
    assert changes[-1].field == "pre-session-commands"
    assert removing(apply(config(), changes))[0].field == "pre-session-commands"


@pytest.mark.parametrize(
    ("field", "others", "position"),
    [
        pytest.param("wrap-build-commands", f'[{SANDBOX} ["ccache"]]', 0, id="wrapper outside the sandbox"),
        pytest.param("wrap-install-commands", '["x" "y"]', 0, id="wrapper outside another"),
        pytest.param(
            "post-install-commands", '[["edit"] ["log" name] {error-code = 0}]', -1, id="after who edits"
        ),
        pytest.param("pre-session-commands", '"notify"', -1, id="session start"),
        pytest.param("post-session-commands", '["notify" "done"]', -1, id="session end"),
        pytest.param("pre-build-commands", '"x" {os = "linux"}', -1, id="before a build"),
    ],
)
def test_others_stay_and_ours_has_its_place(field: str, others: str, position: int) -> None:
    before = config(f"{field}: {others}")
    after = apply(before, adding(before))
    result = shown(after, field)
    ours = result.pop(position)
    assert f"/plugins/opam-bin/hooks/{OURS[field][0]}" in ours
    assert result == shown(before, field)


def test_doing_it_again_changes_nothing() -> None:
    before = config(f"wrap-build-commands: {SANDBOX}", 'post-install-commands: "x"')
    assert adding(apply(before, adding(before))) == ()


def test_a_hook_that_was_added_after_ours_is_put_before_it() -> None:
    done = apply(config(), adding(config()))
    ours = shown(done, "post-install-commands")[0]
    others = [item for item in done.items if getattr(item, "name", "") != "post-install-commands"]
    later = OpamFile("", (*others, *parse(f'post-install-commands: [{ours} ["new"]]').items))
    (change,) = adding(later)
    assert change.assignment == f'post-install-commands=[["new"] {ours}]'


def test_hooks_of_an_older_version_are_replaced() -> None:
    old = config('wrap-build-commands: [["/r/plugins/opam-bin/hooks/wrap-build" "old"]]')
    assert shown(apply(old, adding(old)), "wrap-build-commands") == [OURS_BUILD]


def test_removing_takes_ours_only_and_leaves_an_empty_list_where_nothing_else_was() -> None:
    before = config(f"wrap-build-commands: [{SANDBOX}]", 'post-install-commands: [["a"] ["b"]]')
    done = apply(before, adding(before))
    changes = removing(done)
    assert {change.field for change in changes} == set(OURS)
    assert "pre-session-commands=[]" in [change.assignment for change in changes]
    assert same_without_ours(apply(done, changes), before)
    assert removing(before) == ()


def test_no_hook_has_a_command_line_that_grows_with_the_package() -> None:
    words = " ".join(word for command in OURS.values() for word in command)
    assert "installed-files" not in words
    assert "opamfile" not in words


@pytest.mark.parametrize(
    ("command", "is_peer"),
    [
        pytest.param(PEER, True, id="as its init writes it"),
        pytest.param(
            '["/opt/bin/opam-bin" "post-install" name] {error-code = 0}', True, id="by another path"
        ),
        pytest.param('["opam-bin" "list"]', False, id="not one of its hooks"),
        pytest.param('["/x/my-opam-bin" "wrap-build"]', False, id="another name"),
        pytest.param(OURS_BUILD, False, id="ours"),
        pytest.param(
            '["%{root}%/plugins/opam-bin/hooks/opam-bin" "wrap-build"]', False, id="below our hooks"
        ),
        pytest.param('["opam-bin.exe"]', False, id="no subcommand"),
        pytest.param("[name version]", False, id="variables only"),
    ],
)
def test_peer_hooks_are_known(command: str, is_peer: bool) -> None:
    assert hooklist.is_peer(parse_value(command)) is is_peer


def test_peer_hooks_are_replaced_on_demand_only() -> None:
    before = config(f"wrap-build-commands: [{PEER} {SANDBOX}]", f"pre-remove-commands: {PEER}")
    assert [hook.field for hook in peers(before)] == ["pre-remove-commands", "wrap-build-commands"]
    both = apply(before, adding(before))
    assert len(commands(both, "wrap-build-commands")) == 3
    replaced = apply(before, adding(before, replace_peer=True))
    assert shown(replaced, "wrap-build-commands") == [OURS_BUILD, SANDBOX]
    assert commands(replaced, "pre-remove-commands") == ()
    assert peers(replaced) == ()


def test_foreign_hooks_are_named_but_not_the_sandbox() -> None:
    before = config(f"wrap-build-commands: [{OURS_BUILD} {PEER} {SANDBOX}]", 'post-install-commands: "audit"')
    assert list(map(str, foreign(before))) == ['post-install-commands: ["audit"]']


@pytest.mark.parametrize(
    ("text", "same"),
    [
        pytest.param('jobs: 3\nwrap-build-commands: ["a"]', True, id="the same"),
        pytest.param(
            'wrap-build-commands: [["a"]]\njobs: 3 # words', True, id="order, brackets and comments"
        ),
        pytest.param('jobs: 4\nwrap-build-commands: ["a"]', False, id="another value"),
        pytest.param('wrap-build-commands: ["a"]', False, id="a field less"),
        pytest.param("jobs: 3", False, id="a hook less"),
        pytest.param('jobs: 3\nwrap-build-commands: ["a"]\nx: 1', False, id="a field more"),
        pytest.param('jobs: 3\nwrap-build-commands: ["a"]\npre-build-commands: []', True, id="an empty list"),
    ],
)
def test_configurations_are_compared_without_ours(text: str, same: bool) -> None:
    installed = config('wrap-build-commands: ["a"]', "jobs: 3")
    assert same_without_ours(apply(installed, adding(installed)), config(text)) is same
