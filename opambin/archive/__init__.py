"""The form in which a snapshot travels: one deterministic ``.tar.zst``, its manifest first."""
