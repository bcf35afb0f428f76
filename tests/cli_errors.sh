#!/bin/sh
# The program as a user meets it when things go wrong: every bad input gives its exit code and one error line that names
# what is wrong, and leaves existing runs alone; interrupted runs continue to the same fingerprint.
#   cli_errors.sh PATH-OF-DD-CPU
set -u
# shellcheck source-path=SCRIPTDIR source=checks.sh
. "$(dirname "$0")/checks.sh"

bin=${1:?usage: cli_errors.sh PATH-OF-DD-CPU}
case $bin in /*) ;; *) bin=$PWD/$bin ;; esac
unset DD_TIER DD_CPU_CORPUS OMP_NUM_THREADS SLURM_CPUS_PER_TASK CLICOLOR_FORCE
LC_ALL=C OMP_WAIT_POLICY=passive NO_COLOR=1 TERM=dumb
export LC_ALL OMP_WAIT_POLICY NO_COLOR TERM
if ! "$bin" --version >/dev/null 2>&1; then
  echo "skipped: $bin cannot be run on this machine"
  exit 77
fi
tmp=$(mktemp -d "${TMPDIR:-/tmp}/dd errors.XXXXXX") || exit 1
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

passes() { # passes NAME COMMAND...
  name=$1
  shift
  if "$@"; then ok; else not_ok "$name" "command: $*"; fi
}
# All files below a directory with their contents.
contents() { find "$1" -type f -exec cksum {} + 2>/dev/null | sort; }

# fails NAME CODE PART... -- COMMAND...: exit code, one error line with all parts, nothing on stdout, the run untouched.
fails() {
  name=$1 code=$2 parts='' bad=''
  shift 2
  while [ "$1" != -- ]; do
    parts="$parts$1
"
    shift
  done
  shift
  "$@" >out 2>err </dev/null
  rc=$?
  [ "$rc" = "$code" ] || bad="exit code $rc instead of $code"
  [ "$(grep -c '^dd-cpu: error: ' err)" = 1 ] || bad="$bad; not one error line"
  [ ! -s out ] || bad="$bad; writes to stdout"
  grep '^dd-cpu: error: ' err >line
  while IFS= read -r part; do
    [ -z "$part" ] || grep -qF -e "$part" line || bad="$bad; the error does not mention '$part'"
  done <<END
$parts
END
  [ ! -d run ] || [ "$(contents run)" = "$kept" ] || bad="$bad; files of the run changed"
  if [ -z "$bad" ]; then ok; else not_ok "$name" "$bad" "command: $*" "stderr: $(tail -n 5 err)"; fi
}

# ---- texts of our own ----
awk 'BEGIN { s = 7; for (i = 0; i < 6000; i++) { s = (s * 1103 + 12345) % 65536
  printf "%s", substr("etaoinshrdlu ETAOIN.\n", int(s * s / 4294967296 * 21) + 1, 1) } }' >text.txt
sed 's/e/a/g' text.txt >other.txt
: >empty.txt
printf 'abcdefghij' >short.txt
head -c 150 text.txt >shorter.txt
{ cat text.txt; printf '\377\376'; } >latin.txt
# N different characters, each once
characters() {
  awk -v n="$1" 'BEGIN { for (c = 256; n > 0; c++) { if (c >= 55296 && c < 57344) continue
    n--
    if (c < 2048) printf "%c%c", 192 + int(c / 64), 128 + c % 64
    else if (c < 65536) printf "%c%c%c", 224 + int(c / 4096), 128 + int(c / 64) % 64, 128 + c % 64
    else printf "%c%c%c%c", 240 + int(c / 262144), 128 + int(c / 4096) % 64, 128 + int(c / 64) % 64, 128 + c % 64 } }'
}

train() {
  "$bin" train --n-layer 1 --n-head 2 --n-embd 16 --block-size 16 --batch-size 2 --warmup-iters 2 --lr 3e-3 -t 1 "$@"
}
tiny() { train --data text.txt --max-iters 12 --eval-interval 4 "$@"; }

# ---- the run that must survive all that follows ----
tiny --out run --schedule val-loss --keep-checkpoints 2 >out 2>err
is 'a run' 0 $?
tail -n 1 out >fingerprint
passes 'last line of stdout' grep -qE '^fingerprint [0-9a-f]{32}$' fingerprint
grep '^dd-cpu: error: ' err && not_ok 'an error line in a good run'
kept=$(contents run)
is 'files of a run' \
  'best ckpt-0000008.safetensors ckpt-0000012.safetensors config.json latest metrics.jsonl run.lock ' \
  "$(for f in run/*; do printf '%s ' "${f#run/}"; done)"

# ---- reports ----
mkdir hollow
fails 'report of nothing' 2 'dd-cpu report DIR' -- "$bin" report --format md
fails 'report of no directory' 74 nosuch -- "$bin" report nosuch --format md
fails 'report of an empty directory' 2 "hollow holds no run" -- "$bin" report run hollow --format md
fails 'report with a baseline that is none' 2 "'nosuch'; there is: val-loss" -- \
  "$bin" report run --baseline nosuch --format md
fails 'report in no form' 2 "'pdf'" -- "$bin" report run --format pdf
fails 'report of a name with a line feed' 2 'line feed' -- "$bin" report "a
b" --format md
# shellcheck disable=SC2046 # many arguments are meant
fails 'report of too many names' 2 'too long' -- \
  "$bin" report $(awk 'BEGIN { for (i = 0; i < 400; i++) print "directory" i }')
fails "report of several without a name" 2 '--out FILE.html' -- "$bin" report run run
fails 'report where it cannot be written' 74 'no/such' -- "$bin" report run --format md --out no/such/r.md
"$bin" report run --format tsv >out 2>err
is 'a report' "0 2 val-loss finished" "$? $(wc -l <out | tr -d ' ') $(tail -n 1 out | cut -f 2,4 | tr '\t' ' ')"
is 'the fingerprint in it' "$(cut -d ' ' -f 2 fingerprint)" "$(tail -n 1 out | cut -f 16)"

# ---- text ----
fails 'no such file' 74 "'nosuch.txt'" -- tiny --data nosuch.txt
fails 'no such file, prepare' 74 "'nosuch.txt'" -- "$bin" prepare nosuch.txt
fails 'no such file, eval' 74 "'nosuch.txt'" -- "$bin" eval run --data nosuch.txt
fails 'empty text' 2 'empty.txt is empty' -- tiny --data empty.txt
fails 'empty text, prepare' 2 'empty.txt is empty' -- "$bin" prepare empty.txt
fails 'empty text, eval' 2 'empty.txt is empty' -- "$bin" eval run --data empty.txt
fails 'too short' 2 'short.txt' -- tiny --data short.txt
fails 'shorter than the context' 2 'shorter.txt' 'block-size' -- tiny --data shorter.txt --block-size 200
fails 'not UTF-8' 4 'latin.txt' '0xff' 'offset 6000' 'byte' -- tiny --data latin.txt
fails 'a directory without tokens' 74 'train.bin' -- tiny --data "$tmp"
fails 'a character the run does not know' 2 'line 1, column 2' -- "$bin" sample run --prompt 'eQ'
characters 65536 >many.txt
characters 65535 >just.txt
if [ "$(wc -c <many.txt)" = 197120 ]; then
  fails 'vocabulary of 65,536' 2 'many.txt' 65536 65535 -- tiny --data many.txt
  fails 'vocabulary of 65,536, prepare' 2 'many.txt' 65536 65535 -- "$bin" prepare many.txt
  "$bin" prepare just.txt -o just >out 2>err
  is 'a vocabulary of 65,535 fits' 0 $?
else skip 'vocabulary above 65,535: this awk does not write bytes above 127'; fi

# ---- options ----
for p in 1 1.5 -0.1 nan inf x ''; do
  fails "dropout '$p'" 2 dropout "'$p'" -- tiny --dropout "$p"
  fails "dropout-final '$p'" 2 dropout_final "'$p'" -- tiny --dropout-final "$p"
done
for o in dropout-min dropout-max dropout-step; do
  fails "$o 1" 2 "$(echo $o | tr - _)" "'1'" -- tiny --schedule val-loss --$o 1
done
fails 'exponential to 0' 2 exponential dropout_final -- tiny --schedule exponential --dropout-final 0
fails 'exponential from 0' 2 exponential dropout -- tiny --schedule exponential --dropout 0
fails 'val-loss outside its bounds' 2 'dropout 0.2' 0.1 -- tiny --schedule val-loss --dropout-max 0.1
fails 'gap outside its bounds' 2 'dropout 0.2' gap 0.1 -- tiny --schedule gap --dropout-max 0.1
fails 'a formula that is none' 2 dropout_expr 'column 4' "'tt'" -- tiny --schedule 'expr:p0*tt'
fails 'a formula of no number' 2 NaN 't = 0' -- tiny --schedule 'expr:log(t)*0'
fails 'a formula in per cent' 2 'is 20 at t = 0' 'below 1' -- tiny --schedule 'expr:20*(1-t/T)'
fails 'no formula' 2 "'expr:p0*(1-t/T)^2'" dropout_expr -- tiny --schedule expr
fails 'argument of a schedule that takes none' 2 linear "'3'" -- tiny --schedule linear:3
fails 'steps' 2 dropout_steps 'column 7' 'whole number' -- tiny --schedule 'steps:0=0.1,0.5,7=0'
fails 'steps that go back' 2 dropout_steps '5 comes after 50%' -- tiny --schedule 'steps:50%=0.1,5=0'
fails 'no table' 74 nosuch.csv -- tiny --schedule table:nosuch.csv
printf 'iteration,rate\n0,0.1\n5,1.5\n' >bad.csv
fails 'rate in a table' 4 bad.csv:3: 'below 1' -- tiny --schedule table:bad.csv --out new
head -c 3000 /dev/urandom >noise.csv
fails 'noise for a table' 4 noise.csv -- tiny --schedule table:noise.csv --out new
fails 'a directory for a table' 74 run -- tiny --schedule table:run --out new
fails 'schedule of a site' 2 dropout_attn "'cosin'" "'cosine'" -- tiny --dropout-attn 0.1,cosin
fails 'table of a site' 2 dropout_mlp dropout_table -- tiny --dropout-mlp table:x.csv
fails 'a site twice' 2 dropout_sites dropout_attn -- tiny --dropout-sites mlp --dropout-attn 0.1
fails 'depth' 2 dropout_depth "'up'" lima -- tiny --dropout-depth up
is 'nothing was left behind' '' "$(ls -d new 2>/dev/null)"
fails 'channels and heads' 2 'n_embd 16' 'n_head 3' -- tiny --n-head 3
fails 'unknown option' 2 "'--n-layers'" "'--n-layer'" -- tiny --n-layers 3
fails 'unknown option, not close to any' 2 "'--qqq'" -- tiny --qqq 3
fails 'unknown short option' 2 "'-z'" -- tiny -z
fails 'option of another command' 2 "'--top-k'" train sample -- "$bin" eval run --top-k 3
fails 'option without a value' 2 "'--lr'" -- tiny --lr
fails 'argument too many' 2 "'extra'" -- tiny extra
fails 'unknown schedule' 2 "'expo'" "'exponential'" -- tiny --schedule expo
fails 'unknown preset' 2 "'smal'" "'small'" -- tiny --preset smal
fails 'unknown tier' 2 "'sse9'" scalar -- tiny --tier sse9 --out new
fails 'unknown tier, sample' 2 "'sse9'" scalar -- "$bin" sample run --tier sse9
fails 'unknown tier, info' 2 "'sse9'" scalar -- "$bin" info --tier sse9
fails 'unknown tier in DD_TIER' 2 "'sse9'" DD_TIER -- env DD_TIER=sse9 "$bin" info
fails 'unknown dropout site' 2 "head" -- tiny --dropout-sites attn,head
fails 'unknown format of weights' 2 "'int4'" f32 bf16 int8 -- "$bin" sample run --weights int4
fails 'unknown format of weights, eval' 2 "'Int8'" "'int8'" -- "$bin" eval run --weights Int8
fails 'format of weights for training' 2 "'--weights'" eval sample -- tiny --weights int8
fails 'no samples' 2 num_samples "'0'" -- "$bin" sample run --num-samples 0
fails 'unknown command' 2 "'trian'" "'train'" -- "$bin" trian
fails 'no command' 2 "'--preset'" -- "$bin" --preset tiny
fails 'help on nothing' 2 "'nothing'" -- "$bin" help nothing
fails 'no run' 2 sample -- "$bin" sample
fails 'threads' 2 threads "'two'" -- "$bin" info -t two
fails 'number out of range' 2 n_layer "'0'" -- tiny --n-layer 0
fails 'learning rates' 2 min_lr 0.01 -- tiny --min-lr 0.01
fails 'resume and overwrite' 2 resume overwrite -- tiny --out run --resume --overwrite
printf 'n_layer = 1\nn_heads = 2\n' >bad.py
fails 'unknown key' 2 bad.py "'n_heads'" "'n_head'" -- tiny --config bad.py
printf 'dropout = 1.0\n' >rate.py
fails 'rate in a config file' 2 rate.py dropout 1 -- tiny --config rate.py
printf 'schedule = "cosin"\n' >name.py
fails 'schedule in a config file' 2 name.py cosin cosine -- tiny --config name.py
fails 'no config file' 74 nosuch.py -- tiny --config nosuch.py

# ---- run directories ----
fails 'a directory that holds a run' 2 run resume overwrite -- tiny --out run
fails 'run directory below a file' 74 text.txt -- tiny --out text.txt/run
fails 'run directory is a file' 74 text.txt -- tiny --out text.txt
fails 'prepare below a file' 74 text.txt -- "$bin" prepare other.txt -o text.txt/data
if [ -d /proc/self ]; then fails 'run directory in /proc' 74 /proc -- tiny --out /proc/dd-cpu-run; fi
mkdir closed
user='' program=$bin
if [ "$(id -u)" != 0 ]; then user='env'
elif command -v setpriv >/dev/null; then
  user='setpriv --reuid 65534 --regid 65534 --clear-groups'
  program=./as-nobody
  cp "$bin" $program && chmod 755 . $program && chmod 644 text.txt
  $user $program --version >/dev/null 2>&1 || user=''
fi
if [ -n "$user" ]; then
  chmod 555 closed
  # shellcheck disable=SC2086
  nobody() { $user "$program" train --preset tiny --data text.txt -t 1 "$@"; }
  fails 'read-only directory' 74 closed -- nobody --out closed
  fails 'below a read-only directory' 74 closed -- nobody --out closed/run
  chmod 755 closed .
else skip 'unwritable directories: root writes everywhere, and setpriv is not there or cannot run the program'; fi
fails 'resume nothing' 2 nothing -- "$bin" train --resume --out nothing
fails 'resume an empty directory' 2 closed overwrite -- "$bin" train --resume --out closed
passes 'errors leave no directory behind' [ ! -e nothing ]
passes 'errors leave no directory behind' [ ! -e new ]
fails 'sample from nothing' 74 nothing -- "$bin" sample nothing
fails 'sample from an empty directory' 2 closed -- "$bin" sample closed
fails 'sample from a text' 4 text.txt -- "$bin" sample text.txt

tiny --out early --eval-only >out 2>err
is 'evaluation only' '0 1' "$? $(grep -c '^eval 0/' err)"
is 'evaluation only leaves nothing behind' '' "$(ls -d early 2>/dev/null)"

# A run on bytes goes on as a run on bytes, from a directory and from a text, without being told again.
"$bin" prepare text.txt --tokenizer byte -o bytes >out 2>err
for data in bytes 'text.txt --tokenizer byte'; do
  # shellcheck disable=SC2086
  tiny --data $data --max-iters 4 --out on-bytes --overwrite >out 2>err
  cp out first
  cp on-bytes/metrics.jsonl before
  "$bin" train --resume --out on-bytes --eval-only -t 1 >out 2>err
  is "evaluate the run on $data" '0 1' "$? $(grep -c '^eval 4/' err)"
  cmp -s before on-bytes/metrics.jsonl
  is "evaluating it writes nothing" 0 $?
  "$bin" train --resume --out on-bytes -t 1 >out 2>err
  is "resume on $data" "0 $(tail -n 1 first)" "$? $(tail -n 1 out)"
done

# GPT-2's tokenizer: the vocabulary is named once, then the run carries it.
fails 'gpt2 without a vocabulary' 2 --bpe -- "$bin" train --preset tiny --data text.txt --tokenizer gpt2 --out none
fails 'a vocabulary that is not there' 74 nowhere -- "$bin" prepare text.txt --bpe nowhere -o none
fails 'a vocabulary for characters' 2 gpt2 -- "$bin" prepare text.txt --bpe nowhere --tokenizer char -o none
fails 'a text for a vocabulary' 4 text.txt -- "$bin" prepare text.txt --bpe text.txt -o none
printf '#version: 0.2\nt h\nth e\n\304\240 the\n' >merges.txt
"$bin" prepare text.txt --bpe merges.txt -o gpt2-tokens >out 2>err
is 'prepare with merges' "0 1" "$? $(grep -c 'gpt2 vocabulary of 260' err)"
mkdir gpt2-bare && cp gpt2-tokens/train.bin gpt2-tokens/val.bin gpt2-bare
tiny --bpe merges.txt --max-iters 4 --out on-gpt2 >out 2>err
is 'train with merges' 0 $?
cp out first
mv merges.txt gone.txt
"$bin" train --resume --out on-gpt2 -t 1 >out 2>err
is 'resume without the merges' "0 $(tail -n 1 first)" "$? $(tail -n 1 out)"
train --data gpt2-tokens --max-iters 4 --eval-interval 4 --out on-tokens >out 2>err
is 'the same run from prepared tokens' "0 $(tail -n 1 first)" "$? $(tail -n 1 out)"
"$bin" sample on-gpt2 --prompt 'the <|endoftext|>' --max-new-tokens 20 >out 2>err
is 'sample without the merges' 0 $?
"$bin" eval on-gpt2 >out 2>err
is 'bits per byte' "0 1" "$? $(grep -c 'bits/byte' out)"
train --data gpt2-bare --max-iters 4 --eval-interval 4 --bpe gone.txt --out on-bare >out 2>err
is 'the same run from bare tokens' "0 $(tail -n 1 first)" "$? $(tail -n 1 out)"
fails 'a vocabulary for a run on bytes' 2 byte -- "$bin" sample on-bytes --bpe gone.txt

# A run that ended before its first checkpoint: what one message advises, the next one must not refuse.
mkdir early && echo '{}' >early/config.json
fails 'again into that directory' 2 early overwrite -- tiny --out early
fails 'resume without a checkpoint' 2 early overwrite -- "$bin" train --resume --out early
tiny --out early --overwrite >out 2>err
is 'overwrite it' 0 $?

# A run that diverges before and after its first checkpoint.
hot() {
  train --data text.txt --max-iters 200 --eval-interval "$1" --lr 1000 --min-lr 1000 --grad-clip 0 --out hot --overwrite
}
for interval in 100 1; do
  hot $interval >out 2>err
  is 'diverged' 3 $?
  is 'diverged: one error' 1 "$(grep -cE '^dd-cpu: error: training diverged (at|before) iteration ' err)"
  case $(find hot -name 'ckpt-*') in '') remedy=--overwrite ;; *) remedy='resume from ' ;; esac
  has "diverged: remedy" err "$remedy"
done

# Without --out a resume finds the directory that the run has made, however its text is spelled.
"$bin" prepare text.txt -o tokens >out 2>err
is 'prepare' 0 $?
for spelling in tokens tokens/ ./tokens "$tmp/tokens//"; do
  rm -rf runs
  train --max-iters 4 --eval-interval 2 --data "$spelling" >out 2>err
  train --max-iters 4 --eval-interval 2 --data "$spelling" --resume >out2 2>err
  is "resume with --data $spelling" 0 $?
  is "resume with --data $spelling: fingerprint" "$(tail -n 1 out)" "$(tail -n 1 out2)"
  is "resume with --data $spelling: one run" runs/tokens-fixed-s1337 "$(echo runs/*)"
done

# ---- resume with something else ----
fails 'resume with other data' 4 other.txt -- "$bin" train --resume --out run --data other.txt -t 1
fails 'resume with other layers' 4 n_layer 2 1 -- "$bin" train --resume --out run --n-layer 2
fails 'resume with other heads' 4 n_head 4 2 -- "$bin" train --resume --out run --n-head 4
fails 'resume with other channels' 4 n_embd 32 16 -- "$bin" train --resume --out run --n-embd 32
fails 'resume with another context' 4 block_size 8 16 -- "$bin" train --resume --out run --block-size 8
fails 'resume with another seed' 4 seed 1 1337 -- "$bin" train --resume --out run --seed 1
fails 'resume beyond the end' 2 12 10 -- "$bin" train --resume --out run --max-iters 10 -t 1
sed 's/e/a/' text.txt >moved.txt # one character of the very text changes
cp -R run changed && mv text.txt text.keep && cp moved.txt text.txt
fails 'resume after the text changed' 4 text.txt -- "$bin" train --resume --out changed -t 1
mv text.keep text.txt

# ---- damaged checkpoints ----
# patch FILE OFFSET: overwrite 4 bytes
patch() { printf 'XyZ!' | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null; }
damage() { # damage KIND FILE
  size=$(wc -c <"$2")
  case $1 in
    empty) : >"$2" ;;
    truncated) head -c $((size / 2)) "$2" >less && mv less "$2" ;;
    'without its last byte') head -c $((size - 1)) "$2" >less && mv less "$2" ;;
    'damaged in its header') patch "$2" 300 ;;
    'damaged in a weight') patch "$2" $((size * 2 / 5)) ;;
    'damaged in a moment') patch "$2" $((size - 1000)) ;;
    'of another format') cat text.txt >"$2" ;;
  esac
}
for kind in empty truncated 'without its last byte' 'of another format' \
  'damaged in its header' 'damaged in a weight' 'damaged in a moment'; do
  rm -rf hurt && cp -R run hurt
  damage "$kind" hurt/ckpt-0000012.safetensors
  "$bin" train --resume --out hurt -t 1 >out 2>err
  is "newest checkpoint $kind: exit code of a resume" 0 $?
  is "newest checkpoint $kind: fingerprint" "$(cat fingerprint)" "$(tail -n 1 out)"
  has "newest checkpoint $kind: warning" err 'dd-cpu: warning: '
  has "newest checkpoint $kind: it is named" err ckpt-0000012.safetensors
  rm -rf hurt && cp -R run hurt
  for f in hurt/ckpt-*; do damage "$kind" "$f"; done
  before=$(contents hurt)
  fails "all checkpoints $kind" 4 hurt/ckpt-0000008.safetensors -- "$bin" train --resume --out hurt -t 1
  is "all checkpoints $kind: nothing lost" "$before" "$(contents hurt)"
  [ "$kind" = 'damaged in a moment' ] || # which sample does not read
    fails "all checkpoints $kind: sample" 4 hurt/ckpt-00000 -- "$bin" sample hurt
done

# Inspect: facts as lines and as JSON, nothing written.
before=$(contents run)
"$bin" inspect run text.txt >out 2>err
is 'inspect: exit code' 0 $?
has 'inspect: heading' out 'run: run directory of dd-cpu'
has 'inspect: second file' out 'text.txt: UTF-8 text'
"$bin" inspect --json run/ckpt-0000012.safetensors latin.txt >out 2>err
is 'inspect, one unknown: exit code' 4 $?
has 'inspect: JSON' out '"kind":"checkpoint","facts":{"iteration":12'
has 'inspect, one unknown: error' err '1 of 2 could not be inspected; the first: latin.txt is of no kind that is known'
printf '\200\4\214\3a\0b\224.' >nul.pkl
"$bin" inspect --json nul.pkl >out 2>err
is 'inspect, a NUL in a text: exit code' 0 $?
has 'inspect, a NUL in a text: JSON' out '"value":"a\u0000b"'
is 'inspect: writes nothing' "$before" "$(contents run)"
fails 'inspect nothing' 2 'no file to inspect' -- "$bin" inspect
fails 'inspect what is not there' 74 'nosuch' -- "$bin" inspect nosuch
fails 'inspect an empty file' 4 'empty.txt is empty' -- "$bin" inspect empty.txt

# Verify: a line per file, exit code, nothing written.
before=$(contents run)
"$bin" verify run >out 2>err
is 'verify: exit code' 0 $?
has 'verify: checkpoint' out 'good  ckpt-0000012.safetensors  iteration 12'
has 'verify: verdict' out 'nothing is wrong'
"$bin" verify run --replay last -t 2 --json >out 2>err
is 'replay: exit code' 0 $?
has 'replay: JSON' out '"replay":[8,12]'
is 'verify: writes nothing' "$before" "$(contents run)"
rm -rf hurt && cp -R run hurt && damage 'damaged in a moment' hurt/ckpt-0000008.safetensors
"$bin" verify hurt >out 2>err
is 'verify, damaged: exit code' 4 $?
has 'verify, damaged: line' out 'BAD   ckpt-0000008.safetensors'
has 'verify, damaged: error' err 'checks of hurt failed; the first: ckpt-0000008.safetensors'
fails 'verify nothing' 2 'verify needs a run directory' -- "$bin" verify
fails 'verify what is not there' 74 'nosuch' -- "$bin" verify nosuch
fails 'replay of nonsense' 2 "'8-12'" '250..500' -- "$bin" verify run --replay 8-12
fails 'replay without its checkpoint' 2 'iteration 9 ' ': 8 12' -- "$bin" verify run --replay 9..12
# shellcheck disable=SC2016 # the inner shell expands it
fails 'strict resume' 4 hurt2/ckpt-0000012.safetensors -- sh -c '
  rm -rf hurt2 && cp -R run hurt2 && printf x >>hurt2/ckpt-0000012.safetensors &&
    "$1" train --resume --strict --out hurt2 -t 1' - "$bin"
rm -rf hurt && cp -R run hurt && echo nonsense >hurt/best
fails 'damaged pointer' 4 hurt/best -- "$bin" sample hurt
rm hurt/best && "$bin" sample hurt --max-new-tokens 5 >out 2>err
is 'without best, latest serves' 0 $?

# ---- nothing left behind ----
mkdir dry && cd dry || exit 1
"$bin" train --preset tiny --data ../text.txt -t 1 --dry-run >../out 2>../err
is 'dry run' 0 $?
"$bin" train --preset tiny --data ../text.txt -t 1 --dry-run --out new/run >../out 2>../err
is 'dry run with --out' 0 $?
cd .. && is 'a dry run leaves nothing behind' dry "$(find dry)"
has 'a dry run estimates' err 'estimate: '
is 'a dry run has no result' '' "$(cat out)"

# ---- help ----
"$bin" --help >out 2>err
is 'help' 0 $?
commands=$(sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' out)
is 'commands' 'train compare eval sample verify inspect prepare export schedules info bench report ' \
  "$(echo "$commands" | tr '\n' ' ')"
for c in $commands; do
  "$bin" "$c" --help >out 2>err
  is "$c --help" "0 Usage: dd-cpu $c" "$? $(head -n 1 out | cut -d ' ' -f 1-3)"
  is "$c --help: stderr" '' "$(cat err)"
  "$bin" help "$c" >out2 2>&1
  passes "help $c is $c --help" cmp -s out out2
done

# ---- schedules ----
"$bin" schedules >out 2>err
is 'schedules' 0 $?
is 'schedules: stderr' '' "$(cat err)"
names=$("$bin" train --help | sed -n '/^Schedules/,/^ *`/s/^  \([a-z-][a-z-]*\)  .*/\1/p')
is 'schedules: as many as there are' 16 "$(echo "$names" | wc -l | tr -d ' ')"
for n in $names; do
  passes "schedules: $n is listed" grep -qx "$n" out
  "$bin" schedules "$n" --max-iters 300 >one 2>err
  is "schedules $n" "0 $n" "$? $(head -n 1 one | cut -d : -f 1)"
  passes "schedules $n: ends at 300" grep -qE '^ *t = 0 +150 +300$' one
done
passes 'schedules: ASCII where the locale says nothing else' sh -c '! LC_ALL=C tr -d "\n -~" <out | grep -q .'
for columns in 60 80 200; do
  COLUMNS=$columns "$bin" schedules >out
  is "schedules: within $columns columns" '' "$(awk -v n=$columns 'length > n' out)"
done
LC_ALL=C.UTF-8 TERM=xterm "$bin" schedules linear --dropout 0.3 >out
has 'schedules: Braille where it is spoken' out "$(printf '\342\240\211')"
has 'schedules: the highest rate' out '   0.3 '
has 'schedules: values of settings' out 'dropout 0.3, dropout-final 0'
"$bin" schedules 'expr:pf + 0*gap' >out
has 'schedules: what a formula reads' out 'reads: dropout 0.2, dropout-final 0, dropout-expr pf + 0*gap, eval-interval'
"$bin" schedules late --dropout-cutoff 0.25 --max-iters 1024 --json >out
has 'schedules --json: before the cutoff' out '[248,0.0]'
has 'schedules --json: from the cutoff on' out '[256,0.20000000000000001]'
fails 'schedules: unknown' 2 "'linea'" "'linear'" -- "$bin" schedules linea
fails 'schedules: a formula that is none' 2 'column 3' -- "$bin" schedules 'expr:p0)'
fails 'schedules: no such table' 74 nosuch.csv -- "$bin" schedules table:nosuch.csv
fails 'schedules: option of training' 2 "'--lr'" train -- "$bin" schedules --lr 1

# ---- sites and tables ----
printf '0,0.1\n100%%,0.4\n' >rates.csv
tiny --out sites --overwrite --dropout-attn 0.1,late --dropout-mlp table --dropout-table rates.csv \
  --log-interval 6 >out 2>err
is 'sites' 0 $?
tail -n 1 out >whole
is 'sites: rates of the steps' '0.0 0.1 0.1 0.25 0.1 0.4 ' \
  "$(grep '"type":"step"' sites/metrics.jsonl | sed 's/.*"attn":\([0-9.]*\).*"mlp":\([0-9.]*\).*/\1 \2/' |
    awk '{ printf "%s %s ", substr($1, 1, 3), substr($2, 1, 4) }' | sed 's/0\.10/0.1/g; s/0\.40/0.4/g')"
is 'no rates of sites when there is one rate' 0 "$(grep -c '"rates"' run/metrics.jsonl)"
rm sites/ckpt-0000012.safetensors
printf 'ckpt-0000008.safetensors' >sites/latest
mkdir away
(cd away && "$bin" train --resume --out ../sites -t 1 -q) >out 2>err
is 'resume from another directory' "0 $(cat whole)" "$? $(tail -n 1 out)"
printf '0,0.1\n100%%,0.3\n' >rates.csv
fails 'resume with another table' 4 rates.csv 'not the table' -- "$bin" train --resume --out sites -t 1
printf '0,0.1\n100%%,0.4\n' >moved.csv
rm rates.csv
fails 'resume without the table' 74 rates.csv -- "$bin" train --resume --out sites -t 1
"$bin" train --resume --out sites --dropout-table moved.csv -t 1 -q >out 2>err
is 'resume with the table under another name' "0 $(cat whole)" "$? $(tail -n 1 out)"

# ---- a finished run ----
"$bin" sample run --max-new-tokens 40 --prompt the >out 2>err
is 'sample' 0 $?
is 'sample: prompt and tokens' 43 "$(wc -c <out | tr -d ' ')"
"$bin" sample run --max-new-tokens 40 --prompt the -t 3 >out2 2>err
passes 'sample: the same text with other threads' cmp -s out out2
"$bin" sample run/ckpt-0000008.safetensors --max-new-tokens 40 >out 2>err
is 'sample from a file' 0 $?
for format in f32 bf16 int8; do # 80 tokens: beyond the context of 32
  "$bin" sample run --max-new-tokens 80 --prompt the --weights $format >out 2>err
  is "sample: $format" 0 $?
  "$bin" sample run --max-new-tokens 80 --prompt the --weights $format --num-samples 3 -t 2 >out2 2>err
  is "sample: three of $format" "0 $((3 * 83 + 2 * 17))" "$? $(wc -c <out2 | tr -d ' ')"
  head -c 83 out2 >out3
  passes "sample: the first of three is the one alone, $format" cmp -s out out3
  is "sample: lines between three of $format" 2 "$(grep -c '^-----' out2)"
  "$bin" sample run --max-new-tokens 80 --prompt the --weights $format --num-samples 3 --tier scalar -t 1 >out3 2>err
  passes "sample: the same three on scalar, $format" cmp -s out2 out3
  "$bin" eval run --weights $format >loss-$format 2>err
  is "eval: $format" 0 $?
done
"$bin" sample run --max-new-tokens 80 --prompt the --overflow exact --num-samples 2 >out2 2>err
passes 'sample: exact is another text beyond the context' test "$(head -c 83 out)" != "$(head -c 83 out2)"
passes 'eval: int8 is not f32' test "$(cat loss-int8)" != "$(cat loss-f32)"
"$bin" eval run --weights int8 --tier scalar -t 3 >out 2>err
passes 'eval: int8 on scalar' cmp -s out loss-int8
"$bin" eval run >out 2>err
is 'eval' 0 $?
passes 'eval: f32 is the default' cmp -s out loss-f32
loss=$(grep '"type":"eval"' run/metrics.jsonl | tail -n 1 | sed 's/.*"best_val_loss":\([0-9.]*\).*/\1/' | cut -c 1-6)
has 'eval: the loss of the run' out "loss $loss"
"$bin" eval run --data other.txt --checkpoint latest >out 2>err
is 'eval of another text' 0 $?
"$bin" train --resume --out run -t 1 >out 2>err # nothing left to do, and it says the same
is 'resume of a finished run' "0 $(cat fingerprint)" "$? $(tail -n 1 out)"
kept=$(contents run)

# Started with its standard output closed by the reader, at once, or full.
{ "$bin" sample run --max-new-tokens 100000000 2>err; echo $? >rc; } | head -c 10 >out
is 'sample to a closed pipe' 74 "$(cat rc)"
is 'sample to a closed pipe: one error' 1 "$(grep -c '^dd-cpu: error: cannot write to standard output' err)"
to_nowhere() { "$@" >&-; }
to_full() { "$@" >/dev/full; }
fails 'sample to a closed stdout' 74 'standard output' -- to_nowhere "$bin" sample run --max-new-tokens 5
if [ -c /dev/full ]; then
  fails 'sample to a full disk' 74 'standard output' -- to_full "$bin" sample run --max-new-tokens 5
  fails 'help to a full disk' 74 'standard output' -- to_full "$bin" --help
fi

# ---- models out, and in as the beginning of a run ----
fails 'export: no run' 2 'needs a run directory' -- "$bin" export -o model
fails 'export: no place' 2 '--out' -- "$bin" export run --format hf
fails 'export: no such format' 2 'one of hf, nanogpt, gguf' -- "$bin" export run --format onnx -o model
for format in hf nanogpt gguf; do
  "$bin" export run --format $format -o model-$format >out 2>err
  is "export $format: exit code" 0 $?
  has "export $format: what was written" out "$format: "
  fails "export $format: there already" 2 'model-' '--overwrite' -- "$bin" export run --format $format -o model-$format
done
begin() { "$bin" train -q -t 1 --max-iters 4 --eval-interval 2 --batch-size 2 --warmup-iters 1 "$@"; }
for from in run run/ckpt-0000012.safetensors model-hf model-nanogpt/ckpt.pt; do
  begin --init-from $from --data text.txt -o "from $from" >out 2>err
  is "begin with $from" 0 $?
  is "begin with $from: iterations" 'done: 4 iterations' "$(sed -n 's/^\(done: 4 iterations\).*/\1/p' out)"
done
# A text of fewer characters gets the ids of the run; the same text, the same ids: one fingerprint however it goes on.
begin --init-from run --data other.txt -o fewer >out 2>err
is 'fewer characters' 0 $?
tail -n 1 out >want
begin --init-from run --data other.txt -o parts --auto-resume --max-iters 2 --lr-decay-iters 4 >out 2>err
begin --init-from run --data other.txt -o parts --auto-resume --lr-decay-iters 4 >out 2>err
is 'begun and gone on' "0 $(cat want)" "$? $(tail -n 1 out)"
"$bin" verify fewer --replay last >out 2>err
is 'verify a run that began with weights' 0 $?
"$bin" sample fewer --max-new-tokens 20 >out 2>err
is 'sample of it' 0 $?
printf 'Zebra %s' "$(cat text.txt)" >unknown.txt
fails 'a character that the weights do not know' 2 'U+005A' 'unknown.txt' -- begin --init-from run --data unknown.txt -o x
fails 'begin with nothing' 74 'nosuch' -- begin --init-from nosuch --data text.txt -o x
fails 'begin with a text' 4 'text.txt' -- begin --init-from text.txt --data text.txt -o x
fails 'begin with an empty directory' 2 'hollow' -- begin --init-from hollow --data text.txt -o x
fails 'begin with GGUF' 4 'model-gguf' -- begin --init-from model-gguf --data text.txt -o x
fails 'begin with a name of the Hub' 2 'not downloaded' -- begin --init-from gpt2 --data text.txt -o x
fails 'begin with another shape' 2 'n_layer' -- begin --init-from run --n-layer 2 --data text.txt -o x
head -c 3000 model-nanogpt/ckpt.pt >cut.pt
fails 'begin with a cut file' 4 'cut.pt' -- begin --init-from cut.pt --data text.txt -o x
passes 'nothing was begun' [ ! -e x ]

# ---- end ----
is 'the first run is still what it was' "$kept" "$(contents run)"
echo "$passed passed, $failed failed"
[ $failed = 0 ]
