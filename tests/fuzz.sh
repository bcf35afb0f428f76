#!/bin/sh
# Fuzz one target with libFuzzer, addresses and undefined behaviour checked:
#   fuzz.sh TARGET SECONDS [CORPUS-DIRECTORY]
# TARGET: safetensors, checkpoint, json, config, args, runs, data, rates or bpe; all: each of them for SECONDS.
# Needs clang and the program's own requirements. Builds in a directory of its own, which is removed at the end unless
# DD_FUZZ_BUILD names it. A crashing input is left in the current directory, as libFuzzer does.
set -eu
target=${1:?usage: fuzz.sh TARGET SECONDS [CORPUS-DIRECTORY]}
seconds=${2:?usage: fuzz.sh TARGET SECONDS [CORPUS-DIRECTORY]}
src=$(cd "$(dirname "$0")/.." && pwd)
all='safetensors checkpoint json config args runs data rates bpe'
[ "$target" = all ] || all=$target
build=${DD_FUZZ_BUILD:-}
if [ -z "$build" ]; then
  build=$(mktemp -d "${TMPDIR:-/tmp}/dd-fuzz.XXXXXX")
  trap 'rm -rf "$build"' EXIT
fi
if [ ! -f "$build/build.ninja" ]; then
  CC=${CC:-clang} meson setup "$build" "$src" --buildtype=debugoptimized -Db_lundef=false \
    -Db_sanitize=address,undefined \
    -Dc_args='-fsanitize=fuzzer-no-link -fno-sanitize-recover=undefined' >/dev/null
fi
for t in $all; do
  [ -f "$src/tests/fuzz_$t.c" ] || { echo "fuzz.sh: no target '$t'; there are: $all" >&2; exit 2; }
  ninja -C "$build" "tests/libfuzzer_$t" >/dev/null
  corpus=${3:-$build/corpus}/$t
  mkdir -p "$corpus"
  # Our own mutations print what they begin with: good inputs, one file each.
  ninja -C "$build" "tests/fuzz_$t" >/dev/null
  DD_FUZZ_ROUNDS=0 DD_FUZZ_SEEDS=$corpus "$build/tests/fuzz_$t" >/dev/null
  echo "fuzzing $t for $seconds s"
  "$build/tests/libfuzzer_$t" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=20000 \
    -print_final_stats=1 -close_fd_mask=1 "$corpus" 2>&1 |
    grep -E 'stat::number_of_executed_units|ERROR|SUMMARY|crash-|leak-|timeout-' ||
    { echo "fuzz.sh: $t ended without its statistics" >&2; exit 1; }
  for found in crash-* leak-* timeout-* oom-*; do
    [ ! -e "$found" ] || { echo "fuzz.sh: $t found $found" >&2; exit 1; }
  done
done
