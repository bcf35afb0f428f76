/* What every part of the HTML report shares: reading report.json, in which any key may be missing or of another type,
 * and the look that a schedule has in all plots: a letter, a colour, a dash pattern. */
#ifndef DD_STUDY_VIEW_H
#define DD_STUDY_VIEW_H
#include "study/svg.h"
#include <jansson.h>
#include <stdbool.h>

/** Text of a key, "" when it is not there. Belongs to the object. */
const char *dd_view_text(const json_t *object, const char *key);
/** Number of a key, NAN when it is not there or null. */
double dd_view_number(const json_t *object, const char *key);
/** Number of a value, NAN when it is none. */
double dd_view_value(const json_t *value);
/** Integer of a key, `otherwise` when it is not there. */
int dd_view_int(const json_t *object, const char *key, int otherwise);
/** Array of a key; NULL, which jansson treats as empty, when it is not there. */
const json_t *dd_view_array(const json_t *object, const char *key);
/** The group's schedule of that name, or NULL. */
const json_t *dd_view_schedule(const json_t *group, const char *name);
/** The column of that key, or NULL. */
const json_t *dd_view_column(const json_t *report, const char *key);

/* Colours, X(variable, light, dark): text has a contrast of 4.5 to the background, lines of 3. c0 is the baseline. */
#define DD_THEME(X)                                                                                                    \
  X("bg", "#ffffff", "#14171c")                                                                                        \
  X("panel", "#f5f6f8", "#1d2128")                                                                                     \
  X("ink", "#15181d", "#e8eaee")                                                                                       \
  X("soft", "#555c68", "#a4adba")                                                                                      \
  X("line", "#d5d9e0", "#3a414d")                                                                                      \
  X("grid", "#e4e7ec", "#2b313b")                                                                                      \
  X("zero", "#767e8b", "#7f8897")                                                                                      \
  X("accent", "#0b5fa5", "#6cb6ff")                                                                                    \
  X("tint", "#e3f0e4", "#1f3a2a")                                                                                      \
  X("good", "#12692f", "#6fd08c")                                                                                      \
  X("bad", "#a3231f", "#ff9a92")                                                                                       \
  X("alert", "#fdf3dc", "#3a2f14")                                                                                     \
  X("edge", "#b27a00", "#d6a536")                                                                                      \
  X("c0", "#15181d", "#f2f4f7")                                                                                        \
  X("c1", "#0068b5", "#58b0ff")                                                                                        \
  X("c2", "#b54600", "#ff9350")                                                                                        \
  X("c3", "#00795a", "#38cfa0")                                                                                        \
  X("c4", "#b23a8c", "#f28bd0")                                                                                        \
  X("c5", "#7d6400", "#dcc03e")                                                                                        \
  X("c6", "#5b3fc4", "#b5a0ff")                                                                                        \
  X("c7", "#087286", "#5cd8ec")                                                                                        \
  X("c8", "#a11f3a", "#ff8594")
enum { DD_COLOURS = 8, DD_DASHES = 4 };

typedef struct dd_view {
  const json_t *report;
  json_t *names; /* name of a schedule -> its number, in the order in which groups mention them */
  json_t *bases; /* names of baselines */
} dd_view;

/** DD_E_RUNTIME when memory runs out. The report must outlive the view. */
int dd_view_init(dd_view *v, const json_t *report, dd_error *err);
void dd_view_free(dd_view *v);

typedef struct dd_look {
  int number;      /* of the schedule, from 0, the same in all groups */
  int colour;      /* 0: baseline, else 1 .. DD_COLOURS */
  int dash;        /* 0: solid .. DD_DASHES - 1 */
  char letter[12]; /* A .. Z, AA .. */
} dd_look;
dd_look dd_view_look(const dd_view *v, const char *schedule);
const json_t *dd_view_group(const dd_view *v, int group);

/** A curve of report.json: n points, missing values are NAN. */
typedef struct dd_curve {
  int n, seeds;
  double *x, *mean, *lo, *hi; /* one allocation, x */
} dd_curve;
/** False (and an empty curve) when there is nothing to draw, or no memory: then *failed is set. "val_diff" is the
 *  validation loss minus that of the baseline, of the means, where both have an evaluation. */
bool dd_curve_read(dd_curve *c, const json_t *group, const json_t *schedule, const char *name, int *failed);
void dd_curve_free(dd_curve *c);
#endif
