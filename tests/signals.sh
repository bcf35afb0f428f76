#!/bin/sh
# Signals, closed streams and rivals on the real program: a signal stops every loop within one micro-batch, with a
# checkpoint where it trains; the same command with --auto-resume then ends at the fingerprint of the run that was not
# interrupted. The second program sends itself the signal at a named point (signal_hook.c).
#   signals.sh PATH-OF-DD-CPU PATH-OF-DD-CPU-HOOKED
set -u
# shellcheck source-path=SCRIPTDIR source=checks.sh
. "$(dirname "$0")/checks.sh"

usage='usage: signals.sh PATH-OF-DD-CPU PATH-OF-DD-CPU-HOOKED'
bin=${1:?$usage} hooked=${2:?$usage}
case $bin in /*) ;; *) bin=$PWD/$bin ;; esac
case $hooked in /*) ;; *) hooked=$PWD/$hooked ;; esac
unset DD_TIER DD_CPU_CORPUS DD_TEST_SIGNAL OMP_NUM_THREADS SLURM_CPUS_PER_TASK CLICOLOR_FORCE
LC_ALL=C OMP_WAIT_POLICY=passive NO_COLOR=1 TERM=dumb
export LC_ALL OMP_WAIT_POLICY NO_COLOR TERM
if ! "$bin" --version >/dev/null 2>&1; then
  echo "skipped: $bin cannot be run on this machine"
  exit 77
fi
place=${TMPDIR:-/tmp} # in memory where that can be: hundreds of checkpoints are synced
[ -n "${TMPDIR:-}" ] || [ ! -w /dev/shm ] || place=/dev/shm
recipes=$(cd "$(dirname "$0")/../bench/recipes" && pwd) || exit 1
tmp=$(mktemp -d "$place/dd signals.XXXXXX") || exit 1
HOME=$tmp XDG_CACHE_HOME=$tmp/cache
export HOME XDG_CACHE_HOME
started='' # processes of ours that may still run
cleanup() {
  for p in $started; do kill -9 "$p" 2>/dev/null; done
  rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM
cd "$tmp" || exit 1

# within SECONDS COMMAND...: wait until it succeeds
within() {
  tries=$(($1 * 20))
  shift
  until "$@"; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || return 1
    sleep 0.05
  done
}

awk 'BEGIN { s = 7; for (i = 0; i < 6000; i++) { s = (s * 1103 + 12345) % 65536
  printf "%s", substr("etaoinshrdlu ETAOIN.\n", int(s * s / 4294967296 * 21) + 1, 1) } }' >text.txt
# A shell starts background jobs with SIGINT ignored; env can undo that.
undo='env --default-signal=INT'
$undo true 2>/dev/null || { undo=''; skip 'SIGINT: this env has no --default-signal'; }
# SigIgn is a hex mask, SIGHUP its lowest bit: nohup hands an ignored SIGHUP down, and the program respects that
hup=HUP
if sed -n 's/^SigIgn:.*\(.\)$/\1/p' /proc/self/status | grep -q '[13579bdf]'; then
  skip 'SIGHUP: it is ignored here (nohup)'
  hup=''
fi

# ---- every signal at every point, once and twice ----
lead='' # exec: in a background job the program takes the place of the shell, so that signals reach it
short() { # short PROGRAM DIR OPTION...
  program=$1 dir=$2
  shift 2
  $lead "$program" train --n-layer 1 --n-head 2 --n-embd 16 --block-size 16 --batch-size 2 --warmup-iters 2 --lr 3e-3 \
    -t 1 --gradient-accumulation-steps 2 --data text.txt --max-iters 12 --eval-interval 4 --log-interval 1 \
    --sample-chars 60 --auto-resume --out "$dir" "$@"
}
short "$bin" reference >out 2>err
is 'the run that is not interrupted' 0 $?
tail -n 1 out >fingerprint
number() { case $1 in INT) echo 2 ;; TERM) echo 15 ;; HUP) echo 1 ;; XCPU) echo 24 ;; USR1) echo 10 ;; esac; }
points='startup data step eval text save shutdown'
signals="INT TERM $hup XCPU USR1"
[ -z "${DD_QUICK:-}" ] || signals='TERM USR1'
for signal in $signals; do
  for point in $points; do
    for times in 1 2; do
      [ "$times" = 1 ] || [ -z "${DD_QUICK:-}" ] || continue
      name="SIG$signal x $times, $point"
      rm -rf run && : >told
      DD_TEST_SIGNAL="$point $(number "$signal") $times" short "$hooked" run >out 2>err 3>told
      rc=$?
      case $signal$times$point in
        USR1*) wanted=0 ;;
        INT2*) wanted=130 ;;
        *shutdown) wanted=0 ;; # everything is done and saved
        *) wanted=75 ;;
      esac
      is "$name: exit code" $wanted $rc
      [ $wanted != 0 ] || is "$name: result" "$(cat fingerprint)" "$(tail -n 1 out)"
      if [ $wanted = 75 ]; then
        # The writer's thread sends it while the main one trains: it has not arrived when it was sent, and a micro-batch of
        # this model takes microseconds.
        late=1
        [ "$point" = save ] && late=20
        is "$name: at most one micro-batch later" yes \
          "$(awk -v late=$late '{ print $1 == "sent" && $2 <= late ? "yes" : $0 }' told)"
        is "$name: no error line" 0 "$(grep -c '^dd-cpu: error: ' err)"
      fi
      short "$bin" run >out 2>err
      is "$name: the same command again" "0 $(cat fingerprint)" "$? $(tail -n 1 out)"
    done
  done
done
# One save more than planned, at the iteration after the signal.
rm -rf run
DD_TEST_SIGNAL="step 10 1" short "$hooked" run --keep-checkpoints 9 >out 2>err 3>told
is 'SIGUSR1 saves and goes on' 'ckpt-0000004 ckpt-0000008 ckpt-0000012' \
  "$(find run -name 'ckpt-*' | sort | sed 's/.*\///; s/\..*//' | tr '\n' ' ' | sed 's/ $//')"

rm -rf run
(trap '' HUP && DD_TEST_SIGNAL="step 1 1" short "$hooked" run >out 2>err 3>told)
is 'an ignored SIGHUP (nohup) stays ignored' "0 $(cat fingerprint)" "$? $(tail -n 1 out)"
rm -rf run
# shellcheck disable=SC3045 # dash and bash both know it; a hard limit would kill
(ulimit -S -t 1 && short "$bin" run --max-iters 4000000 --eval-interval 4000000 >out 2>err)
is 'ulimit -t: saved and stopped' '75 yes' "$? $(find run -name 'ckpt-*' | grep -q . && echo yes)"

# ---- the loops of the other commands ----
stops() { # stops NAME POINT COMMAND...: SIGTERM there ends it with 75
  name=$1 point=$2
  shift 2
  DD_TEST_SIGNAL="$point 15 1" "$hooked" "$@" >out 2>err 3>told
  is "$name" "75 sent" "$? $(cut -d ' ' -f 1 told)"
  has "$name: says so" err 'dd-cpu: stopped: '
}
stops 'eval' eval eval reference
stops 'sample' text sample reference --max-new-tokens 100000000
stops 'report' poll report reference --format md
awk 'BEGIN { for (i = 0; i < 400000; i++) print "the same forty characters over and over a" }' >large-text.txt
stops 'prepare, while it encodes' poll prepare large-text.txt -o large
is 'prepare left nothing behind' '' "$(ls -d large 2>/dev/null)"
stops 'train, while it reads a large text' poll train --data large-text.txt --preset tiny -t 1 --out large
is 'and no run' '' "$(ls -d large 2>/dev/null)"
stops 'bench' poll bench kernels --quick
compare() { # compare PROGRAM DIR OPTION...
  program=$1 dir=$2
  shift 2
  $lead "$program" compare --n-layer 1 --n-head 2 --n-embd 16 --block-size 16 --batch-size 2 --warmup-iters 2 \
    --data text.txt --eval-interval 50 --schedules fixed,linear --seeds 1 --jobs 2 -t 2 --out "$dir" "$@"
}
compare "$bin" study-a --max-iters 100 >out 2>err
is 'compare' 0 $?
DD_TEST_SIGNAL="poll 15 1" compare "$hooked" study-a --max-iters 100 >out 2>err 3>told
is 'compare, while it looks at what there is' 75 $?
lead='exec'
compare "$bin" study-b --max-iters 200000 --eval-interval 100000 >compare.out 2>compare.err &
pid=$! lead=''
started="$started $pid"
has_checkpoint() { [ "$(find study-b/runs -name 'ckpt-*' ! -name '*.tmp*' 2>/dev/null | wc -l)" -ge "$1" ]; }
trains() { [ "$(cat study-b/runs/*/metrics.jsonl 2>/dev/null | grep -c '"iter":50,')" = 2 ]; }
if within 30 trains; then
  kill -USR1 $pid
  if within 30 has_checkpoint 2; then ok; else not_ok 'compare, SIGUSR1: both runs save'; fi
  kill -0 $pid 2>/dev/null
  is 'compare, SIGUSR1: it goes on' 0 $?
else not_ok 'compare in the background' "$(tail -n 3 compare.err)"; fi
kill -TERM $pid
wait $pid
is 'compare, SIGTERM' 75 $?
has 'compare, SIGTERM: what to do' compare.err 'the same command continues'

# ---- from outside ----
# A background run that cannot end by itself: its stderr is a FIFO that nobody empties, and 1,500 lines do not fit.
cat >long <<END
#!/bin/sh
exec "$bin" train --n-layer 1 --n-head 2 --n-embd 16 --block-size 16 --batch-size 2 --warmup-iters 2 --lr 3e-3 -t 1 \\
  --data text.txt --max-iters 1500 --eval-interval 500 --log-interval 1 --keep-checkpoints 100 "\$@"
END
chmod +x long
start() { # start DIR: begins a long run, waits for its first iterations; its process is $pid
  rm -f pipe && mkfifo pipe && exec 9<>pipe
  $undo ./long --out "$1" >"$1.out" 2>pipe 9<&- &
  pid=$!
  started="$started $pid"
  tries=0
  until grep -q '"iter":20,' "$1/metrics.jsonl" 2>/dev/null; do
    tries=$((tries + 1))
    if [ $tries -gt 600 ] || ! kill -0 $pid 2>/dev/null; then
      not_ok "a run in the background" "it does not get to iteration 20"
      return 1
    fi
    sleep 0.05
  done
}
finish() { # finish DIR: reads what it has to say until it ends; its exit code is in $rc
  cat <&9 >"$1.err" &
  reader=$!
  started="$started $reader"
  wait "$pid" 2>/dev/null
  rc=$?
  exec 9<&-
  sleep 0.1
  kill $reader 2>/dev/null
  wait $reader 2>/dev/null
}
./long --out straight >out 2>err
is 'the run that is not interrupted' 0 $?
tail -n 1 out >straight.fingerprint
points=$(find straight -name 'ckpt-*' | wc -l)

for signal in INT TERM HUP; do
  [ $signal = INT ] && [ -z "$undo" ] && continue
  [ $signal = HUP ] && [ -z "$hup" ] && continue
  dir=by-$signal
  start $dir || continue
  kill -$signal $pid
  finish $dir
  is "SIG$signal: exit code" 75 $rc
  has "SIG$signal: it says what to do" $dir.err "--resume --out $dir"
  is "SIG$signal: no error line" 0 "$(grep -c '^dd-cpu: error: ' $dir.err)"
  # One, or two where the run came to its own next checkpoint before the signal did.
  is "SIG$signal: a checkpoint" yes "$(find $dir -name 'ckpt-*' | grep -q . && echo yes)"
  "$bin" train --resume --out $dir -t 1 >out 2>err
  is "SIG$signal: resume" "0 $(cat straight.fingerprint)" "$? $(tail -n 1 out)"
  "$bin" sample $dir --max-new-tokens 5 >out 2>err
  is "SIG$signal: sample" 0 $?
done

# The signal may come just where the run saves anyway; then once more.
for try in 1 2 3; do
  start by-USR1-$try || break
  kill -USR1 $pid
  finish by-USR1-$try
  is 'SIGUSR1: goes on to the end' "0 $(cat straight.fingerprint)" "$rc $(tail -n 1 by-USR1-$try.out)"
  saved=$(find by-USR1-$try -name 'ckpt-*' | wc -l | tr -d ' ')
  [ "$saved" = "$points" ] || break
done
is 'SIGUSR1: one checkpoint more' $((points + 1)) "$saved"

if [ -n "$undo" ] && start twice; then
  size=0 last=-1 # until it is blocked in the write of a line
  while [ "$size" != "$last" ]; do
    last=$size
    sleep 0.3
    size=$(wc -c <twice/metrics.jsonl)
  done
  kill -INT "$pid"
  kill -INT "$pid" # wrappers send one Ctrl-C twice: this is not the second
  sleep 0.5
  kill -INT "$pid"
  finish twice
  is 'a second SIGINT ends it at once' 130 $rc
fi

if start busy; then
  for more in --resume --overwrite; do
    ./long --out busy $more >out 2>err
    is "a run directory in use, $more" "5 1" "$? $(grep -c "^dd-cpu: error: .*busy.*process $pid" err)"
  done
  ./long --out busy >out 2>err
  is 'a run directory in use' "5 1" "$? $(grep -c "^dd-cpu: error: .*busy.*process $pid" err)"
  is 'a run in use is not disturbed' 0 "$(kill -0 $pid; echo $?)"
  kill -KILL $pid # and a run that died is no longer in use
  finish busy
  is 'SIGKILL' 137 $rc
  ./long --out busy --overwrite >out 2>err
  is 'after SIGKILL: start again' "0 $(cat straight.fingerprint)" "$? $(tail -n 1 out)"
fi

# ---- stopped and continued by the terminal ----
rm -rf run
lead='exec'
DD_TEST_SIGNAL="step 19 1" short "$hooked" run >out 2>err 3>told & # SIGSTOP
pid=$! lead=''
started="$started $pid"
stopped() { grep -q '^State:.T' "/proc/$pid/status"; }
if within 20 stopped; then
  kill -CONT $pid
  wait $pid
  is 'SIGSTOP, SIGCONT' "0 $(cat fingerprint)" "$? $(tail -n 1 out)"
else not_ok 'SIGSTOP'; fi

# ---- streams ----
for stream in '2>/dev/full' '2>&-' '>/dev/null 2>&-'; do
  rm -rf run
  eval "short '$bin' run >out $stream"
  is "train with $stream" 0 $?
done
for stream in '>/dev/full' '>&-'; do
  rm -rf run
  eval "short '$bin' run $stream 2>err"
  is "train with $stream" 74 $?
  has "train with $stream: says so" err 'cannot write to standard output'
  short "$bin" run >out 2>err
  is "train with $stream: nothing is lost" "0 $(cat fingerprint)" "$? $(tail -n 1 out)"
done
rm -rf run
{ short "$bin" run 2>err; echo $? >rc; } | true
short "$bin" run >out 2>err
is 'train to a reader that left: nothing is lost' "0 $(cat fingerprint)" "$? $(tail -n 1 out)"

# ---- many on one run directory ----
starts=100
[ -z "${DD_QUICK:-}" ] || starts=10
mkfifo gate
n=0 pids=''
while [ $n -lt $starts ]; do
  { : <gate # until it is opened
    exec "$bin" train --n-layer 1 --n-head 2 --n-embd 16 --block-size 16 --batch-size 2 -t 1 -q \
      --data text.txt --max-iters 4000000 --eval-interval 4000000 --out crowd; } >/dev/null 2>"crowd.$n" &
  pids="$pids $!"
  n=$((n + 1))
done
started="$started $pids"
exec 8>gate
refused() { [ "$(cat crowd.[0-9]* | grep -c 'another process trains')" -ge $((starts - 1)) ]; }
within 60 refused || not_ok 'many at once: not all but one were refused' "$(cat crowd.[0-9]* | head -n 5)"
exec 8>&-
kill -TERM "$(grep -oE '[0-9]+' crowd/run.lock | head -n 1)"
codes=''
for p in $pids; do
  wait "$p"
  codes="$codes $?"
done
is "one of $starts has the directory, the others get 5" "1 75 $((starts - 1)) 5" \
  "$(echo "$codes" | tr ' ' '\n' | sed '/^$/d' | sort -rn | uniq -c | awk '{ printf "%s%s %s", s, $1, $2; s = " " }')"
"$bin" train --resume --out crowd --eval-only -t 1 >out 2>err
is 'what the winner saved is good' 0 $?

# ---- odd directories ----
mkdir real && ln -s real link
for dir in link 'with spaces' "$(printf 'caf\303\251')" ./plain/../plain2; do
  [ "$dir" != ./plain/../plain2 ] || mkdir -p plain
  short "$bin" "$dir" >out 2>err
  is "a run in '$dir'" "0 $(cat fingerprint)" "$? $(tail -n 1 out)"
  short "$bin" "$dir" >out 2>err
  is "again in '$dir'" "0 $(cat fingerprint)" "$? $(tail -n 1 out)"
done
if start gone; then # removed while it runs
  rm -rf gone
  kill -TERM $pid
  finish gone
  is 'the directory is removed under a run' 74 $rc
  has 'the directory is removed under a run: it is named' gone.err gone
fi

# ---- the recipes for Slurm, with stand-ins for its commands ----
mkdir slurm
cat >slurm/srun <<'END'
#!/bin/sh
case $1 in --cpus-per-task=*) shift ;; esac
exec "$@" 3>/dev/null
END
cat >slurm/scontrol <<'END'
#!/bin/sh
echo "$*" >>requeued
END
chmod +x slurm/srun slurm/scontrol
slurm() { # slurm SCRIPT OPTION...
  script=$recipes/$1
  shift
  PATH=$tmp/slurm:$PATH SLURM_JOB_ID=77 SLURM_ARRAY_JOB_ID=78 SLURM_ARRAY_TASK_ID=1 SLURM_ARRAY_TASK_COUNT=1 \
    sh "$script" --n-layer 1 --n-head 2 --n-embd 16 --block-size 16 --batch-size 2 --warmup-iters 2 --lr 3e-3 \
    --gradient-accumulation-steps 2 --data text.txt --max-iters 12 --eval-interval 4 --log-interval 1 -t 1 "$@"
}
rm -rf run
DD_CPU=$hooked DD_TEST_SIGNAL="step 15 1" slurm slurm-train.sh --sample-chars 60 -o run >out 2>err
is 'Slurm: stopped and queued again' '75 requeue 77' "$? $(cat requeued)"
DD_CPU=$bin slurm slurm-train.sh --sample-chars 60 -o run >out 2>err
is 'Slurm: the second time it ends' "0 $(cat fingerprint) requeue 77" "$? $(tail -n 1 out) $(cat requeued)"
rm requeued
DD_CPU=$hooked DD_TEST_SIGNAL="poll 15 1" slurm slurm-compare.sh --schedules fixed,late --seeds 1 -o array >out 2>err
is 'Slurm: a task of an array is queued again' '75 requeue 78_1' "$? $(cat requeued)"
DD_CPU=$bin slurm slurm-compare.sh --schedules fixed,late --seeds 1 -o array >out 2>err
is 'Slurm: the second time the study ends' '0 2 of 2 runs finished' "$? $(tail -n 1 out | cut -d , -f 1)"

# ---- --auto-resume ----
rm -rf run && mkdir run && echo '{}' >run/config.json # a start that came to no checkpoint
short "$bin" run >out 2>err
is '--auto-resume over what a killed start left' "0 $(cat fingerprint)" "$? $(tail -n 1 out)"
for f in run/ckpt-*; do : >"$f"; done
short "$bin" run >out 2>err
is '--auto-resume does not replace damaged checkpoints' 4 $?
"$bin" train --auto-resume --resume --out run >out 2>err
is '--auto-resume with --resume' 2 $?

# ---- end ----
echo "$passed passed, $failed failed"
[ $failed = 0 ]
