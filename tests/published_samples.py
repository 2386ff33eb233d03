"""Catalogues of published repositories that never were: a small one by hand, large ones by number."""

from __future__ import annotations

import random
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from opambin.model import ConeKey, Digest, OutputId, PackageName, Version
from opambin.publish.catalogue import (
    Archive,
    Build,
    Catalogue,
    ContentKind,
    Dependency,
    LeftOut,
    Licence,
    Mode,
    Platform,
    archive_path,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

URL = "https://binaries.example.org/opam"
DAY = 86_400
TIME = 1_790_000_000
DEBIAN = Platform("x86_64", "linux", "debian", "12")
SYNOPSES = {
    "ocaml": "The OCaml compiler (virtual package)",
    "ocaml-base-compiler": "Official release of the OCaml compiler",
    "dune": "Fast, portable, and opinionated build system",
    "lwt": "Promises and event-driven I/O",
    "lwt_ppx": "PPX syntax for Lwt, providing something similar to async/await from JavaScript",
    "ppxlib": "Standard infrastructure for ppx rewriters",
    "ocamlfind": "A library manager for OCaml",
}
STEMS = [
    "lwt",
    "async",
    "ppx_deriving",
    "ppx",
    "yojson",
    "cohttp",
    "tls",
    "mirage",
    "dns",
    "irmin",
    "git",
    "base",
    "core",
    "stdio",
    "fmt",
    "logs",
    "re",
    "zarith",
    "menhir",
    "csv",
    "ssl",
    "sqlite3",
    "caqti",
    "dream",
    "opium",
    "eio",
    "uri",
    "angstrom",
    "bos",
    "fpath",
    "ptime",
    "xmlm",
    "x509",
    "asn1",
    "tcpip",
    "vchan",
    "conduit",
    "coq",
]
TAILS = [
    "unix",
    "eio",
    "lwt",
    "async",
    "ppx",
    "runtime",
    "core",
    "client",
    "server",
    "top",
    "test",
    "js",
    "tools",
    "syntax",
    "mirage",
    "light",
]
WORDS = [
    "library",
    "parser",
    "for",
    "the",
    "of",
    "OCaml",
    "bindings",
    "to",
    "fast",
    "pure",
    "implementation",
    "protocol",
    "typed",
    "combinators",
    "streaming",
    "web",
    "server",
    "client",
    "compiler",
    "extension",
    "deriving",
    "testing",
    "tool",
    "format",
    "encoder",
    "decoder",
    "monadic",
    "interface",
    "runtime",
]


def hexadecimal(text: str) -> str:
    return sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def build(name: str, version: str = "1.0", needs: Sequence[Build] = (), **changed: Any) -> Build:  # noqa: ANN401
    """Make a build that depends on others."""
    mark = f"{name}.{version}"
    digest = hexadecimal(mark)
    size = int(digest[:4], 16) * 20 + 900
    made = Build(
        name=PackageName(name),
        version=Version(version),
        published=Version(version),
        kind=ContentKind.BINARY,
        key=ConeKey(hexadecimal(mark + "key")),
        output=OutputId(hexadecimal(mark + "output")),
        outputs=1,
        platform=DEBIAN,
        compiler="ocaml-base-compiler.4.14.2",
        archive=Archive(archive_path(digest), digest, hexadecimal(mark + "512") * 2, size),
        opam=Digest(hexadecimal(mark + "opam")),
        files=len(files(name)),
        size=size * 4,
        dependencies=tuple(sorted(Dependency(it.name, it.published) for it in needs)),
        licence=Licence(("MIT",), "MIT", "allowed", (f"doc/{name}/LICENSE",)),
        synopsis=SYNOPSES.get(name, f"What {name} is for"),
        homepage=f"https://example.org/{name}",
        max_prefix=None,
        helper=False,
        built_at=TIME - 3 * DAY,
        seconds=12.5,
        published_at=TIME - DAY,
        serial=3,
    )
    return replace(made, **changed)


def files(name: str) -> list[str]:
    """Name the files of a sample build."""
    units = [f"{name.replace('-', '_')}{tail}" for tail in ("", "_intf", "_result", "_stream", "_unix")]
    kinds = ("cmi", "cmti", "cmt", "cmx", "ml", "mli")
    found = [f"lib/{name}/{unit}.{kind}" for unit in units for kind in kinds]
    return [*found, f"lib/{name}/META", f"lib/{name}/opam", f"lib/{name}/{name}.cmxs", f"doc/{name}/LICENSE"]


def catalogue(builds: Sequence[Build], left_out: Sequence[LeftOut] = (), **changed: Any) -> Catalogue:  # noqa: ANN401
    """Make a catalogue."""
    ordered = tuple(sorted(builds, key=lambda it: (it.name, it.published)))
    made = Catalogue(
        URL, Mode.ALONE, 7, TIME, hexadecimal("rules"), hexadecimal("index"), ordered, tuple(sorted(left_out))
    )
    return replace(made, **changed)


def small() -> Catalogue:
    """A repository of some packages with several versions, states, and a graph."""
    base = build("ocaml-base-compiler", "4.14.2", files=2214, compiler="")
    virtual = {"kind": ContentKind.DEFINITION, "archive": None, "files": 0, "size": 0}
    config = build("ocaml-config", "2", [base])
    ocaml = build("ocaml", "4.14.2", [base, config], **virtual)
    dune = build("dune", "3.17.0", [ocaml])
    find = build("ocamlfind", "1.9.6", [ocaml])
    csexp = build("csexp", "1.5.2", [ocaml, dune])
    configurator = build("dune-configurator", "3.17.0", [ocaml, dune, csexp])
    build_tool = build("ocamlbuild", "0.15.0", [ocaml], outputs=3, max_prefix=120)
    ocplib = build("ocplib-endian", "1.2", [ocaml, dune])
    cppo = build("cppo", "1.7.0", [ocaml, dune], helper=True)
    lwt = [
        build("lwt", version, [ocaml, dune, configurator, ocplib, cppo, find], serial=at + 1)
        for at, version in enumerate(("5.6.1", "5.7.0", "5.9.0"))
    ]
    stdlib = build("stdlib-shims", "0.3.0", [ocaml, dune])
    derivers = build("ppx_derivers", "1.2.1", [ocaml, dune])
    sexplib = build("sexplib0", "v0.16.0", [ocaml, dune])
    libs = build("ocaml-compiler-libs", "v0.12.4", [ocaml, dune])
    ppxlib = build("ppxlib", "0.32.1", [ocaml, dune, stdlib, derivers, sexplib, libs])
    ppx = build("lwt_ppx", "5.9.0", [ocaml, dune, lwt[-1], ppxlib])
    gmp = build("conf-gmp", "4", [], compiler="", licence=Licence((), "", "not needed"), **virtual)
    lgpl = Licence(("LGPL-2.0-only",), "LGPL-2.0-only", "allowed")
    zarith = build("zarith", "1.14", [ocaml, find, gmp], licence=lgpl)
    keys = ConeKey("0" * 64), OutputId("1" * 64)
    out = LeftOut(PackageName("closed"), Version("2"), *keys, "licence not allowed: proprietary")
    return catalogue(
        [
            base,
            config,
            ocaml,
            dune,
            find,
            csexp,
            configurator,
            build_tool,
            ocplib,
            cppo,
            *lwt,
            stdlib,
            derivers,
            sexplib,
            libs,
            ppxlib,
            ppx,
            gmp,
            zarith,
        ],
        [out],
    )


def large(count: int) -> Catalogue:
    """A repository of ``count`` packages whose dependencies look like those of real ones."""
    chance = random.Random(count)  # noqa: S311 - no secret
    made = [*small().builds]
    tiers: list[list[Build]] = [made]
    names = {str(it.name) for it in made}
    while len(names) < count:
        stem, tail = chance.choice(STEMS), chance.choice(TAILS)
        name = f"{stem}{chance.choice('-_')}{tail}"
        if name in names:
            name = f"{name}{chance.randrange(2, 9000)}"
        if name in names:
            continue
        names.add(name)
        tier = min(len(tiers), chance.choice((1, 1, 1, 2, 2, 3, 4, 5)))
        needs = {it.name: it for it in made[:20] if it.name in ("ocaml", "dune") or chance.random() < 0.08}
        for _ in range(chance.randrange(6)):
            below = chance.choice(tiers[:tier])
            one = below[int(len(below) * chance.random() ** 3)]  # some are used much more than others
            needs[one.name] = one
        words = " ".join(chance.choice(WORDS) for _ in range(chance.randrange(3, 11))).capitalize()
        version = f"{chance.randrange(6)}.{chance.randrange(20)}.{chance.randrange(9)}"
        if tier == len(tiers):
            tiers.append([])
        tiers[tier].append(build(name, version, list(needs.values()), synopsis=words))
    return catalogue([it for tier in tiers for it in tier])
