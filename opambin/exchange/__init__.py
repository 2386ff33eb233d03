"""Between the store and remotes: probing, pulling, pushing, signing, bundles."""
