#!/bin/sh
# Does the order of the schedules hold for a deeper model? (open question 3 of arXiv 2411.03236, second part)
#
#   bench/recipes/depth.sh [OPTION OF dd-cpu compare]...
#
# The paper's five schedules with 6 and with 12 layers, and with the rate scaled by depth. Results: studies/depth/.

# shellcheck source=bench/recipes/common.sh
. "$(dirname "$0")/common.sh"
study layers --grid 'n_layer=6,12' --seeds 8 "$@"
study rate-by-depth --grid 'n_layer=12;dropout_depth=flat,linear' --seeds 8 "$@"
