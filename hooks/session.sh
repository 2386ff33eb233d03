# Sourced by every hook. Sets:
#   opambin_home     PLUGINS/opam-bin of the opam root, found from the hook's own path
#   opambin_session  the state of this session; it holds a directory `package` only while the cache is in use
#   opambin_package  NAME.VERSION, in the hooks of a package
# Every name starts with opambin_: a name of one letter may be a variable that the user exports to builds.

opambin_home=${0%/hooks/*}
opambin_session=$opambin_home/session${OPAM_SWITCH_PREFIX:-/none}
opambin_package=${OPAM_PACKAGE_NAME-}.${OPAM_PACKAGE_VERSION-}

# opambin_tell TEXT: say something about the package now, where opam shows it only if the hook fails, and again
# when the session ends.
opambin_tell() {
  echo "opam-bin: $opambin_package $1" >&2
  { echo "$opambin_package $1" >>"$opambin_session/reports"; } 2>/dev/null
}

# opambin_python COMMAND ARGS: run the Python part. `interpreter` is written by `opam-bin init`; it sets
# opambin_interpreter, and opambin_fallback for the day that the first one is upgraded away.
opambin_python() {
  opambin_interpreter= opambin_fallback=
  [ -r "$opambin_home/hooks/interpreter" ] && . "$opambin_home/hooks/interpreter"
  [ -x "$opambin_interpreter" ] || opambin_interpreter=$opambin_fallback
  if [ ! -x "$opambin_interpreter" ] || [ ! -r "$opambin_home/hooks/run.py" ]; then
    echo "opam-bin: its Python part is missing; run 'opam-bin init' again, or 'opam-bin uninstall'" >&2
    return 127
  fi
  "$opambin_interpreter" -I -S "$opambin_home/hooks/run.py" "$@"
}
