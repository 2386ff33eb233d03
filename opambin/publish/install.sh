#!/bin/sh
# Written by `opam-bin publish`: gives the files of this archive the prefix of the switch, and puts them there.
# Needs sh, cat, chmod, cmp, cp, dd, ln, rm, sed and wc (md5sum for a compiler outside of opam), nothing else;
# tried with dash and with busybox.
#
#   sh opam-bin.sh relocate PREFIX   edits the files below files/ here, as opam-bin.edits says
#   sh opam-bin.sh install PREFIX    copies them to PREFIX
#
# The form of opam-bin.edits is described in opam-bin's documentation, docs/formats/published-archive.md.
set -euf
LC_ALL=C
export LC_ALL

PLACEHOLDER=@PLACEHOLDER@
PADDED=@PADDED@
TREE=files
LIST=opam-bin.edits

die() {
  printf 'opam-bin: %s\n' "$*" >&2
  exit 1
}

# Sets P (the prefix), L (its bytes) and S (its spelling of the placeholder's length, with more slashes).
set_prefix() {
  P=$1
  case $P in
    /*/ | / | '') die "not an absolute path without slash at its end: $P" ;;
    /*) ;;
    *) die "not an absolute path: $P" ;;
  esac
  case $P in
    *[[:space:]]* | *\\* | *\'* | *\"* | *\&* | *\|* | *\$* | *\`*)
      die "OCaml's programs can't be installed below $P: blanks, quotes and \\ & | \$ are not possible in its path" ;;
  esac
  L=${#P}
  leaf=${P##*/}
  S=${P%/*}/
  while [ $((${#S} + ${#leaf})) -lt $PADDED ]; do S=$S/; done
  S=$S$leaf
}

byte() { printf "\\$(($1 >> 6 & 7))$(($1 >> 3 & 7))$(($1 & 7))"; }

big_endian() { # VALUE WIDTH
  bit=$(($2 * 8 - 8))
  while [ $bit -ge 0 ]; do
    byte $(($1 >> bit & 255))
    bit=$((bit - 8))
  done
}

little_endian() { # VALUE, eight bytes
  bit=0
  while [ $bit -lt 64 ]; do
    byte $(($1 >> bit & 255))
    bit=$((bit + 8))
  done
}

repeat() { # FORMAT TIMES
  left=$2
  while [ $left -gt 0 ]; do
    printf "$1"
    left=$((left - 1))
  done
}

join() { # =LITERAL…, with the prefix between them
  printf "${1#=}"
  shift
  for part; do
    printf '%s' "$P"
    printf "${part#=}"
  done
}

# Adds to `value`: for each KIND REST COUNT, what a string of REST bytes and COUNT prefixes takes.
add() {
  while [ $# -gt 0 ]; do
    size=$(($2 + $3 * L))
    case $1 in
      P) ;;
      O | T)
        if [ $size -lt 32 ]; then over=1; elif [ $size -lt 256 ]; then over=2; else over=5; fi
        if [ "$1" = O ]; then size=$over; else size=$((size + over)); fi ;;
      V) size=$((1 + (size + 4) / 4)) ;;
      W) size=$((1 + (size + 8) / 8)) ;;
      L) if [ $((size + 2)) -le 127 ]; then size=$((size + 3)); else size=$((size + 28)); fi ;;
      *) die "$LIST: unknown term $1" ;;
    esac
    value=$((value + size))
    shift 3
  done
}

emit_n() { # n WIDTH BASE TERM…: a number
  width=$2
  value=$3
  shift 3
  add "$@"
  big_endian $value $width
}

emit_t() { # t REST COUNT: opcode and length of a marshalled string
  value=0
  add P $2 $3
  if [ $value -lt 32 ]; then
    byte $((32 | value))
  elif [ $value -lt 256 ]; then
    byte 9
    byte $value
  else
    byte 10
    big_endian $value 4
  fi
}

emit_b() { # b ROOM REST =LITERAL…: header, string, padding and filler of an OCaml string block
  room=$2
  value=$(($3 + ($# - 4) * L))
  shift 3
  words=$((value / 8 + 1))
  [ $words -le $room ] || die "the path of the switch is too long: $P"
  little_endian $((words << 10 | 1020))
  join "$@"
  spare=$((words * 8 - 1 - value))
  repeat '\000' $spare
  byte $spare
  if [ $words -lt $room ]; then
    little_endian $((room - words - 1 << 10 | 1019))
    repeat '\000' $(((room - words - 1) * 8))
  fi
}

emit_d() { # d SIZE REST =LITERAL…: a field of dune-site
  field=$2
  value=$(($3 + ($# - 4) * L))
  shift 3
  spare=$((field - 2 - ${#value} - value))
  [ $spare -ge 0 ] || die "the path of the switch is too long: $P"
  printf '=%d:' $value
  join "$@"
  repeat ' ' $spare
}

emit_l() { # l REST =LITERAL…: how a program is started; kernels read only so much of a line
  value=$(($2 + ($# - 3) * L))
  shift 2
  if [ $((value + 2)) -le 127 ]; then
    printf '#!'
    join "$@"
    printf '\n'
  else
    printf "#!/bin/sh\nexec '"
    join "$@"
    printf "' \"\$0\" \"\$@\"\n"
  fi
}

emit() {
  for item; do
    case $item in
      p) printf '%s' "$P" ;;
      s) printf '%s' "$S" ;;
      =*) printf "${item#=}" ;;
      [nbdtl]:*)
        IFS=:
        set -- $item
        unset IFS
        "emit_$1" "$@" ;;
      *) die "$LIST: unknown item $item" ;;
    esac
  done
}

copy() { # BYTES, from the old file to the new one
  [ $1 -eq 0 ] || dd bs=$1 count=1 <&4 >&5 2>/dev/null
}

at() { # OFFSET LENGTH ITEM…: an edit of the current file
  from=$1
  old=$2
  shift 2
  if [ "$how" = in ]; then
    emit "$@" | dd of="$file" bs=1 seek=$from conv=notrunc 2>/dev/null
  else
    copy $((from - done_to))
    [ $old -eq 0 ] || dd bs=$old count=1 <&4 >/dev/null 2>&1
    emit "$@" >&5
    done_to=$((from + old))
  fi
}

finish() { # BASE TERM…: the end of a file that was written anew, and how long it has to be
  value=$1
  shift
  add "$@"
  cat <&4 >&5
  exec 4<&- 5>&-
  [ $(($(wc -c <"$file.opam-bin"))) -eq $value ] || die "$file could not be written"
  cat "$file.opam-bin" >"$file"
  rm -f "$file.opam-bin"
}

# Places that nobody depends on are many, and keep their length: one run of sed for many files, where the sed
# of this machine leaves other bytes alone. Where it doesn't, the placeholder stays in them.
can_sed() {
  [ $L -le $PADDED ] || return 1
  printf 'a%s\000\200\377%s\nb' $PLACEHOLDER $PLACEHOLDER >opam-bin.probe
  printf 'a%s\000\200\377%s\nb' "$S" "$S" >opam-bin.expected
  sed -i "s|$PLACEHOLDER|$S|g" opam-bin.probe 2>/dev/null && cmp -s opam-bin.probe opam-bin.expected
}

sed_batch() {
  [ $# -eq 0 ] || [ $sed_works = no ] || sed -i "s|$PLACEHOLDER|$S|g" "$@"
}

sed_all() {
  sed_works=no
  if can_sed; then sed_works=yes; fi
  set --
  while read -r verb rest <&3; do
    [ "$verb" = sed ] || continue
    set -- "$@" "$rest"
    if [ $# -ge 200 ]; then
      sed_batch "$@"
      set --
    fi
  done 3<$LIST
  sed_batch "$@"
}

check_file() { # MD5 PATH: of a compiler outside of opam that these files were built with
  if [ "$1" = none ]; then
    [ ! -e "$2" ] || die "$2 was not there when these files were built: they may not fit it"
  else
    [ -e "$2" ] || die "$2 is missing"
    found=$(md5sum <"$2")
    [ "${found%% *}" = "$1" ] || die "$2 is not the one that these files were built with"
  fi
}

check_library() { # SONAME
  set +f
  for found in /lib/"$1" /lib64/"$1" /lib/*-linux-*/"$1" /usr/lib/"$1" /usr/lib64/"$1" /usr/lib/*-linux-*/"$1" \
    /usr/local/lib/"$1" /usr/local/lib64/"$1" /usr/local/lib/*-linux-*/"$1"; do
    if [ -e "$found" ]; then
      set -f
      return 0
    fi
  done
  set -f
  case $(ldconfig -p 2>/dev/null || /sbin/ldconfig -p 2>/dev/null) in
    *"$1 "*) return 0 ;;
  esac
  die "the shared library $1 is missing: install the system's package that has it"
}

relocate() {
  while read -r verb rest <&3; do
    case $verb in
      lib) check_library "$rest" ;;
      md5) check_file "${rest%% *}" "${rest#* }" ;;
    esac
  done 3<$LIST
  sed_all
  how='' file=''
  while read -r verb rest <&3; do
    case $verb in
      max) [ $L -le $rest ] || die "$P has $L bytes; these files can be installed at paths of $rest bytes at most" ;;
      in) how=in file=$rest ;;
      re)
        how=re file=$rest done_to=0
        exec 4<"$file" 5>"$file.opam-bin" ;;
      at) at $rest ;;
      size) finish $rest ;;
      ln) file=$rest ;;
      to) ln -s "$(emit $rest)" "$file" ;;
      mode) chmod ${rest%% *} "${rest#* }" ;;
      edits | lib | md5 | sed | hl | of | ed | add) ;;
      *) die "$LIST: unknown line $verb" ;;
    esac
  done 3<$LIST
}

append() { # LINE: to a file of another package, unless it has it
  missing=yes end=''
  while IFS= read -r have || { [ -n "$have" ] && end=open; }; do
    [ "$have" != "$1" ] || missing=no
    [ -z "$end" ] || break
  done <"$file"
  [ $missing = no ] || printf '%s%s\n' "${end:+
}" "$1" >>"$file"
}

put() {
  [ ! -d $TREE ] || cp -RPf $TREE/. "$P/"
  file=''
  while read -r verb rest <&3; do
    case $verb in
      hl | ed) file=$P/$rest ;;
      of) ln -f "$P/$rest" "$file" ;;
      add) append "$(emit $rest)" ;;
    esac
  done 3<$LIST
}

[ $# -eq 2 ] || die "usage: sh opam-bin.sh relocate|install PREFIX"
[ -f $LIST ] || die "there is no $LIST here"
set_prefix "$2"
case $1 in
  relocate) relocate ;;
  install) put ;;
  *) die "unknown command: $1" ;;
esac
