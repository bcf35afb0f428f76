#!/bin/sh
# How far, how fast and from where should the rate fall? (open question 1 of arXiv 2411.03236: sensitivity to the decay)
#
#   bench/recipes/decay.sh [OPTION OF dd-cpu compare]...
#
# Sweeps the start p0 and the end pf of the decaying schedules beside the fixed rate and their rising mirror image.
# A group of the report is one p0; ten seeds, because fewer cannot show a difference among twelve schedules. That is 390
# runs; on a small machine give `--preset small --train-fraction 0.02 --max-iters 1500`. Results: studies/decay/.

# shellcheck source=bench/recipes/common.sh
. "$(dirname "$0")/common.sh"
study start-and-end --schedules fixed,linear,exponential,cosine,linear-rise \
  --grid 'dropout=0.1,0.2,0.4;dropout_final=0.01,0.05,0.1' --seeds 10 "$@"
