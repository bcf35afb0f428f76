/* Curves of a treatment over its seeds, as the report has them. */
#ifndef DD_STUDY_CURVES_H
#define DD_STUDY_CURVES_H
#include "study/groups.h"

/* Points of a curve: of evaluations, which are few, and of mini-batches. */
enum { DD_CURVE_EVALS = 1000, DD_CURVE_STEPS = 200 };

/** Object of val_loss, train_loss, gap (evaluations), rate and loss (records of mini-batches), each with mean, smallest
 *  and largest value over the runs, at the iterations that all of them have. The finished runs; while none is
 *  finished, those with any record. NULL: out of memory. */
json_t *dd_curves_json(const dd_treatment *t);
#endif
