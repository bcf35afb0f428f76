/* Between the parts of the page: html.c (frame and sections), html_tables.c (tables). */
#ifndef DD_STUDY_HTML_INTERNAL_H
#define DD_STUDY_HTML_INTERNAL_H
#include "study/figures.h"

typedef struct dd_page {
  dd_str *out;
  const dd_view *view;
  int index; /* of the group */
  const json_t *group;
} dd_page;

/** <TAG>text</TAG>, text escaped; nothing when it is empty. */
void dd_page_element(dd_str *out, const char *tag, const char *class, const char *text);
/** Letter and name of a schedule, as row header. */
void dd_page_schedule(const dd_page *p, const char *cell, const char *name);
/** mean and sd of every column that is (cost) or is not of kind "cost"; false when there is none. */
bool dd_page_results(const dd_page *p, bool cost);
/** Statistics of one comparison. */
void dd_page_comparison(const dd_page *p, const json_t *comparison);
/** One row for each run. */
void dd_page_runs(const dd_page *p);
/** Means of a curve as numbers: one row per iteration, one column per schedule; false when there is none. */
bool dd_page_curve_values(const dd_page *p, const dd_figure *f);
/** Formula and meaning of each schedule. */
void dd_page_formulas(const dd_page *p);
/** Pairs of texts, or an object of texts, as a table. */
void dd_page_pairs(dd_str *out, const json_t *pairs, const char *caption);
#endif
