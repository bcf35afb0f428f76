/* The dropout rates of a run: the schedule that all sites follow, schedules of sites of their own, and how rates change
 * with depth. */
#ifndef DD_RUN_RATES_H
#define DD_RUN_RATES_H
#include "model/model.h"
#include "model/schedule.h"
#include "run/settings.h"

typedef struct dd_rates {
  dd_schedule all, site[DD_SITES];
  enum { DD_RATE_FOLLOWS, DD_RATE_OWN, DD_RATE_STAYS } mode[DD_SITES]; /* the schedule of all, its own, at p0 */
  bool varies;                /* sites need not have one rate */
  dd_points *points[1 + DD_SITES];
  dd_expr *expr[1 + DD_SITES];
  dd_points *table;           /* one file for all, or NULL */
  char table_hash[33];        /* XXH3-128 of its bytes, "" without */
  double *depth;              /* [n_layer] factors */
  bool asks;                  /* some schedule is `callback` */
  char name[1 + DD_SITES][64]; /* of those: what it was chosen by */
} dd_rates;

/** All schedules see the same evaluations, so that sites have but a rate of their own. */
typedef struct dd_rates_state {
  dd_schedule_state all;
  double site_p[DD_SITES]; /* in a checkpoint: below 0, not known */
} dd_rates_state;

/** Schedules of settings that passed dd_settings_check. Reads dropout_table if a schedule wants it. */
int dd_rates_create(dd_rates **out, const dd_settings *s, dd_error *err);
void dd_rates_destroy(dd_rates *r); /* accepts NULL */
/** Whom schedule `callback` asks; cb (may be NULL) is borrowed. DD_E_USAGE when settings and caller do not agree on
 *  whether there is such a function. */
int dd_rates_set_callbacks(dd_rates *r, const dd_callbacks *cb, dd_error *err);
/** The numbers of one schedule; points and expr are left NULL. */
void dd_rates_schedule(dd_schedule *out, const dd_settings *s, enum dd_schedule_id id, double p0);

void dd_rates_start(const dd_rates *r, dd_rates_state *st);
/** Complete a state that came from a checkpoint: what it does not say begins now. */
void dd_rates_resume(const dd_rates *r, dd_rates_state *st);
/** Rates of iteration t: *out (may be NULL) is valid as long as r; returns that of the schedule of all. NaN where a
 *  callback gave it. */
double dd_rates_at(const dd_rates *r, const dd_rates_state *st, int64_t t, dd_dropout_rates *out);
void dd_rates_observe(const dd_rates *r, dd_rates_state *st, double train_loss, double val_loss);
#endif
