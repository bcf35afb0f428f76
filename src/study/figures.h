/* The plots of a report as SVG. In a page they take colours from the page; a plot that stands alone brings style,
 * background, title and legend with it. Every schedule is one <g data-s="number of its look">. */
#ifndef DD_STUDY_FIGURES_H
#define DD_STUDY_FIGURES_H
#include "study/view.h"

/* Curves, X(key, title, unit, decimals, what it shows). Keys are those of report.json; val_diff is derived. */
#define DD_FIGURE_CURVES(X)                                                                                            \
  X("val_loss", "Validation loss", "nats/token", 4, "Loss on the validation data, dropout off: mean over seeds.")      \
  X("val_diff", "Validation loss minus baseline", "nats/token", 4,                                                     \
    "Difference of the mean curves; below zero is better than the baseline.")                                          \
  X("train_loss", "Training loss, dropout off", "nats/token", 4,                                                       \
    "Loss on training data as an evaluation measures it, dropout off: mean over seeds.")                               \
  X("gap", "Gap: validation minus training loss", "nats/token", 4,                                                     \
    "How much worse the model is on text that it was not trained on; a gap that grows is overfitting.")                \
  X("rate", "Dropout rate", "probability", 4, "The rate that training used, over iterations.")                         \
  X("loss", "Loss of the mini-batches", "nats/token", 4,                                                               \
    "Training loss as the steps saw it, with dropout on, so it is above the training loss with dropout off.")

typedef struct dd_figure {
  const char *key, *title, *unit;
  int digits;
  const char *help;
} dd_figure;
/** i-th row of DD_FIGURE_CURVES, NULL after the last. */
const dd_figure *dd_figure_at(int i);

/** Each writes one <svg> and returns true, or writes nothing and returns false when there is nothing to draw.
 *  alone: for a file of its own. */
bool dd_figure_curve(dd_str *out, const dd_view *v, int group, const dd_figure *f, bool alone);
/** Paired differences to the baseline: mean, 95 % interval, a dot for each seed. */
bool dd_figure_forest(dd_str *out, const dd_view *v, int group, int comparison, bool alone);
/** One schedule: validation loss with its band, training loss, and the baseline behind. Same scales in a group. */
bool dd_figure_panel(dd_str *out, const dd_view *v, int group, int schedule);
/** All panels of a group in one file. */
bool dd_figure_panels(dd_str *out, const dd_view *v, int group);

/** Line sample of a schedule, 34 x 12 units: an <svg> that readers of the screen skip. */
void dd_figure_key(dd_str *out, const dd_look *look);
/** The style sheet of plots with every var(--x) replaced by its colour in the light theme. */
void dd_figure_css(dd_str *out);
/** The report's words for where a difference is better: +1 higher, -1 lower, 0 not said. */
int dd_figure_better(const dd_view *v, const json_t *comparison);
#endif
