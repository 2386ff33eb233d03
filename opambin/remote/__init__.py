"""Shared caches: names to bytes, over files, http, object stores and registries. Knows URLs, no packages."""
