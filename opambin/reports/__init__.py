"""Questions that change nothing: what is there, what would happen, and why."""
