#!/bin/sh
# libdd as another program meets it: library.sh SOURCE_ROOT BUILD_ROOT COMPILER...
#  - the header alone, in every dialect of C and C++ and with every compiler that is here
#  - libdd.so gives what include/ declares and nothing else; sizes, offsets and signatures are those of tests/abi
#  - installed into a directory of its own, found by pkg-config: the examples, linked against libdd.so and libdd.a
#  - the engine from Python (ctypes), the documentation of the header (doxygen)
# TAP; what cannot be checked here is skipped with a reason.
root=$1 build=$2
shift 2
compiler="$*"
there=$(mktemp -d) || exit 1
trap 'rm -rf "$there"' EXIT
trap 'exit 1' HUP INT TERM
unset LD_LIBRARY_PATH PKG_CONFIG_PATH
n=0 failed=0
pass() { n=$((n + 1)) && echo "ok $n - $1"; }
skip() { n=$((n + 1)) && echo "ok $n - $1 # SKIP $2"; }
check() { # check NAME COMMAND...: what it writes is told when it fails
  name=$1
  shift
  if "$@" >"$there/out" 2>&1; then pass "$name"; else
    n=$((n + 1)) failed=$((failed + 1))
    echo "not ok $n - $name"
    head -40 "$there/out" | sed 's/^/# /'
  fi
}
has() { command -v "$1" >/dev/null 2>&1; }
strict='-Wall -Wextra -Wpedantic -Werror -Wshadow -Wconversion'

# ---- the header alone ----
echo '#include <dd_cpu.h>
int main(void) { dd_callbacks cb = {0}; return cb.rate != 0 || DD_OK; }' >"$there/alone.c"
echo '#include <dd_gpt.h>
int main() { dd_callbacks cb = dd_callbacks(); return cb.rate != 0 || DD_OK; }' >"$there/alone.cpp"
for cc in gcc clang; do
  for std in c99 c11 c17; do
    name="header alone: $cc -std=$std"
    # shellcheck disable=SC2086 # a list of options
    if has $cc; then
      check "$name" $cc -std=$std $strict -Wstrict-prototypes -I"$root/include" -fsyntax-only "$there/alone.c"
    else skip "$name" "no $cc"; fi
  done
done
for cc in g++ clang++; do
  for std in c++11 c++17 c++20; do
    name="header alone: $cc -std=$std"
    # shellcheck disable=SC2086
    if has $cc; then check "$name" $cc -std=$std $strict -I"$root/include" -fsyntax-only "$there/alone.cpp"
    else skip "$name" "no $cc"; fi
  done
done

# ---- what programs rely on ----
if has nm; then
  nm -D --defined-only "$build/src/libdd.so" | awk '$2 == "T" || $2 == "D" || $2 == "B" || $2 == "R" || $2 == "W" {
    sub(/@.*/, "", $3); print $3 }' | sort >"$there/symbols"
  check 'symbols of libdd.so are those of tests/abi/symbols' diff "$root/tests/abi/symbols" "$there/symbols"
  python3 "$root/tests/abi.py" --functions "$root/include" >"$there/declared"
  check 'symbols of libdd.so are those that include/ declares' diff "$there/declared" "$there/symbols"
  nm -g --defined-only "$build/src/libdd.a" 2>/dev/null | awk 'NF == 3 && $2 != "U" { print $3 }' |
    grep -vE '^(dd_|__|\.)' >"$there/foreign"
  check 'symbols of libdd.a begin with dd_' test ! -s "$there/foreign"
else
  skip 'symbols of libdd.so and libdd.a' 'no nm'
fi
if [ "$(getconf LONG_BIT)" = 64 ]; then
  python3 "$root/tests/abi.py" "$compiler" "$root/include" >"$there/layout"
  check 'sizes, offsets, constants and signatures are those of tests/abi/layout' diff "$root/tests/abi/layout" "$there/layout"
else
  skip 'sizes and offsets' 'tests/abi/layout is that of 64 bits'
fi
if has objdump; then
  objdump -t "$build/src/libdd.so" | awk '$3 == "O" && ($4 == ".data" || $4 == ".bss") && $NF !~ /^(__|completed)/ {
    print $NF }' | sort -u >"$there/state"
  sed 's/ .*//' "$root/tests/abi/state" | sort >"$there/known"
  check 'what can change in libdd.so outside objects is what tests/abi/state names' diff "$there/known" "$there/state"
else
  skip 'what can change in libdd.so outside objects' 'no objdump'
fi
if has readelf; then
  readelf -d "$build/src/libdd.so" >"$there/dynamic"
  check 'soname is libdd.so.0' grep -q 'SONAME.*\[libdd\.so\.0\]' "$there/dynamic"
else
  skip 'soname' 'no readelf'
fi

# ---- documentation ----
if has doxygen; then
  { cat "$root/tests/Doxyfile" && echo "INPUT = $root/include" && echo "OUTPUT_DIRECTORY = $there/doxygen"; } >"$there/Doxyfile"
  check 'all of the header is documented' doxygen "$there/Doxyfile"
else
  skip 'all of the header is documented' 'no doxygen'
fi

# ---- installed ----
head -c 20000 "$root/README.md" | LC_ALL=C tr -cd '\n -~' >"$there/text"
run_all() ( # run_all DIRECTORY_OF_PROGRAMS
  cd "$there" && rm -rf run && "$1/own_schedule" text run && "$1/ask" run 'dd-cpu trains ' && "$1/own_schedule" text run
)
build_all() { # build_all DIRECTORY OPTIONS_OF_LINKER...
  to=$1
  shift
  mkdir -p "$to"
  # shellcheck disable=SC2046,SC2086 # lists of options
  $compiler -std=c99 $strict $(pkg-config --cflags libdd) "$root/tests/examples/own_schedule.c" "$@" -o "$to/own_schedule" &&
    $cxx -std=c++11 $strict $(pkg-config --cflags libdd) "$root/tests/examples/ask.cpp" "$@" -o "$to/ask"
}
case $compiler in *clang*) cxx=clang++ ;; *) cxx=g++ ;; esac
check 'meson install' env DESTDIR="$there/root" meson install -C "$build" --no-rebuild --quiet
pc=$(find "$there/root" -name libdd.pc)
for file in dd_cpu.h dd_gpt.h libdd.a libdd.so libdd.so.0 libdd.pc; do
  check "installed: $file" test -n "$(find "$there/root" -name "$file")"
done
lib=$(dirname "$(find "$there/root" -name libdd.so)")
if ! has pkg-config || ! has $cxx; then
  skip 'the examples with pkg-config' "no pkg-config or no $cxx"
else
  PKG_CONFIG_LIBDIR="${pc%/*}:$(pkg-config --variable pc_path pkg-config)"
  PKG_CONFIG_SYSROOT_DIR=$there/root
  export PKG_CONFIG_LIBDIR PKG_CONFIG_SYSROOT_DIR
  version=$(pkg-config --modversion libdd)
  check "the version of libdd.pc, $version, is that of the header" \
    grep -q "DD_VERSION_STRING \"$version\"" "$root/include/dd_cpu.h"
  # The packages that libdd.a needs are in no such root.
  # shellcheck disable=SC2046
  check 'build the examples against libdd.so' build_all "$there/shared" $(pkg-config --libs libdd)
  export LD_LIBRARY_PATH="$lib"
  check 'they train and ask with libdd.so' run_all "$there/shared"
  shared_print=$(grep '^fingerprint' "$there/out" | tail -1)
  unset LD_LIBRARY_PATH
  "$there/shared/own_schedule" text 2>"$there/missing"
  check 'without libdd.so they do not start' grep -q 'libdd\.so\.0' "$there/missing"
  rm "$lib"/libdd.so*
  static=$(pkg-config --static --libs libdd)
  # shellcheck disable=SC2086
  check 'build the examples against libdd.a' build_all "$there/static" $static
  check 'they train and ask with libdd.a' run_all "$there/static"
  check 'to the same fingerprint' test -n "$shared_print" -a "$shared_print" = "$(grep '^fingerprint' "$there/out" | tail -1)"
  unset PKG_CONFIG_LIBDIR PKG_CONFIG_SYSROOT_DIR
fi
check 'from Python by ctypes' python3 "$root/tests/examples/tokens.py" "$build/src/libdd.so"

echo "1..$n"
[ $failed = 0 ]
