"""The command line: one file per command, argument parsing and words for people."""
