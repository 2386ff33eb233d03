"""Copying and moving whole switches, with opam's own state."""
