# Sourced by the wrappers: spell the switch prefix with 200 bytes, and keep the build directory out of what
# is built. No command substitution and no external program in here: this runs once per build command.

# Variables that name directories of the switch. A recipe adds to them through OPAMBIN_PAD_ALSO.
opambin_variables='PATH OPAM_SWITCH_PREFIX CAML_LD_LIBRARY_PATH OCAML_TOPLEVEL_PATH OCAMLTOP_INCLUDE_PATH OCAMLPATH
OCAMLLIB CAMLLIB OCAMLFIND_CONF OCAMLFIND_DESTDIR OCAMLFIND_METADIR OCAMLFIND_LDCONF OCAMLFIND_TOOLCHAIN_CONF
LD_LIBRARY_PATH DYLD_LIBRARY_PATH DYLD_FALLBACK_LIBRARY_PATH LIBRARY_PATH CPATH C_INCLUDE_PATH CPLUS_INCLUDE_PATH
CFLAGS CPPFLAGS CXXFLAGS LDFLAGS PKG_CONFIG_PATH PKG_CONFIG_LIBDIR CMAKE_PREFIX_PATH ACLOCAL_PATH
MANPATH INFOPATH XDG_DATA_DIRS COQPATH COQLIB ROCQPATH ROCQLIB PREFIX'

# opambin_spell PREFIX: set opambin_padded to its padded spelling, or to nothing when it is too long.
opambin_spell() {
  opambin_parent=${1%/*} opambin_leaf=${1##*/} opambin_padded=
  # opam-bin selftest-relocation asks for another length.
  opambin_count=$((${OPAMBIN_SELFTEST_LENGTH:-200} - ${#opambin_parent} - ${#opambin_leaf}))
  [ "$opambin_count" -ge 3 ] || return 0
  opambin_run= opambin_chunk=/
  while [ "$opambin_count" -gt 0 ]; do
    [ $((opambin_count % 2)) -eq 0 ] || opambin_run=$opambin_run$opambin_chunk
    opambin_chunk=$opambin_chunk$opambin_chunk opambin_count=$((opambin_count / 2))
  done
  opambin_padded=$opambin_parent$opambin_run$opambin_leaf
}

# opambin_pad TEXT: set opambin_text to TEXT with the prefix padded wherever no path byte follows it.
opambin_pad() {
  opambin_rest=$1 opambin_text=
  while :; do
    case $opambin_rest in
      *"$opambin_prefix"*)
        opambin_text=$opambin_text${opambin_rest%%"$opambin_prefix"*}
        opambin_rest=${opambin_rest#*"$opambin_prefix"}
        case $opambin_rest in
          [ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+~-]*)
            opambin_text=$opambin_text$opambin_prefix ;;
          *) opambin_text=$opambin_text$opambin_padded ;;
        esac ;;
      *) break ;;
    esac
  done
  opambin_text=$opambin_text$opambin_rest
}

opambin_pad_environment() {
  for opambin_name in $opambin_variables $OPAMBIN_PAD_ALSO; do
    eval "opambin_value=\${$opambin_name-}"
    case $opambin_value in
      *"$opambin_prefix"*)
        opambin_pad "$opambin_value"
        export "$opambin_name=$opambin_text" ;;
    esac
  done
}

# opambin_list ARGS: set opambin_words to a text which, evaluated, gives ARGS padded. (`set -- "$@" X; shift`
# in a loop would copy all arguments once per argument.)
opambin_list() {
  opambin_words= opambin_index=0
  for opambin_word; do
    opambin_index=$((opambin_index + 1))
    case $opambin_word in
      *"$opambin_prefix"*)
        opambin_pad "$opambin_word"
        eval "opambin_word_$opambin_index=\$opambin_text"
        opambin_words="$opambin_words \"\$opambin_word_$opambin_index\"" ;;
      *) opambin_words="$opambin_words \"\${$opambin_index}\"" ;;
    esac
  done
}

# opambin_escape TEXT: set opambin_text to TEXT as BUILD_PATH_PREFIX_MAP wants it (% = : are special there).
opambin_escape() {
  opambin_rest=$1 opambin_text=
  while :; do
    case $opambin_rest in
      *[%=:]*)
        opambin_head=${opambin_rest%%[%=:]*}
        opambin_rest=${opambin_rest#"$opambin_head"}
        case $opambin_rest in
          %*) opambin_text=$opambin_text$opambin_head%\# ;;
          =*) opambin_text=$opambin_text$opambin_head%+ ;;
          :*) opambin_text=$opambin_text$opambin_head%. ;;
        esac
        opambin_rest=${opambin_rest#?} ;;
      *) break ;;
    esac
  done
  opambin_text=$opambin_text$opambin_rest
}

opambin_map() {
  opambin_escape "$1"
  BUILD_PATH_PREFIX_MAP=${BUILD_PATH_PREFIX_MAP:+$BUILD_PATH_PREFIX_MAP:}/build/$opambin_package=$opambin_text
}

# The build directory in every spelling becomes /build/NAME.VERSION. Consumers try the items from right to left,
# so ours stand after what the user set. https://reproducible-builds.org/specs/build-path-prefix-map/
opambin_map_build_directory() {
  opambin_directory=/.opam-switch/build/$opambin_package
  opambin_map "$opambin_prefix$opambin_directory"
  [ -z "$opambin_padded" ] || opambin_map "$opambin_padded$opambin_directory"
  case $PWD in
    "$opambin_prefix$opambin_directory"*) ;;
    */.opam-switch/build/"$opambin_package") opambin_map "$PWD" ;;  # the prefix goes through a symbolic link
  esac
  export BUILD_PATH_PREFIX_MAP
}

# What ocamlfind prints comes from findlib.conf, which has the true spelling. These two go before what it says.
opambin_pad_findlib() {
  [ -f "$opambin_prefix/lib/findlib.conf" ] || return 0
  [ -n "${OCAMLPATH-}" ] || export OCAMLPATH="$opambin_padded/lib"
  [ -n "${OCAMLFIND_DESTDIR-}" ] || export OCAMLFIND_DESTDIR="$opambin_padded/lib"
}

# opambin_prepare: change the environment of the command that follows, and set opambin_words (see opambin_list).
opambin_prepare() {
  # Lengths count bytes only in the C locale; LC_ALL is put back for the command.
  opambin_locale=${LC_ALL-unset}
  LC_ALL=C
  opambin_prefix=$OPAM_SWITCH_PREFIX opambin_padded= opambin_words='"$@"'
  OPAMBIN_PAD=yes OPAMBIN_OCAMLLIB=yes OPAMBIN_PAD_ALSO=
  [ -f "$opambin_session/recipe/$OPAM_PACKAGE_NAME" ] && . "$opambin_session/recipe/$OPAM_PACKAGE_NAME"
  [ "$OPAMBIN_PAD" = no ] || opambin_spell "$opambin_prefix"
  opambin_map_build_directory
  if [ -n "$opambin_padded" ]; then
    opambin_pad_environment
    [ "$OPAMBIN_OCAMLLIB" = no ] || [ ! -f "$opambin_prefix/lib/ocaml/Makefile.config" ] ||
      export OCAMLLIB="$opambin_padded/lib/ocaml"
    opambin_pad_findlib
    case "$*" in *"$opambin_prefix"*) opambin_list "$@" ;; esac
  fi
  if [ "$opambin_locale" = unset ]; then unset LC_ALL; else LC_ALL=$opambin_locale; fi
}
