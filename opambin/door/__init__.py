"""The front door: opam's commands, with what the store has restored first."""
