"""Finding prefixes in installed files and moving them; knows no opam and no store."""
