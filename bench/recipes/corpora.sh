#!/bin/sh
# Does the order of the schedules hold on other texts? (open question 3 of arXiv 2411.03236, first part)
#
#   bench/recipes/corpora.sh [OPTION OF dd-cpu compare]...
#
# The paper's five schedules on two further corpora: the King James Bible (4 MB, from a Debian package) and enwik8
# (100 MB, fetched). On 100 MB the paper's 5000 iterations are less than one pass, so nothing overfits there: a
# schedule that wins on Shakespeare by fighting overfitting should not win. Results: studies/corpora/.

# shellcheck source=bench/recipes/common.sh
. "$(dirname "$0")/common.sh"
study corpora --grid 'data=kjv,enwik8' --seeds 8 --data kjv "$@"
