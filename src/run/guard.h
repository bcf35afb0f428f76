/* The guard before every update: is this gradient fit to be applied? Its decisions follow from the data and the
 * settings alone, and its state is in every checkpoint, so that a run that skips or rolls back has the same bits
 * however often it was interrupted. */
#ifndef DD_RUN_GUARD_H
#define DD_RUN_GUARD_H
#include "run/settings.h"

enum { DD_GUARD_WINDOW = 128, DD_GUARD_LEAST = 32 }; /* gradient norms kept, and those needed to call one an outlier */

typedef struct dd_guard_state {
  int64_t updates;   /* made so far: t of AdamW's bias correction */
  int64_t skipped;   /* iterations without an update so far */
  int64_t in_row;    /* of those the last ones, without an update since */
  int64_t redraw;    /* rollbacks so far; addresses the batches, so that each rollback draws others */
  int64_t rollbacks; /* of those since the anchor */
  int64_t anchor;    /* iteration of the newest planned checkpoint, where a rollback goes; -1: none, the beginning */
  int64_t norms;     /* norms of updates seen; number i is in norm[i % DD_GUARD_WINDOW] (only with outlier_sigma) */
  double norm[DD_GUARD_WINDOW];
} dd_guard_state;

typedef enum dd_verdict {
  DD_FIT,
  DD_OUTLIER,   /* norm above mean + outlier_sigma standard deviations of the last DD_GUARD_WINDOW applied ones */
  DD_NOT_FINITE /* loss or norm is NaN or infinite, or AdamW's second moment could become so */
} dd_verdict;

/** norm: global, before clipping. *limit (may be NULL): the norm above which it would be an outlier, INFINITY: none. */
dd_verdict dd_guard_judge(const dd_settings *s, const dd_guard_state *g, double loss, double norm, double *limit);
/** After an update with a gradient of this norm. */
void dd_guard_applied(const dd_settings *s, dd_guard_state *g, double norm);
/** Instead of an update. */
void dd_guard_skipped(dd_guard_state *g);
#endif
