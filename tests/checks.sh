# shellcheck shell=sh
# What the scripts of the tests count with; read with `.` before a change of directory.
passed=0 failed=0
ok() { passed=$((passed + 1)); }
not_ok() { # not_ok NAME LINE...
  failed=$((failed + 1))
  echo "FAILED: $1"
  shift
  [ $# = 0 ] || printf '    %s\n' "$@"
}
skip() { echo "skipped: $1"; }
is() { # is NAME WANTED FOUND
  if [ "$2" = "$3" ]; then ok; else not_ok "$1" "wanted: $2" "found:  $3"; fi
}
has() { # has NAME FILE PART
  if grep -qF -e "$3" "$2"; then ok; else not_ok "$1" "no '$3' in:" "$(head -c 2000 "$2")"; fi
}
check() { # check NAME COMMAND...: it succeeds; where not, the files out and err tell more
  name=$1
  shift
  if "$@" >/dev/null 2>&1; then
    ok
  else
    not_ok "$name" "command: $*"
    tail -n 5 out err 2>/dev/null
  fi
}
