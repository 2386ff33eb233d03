#!/bin/sh
# The nightly job of a shared cache: restore what is there, build what is not, push it, drop what is old.
#
# OPAMBIN_REMOTE, OPAMBIN_TRUSTED_KEYS, OPAMBIN_SIGNING_KEY   as in every other job
# COMPILERS   the compilers to build for
# PACKAGES    the packages to have in the cache
# KEEP_FOR    how long a snapshot stays on the remote (90d)
set -eu
: "${COMPILERS:?}" "${PACKAGES:?}"
export OPAMYES=1
opam update
status=0
for compiler in $COMPILERS; do
  switch="nightly-$compiler"
  # one that fails must not keep the others from the cache
  {
    opam-bin switch create "$switch" "$compiler" --no-switch --yes &&
    opam-bin install --switch "$switch" $PACKAGES --yes
  } || { status=1; echo "nightly: $compiler is not complete" >&2; }
  opam-bin push --switch "$switch" --closure || status=1
  opam switch remove "$switch" --yes || true
done
opam-bin push --wait || status=1
# snapshots that were pushed long ago go; what is still needed is built and pushed anew by the next night
opam-bin remote gc --older-than "${KEEP_FOR:-90d}" || status=1
opam-bin remote snapshot --expires 3d || status=1
opam-bin gc --older-than 30d
opam-bin stats
exit "$status"
