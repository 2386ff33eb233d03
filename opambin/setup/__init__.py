"""Putting opam-bin into an opam root, and taking it out."""
