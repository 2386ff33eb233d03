"""What must work with a compiler, and with tools on top of it, wherever they were moved to.

``@P@`` in files, commands and expected output stands for the prefix, ``@V@`` for the compiler's version.
Every command must succeed, and all that a step's commands print, taken together, must be what is expected,
byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from worlds import World

PREFIX = "@P@"
VERSION = "@V@"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that must work.

    Attributes:
        name: Of the test.
        commands: Run one after the other, in a new folder.
        printed: All they print.
        files: What is in the folder before.
        packages: Names of packages that it needs besides the compiler.
    """

    name: str
    commands: tuple[str, ...]
    printed: str
    files: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()


def expected(step: Step, prefix: Path, version: str) -> str:
    """Return what a step prints at a prefix, with a compiler of a version."""
    return step.printed.replace(PREFIX, str(prefix)).replace(VERSION, version)


def run(step: Step, world: World, prefix: Path, folder: Path, *, bare: bool) -> str:
    """Run a step; returns what it printed.

    Args:
        step: What to run.
        world: Where opam is.
        prefix: Of the switch.
        folder: A new folder.
        bare: With nothing but PATH in the environment; otherwise as ``opam exec`` sets it.
    """
    where = str(prefix)
    for name, content in step.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content.replace(PREFIX, where))
    clean = ("env", "-i", f"PATH={where}/bin:/usr/bin:/bin", f"HOME={folder}", "LC_ALL=C")
    switch = where.removesuffix("/_opam") if where.endswith("/_opam") else prefix.name
    before = clean if bare else ("opam", "exec", "--switch", switch, "--")
    printed = [
        world.run(*before, *command.replace(PREFIX, where).split(), folder=folder).text
        for command in step.commands
    ]
    # Some programs end their only line, others don't.
    return "".join(text if text.endswith("\n") else f"{text}\n" for text in printed if text)


HELLO = """\
let () =
  let lock = Mutex.create () in
  let say () = Mutex.lock lock; print_string "hello "; Mutex.unlock lock in
  Thread.join (Thread.create say ());
  Printf.printf "%b %s\\n" (Unix.getpid () > 0) (Str.global_replace (Str.regexp "a+") "b" "caat")
"""
SAID = "hello true cbt\n"
INCLUDES = "-I +unix -I +str -I +threads"
NATIVE = f"{INCLUDES} unix.cmxa str.cmxa threads.cmxa"
BYTES = f"{INCLUDES} unix.cma str.cma threads.cma"

CONFIG = """\
let here = "@P@/lib/ocaml"
let known = Config.standard_library
let () =
  print_endline known;
  Printf.printf "= %b, compare %d, length %b, hash %b, match %b, sub %b, marshal %b\\n"
    (known = here) (compare known here) (String.length known = String.length here)
    (Hashtbl.hash known = Hashtbl.hash here)
    (match known with "@P@/lib/ocaml" -> true | _ -> false)
    (String.sub known 0 (String.length here) = here)
    (Marshal.to_string known [] = Marshal.to_string here []);
  Gc.compact ();
  print_endline (Filename.basename known)
"""
KNOWN = (
    "@P@/lib/ocaml\n= true, compare 0, length true, hash true, match true, sub true, marshal true\nocaml\n"
)

STUB = "#include <caml/mlvalues.h>\nvalue answer(value unit) { (void)unit; return Val_int(42); }\n"
EXTERNAL = 'external answer : unit -> int = "answer"\n'
ANSWER = "let () = print_int (Foo.answer ()); print_newline ()\n"

COMPILER = (
    Step(
        "every compiler knows where its library is",
        tuple(
            f"{program} -where"
            for program in (
                "ocamlc",
                "ocamlc.opt",
                "ocamlc.byte",
                "ocamlopt",
                "ocamlopt.opt",
                "ocamlopt.byte",
            )
        ),
        "@P@/lib/ocaml\n" * 6,
    ),
    Step(
        "configuration",
        (
            "ocamlc.opt -config-var standard_library",
            "ocamlc.byte -config-var standard_library_default",
            "ocamlopt.opt -config-var standard_library_default",
        ),
        "@P@/lib/ocaml\n" * 3,
    ),
    Step("native", (f"ocamlopt {NATIVE} h.ml -o h", "./h"), SAID, {"h.ml": HELLO}),
    Step("native, by bytecode", (f"ocamlopt.byte {NATIVE} h.ml -o h", "./h"), SAID, {"h.ml": HELLO}),
    Step(
        "bytecode, through ocamlrun and by itself",
        (f"ocamlc {BYTES} h.ml -o h", "ocamlrun ./h", "./h", "head -n 1 h"),
        SAID * 2 + "#!@P@/bin/ocamlrun\n",
        {"h.ml": HELLO},
    ),
    Step("bytecode, by bytecode", (f"ocamlc.byte {BYTES} h.ml -o h", "./h"), SAID, {"h.ml": HELLO}),
    Step("custom run-time system", (f"ocamlc -custom {BYTES} h.ml -o h", "./h"), SAID, {"h.ml": HELLO}),
    Step(
        "complete executable",
        (f"ocamlc -output-complete-exe {BYTES} h.ml -o h", "./h"),
        SAID,
        {"h.ml": HELLO},
    ),
    Step("toplevel", (f"ocaml {BYTES} h.ml",), SAID, {"h.ml": HELLO}),
    Step(
        "toplevel: directories and files by name",
        ("ocaml t.ml",),
        "1\n",
        {"t.ml": '#directory "+str";;\n#load "str.cma";;\nprint_endline "1";;\n'},
    ),
    Step(
        "ocamlmklib",
        (
            "ocamlc -c foo_stubs.c",
            "ocamlc -c foo.ml",
            "ocamlopt -c foo.ml",
            "ocamlmklib -o foo foo_stubs.o foo.cmo foo.cmx",
            "ocamlc -dllpath . foo.cma main.ml -o main.byte",
            "./main.byte",
            "ocamlopt -I . foo.cmxa main.ml -o main",
            "./main",
        ),
        "42\n42\n",
        {"foo_stubs.c": STUB, "foo.ml": EXTERNAL, "main.ml": ANSWER},
    ),
    Step(
        "ocamlmktop",
        (f"ocamlmktop {INCLUDES} -o top unix.cma str.cma threads.cma", f"./top {INCLUDES} h.ml"),
        SAID,
        {"h.ml": HELLO},
    ),
    Step(
        "compiler-libs, native",
        ("ocamlopt -I +compiler-libs ocamlcommon.cmxa c.ml -o c", "./c"),
        KNOWN,
        {"c.ml": CONFIG},
    ),
    Step(
        "compiler-libs, bytecode",
        ("ocamlc -I +compiler-libs ocamlcommon.cma c.ml -o c", "./c"),
        KNOWN,
        {"c.ml": CONFIG},
    ),
    Step(
        "compiler-libs, toplevel",
        ("ocaml -I +compiler-libs ocamlcommon.cma c.ml",),
        KNOWN,
        {"c.ml": CONFIG},
    ),
    Step(
        "plugins",
        (
            "ocamlopt -shared -o plug.cmxs plug.ml",
            "ocamlc -c plug.ml",
            "ocamlopt -I +dynlink dynlink.cmxa main.ml -o main",
            "./main",
            "ocamlc -I +dynlink dynlink.cma main.ml -o main.byte",
            "./main.byte",
        ),
        "plugged in\nplugged in\n",
        {
            "plug.ml": 'let () = print_endline "plugged in"\n',
            "main.ml": 'let () = Dynlink.loadfile (Dynlink.adapt_filename "plug.cmo")\n',
        },
    ),
    Step(
        "ocamllex and ocamlyacc",
        ("ocamllex -q l.mll", "ocamlc l.ml -o l", "./l", "ocamlyacc y.mly", "ocamlc -c y.mli y.ml"),
        "7\n",
        {
            "l.mll": "rule f = parse ['0'-'9']+ as n { int_of_string n }\n"
            '{ let () = print_int (f (Lexing.from_string "7")); print_newline () }\n',
            "y.mly": "%token E\n%start f\n%type <int> f\n%%\nf: E { 1 }\n",
        },
    ),
    Step(
        "tools",
        (
            "ocamldep h.ml",
            f"ocamldoc {INCLUDES} -html h.ml",
            "test -s index.html",
            f"ocamlcp {BYTES} h.ml -o cp",
            "./cp",
            "ocamlprof -version",
            "ocamldebug -version",
        ),
        "h.cmo :\nh.cmx :\n" + SAID + "ocamlprof, version @V@\nThe OCaml debugger, version @V@\n",
        {"h.ml": HELLO},
    ),
)

MENHIR = """\
%token <int> INT
%token PLUS END
%left PLUS
%start <int> sum
%%
sum: e = expression END { e }
expression: n = INT { n } | a = expression PLUS b = expression { a + b }
"""
POWER = "let () = print_endline (Z.to_string (Z.pow (Z.of_int 3) 50))\n"
POWERED = "717897987691852588770249\n"
PROJECT = {
    "dune-project": "(lang dune 2.9)\n(using menhir 2.1)\n",
    "dune": "(menhir (modules p))\n"
    "(executable (name main) (modes exe byte) (libraries zarith menhirLib foo))\n",
    "p.mly": MENHIR,
    "lib/dune": "(library (name foo) (foreign_stubs (language c) (names foo_stubs)))\n",
    "lib/foo_stubs.c": STUB,
    "lib/foo.ml": EXTERNAL,
    "main.ml": """\
let tokens = ref P.[INT (Foo.answer ()); PLUS; INT 1; END]
let next _ = match !tokens with [] -> P.END | token :: rest -> tokens := rest; token
let () = print_endline (Z.to_string (Z.of_int (P.sum next (Lexing.from_string ""))))
""",
}

PACKAGES = (
    Step(
        "ocamlfind tells where things are",
        (
            "ocamlfind printconf conf",
            "ocamlfind printconf path",
            "ocamlfind printconf destdir",
            "ocamlfind printconf stdlib",
            "ocamlfind printconf ldconf",
            "ocamlfind query findlib",
            "ocamlfind query str",
        ),
        "@P@/lib/findlib.conf\n@P@/lib\n@P@/lib\n@P@/lib/ocaml\n@P@/lib/ocaml/ld.conf\n"
        "@P@/lib/findlib\n@P@/lib/ocaml\n",
        packages=("ocamlfind",),
    ),
    Step(
        "ocamlfind links",
        (
            "ocamlfind ocamlopt -package zarith,str,threads.posix -linkpkg power.ml -o power",
            "./power",
            "ocamlfind ocamlc -package zarith,str,threads.posix -linkpkg power.ml -o power.byte",
            "./power.byte",
        ),
        POWERED * 2,
        {"power.ml": POWER},
        ("ocamlfind", "zarith"),
    ),
    Step(
        "topfind",
        ("ocaml t.ml",),
        POWERED,
        {"t.ml": '#use "topfind";;\n#require "zarith";;\n' + POWER},
        ("ocamlfind", "zarith"),
    ),
    Step(
        "findlib as a library",
        (
            "ocamlfind ocamlopt -package findlib -linkpkg f.ml -o f",
            "./f",
            "ocamlfind ocamlc -package findlib -linkpkg f.ml -o f.byte",
            "./f.byte",
        ),
        "@P@/lib true\n" * 2,
        {
            "f.ml": "let () = Findlib.init (); let d = Findlib.default_location () in\n"
            'Printf.printf "%s %b\\n" d (d = "@P@/lib")\n'
        },
        ("ocamlfind",),
    ),
    Step("ocamlbuild tells where it is", ("ocamlbuild -where",), "@P@/lib/ocamlbuild\n", {}, ("ocamlbuild",)),
    Step(
        "ocamlbuild",
        (
            "ocamlbuild -quiet -no-links -use-ocamlfind -package zarith power.native",
            "./_build/power.native",
            "ocamlbuild.byte -quiet -no-links -use-ocamlfind -package zarith power.byte",
            "./_build/power.byte",
        ),
        POWERED * 2,
        {"power.ml": POWER, "myocamlbuild.ml": "let () = Ocamlbuild_plugin.dispatch (fun _ -> ())\n"},
        ("ocamlfind", "ocamlbuild", "zarith"),
    ),
    Step(
        "dune, menhir and C stubs",
        (
            "dune build --root . ./main.exe ./main.bc",
            "./_build/default/main.exe",
            "ocamlrun -I _build/default/lib _build/default/main.bc",
        ),
        "43\n43\n",
        PROJECT,
        ("dune", "menhir", "menhirLib", "zarith"),
    ),
    Step(
        "menhir knows where its library is",
        ("menhir --suggest-menhirLib",),
        "@P@/lib/menhirLib\n",
        {},
        ("menhir",),
    ),
    Step(
        "a preprocessor that was built with the compiler's own libraries",
        ("dune build --root . ./main.exe", "./_build/default/main.exe"),
        "((a 1)(b x))\n",
        {
            "dune-project": "(lang dune 2.9)\n",
            "dune": "(executable (name main) (libraries sexplib) (preprocess (pps ppx_sexp_conv)))\n",
            "main.ml": "open Sexplib.Std\ntype t = { a : int; b : string } [@@deriving sexp]\n"
            'let () = print_endline (Sexplib.Sexp.to_string (sexp_of_t { a = 1; b = "x" }))\n',
        },
        ("dune", "ppx_sexp_conv", "sexplib"),
    ),
    Step(
        "threads of lwt",
        ("dune build --root . ./main.exe", "./_build/default/main.exe"),
        "slept\n",
        {
            "dune-project": "(lang dune 2.9)\n",
            "dune": "(executable (name main) (libraries lwt.unix) (preprocess (pps lwt_ppx)))\n",
            "main.ml": 'let () = Lwt_main.run (let%lwt () = Lwt_unix.sleep 0.01 in Lwt_io.printl "slept")\n',
        },
        ("dune", "lwt", "lwt_ppx"),
    ),
)

REWRITER = """\
open Ppxlib
let answer = Extension.V3.declare "answer" Extension.Context.expression Ast_pattern.(pstr nil)
  (fun ~ctxt:_ -> Ast_builder.Default.eint ~loc:Location.none 42)
let () =
  Driver.register_transformation ~rules:[Context_free.Rule.extension answer] "answer";
  Driver.standalone ()
"""
PLUGIN = """\
let () = print_endline Config.standard_library; print_endline Ppxlib.Location.none.loc_start.pos_fname
"""
HOST = """\
let () = ignore (Sys.opaque_identity Ppxlib.Driver.add_arg);
  try Dynlink.loadfile "plugin.cmxs" with Dynlink.Error error -> prerr_endline (Dynlink.error_message error)
"""
KNOWING = "-w -a -package ppxlib,compiler-libs.common"
IMPLEMENTATIONS = Step(
    "libraries and plugins that know the implementation of the compiler's units",
    (
        "ocamlfind ocamlopt -w -a -package ppxlib -linkpkg rewriter.ml -o rewriter",
        "ocamlfind ocamlopt -pp ./rewriter user.ml -o user",
        "./user",
        f"ocamlfind ocamlopt {KNOWING} -shared plugin.ml -o plugin.cmxs",
        f"ocamlfind ocamlopt {KNOWING},dynlink -linkpkg -linkall host.ml -o host",
        "./host",
    ),
    "42\n@P@/lib/ocaml\n_none_\n",
    {
        "rewriter.ml": REWRITER,
        "user.ml": "let () = print_int [%answer]; print_newline ()\n",
        "plugin.ml": PLUGIN,
        "host.ml": HOST,
    },
)
"""With ppxlib, which was built against the CRCs of a compiler's implementations."""
