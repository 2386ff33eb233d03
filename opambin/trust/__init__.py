"""Keys, signatures and policy, as pure functions of bytes, keys and a given time.

Described in ``docs/formats/signature.md``. No clock, no disk, no network: what a user trusts is read by
:mod:`opambin.keyring`.
"""
