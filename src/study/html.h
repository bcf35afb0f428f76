/* The report for eyes: one HTML file that needs nothing else (no network; script and styles are allowed by their hashes
 * only), and its plots as SVG files. Input is report.json in memory; every key of it may be missing, and every text in
 * it is treated as hostile. The same report gives the same bytes. */
#ifndef DD_STUDY_HTML_H
#define DD_STUDY_HTML_H
#include "study/text.h"
#include <jansson.h>

/** The page, appended to out. DD_OK or DD_E_RUNTIME (no memory; out->failed is set). */
int dd_report_html(const json_t *report, dd_str *out);
/** Every plot as an SVG file of its own: DIR/GROUP-PLOT.svg, or DIR/PLOT.svg with one unnamed group. The directory is
 *  created. Existing files of those names are replaced. */
int dd_report_plots(const json_t *report, const char *dir, dd_error *err);
#endif
