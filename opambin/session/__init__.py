"""What happens inside one session of opam, hook by hook."""
