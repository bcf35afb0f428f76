#!/bin/sh
# `dd-cpu bench` on the smallest model: every subject gives its rows, the JSON reads back, bad input is refused. Figures
# are not looked at.
#   bench_test.sh PATH-OF-DD-CPU PEERS
set -u
# shellcheck source-path=SCRIPTDIR source=checks.sh
. "$(dirname "$0")/checks.sh"
bin=${1:?usage: bench_test.sh PATH-OF-DD-CPU PEERS} peers=${2:-none}
unset DD_TIER OMP_NUM_THREADS SLURM_CPUS_PER_TASK
if ! "$bin" --version >/dev/null 2>&1; then
  echo "skipped: $bin cannot be run on this machine"
  exit 77
fi
tmp=$(mktemp -d "${TMPDIR:-/tmp}/dd bench.XXXXXX") || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
case $bin in /*) ;; *) bin=$PWD/$bin ;; esac
cd "$tmp" || exit 1

fails() { # fails CODE PART ARGUMENT...: exit code, nothing on stdout, one error line with the part
  code=$1 part=$2
  shift 2
  "$bin" bench "$@" >out 2>err
  rc=$?
  check "exit code of bench $*" test "$rc" = "$code"
  check "stdout of bench $*" test ! -s out
  grep "^dd-cpu: error: " err >line
  check "message of bench $*" grep -qF -e "$part" line
}
none() { ! grep -E "$@"; } # none PATTERN FILE
quick() { "$bin" bench --quick --preset tiny --repeats 1 --peers "$peers" "$@"; }

# ---- every subject, two threads, once ----
quick ceilings kernels products step generate scaling schedules -t 2 --json new.json >out 2>err
check 'exit code' test $? = 0
for line in 'machine: ' 'build:   ' ', 2 threads' 'kernels: tiny' 'products: tiny' 'step: tiny' \
  'generate: tiny' 'scaling: tiny' 'iteration, cosine' 'multiply-add with loads' 'barrier' 'layernorm 32 DRAM' 'softmax 32 L2' \
  'adamw DRAM' 'creation and first step' \
  "y = x W' 128x32x65" "dW = dy' x, worst of limit" 'step, dropout 0.2' 'price of dropout 0.2' 'matmul dx' \
  'tile in the first cache' "matmul dW = dy' x, products" 'attention backward, products' \
  'memory, predicted' 'tokens' 'speedup, 2 threads' 'of the tile alone, 2 threads' \
  '128 cores, finer tasks' 'modelled' 'during the run: others kept'; do
  check "a line with: $line" grep -qF -e "$line" out
done
check 'no line above 100 columns' none '^.{101,}' out
check 'no figure missing' none 'dd-cpu .* (nan|inf|-) ' out
check 'JSON names its format' grep -q '"format": "dd-cpu bench"' new.json
check 'rows of all subjects' test "$(grep -o '"subject": "[a-z]*"' new.json | sort -u | wc -l)" = 7

# ---- compared with itself, JSON to stdout ----
quick step -t 1 --json a.json >out 2>err
check 'exit code, step' test $? = 0
quick step -t 1 --compare a.json >out 2>err
check 'exit code, compare' test $? = 0
check 'all rows are found again' grep -qE '^[0-9]+ better, [0-9]+ worse, 0 new, 0 missing$' out
quick step -t 2 --compare new.json >out 2>err
check 'rows of other subjects are missing' grep -qE ' 0 new, [1-9][0-9]* missing$' out
quick generate -t 1 --json - >out 2>err
check 'one line of JSON alone on stdout' test "$(wc -l <out) $(grep -c '^{.*}$' out)" = '1 1'

# ---- bad input ----
fails 2 "did you mean 'kernels'?" kernel
fails 2 "unknown subject 'all'" all
fails 2 'preset must be one of' --preset huge
fails 2 'threads must be' -t 0
fails 2 'repeats must be' --repeats x
fails 2 "not 'mkl'" --peers mkl
fails 2 'mmx' --tier mmx
fails 74 "nosuch.json" --compare nosuch.json
echo '{"a": 1}' >foreign.json
fails 4 'foreign.json is no result of' --compare foreign.json
echo 'text' >text.json
fails 4 'text.json is not JSON' --compare text.json
quick generate -t 1 --json no/such/directory.json >out 2>err
check 'JSON that cannot be written' test $? = 74

echo "$passed passed, $failed failed"
[ $failed = 0 ]
