#!/bin/sh
# What `meson install` puts where, that it runs from there, and that `ninja uninstall` leaves nothing.
#   install.sh BUILD PREFIX
set -u
build=$(realpath "${1:?usage: install.sh BUILD PREFIX}") prefix=${2:?usage: install.sh BUILD PREFIX}
passed=0 failed=0
check() { # check NAME CONDITION...
  name=$1
  shift
  if "$@"; then passed=$((passed + 1)); else
    failed=$((failed + 1))
    echo "FAILED: $name"
  fi
}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/dd install.XXXXXX") || exit 1
# the log is what uninstall goes by; that of an installation of the user's is kept
log=$build/meson-logs/install-log.txt
[ ! -e "$log" ] || cp "$log" "$tmp/log" || exit 1
cleanup() {
  rm -f "$log"
  [ ! -e "$tmp/log" ] || cp "$tmp/log" "$log"
  rm -rf "$tmp"
}
trap cleanup EXIT
if ! DESTDIR=$tmp/root meson install -C "$build" --no-rebuild >"$tmp/out" 2>&1; then
  cat "$tmp/out"
  echo "0 passed, 1 failed"
  exit 1
fi
root=$tmp/root$prefix
check 'the program runs' [ "$("$root/bin/dd-cpu" --version | cut -d' ' -f1 | head -1)" = dd-cpu ]
for file in share/man/man1/dd-cpu.1 share/man/man1/dd-cpu-train.1 share/bash-completion/completions/dd-cpu \
  share/zsh/site-functions/_dd-cpu share/fish/vendor_completions.d/dd-cpu.fish share/doc/dd-cpu/README.md \
  share/doc/dd-cpu/LICENSE share/doc/dd-cpu/examples/slurm-train.sh; do
  check "$file" [ -s "$root/$file" ]
done
check 'recipes can be run' [ -x "$root/share/doc/dd-cpu/examples/decay.sh" ]
check 'a page for every command' [ "$("$root/bin/dd-cpu" --help | sed -n '/^Commands:/,/^$/p' | grep -c '^  ')" = \
  "$(find "$root/share/man/man1" -name 'dd-cpu-*.1' | wc -l)" ]
check 'nothing outside of the prefix' [ -z "$(find "$tmp/root" -type f ! -path "$root/*")" ]
DESTDIR=$tmp/root ninja -C "$build" uninstall >"$tmp/out" 2>&1
check 'uninstall' [ $? = 0 ]
check 'nothing is left' [ ! -e "$tmp/root$prefix" ]
echo "$passed passed, $failed failed"
[ $failed = 0 ]
