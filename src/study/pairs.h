/* Schedules against the baseline of their group, seed by seed. */
#ifndef DD_STUDY_PAIRS_H
#define DD_STUDY_PAIRS_H
#include "study/groups.h"

/* Level of all tests. */
#define DD_ALPHA 0.05

/** Array of comparisons, one for each compared column of columns.def; every treatment but the baseline is a row.
 *  A difference is schedule - baseline at the same seed. Verdicts: "better" and "worse" when the permutation test of
 *  the mean stays below DD_ALPHA after Holm's correction over the rows; "too few" when it could not with so few pairs;
 *  else "undecided". Empty without a baseline; NULL: out of memory. */
json_t *dd_pairs_json(const dd_group *g);
#endif
