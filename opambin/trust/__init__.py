"""Keys, signatures and policy, as pure functions of bytes, keys and a given time."""
