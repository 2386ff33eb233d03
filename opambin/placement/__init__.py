"""Putting trees of files under a prefix, and taking them out, all or nothing."""
