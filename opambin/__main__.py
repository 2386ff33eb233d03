"""``python -m opambin``: the same as ``opam-bin``."""

from opambin.cli.main import main

main()
