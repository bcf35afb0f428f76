#!/bin/sh
# The rules of the house that a compiler does not check:
#   layers.sh SOURCE_ROOT [LIBRARY.a TIER.a...]
#  - includes go one way: cli -> bench -> study -> run -> formats -> model -> ops -> core -> simd
#  - OpenMP only in core/parallel.c, libnuma only in core/arena.c
#  - MPI only in core/ranks_mpi.c, a plugin
#  - every external symbol begins with dd_
#  - wide registers (ymm, zmm) only in the tiers that are named after them
#  - no source file above 600 lines, no library file that prints or exits
root=$1
shift
passed=0 failed=0
check() { # check NAME OUTPUT: passes when OUTPUT is empty
  if [ -z "$2" ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'FAILED %s\n%s\n' "$1" "$2"
  fi
}
cd "$root" || exit 1

rank() {
  case $1 in cli) echo 8 ;; bench) echo 7 ;; study) echo 6 ;; run) echo 5 ;; formats) echo 4 ;; model) echo 3 ;; ops) echo 2 ;; core) echo 1 ;; esac
}
wrong=$(for layer in cli bench study run formats model ops core; do
  dir=src/$layer
  [ $layer = bench ] && dir=bench
  for other in cli bench study run formats model ops core; do
    [ "$(rank $other)" -gt "$(rank $layer)" ] && grep -n "#include \"$other/" $dir/*.c $dir/*.h 2>/dev/null
  done
done
grep -nE '#include "(cli|bench|study|run|formats|model|ops|core)/|omp\.h|pthread\.h|stdlib\.h' simd/*.c simd/*.h)
check "includes against the direction of the layers" "$wrong"
check "OpenMP outside core/parallel.c" \
  "$(grep -nE '#pragma omp|omp\.h' src/*/*.c src/*/*.h bench/*.c bench/*.h | grep -v '^src/core/parallel.c')"
check "libnuma outside core/arena.c" "$(grep -n 'numa\.h' src/*/*.c src/*/*.h bench/*.c bench/*.h | grep -v '^src/core/arena.c')"
check "MPI outside core/ranks_mpi.c" \
  "$(grep -nE 'mpi\.h|MPI_[A-Z][a-z]' src/*/*.c src/*/*.h bench/*.c bench/*.h | grep -v '^src/core/ranks_mpi.c')"
check "the library prints or exits" \
  "$(grep -nE '(^|[^a-z_v])(printf|puts|putchar|exit|abort)[ ]*\(' src/core/*.c src/ops/*.c src/model/*.c src/formats/*.c src/run/*.c src/study/*.c bench/*.c |
    grep -vE '_exit\(127\)')"
check "floats reduced or changed atomically by OpenMP" "$(grep -nE 'omp.*(reduction|atomic)' src/*/*.c)"
check "fast-math options" "$(grep -rnE -- '-ffast-math|-Ofast|-funsafe' meson.build simd/meson.build src/meson.build)"
check "files above 600 lines" \
  "$(wc -l src/*/*.c src/*/*.h bench/*.c bench/*.h simd/*.c simd/*.h tests/*.c tests/*.h | awk '$1 > 600 && $2 != "total"')"

if [ $# -gt 0 ] && command -v nm >/dev/null; then
  library=$1
  shift
  symbols() { nm -g --defined-only "$@" 2>/dev/null | awk 'NF == 3 && $2 ~ /^[TDBRVWC]$/ { print $3 }' | sort -u; }
  # sanitizers and coverage add symbols of their own
  check "external symbols without dd_" "$(symbols "$library" "$@" | grep -vE '^(dd_|__|_ZN|\.|asan|ubsan)')"
  if command -v objdump >/dev/null; then
    for tier; do
      case $tier in
        *avx512*) continue ;;
        *avx2*) allowed='zmm|%k[1-7]' ;;
        *) allowed='[yz]mm|%k[1-7]' ;;
      esac
      check "wide registers in $(basename "$tier")" \
        "$(objdump -d --no-show-raw-insn "$tier" 2>/dev/null | grep -E "$allowed" | head -3)"
    done
  fi
fi
echo "$passed passed, $failed failed"
[ $failed = 0 ]
