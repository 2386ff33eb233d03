"""hooks/padding.sh against a Python reference, in every shell of the machine."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from hook_shells import HOOKS, shells
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from opambin.model import PADDED_LENGTH
from opambin.relocate.spelling import LONGEST_PADDED, pad

SHELLS = [pytest.param(shell, id=" ".join(Path(word).name for word in shell)) for shell in shells()]
PACKAGE = "dum-my.1.0~rc1+x"


@dataclass(frozen=True)
class Case:
    prefix: str
    arguments: tuple[str, ...]
    path: str
    prefix_map: str | None
    locale: str | None


def padded(text: str, prefix: str) -> str:
    if len(prefix.encode()) > LONGEST_PADDED:
        return text
    long = pad(prefix.encode()).decode()
    found = re.compile(f"{re.escape(prefix)}(?P<goes_on>[A-Za-z0-9._+~-])?")
    return found.sub(lambda hit: hit[0] if hit["goes_on"] else long, text)


def escaped(text: str) -> str:
    return text.replace("%", "%#").replace("=", "%+").replace(":", "%.")


def expected(case: Case) -> list[str]:
    build = f"/.opam-switch/build/{PACKAGE}"
    spellings = dict.fromkeys([case.prefix, padded(case.prefix, case.prefix)])
    items = [case.prefix_map] if case.prefix_map else []
    items += [f"/build/{PACKAGE}={escaped(spelling + build)}" for spelling in spellings]
    return [
        padded(case.path, case.prefix),
        padded(case.prefix, case.prefix),
        ":".join(items),
        case.locale or "unset",
        *(padded(argument, case.prefix) for argument in case.arguments),
    ]


def run(shell: tuple[str, ...], cases: list[Case], directory: Path) -> list[list[str]]:
    """Run all cases in one process: the number of its arguments, four fields, and the arguments of each."""
    script = [
        f". {shlex.quote(str(HOOKS / 'padding.sh'))}",
        f"opambin_package={PACKAGE}",
        "OPAM_PACKAGE_NAME=dum-my",
    ]
    script.append("opambin_session=/nonexistent")
    for case in cases:
        script += [
            f"OPAM_SWITCH_PREFIX={shlex.quote(case.prefix)}",
            f"PATH={shlex.quote(case.path)}",
            "unset BUILD_PATH_PREFIX_MAP LC_ALL",
            f"BUILD_PATH_PREFIX_MAP={shlex.quote(case.prefix_map)}" if case.prefix_map is not None else "",
            f"LC_ALL={case.locale}" if case.locale else "",
            f"set -- {' '.join(map(shlex.quote, case.arguments))}",
            'opambin_prepare "$@"',
            'eval "set -- $opambin_words"',
            r"printf '%s\0' "
            '"$#" "$PATH" "$OPAM_SWITCH_PREFIX" "$BUILD_PATH_PREFIX_MAP" "${LC_ALL-unset}" "$@"',
        ]
    path = directory / "cases.sh"
    path.write_text("\n".join(script) + "\n", encoding="utf-8", newline="")
    done = subprocess.run([*shell, str(path)], cwd="/", capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    fields = iter(done.stdout.decode().split("\0")[:-1])
    return [[next(fields) for _ in range(4 + int(count))] for count in fields]


components = st.text(st.sampled_from("ab.-~ *?[]\\'\"$`#%=:é\n&|;(){}!"), min_size=1, max_size=5).filter(
    lambda name: name not in {".", ".."}
)
short = st.lists(components, min_size=1, max_size=4).map(lambda names: "/" + "/".join(names))
# Around the limit, where one byte decides.
long = st.integers(LONGEST_PADDED - 5, PADDED_LENGTH + 5).map(
    lambda size: "/" + "d" * 90 + "/" + "l" * (size - 92)
)
prefixes = short | long


@st.composite
def cases(draw: st.DrawFn) -> Case:
    prefix = draw(prefixes)
    piece = st.sampled_from(
        [prefix, prefix, prefix + "/lib", prefix + "x", prefix[:-1], "/", ":", "-I", "--prefix="]
    )
    text = st.lists(
        piece | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=4)
    )
    words = text.map("".join)
    return Case(
        prefix,
        tuple(draw(st.lists(words, max_size=12))),
        draw(words),
        draw(st.none() | st.sampled_from(["", "/a=/b", "x=/c:y=/d%.e"])),
        draw(st.sampled_from([None, "C", "C.UTF-8"])),
    )


@pytest.mark.parametrize("shell", SHELLS)
@settings(
    max_examples=4,
    deadline=None,
    suppress_health_check=[*HealthCheck],
    phases=[Phase.explicit, Phase.generate],  # shrinking whole batches takes minutes
)
@given(data=st.data())
def test_padding_is_what_the_reference_says(
    shell: tuple[str, ...], tmp_path: Path, data: st.DataObject
) -> None:
    batch = data.draw(st.lists(cases(), min_size=30, max_size=60))
    results = zip(batch, run(shell, batch, tmp_path), strict=True)
    wrong = [(case, seen, wanted) for case, seen in results if seen != (wanted := expected(case))]
    assert not wrong[:1]


@pytest.mark.parametrize("shell", SHELLS)
def test_many_arguments_stay_in_order(shell: tuple[str, ...], tmp_path: Path) -> None:
    arguments = tuple(f"{'/p/q' if number % 3 else ''}/{number}" for number in range(3000))
    case = Case("/p/q", arguments, "/bin", None, None)
    assert run(shell, [case], tmp_path) == [expected(case)]
