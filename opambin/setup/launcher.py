"""The two files through which the hooks start Python: which interpreter, and what it imports from.

Start-up is paid once per package, so a hook calls the real interpreter (a version manager's shim costs 50 ms,
the ``site`` module of a virtual environment another 10) with ``-I -S`` and gets its search path from here.
"""

from __future__ import annotations

import os
import shlex
import sys
import sysconfig

from opambin.resources import package_directory

INTERPRETER_FILE = "interpreter"
RUN_FILE = "run.py"

_INTERPRETER = """\
# Written by `opam-bin init`. The first is the real path, the second what init was started with.
opambin_interpreter={real}
opambin_fallback={started}
"""

_RUN = '''\
"""Written by `opam-bin init`: run a hook of opam-bin without the start-up cost of site-packages."""

import sys

sys.path += {path!r}
try:
    from opambin.hooks import main
except ImportError as error:
    sys.exit(f"opam-bin: its Python part can't be loaded ({{error}}); run 'opam-bin init' again")
sys.exit(main(sys.argv[1:]))
'''


def interpreter_script() -> str:
    """Return the sh fragment that names the interpreter."""
    started = os.path.abspath(sys.executable)  # noqa: PTH100 - Path.absolute() would keep `..`
    return _INTERPRETER.format(real=shlex.quote(os.path.realpath(started)), started=shlex.quote(started))


def run_script() -> str:
    """Return the program that a hook runs."""
    return _RUN.format(path=search_path())


def search_path() -> list[str]:
    """Return the directories to import from, behind the standard library: our own, then site-packages.

    Directories that ``.pth`` files and PYTHONPATH brought are in it, because they are on the path now. The
    first entry of the path is not: it is the folder of the program's script, whose programs are no modules,
    or with ``-m`` whatever folder the user is in.
    """
    standard = {os.path.realpath(path) for path in _standard_library()}
    found = [str(package_directory())]
    for entry in sys.path if sys.flags.safe_path else sys.path[1:]:
        path = os.path.realpath(entry)
        if entry and path not in standard and os.path.isdir(path) and path not in found:  # noqa: PTH112 - strings
            found.append(path)
    return found


def _standard_library() -> list[str]:
    paths = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
    base = {"installed_base": sys.base_prefix, "installed_platbase": sys.base_exec_prefix}
    paths += [sysconfig.get_path(name, vars=base) for name in ("stdlib", "platstdlib")]
    return [*paths, *(os.path.join(path, "lib-dynload") for path in paths)]  # noqa: PTH118 - strings
