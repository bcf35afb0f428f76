#!/bin/sh
# Which step, patience and bounds does the validation-driven schedule need? (open question 2 of arXiv 2411.03236; the
# paper gives none of them)
#
#   bench/recipes/val-loss.sh [OPTION OF dd-cpu compare]...
#
# The report compares every variant with the fixed rate, seed by seed. Results: studies/val-loss/.

# shellcheck source=bench/recipes/common.sh
. "$(dirname "$0")/common.sh"
study step-and-patience --schedules fixed,val-loss --grid 'dropout_step=0.005,0.01,0.02,0.05;val_patience=1,3' \
  --seeds 10 "$@"
study bounds --schedules fixed,val-loss --grid 'dropout_min=0,0.1;dropout_max=0.2,0.3,0.5' --seeds 10 "$@"
study rule --schedules fixed,val-loss --grid 'val_compare=best,prev;val_min_delta=0,0.005' --seeds 10 "$@"
