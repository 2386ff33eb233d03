"""opambin: a binary package cache and relocation tool for opam."""

__version__ = "0.1.0"
