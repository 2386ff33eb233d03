"""The demonstration: build a few real libraries once, take everything away, get them back without a download.

``python -m demo [--short]`` (``make demo``). Everything it makes lies in ``./.demo`` (or ``DEMO_DIR``):
the opam repository, opam's root, the cache. Neither ``~/.opam`` nor apt's configuration is touched.
"""
