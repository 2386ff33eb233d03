"""Recipes for CI services, as ``opam-bin ci`` prints them."""
