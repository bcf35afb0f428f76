#!/bin/sh
# Fuzz one target with libFuzzer, addresses and undefined behaviour checked:
#   fuzz.sh TARGET SECONDS [CORPUS-DIRECTORY]
# TARGET: X of tests/fuzz_X.c; all: each of them for SECONDS, DD_FUZZ_JOBS (five for two processors) at a time.
# Needs clang and the program's own requirements. Builds in a directory of its own, which is removed at the end unless
# DD_FUZZ_BUILD names it. A crashing input is left in the current directory, named after its target. The last lines say
# how many inputs were tried, and "N passed, M failed".
set -eu
target=${1:?usage: fuzz.sh TARGET SECONDS [CORPUS-DIRECTORY]}
seconds=${2:?usage: fuzz.sh TARGET SECONDS [CORPUS-DIRECTORY]}
src=$(cd "$(dirname "$0")/.." && pwd)
all=
for t in "$src"/tests/fuzz_*.c; do t=${t##*/fuzz_} && all="$all ${t%.c}"; done
if [ "$target" = all ]; then
  targets=$all
else
  targets=$target
  [ -f "$src/tests/fuzz_$target.c" ] || { echo "fuzz.sh: no target '$target'; there are:$all" >&2; exit 2; }
fi
build=${DD_FUZZ_BUILD:-}
if [ -z "$build" ]; then
  build=$(mktemp -d "${TMPDIR:-/tmp}/dd-fuzz.XXXXXX")
  trap 'rm -rf "$build"' EXIT
fi
if [ ! -f "$build/build.ninja" ]; then
  CC=${CC:-clang} meson setup "$build" "$src" --buildtype=release --optimization=1 -Db_lundef=false \
    -Db_sanitize=address,undefined \
    -Dc_args='-gline-tables-only -fsanitize=fuzzer-no-link -fno-sanitize-recover=undefined' >/dev/null
fi
# shellcheck disable=SC2046 # a word each
ninja -C "$build" $(for t in $targets; do echo "tests/libfuzzer_$t tests/fuzz_$t"; done) >"$build/ninja.log" ||
  { cat "$build/ninja.log" >&2; exit 1; }

fuzz() { # fuzz TARGET: writes TARGET.log and, when nothing was found, the number of inputs tried to TARGET.tried
  corpus=${2:-$build/corpus}/$1
  mkdir -p "$corpus"
  rm -f "$build/$1.tried"
  # Our own mutations print what they begin with: good inputs, one file each.
  DD_FUZZ_ROUNDS=0 DD_FUZZ_SEEDS=$corpus "$build/tests/fuzz_$1" >"$build/$1.log" 2>&1 || return 0
  "$build/tests/libfuzzer_$1" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=20000 \
    -print_final_stats=1 -close_fd_mask=1 -artifact_prefix="$1-" "$corpus" >"$build/$1.log" 2>&1 || return 0
  sed -n 's/^stat::number_of_executed_units: *//p' "$build/$1.log" >"$build/$1.tried"
}

jobs=${DD_FUZZ_JOBS:-$((5 * $(nproc) / 2))}
running=0
for t in $targets; do
  fuzz "$t" "${3:-}" &
  running=$((running + 1))
  if [ $running -ge "$jobs" ]; then
    wait
    running=0
  fi
done
wait

passed=0 failed=0 total=0
for t in $targets; do
  tried=$(cat "$build/$t.tried" 2>/dev/null || true)
  if [ -n "$tried" ]; then
    passed=$((passed + 1)) total=$((total + tried))
    echo "fuzz $t: $tried inputs in $seconds s"
  else
    failed=$((failed + 1))
    echo "FAILED fuzz $t:"
    grep -vE '^#[0-9]+|NEW_FUNC' "$build/$t.log" | tail -40
  fi
done
echo "$total inputs in all"
echo "$passed passed, $failed failed"
[ $failed = 0 ]
