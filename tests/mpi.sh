#!/bin/bash
# Training over ranks, under a real launcher: the bits of a single process for any number of ranks and threads, and what
# happens when ranks die, are stopped, or do not fit together. More ranks than processors here, on purpose.
#   mpi.sh PATH-OF-DD-CPU openmpi|mpich
set -u
# shellcheck source-path=SCRIPTDIR source=checks.sh
. "$(dirname "$0")/checks.sh"
bin=$(realpath "${1:?usage: mpi.sh PATH-OF-DD-CPU openmpi|mpich}") kind=${2:?}
unset DD_TIER DD_CPU_MPI OMP_NUM_THREADS SLURM_CPUS_PER_TASK CLICOLOR_FORCE
export LC_ALL=C OMP_WAIT_POLICY=passive NO_COLOR=1 TERM=dumb
# root is fine in a container
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_btl=self,vader,tcp
export UCX_LOG_LEVEL=fatal UCX_TLS=self,sm,tcp

launcher=''
case $kind in openmpi) names='mpirun.openmpi mpirun' says='Open MPI|OpenRTE' ;; *) names='mpiexec.hydra mpirun' says=HYDRA ;; esac
for name in $names; do
  if command -v "$name" >/dev/null && "$name" --version 2>&1 | grep -qE "$says"; then launcher=$name && break; fi
done
[ -n "$launcher" ] || { echo "skipped: no mpirun of $kind here (tried $names)" && exit 77; }
tmp=$(mktemp -d "${TMPDIR:-/tmp}/dd-mpi.XXXXXX") || exit 1
started=''
cleanup() {
  for p in $started $(cat "$tmp"/pid.* 2>/dev/null); do kill -9 "$p" 2>/dev/null; done
  rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM
cd "$tmp" || exit 1
if ! timeout 60 "$launcher" -n 2 true >first.log 2>&1; then
  echo "skipped: $launcher cannot start two processes here: $(tail -1 first.log)"
  exit 77
fi

# A text of a few thousand letters whose length is no multiple of anything.
awk 'BEGIN { s = 7; for (i = 0; i < 4099; i++) { s = (s * 75 + 74) % 65537; printf "%c", 97 + s % 17 } }' >text.txt
sed 's/a/b/' text.txt >other.txt
small=(--preset tiny --data text.txt --batch-size 2 --log-interval 1 --eval-interval 5 -q)
alone() { # alone DIR OPTION...: fingerprint of a single process
  local dir=$1
  shift
  "$bin" train "${small[@]}" -o "$dir" "$@" 2>"$dir.err" | sed -n 's/^fingerprint //p'
}
ranks() { # ranks N COMMAND...
  local n=$1
  shift
  timeout 100 "$launcher" -n "$n" "$@"
}
over() { # over RANKS DIR OPTION...
  local n=$1 dir=$2
  shift 2
  ranks "$n" "$bin" train "${small[@]}" -o "$dir" "$@" 2>"$dir.err" | sed -n 's/^fingerprint //p'
}
records() { sed -E '/"type": ?"config"/d; s/"(seconds|elapsed_s|ms_per_iter|tokens_per_s)": ?[-0-9.e+]+,?//g' "$1/metrics.jsonl"; }

# ---- the same bits ----
G4=(--gradient-accumulation-steps 4 --max-iters 10 --dropout 0.2)
want=$(alone single "${G4[@]}" -t 1)
is 'a single process trains' 32 ${#want}
for n in 1 2 3 4; do
  for t in 1 2; do
    is "fingerprint of $n ranks x $t threads" "$want" "$(over $n "r$n-$t" "${G4[@]}" -t $t)"
  done
  is "records of $n ranks" "$(records single)" "$(records "r$n-2")"
done
has 'ranks are in the configuration' r4-2/config.json '"ranks": 4'
is 'verify of a run over ranks' 0 "$("$bin" verify r3-1 --replay last -q >verify.log 2>&1; echo $?)"
uneven=(--gradient-accumulation-steps 7 --max-iters 6 --eval-iters 3 --schedule val-loss --bias)
is 'fingerprint of 7 micro-batches over 3 ranks' "$(alone single7 "${uneven[@]}")" "$(over 3 uneven "${uneven[@]}" -t 1)"
# several buckets, sent while other layers compute
wide=(--gradient-accumulation-steps 5 --max-iters 2 --n-layer 5 --n-embd 128 --n-head 2)
is 'fingerprint of a model of several buckets' "$(alone single5 "${wide[@]}")" "$(over 2 wide "${wide[@]}" -t 1)"
# a vocabulary, which reaches the others from rank 0
printf '#version: 0.2\n' >merges.txt
for pair in 'a b' 'c d' 'ab cd' 'e f' 'g h' 'ef gh' 'm n' 'o p'; do echo "$pair"; done >>merges.txt
sed 's/[a-d][a-h]/& /g' text.txt >words.txt
tokens=(--gradient-accumulation-steps 3 --max-iters 6 --data words.txt --tokenizer gpt2 --bpe merges.txt)
want=$(alone bpe1 "${tokens[@]}" -t 1)
is 'a single process trains on BPE tokens' 32 ${#want}
for n in 2 3; do is "fingerprint of BPE tokens over $n ranks" "$want" "$(over $n "bpe$n" "${tokens[@]}" -t 1)"; done
is 'records of BPE tokens' "$(records bpe1)" "$(records bpe2)"
mv merges.txt away.txt # the run carries them
for n in 1 2; do "$bin" sample bpe$n -q --max-new-tokens 20 >sampled$n 2>>sample.err; done
is 'a run over ranks carries its vocabulary' 0 "$(cmp sampled1 sampled2 2>&1; [ -s sampled1 ]; echo $?)"
skips=(--gradient-accumulation-steps 2 --max-iters 6 --lr 1e30 --grad-clip 0 --on-nan rollback --max-skips 2)
alone bad "${skips[@]}" >/dev/null
over 2 bad2 "${skips[@]}" >/dev/null
is 'a diverging run ends alike' "$(sed 's/ --out.*//; s/bad2*/DIR/g' bad.err | grep 'dd-cpu: error')" \
  "$(sed 's/ --out.*//; s/bad2*/DIR/g' bad2.err | grep 'dd-cpu: error')"

# ---- what ends a job ----
# A run that lasts until something happens to it, and would end with the fingerprint of `long`.
long=(--gradient-accumulation-steps 4 --max-iters 1500 --eval-iters 1 --eval-interval 1000 --checkpoint-interval 20 -t 1)
want=$(alone long "${long[@]}")
# shellcheck disable=SC2016
save_pid='echo $$ >pid.${OMPI_COMM_WORLD_RANK:-$PMI_RANK}; exec "$@"'
begin() { # begin DIR: started in the background, until there is a checkpoint
  local dir=$1 i
  rm -f pid.*
  "$launcher" -n 3 sh -c "$save_pid" sh "$bin" train "${small[@]}" -o "$dir" "${long[@]}" >"$dir.out" 2>"$dir.err" &
  job=$!
  started="$started $job"
  for ((i = 0; i < 600; i++)); do
    [ -s "$dir/latest" ] && return
    sleep 0.1
  done
  not_ok "$dir: a checkpoint in 60 s" "$(tail -3 "$dir.err")"
}
finish() { # waits for the job: $code, $took
  local from=$SECONDS
  wait "$job"
  code=$?
  took=$((SECONDS - from))
}
resumes() { # resumes NAME DIR RANKS
  local out
  if [ "$3" = 1 ]; then out=$("$bin" train --resume -o "$2" -q -t 2 2>"$2.err")
  else out=$(ranks "$3" "$bin" train --resume -o "$2" -q -t 1 2>"$2.err"); fi
  is "$1: goes on to the same bits" "fingerprint $want" "$(grep '^fingerprint' <<<"$out")"
}

begin killed
kill -9 "$(cat pid.1)"
finish
is 'a killed rank: the job fails' 1 "$((code != 0))"
is 'a killed rank: within 10 s' 1 "$((took < 10))"
if [ "$kind" = openmpi ]; then
  has 'a killed rank: said which' killed.err 'dd-cpu: error: rank 1 on '
  has 'a killed rank: and what to do' killed.err 'dd-cpu train --resume --out'
else # hydra kills the others before they can say anything, and names the first it found dead
  cat killed.out >>killed.err
  has 'a killed rank: said which' killed.err "RUNNING AT"
fi
left() { for p in 0 1 2; do ps -o pid= -p "$(cat pid.$p)"; done; }
for i in $(seq 50); do [ -n "$(left)" ] && sleep 0.1; done
is 'a killed rank: nobody is left' '' "$(left)"
resumes 'a killed rank' killed 2

begin stopped
kill -TERM "$(cat pid.1)"
finish
is 'SIGTERM to one rank: exit code' 75 $code
has 'SIGTERM to one rank: said' stopped.err 'stopped on request at iteration'
is 'SIGTERM to one rank: said once' 1 "$(grep -c 'dd-cpu: stopped' stopped.err)"
resumes 'SIGTERM to one rank' stopped 1

export OMPI_MCA_odls_base_sigkill_timeout=3 # time to save
begin saved
kill -USR1 "$job"
sleep 0.2
kill -TERM "$job"
finish
# Open MPI's may end before it has passed on what the ranks say, and hydra's status is now 0, now not
if [ "$kind" = openmpi ]; then is 'SIGTERM to the launcher: fails' 1 "$((code != 0))"
else has 'SIGTERM to the launcher: said' saved.err 'stopped on request at iteration'; fi
resumes 'SIGTERM to the launcher' saved 4

# ---- what is refused ----
export OMPI_MCA_odls_base_sigkill_timeout=0 # mpirun sleeps as long when ranks have failed, dead or not
refused() { # refused NAME CODE PART COMMAND...
  local name=$1 wanted=$2 part=$3
  shift 3
  timeout 60 "$launcher" "$@" >refused.out 2>refused.err
  is "$name: exit code" "$wanted" $?
  has "$name: said" refused.err "$part"
  is "$name: said once" 1 "$(grep -c 'dd-cpu: error' refused.err)"
}
refused 'a directory that cannot be' 74 'cannot make directory text.txt' -n 2 "$bin" train "${small[@]}" "${G4[@]}" -o text.txt/run
refused 'more ranks than micro-batches' 2 '3 ranks cannot share 2 micro-batches' \
  -n 3 "$bin" train "${small[@]}" -o no --gradient-accumulation-steps 2
refused 'another text on one rank' 4 'rank 1 on ' -n 1 "$bin" train "${small[@]}" "${G4[@]}" -o no : \
  -n 1 "$bin" train "${small[@]}" "${G4[@]}" -o no --data other.txt
refused 'other options on one rank' 2 'was started with other options than rank 0' \
  -n 1 "$bin" train "${small[@]}" "${G4[@]}" -o no : -n 1 "$bin" train "${small[@]}" "${G4[@]}" -o no --lr 0.5
refused 'no such text on one rank' 74 'rank 1 on ' -n 1 "$bin" train "${small[@]}" "${G4[@]}" -o no : \
  -n 1 "$bin" train "${small[@]}" "${G4[@]}" -o no --data missing.txt
refused 'an unknown option' 2 'unknown option' -n 3 "$bin" train --bogus
refused 'compare over ranks' 2 'does not work over ranks' -n 2 "$bin" compare -o no
refused 'sample over ranks' 2 'does not work over ranks' -n 2 "$bin" sample single
is 'what was refused left nothing' '' "$(ls -d no 2>/dev/null)"
DD_CPU_MPI=nothing refused 'no such plugin' 2 'dd-mpi-nothing.so' -n 2 "$bin" train "${small[@]}" -o no
mkdir -p elsewhere && cp "$bin" elsewhere/ # the program without its plugins
refused 'no plugin at all' 2 'built or installed without' -n 2 elsewhere/dd-cpu train "${small[@]}" -o no
DD_CPU_MPI=none ranks 2 sh -c "exec '$bin' train ${small[*]} --max-iters 2 -o own-\${OMPI_COMM_WORLD_RANK:-\$PMI_RANK}" \
  >none.log 2>&1
is 'DD_CPU_MPI=none: runs of their own' 2 "$(grep -c '^fingerprint' none.log)"

echo "$passed passed, $failed failed"
[ $failed = 0 ]
