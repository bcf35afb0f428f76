/* From directories to the report: everything that tables, pages and plots show, as one JSON object. */
#ifndef DD_STUDY_ANALYSIS_H
#define DD_STUDY_ANALYSIS_H
#include "run/settings.h"

/** Analyse n directories (see load.h); of s the baseline is read. *report is a new object (json_decref). The values in
 *  it follow from the runs alone, but for columns of kind "cost" and the member "cost".
 *
 *  report: program, version, numerics, title, command (one call per line, or null), sources[], columns[], groups[],
 *          cost (or null), machine{}, notes[], warnings[]
 *  column: key, label, unit, kind, better, digits, help (columns.def)
 *  group:  label, baseline, settings[[name, value]], schedules[], comparisons[] (pairs.h), conclusions[]
 *  schedule: name, formula, help, planned, finished, columns{key: {n, mean, sd, min, max}} of finished runs,
 *          signatures[{name, runs, text}], curves{} (curves.h), runs[]
 *  run:    seed (text), dir, state, why, iter (or null), fingerprint, columns{key: value}, signatures[{name, since,
 *          text}]
 *  Numbers that are not known are null. cb, which may be NULL, is asked whether to stop. DD_E_USAGE, DD_E_IO: a
 *  directory holds no run, or no run has the baseline. */
int dd_study_analyse(const char *const *dirs, int n, const dd_settings *s, const dd_callbacks *cb, json_t **report,
                     dd_error *err);
#endif
