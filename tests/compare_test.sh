#!/bin/sh
# `dd-cpu compare` and `dd-cpu report` on a tiny model: one grid gives the same fingerprints and the same tables however
# its runs are packed, interrupted or divided; bad grids are refused and nothing finished is lost.
#   compare_test.sh PATH-OF-DD-CPU DIRECTORY-OF-RECIPES
set -u
# shellcheck source-path=SCRIPTDIR source=checks.sh
. "$(dirname "$0")/checks.sh"
bin=${1:?usage: compare_test.sh PATH-OF-DD-CPU DIRECTORY-OF-RECIPES} recipes=${2:?}
unset DD_TIER OMP_NUM_THREADS SLURM_CPUS_PER_TASK
if ! "$bin" --version >/dev/null 2>&1; then
  echo "skipped: $bin cannot be run on this machine"
  exit 77
fi
tmp=$(mktemp -d "${TMPDIR:-/tmp}/dd compare.XXXXXX") || exit 1
background=
trap 'kill -9 $background 2>/dev/null; rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
case $bin in /*) ;; *) bin=$PWD/$bin ;; esac
cd "$tmp" || exit 1

T=${DD_QUICK:+24} # iterations; emulators are slow
T=${T:-60}
same() { check "$1" test "$2" = "$3"; } # same NAME WANTED FOUND
fails() { # fails CODE PART ARGUMENT...: exit code and one error line with the part
  code=$1 part=$2
  shift 2
  "$bin" "$@" >out 2>err
  same "exit code of $*" "$code" $?
  grep "^dd-cpu: error: " err >line
  check "message of $*" grep -qF -e "$part" line
}
grid() { # grid DIR OPTION...
  dir=$1
  shift
  "$bin" compare --data text.txt --preset tiny --max-iters "$T" --eval-interval 10 --seeds 2 \
    --schedules fixed,linear,val-loss,late -o "$dir" -q "$@"
}
fingerprints() { # of all runs of a study
  for run in "$1"/runs/*; do
    printf '%s %s\n' "${run##*/}" "$(grep '"type":"eval","iter":'"$T", "$run/metrics.jsonl" | tail -n 1 |
      sed 's/.*"fingerprint":"\([0-9a-f]*\)".*/\1/')"
  done
}
table() { "$bin" report "$1" --format tsv -o - 2>err | sed "s|$1/||g"; }

i=0
while [ $i -lt 400 ]; do
  echo "line $i of a text that a small model can learn: $((i * 7919 % 1000)) and $((i * i % 97))"
  i=$((i + 1))
done >text.txt

# ---- one grid, run in four ways ----
grid one --jobs 1 -t 2 >out 2>err
same 'one after the other' 0 $?
check 'it says how many' grep -q '^8 of 8 runs finished' out
grid two --jobs 2 -t 2 >out 2>err
same 'two at once' 0 $?
start_killed() { # start_killed RUN: in the background, until this run is at iteration 10
  "$bin" compare --data text.txt --preset tiny --max-iters "$T" --eval-interval 10 --seeds 2 \
    --schedules fixed,linear,val-loss,late -o killed -q --jobs 1 -t 1 >out 2>err &
  background=$!
  tries=0
  until grep -q '"iter":10,' "killed/runs/$1/metrics.jsonl" 2>/dev/null || [ $tries -gt 1200 ]; do
    tries=$((tries + 1))
    sleep 0.05
  done
}
start_killed fixed-s1337
kill -TERM $background
wait $background 2>/dev/null
same 'stopped by SIGTERM' 75 $?
check 'it says that the same command continues' grep -q 'the same command continues' err
start_killed linear-s1337
kill -9 $background 2>/dev/null
wait $background 2>/dev/null
background=
check 'killed before its end' test "$(fingerprints killed | wc -l)" -lt 8
check 'a run that was finished stays' grep -q '"iter":'"$T", killed/runs/fixed-s1337/metrics.jsonl
before=$(cksum <killed/runs/fixed-s1337/metrics.jsonl)
tries=0 # its child sees that the parent is gone, saves and ends
while [ $tries -lt 100 ] && grid killed --jobs 2 -t 2 >out 2>err && ! grep -q '^8 of 8' out; do
  tries=$((tries + 1))
  sleep 0.1
done
check 'continued after kill -9' grep -q '^8 of 8 runs finished' out
same 'a finished run is not touched again' "$before" "$(cksum <killed/runs/fixed-s1337/metrics.jsonl)"
grid parts --shard 1/2 -t 1 >out1 2>err1 &
background=$!
grid parts --shard 2/2 -t 1 >out 2>err
same 'second half' 0 $?
wait $background
same 'first half' 0 $?
background=
fingerprints one >wanted
check 'eight fingerprints' test "$(grep -cE ' [0-9a-f]{32}$' wanted)" = 8
for study in two killed parts; do
  same "fingerprints of $study" "$(cat wanted)" "$(fingerprints $study)"
done
table one >wanted
check 'a row per run' test "$(grep -c finished wanted)" = 8
for study in two killed parts; do
  same "table of $study" "$(cat wanted)" "$(table $study)"
done
for file in report.html report.md report.json measured.json; do check "$file" test -s "one/$file"; done

# ---- it grows, and refuses what does not fit ----
grid one --schedules gap --seeds 3 >out 2>err
same 'a schedule is added' 0 $?
check 'eleven runs' test "$(find one/runs -mindepth 1 -maxdepth 1 -type d | wc -l)" = 11
table one >out
check 'all of them reported' test "$(grep -c finished out)" = 11
fails 4 "max_iters = $T, this call says 61" compare --data text.txt --preset tiny --max-iters 61 \
  --eval-interval 10 -o one
fails 4 "max_iters = $T, this call says 61" compare --data text.txt --preset tiny --max-iters 61 \
  --eval-interval 10 -o one --dry-run
fails 2 "'fixed' twice" compare --schedules fixed,fixed -o one
fails 2 "did you mean 'n_layer'?" compare --grid n_layr=1,2 -o one
fails 2 'shard must be I/N' compare --shard 3/2 -o one
fails 2 "'schedule' is no option of compare" compare --schedule linear -o one
fails 2 "baseline 'fixd' is none of the schedules" compare --data text.txt --preset tiny --schedules fixed --dry-run \
  --baseline fixd -o nowhere
fails 2 "baseline 'cosine' is none of the schedules" compare --data text.txt --preset tiny --max-iters "$T" \
  --eval-interval 10 --schedules fixed --baseline cosine -o two
fails 2 "'prompt' is no option of compare" compare --prompt x -o one
fails 2 'n_layer' compare --grid n_layer=1,2 --grid n-layer=3 -o one
"$bin" compare --data text.txt --preset tiny --grid n_layer=1,2 --grid lr=0.1,0.2 --seeds 1 --schedules fixed \
  --jobs 1 --dry-run >out 2>err
check '--grid twice: both vary' grep -q '  fixed-n_layer=1-lr=0.2-s1337' err
check 'a dry run says what memory is needed' grep -q 'GB of memory each' err
fails 2 "'resume' is no option of compare" compare --resume -o one

# ---- a stop while the price is measured leaves a report; another text is refused ----
rm -r two/report.* two/measured.json
"$bin" compare --data text.txt --preset tiny --max-iters "$T" --eval-interval 10 --seeds 2 \
  --schedules fixed,linear,val-loss,late -o two --jobs 1 -t 1 >out 2>err &
background=$!
tries=0
until grep -q 'measuring the price' err || [ $tries -gt 400 ]; do
  tries=$((tries + 1))
  sleep 0.02
done
kill -TERM $background
wait $background
rc=$?
background=
check 'stopped, or done' test $rc = 75 -o $rc = 0
check 'a report all the same' test -s two/report.html
cp text.txt kept.txt
echo 'one line more' >>text.txt
fails 4 'a text of the same name that was another' compare --data text.txt --preset tiny --max-iters "$T" \
  --eval-interval 10 -o two
mv kept.txt text.txt

# ---- damage: everything finished stays reported ----
printf '{"type":"step","iter":7' >>two/runs/late-s1337/metrics.jsonl
table two >out
check 'a torn line' test "$(grep -c finished out)" = 8
echo '{' >two/runs/late-s1338/config.json
table two >out
check 'a damaged configuration: the others are reported' test "$(grep -c finished out)" = 7
check 'and it is named' grep -q 'late-s1338' err
fails 4 'late-s1338' compare --data text.txt --preset tiny --max-iters "$T" --eval-interval 10 --seeds 2 \
  --schedules fixed,linear,val-loss,late -o two
rm -r two/runs/late-s1338
grid two --jobs 1 -t 1 >out 2>err
same 'after its removal it is trained again' 0 $?
table two >out
same 'and the table is whole' "$(cat wanted)" "$(cat out)"

# ---- no finished run, a run that diverges ----
"$bin" compare --data text.txt --preset tiny --max-iters "$T" --seeds 1 --schedules fixed,late --lr 1000 --grad-clip 0 \
  --weight-decay 100 --no-decay-lr -o bad -q >out 2>err
same 'all diverge: exit code' 3 $?
check 'all diverge: it says so' grep -q 'runs failed' err
table bad >out
same 'report without a finished run' 0 $?
fails 74 'there is no directory' report nothing-here
# ---- the recipes: options that fit together, and one of them to its end ----
for recipe in decay val-loss corpora depth; do
  DD_CPU=$bin "$recipes/$recipe.sh" --preset tiny --data text.txt --jobs 1 --dry-run >out 2>err
  same "recipe $recipe" 0 $?
  "$recipes/$recipe.sh" --help >out
  check "recipe $recipe --help" grep -q "$recipe.sh \[OPTION" out
done
OTHER=text.txt DD_CPU=$bin "$recipes/transfer.sh" --preset tiny --data text.txt --max-iters 10 --eval-interval 5 \
  --seeds 2 --jobs 2 -q >out 2>err
same 'recipe transfer' 0 $?
check 'losses of ten runs' test "$(grep -c '[0-9]\.[0-9]' studies/transfer/losses.tsv)" = 10
check 'the fixed rate is compared with itself' grep -q '^fixed .* +0.0000$' out
echo "$passed passed, $failed failed"
[ $failed = 0 ]
