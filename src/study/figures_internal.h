/* Between figures.c and forest.c. */
#ifndef DD_STUDY_FIGURES_INTERNAL_H
#define DD_STUDY_FIGURES_INTERNAL_H
#include "study/figures.h"

/** Style, background and title of a plot that stands alone; after dd_plot_open. */
void dd_figure_alone(dd_str *out, double width, double height, const char *title);
/** "FIGURE" or "FIGURE, GROUP". */
void dd_figure_group_title(dd_str *out, const dd_view *v, int group, const char *figure);
#endif
