"""The form in which a snapshot travels: one deterministic ``.tar.zst``, its manifest first.

Described in ``docs/formats/archive.md``. This room knows bytes, digests and sizes; what a manifest says is
handed to it as a list of objects.
"""
