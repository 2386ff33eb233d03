"""All that we know about opam: its file format, its switches on disk, its command line."""
