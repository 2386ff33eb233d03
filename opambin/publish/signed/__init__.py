"""TUF metadata over a published repository: who signs what, and what a client accepts.

The profile is described in ``docs/formats/signed-repository.md``.
"""
