"""What the scripts in ``hooks/`` call. Each function is one hook; all the work is elsewhere.

Exit codes that the scripts know: 0 done; 10 the package must not be installed; 11 the cache is not used in
this session, and the user knows why; anything else (70 for a bug of ours) means that this part of the cache
is not used, which never stops opam.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from opambin.collecting import collect_seldom
from opambin.errors import OpambinError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MUST_FAIL = 10
TOLD = 11
INTERRUPTED = 130


def main(argv: Sequence[str]) -> int:
    """Run the hook that ``argv`` names.

    Args:
        argv: The hook and its arguments, as the scripts pass them.
    """
    collect_seldom()
    hooks: dict[str, Callable[[Sequence[str]], int]] = {
        "pre-session": pre_session,
        "pre-build": pre_build,
        "late": late,
        "place": place,
        "post-install": post_install,
        "post-session": post_session,
    }
    hook = hooks.get(argv[0]) if argv else None
    if hook is None:
        print(f"opam-bin: no hook {' '.join(argv) or 'was named'}", file=sys.stderr)
        return 2
    try:
        return hook(argv[1:])
    except OpambinError as error:
        print(f"opam-bin: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("opam-bin: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a bug of ours must not look like one of opam's
        from opambin import crash

        return crash.report(error)


def pre_session(args: Sequence[str]) -> int:
    """Plan the session: ``KEY=VALUE`` arguments, see :mod:`opambin.opam.hooklist`.

    Returns:
        0, or :data:`TOLD` when the session goes without us and the user was told why.
    """
    from opambin.session import start as session_start

    try:
        lines = session_start.start(_facts(args), os.environ)
    except OpambinError as error:
        if os.environ.get("OPAMBIN_TOLD") != str(error):  # the front door says it before it calls opam
            print(f"opam-bin: {error}; the cache is not used in this session", file=sys.stderr)
        return TOLD
    for line in lines:
        print(line)
    return 0


def pre_build(args: Sequence[str]) -> int:
    """Bring a hit into the build directory, from where opam installs it: ``NAME VERSION``."""
    from opambin.session import hits as session_hits

    problem = session_hits.before_build(_package(args), os.environ)
    if problem:
        print(f"opam-bin: {problem}", file=sys.stderr)
        return 1
    return 0


def late(args: Sequence[str]) -> int:
    """Look up what the session's start could not, and bring a hit into the build directory: ``NAME VERSION``.

    Returns:
        0 when it is placed, 1 when it is to be built.
    """
    from opambin.session import late as session_late

    problem = session_late.before_build(_package(args), os.environ)
    if problem:
        print(f"opam-bin: {problem}", file=sys.stderr)
    return 0 if problem is None else 1


def place(args: Sequence[str]) -> int:
    """Put the tree of a hit into the prefix, in place of its first install command: ``NAME VERSION``."""
    from opambin.session import hits as session_hits

    session_hits.at_install(_package(args), os.environ)
    return 0


def post_install(args: Sequence[str]) -> int:
    """Capture what was built: ``NAME VERSION``."""
    from opambin.session import capture as session_capture

    session_capture.after_install(_package(args), os.environ)
    return 0


def post_session(args: Sequence[str]) -> int:
    """Check, record and sum up: ``KEY=VALUE`` arguments."""
    from opambin.session import end as session_end

    for line in session_end.end(_facts(args), os.environ):
        print(line)
    return 0


def _facts(args: Sequence[str]) -> Mapping[str, str]:
    return dict(word.split("=", 1) for word in args if "=" in word)


def _package(args: Sequence[str]) -> tuple[str, str]:
    from opambin.errors import MisuseError

    if len(args) != 2:
        raise MisuseError(f"expected NAME VERSION, got {' '.join(args)}")
    return args[0], args[1]
