"""The content-addressed store: objects, manifests, the index of their use."""
