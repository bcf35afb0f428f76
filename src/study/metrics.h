/* Reader of metrics.jsonl: line by line in bounded memory, whatever the lines hold. */
#ifndef DD_STUDY_METRICS_H
#define DD_STUDY_METRICS_H
#include "study/runs.h"

typedef struct dd_metrics_end { /* how the file ends */
  bool missing;       /* there is no such file */
  bool torn;          /* the last line is cut */
  bool diverged;      /* the last record says so */
  bool too_many;      /* more evaluations than DD_RUN_EVALS_MOST */
  int64_t diverged_at;
} dd_metrics_end;

/** Curves, last iteration, fingerprint and number of bad lines into run (max_iters is known there). A record that goes
 *  back in iterations replaces what is not before it, as after a resume. DD_E_IO: cannot be read. */
int dd_study_metrics_read(const char *path, dd_study_run *run, dd_metrics_end *end, dd_error *err);
#endif
