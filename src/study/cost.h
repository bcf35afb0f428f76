/* What a study measures once for all its runs: the price of dropout in a training step, and the speed of generation,
 * which no dropout schedule can change. */
#ifndef DD_STUDY_COST_H
#define DD_STUDY_COST_H
#include "run/settings.h"

/** Measure with all threads and write DIR/measured.json; nothing when it is there or no run is finished yet. vocab: V.
 *  A measurement that fails is a warning. DD_E_STOPPED when asked for, DD_E_IO when the file cannot be written. */
int dd_cost_measure(const char *dir, const dd_settings *s, int vocab, const dd_callbacks *cb, dd_error *err);
#endif
