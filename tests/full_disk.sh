#!/bin/sh
# A real file system that is full, has no inodes left, or becomes read-only: every command says so with exit code 74 and
# the path, and what was saved before can be continued.
#   full_disk.sh PATH-OF-DD-CPU
# Mounts small tmpfs file systems, which takes root; elsewhere it is skipped (77).
set -u
bin=${1:?usage: full_disk.sh PATH-OF-DD-CPU}
case $bin in /*) ;; *) bin=$PWD/$bin ;; esac
unset DD_CPU_CORPUS OMP_NUM_THREADS
LC_ALL=C OMP_WAIT_POLICY=passive NO_COLOR=1 TERM=dumb
export LC_ALL OMP_WAIT_POLICY NO_COLOR TERM
"$bin" --version >/dev/null 2>&1 || { echo "skipped: $bin cannot be run on this machine"; exit 77; }
tmp=$(mktemp -d "${TMPDIR:-/tmp}/dd-full.XXXXXX") || exit 1
disk=$tmp/disk
mkdir "$disk"
mounted=0
cleanup() {
  [ $mounted = 0 ] || umount "$disk" 2>/dev/null || umount -l "$disk"
  rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM
fresh() { # fresh OPTIONS: another empty file system
  if [ $mounted = 1 ]; then umount "$disk" || exit 1; mounted=0; fi
  mount -t tmpfs -o "$1" dd-test "$disk" 2>"$tmp/why" || return 1
  mounted=1
}
if ! fresh size=1m; then
  echo "skipped: no file system can be mounted here ($(head -1 "$tmp/why"))"
  exit 77
fi
cd "$tmp" || exit 1

passed=0 failed=0
verdict() { # verdict NAME CODE: was it as it should?
  if [ "$2" = 0 ]; then passed=$((passed + 1)); else
    failed=$((failed + 1))
    echo "FAILED: $1"
    sed 's/^/    /' "$tmp/err" | tail -5
  fi
}
fails() { # fails NAME CODE WORDS COMMAND...
  name=$1 code=$2 words=$3
  shift 3
  "$@" >"$tmp/out" 2>"$tmp/err"
  got=$?
  [ $got = "$code" ] && grep -q "$words" "$tmp/err"
  verdict "$name (exit $got, expected $code and \"$words\")" $?
}
works() {
  name=$1
  shift
  "$@" >"$tmp/out" 2>"$tmp/err"
  verdict "$name" $?
}
same() { [ "$1" = "$2" ]; verdict "$3: $1 is not $2" $?; }

awk 'BEGIN { for (i = 0; i < 600; i++) printf "%s %d\n", substr("etaoinshrdlu", i % 9 + 1, 4), i * 7 % 101 }' >text
train() {
  "$bin" train --data text --preset tiny --n-embd 64 --max-iters 40 --eval-interval 10 --eval-iters 2 \
    --warmup-iters 5 --threads 1 -q "$@"
}
fingerprint() { grep -o '"fingerprint":"[0-9a-f]*"' "$1/metrics.jsonl" | tail -1; }
train -o good >/dev/null 2>&1 || { echo "the reference run failed"; exit 1; }
want=$(fingerprint good)

# Too small for the run: said before anything is trained.
fails 'no room at the start' 74 "$disk/run" train -o "$disk/run"

# Filled up in the middle of the run. The checkpoints before that are whole, and the run goes on once there is room.
fresh size=8m
( while [ ! -e "$disk/run/latest" ] && [ ! -e "$tmp/ended" ]; do sleep 0.01; done
  head -c 9000000 /dev/zero >"$disk/ballast" 2>/dev/null ) &
filler=$!
train -o "$disk/run" --max-iters 4000 --checkpoint-interval 20 --log-interval 1 >/dev/null 2>"$tmp/err"
got=$?
: >"$tmp/ended"
wait $filler
[ $got = 74 ] && grep -q "$disk/run" "$tmp/err" && grep -q 'No space left' "$tmp/err"
verdict "full in the middle (exit $got)" $?
rm -f "$disk/ballast"
works 'sample from what is left' "$bin" sample "$disk/run" --max-new-tokens 5 -q
fresh size=64m
cp -r good "$disk/run"
rm -f "$disk/run"/ckpt-*40.* "$disk/run/latest"
head -c 90000000 /dev/zero >"$disk/ballast" 2>/dev/null
fails 'resume on a full disk' 74 "$disk/run" "$bin" train --resume -o "$disk/run" -q
rm -f "$disk/ballast"
works 'resume with room again' "$bin" train --resume -o "$disk/run" -q
same "$(fingerprint "$disk/run")" "$want" 'fingerprint after a full disk'
head -c 90000000 /dev/zero >"$disk/ballast" 2>/dev/null
fails 'prepare on a full disk' 74 "$disk/data" "$bin" prepare text -o "$disk/data" -q
fails 'report on a full disk' 74 "$disk/report" "$bin" report good -o "$disk/report.html" -q
fails 'compare on a full disk' 74 "$disk/study" "$bin" compare --data text --preset tiny --max-iters 10 --seeds 1 \
  --schedules fixed -o "$disk/study" -q

# No inodes.
fresh size=64m,nr_inodes=4
: >"$disk/a"; : >"$disk/b"
fails 'no inodes' 74 "$disk/run" train -o "$disk/run"

# Read-only, as after an error of the disk.
fresh size=64m
cp -r good "$disk/run"
mount -o remount,ro "$disk"
fails 'read-only' 74 "$disk/run" "$bin" train --resume -o "$disk/run" -q
works 'eval from a read-only file system' "$bin" eval "$disk/run" --data text -q
mount -o remount,rw "$disk"
works 'resume when writable again' "$bin" train --resume -o "$disk/run" -q

echo "$passed passed, $failed failed"
[ $failed = 0 ]
