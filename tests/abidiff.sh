#!/bin/sh
# Programs linked to libdd.so of the newest release go on working with this one: abidiff.sh SOURCE_ROOT COMPILER...
# builds the library of the newest tag v* before this commit and of this tree, and has abidiff (Debian: abigail-tools)
# compare what the public headers declare. Functions may be added; anything else needs a new soname, or, where it is
# compatible all the same (a member taken from `reserved`), an entry in tests/abi/suppressions that says why.
# Skipped (77) where there is no git, no such tag or no abidiff.
root=$1
shift
CC="$*"
export CC
skip() {
  echo "skipped: $*"
  exit 77
}
for tool in git abidiff meson objdump; do command -v $tool >/dev/null || skip "$tool is not installed"; done
git -C "$root" rev-parse -q --verify HEAD >/dev/null 2>&1 || skip 'no git checkout'
release() { git -C "$root" describe --tags --abbrev=0 --match 'v[0-9]*' "$1" 2>/dev/null; }
tag=$(release HEAD)
[ "$tag" ] || skip 'no release (a tag v*) before this commit'
# a release itself is held to the one before
if git -C "$root" diff --quiet "$tag"; then
  tag=$(release HEAD^)
  [ "$tag" ] || skip 'this is the first release'
fi

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
unset CFLAGS # an old release may have warnings
library() { # library NAME SOURCE: $work/NAME/src/libdd.so
  meson setup "$work/$1" "$2" --buildtype=debug -Dmpi=disabled >"$work/log" 2>&1 &&
    meson compile -C "$work/$1" dd:shared_library >"$work/log" 2>&1 && return
  tail -n 20 "$work/log"
  echo "FAILED: libdd.so of $2 cannot be built"
  exit 1
}
soname() { objdump -p "$work/$1/src/libdd.so" | awk '$1 == "SONAME" { print $2 }'; }
mkdir "$work/source" && git -C "$root" archive "$tag" | tar -x -C "$work/source" || exit 1
library old "$work/source"
library new "$root"

old=$(soname old) new=$(soname new)
if [ "$old" != "$new" ]; then
  echo "1 passed, 0 failed ($new after $old of $tag: programs are to be built again)"
  exit 0
fi
abidiff --no-added-syms --suppressions "$root/tests/abi/suppressions" --headers-dir1 "$work/source/include" \
  --headers-dir2 "$root/include" "$work/old/src/libdd.so" "$work/new/src/libdd.so" >"$work/report" 2>&1
status=$?
cat "$work/report"
if [ $status = 0 ]; then echo "1 passed, 0 failed ($new is compatible with that of $tag)"; exit 0; fi
echo "FAILED: $new breaks programs that were built with $tag (abidiff ends with $status)"
echo '0 passed, 1 failed'
exit 1
