#!/bin/sh
# Which schedule gives the model that does best on a text of another kind? (open question 3 of arXiv 2411.03236, third
# part)
#
#   bench/recipes/transfer.sh [OPTION OF dd-cpu compare]...
#
# Trains on bytes of Shakespeare, so that any text can be read, and evaluates the best checkpoint of every run on the
# King James Bible (or OTHER=FILE): losses.tsv has a row per run, and the table at the end mean, standard deviation and
# the mean difference to the fixed rate of the same seeds. Results: studies/transfer/.

# shellcheck source=bench/recipes/common.sh
. "$(dirname "$0")/common.sh"
other=${OTHER:-kjv}
study bytes --tokenizer byte --seeds 8 "$@"
table=studies/$recipe/losses.tsv
printf 'schedule\tseed\tloss\n' >"$table"
for run in "studies/$recipe/bytes/runs"/*; do
  cell=${run##*/}
  loss=$("$dd_cpu" eval "$run" --data "$other" --json --quiet | sed -n 's/.*"loss":\([0-9.e+-]*\).*/\1/p')
  [ -n "$loss" ] && printf '%s\t%s\t%s\n' "${cell%-s*}" "${cell##*-s}" "$loss" >>"$table"
done
awk -F '\t' -v other="$other" '
  NR > 1 { n[$1]++; sum[$1] += $3; square[$1] += $3 * $3; loss[$1, $2] = $3; seed[$2] }
  END {
    printf "loss on %s\n%-30s %4s %8s %8s %18s\n", other, "schedule", "runs", "mean", "sd", "mean minus fixed"
    for (s in n) {
      pairs = 0; difference = 0
      for (k in seed)
        if ((s, k) in loss && ("fixed", k) in loss) { pairs++; difference += loss[s, k] - loss["fixed", k] }
      variance = n[s] > 1 ? (square[s] - sum[s] * sum[s] / n[s]) / (n[s] - 1) : 0
      printf "%-30s %4d %8.4f %8.4f %18s\n", s, n[s], sum[s] / n[s], sqrt(variance > 0 ? variance : 0),
             pairs ? sprintf("%+.4f", difference / pairs) : "-" | "sort"
    }
  }' "$table"
