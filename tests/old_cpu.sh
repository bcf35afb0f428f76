#!/bin/sh
# The same binaries on an x86-64 processor without AVX2 or FMA: old_cpu.sh DD-CPU TEST_GOLDEN GOLDEN_FILE
qemu=$(command -v qemu-x86_64-static || command -v qemu-x86_64) || {
  echo "skipped: no qemu-x86_64 here (Debian: apt-get install qemu-user-static)"
  exit 77
}
out=$("$qemu" -cpu Nehalem "$1" info) || exit 1
printf '%s\n' "$out"
printf '%s\n' "$out" | grep -q 'tier used   scalar' || { echo "FAILED: another tier than scalar was chosen"; exit 1; }
"$qemu" -cpu Nehalem "$1" info --tier avx2
[ $? = 2 ] || { echo "FAILED: a tier this processor cannot run was accepted"; exit 1; }
exec "$qemu" -cpu Nehalem "$2" "$3"
