"""The content-addressed store: objects, manifests, and an index derived from them.

It knows digests and its own folders; it knows nothing of opam, of prefixes, or of the network.
"""
