/* A report as text. Everything is read from the report's JSON (see analysis.h); what is missing there is left out. */
#ifndef DD_STUDY_TABLES_H
#define DD_STUDY_TABLES_H
#include "study/text.h"
#include "core/error.h"
#include <jansson.h>

/** GitHub Markdown: conclusions, results, comparisons, signs, runs, cost (apart from the results), notes. */
void dd_report_md(const json_t *report, dd_str *out);
/** One line per run under a line of names: group, schedule, seed, state, iter, the columns but those of cost,
 *  signatures, fingerprint, dir. No timing: equal grids give equal files. csv: RFC 4180 with CR LF; tsv: tabs and line
 *  feeds inside values become spaces. Reals read back to the same bits. */
void dd_report_csv(const json_t *report, dd_str *out);
void dd_report_tsv(const json_t *report, dd_str *out);
/** The whole report, indented, reals with 17 digits. */
void dd_report_json(const json_t *report, dd_str *out);
/** The file that `report` writes with these settings; "": none, the text goes to the caller. */
int dd_report_path(const dd_settings *s, char *path, size_t size, dd_error *err);
/** report.html, report.md and report.json in a study's directory. */
int dd_report_write(const json_t *report, const char *dir, dd_error *err);
/** Plain text for a terminal of `width` columns: results, comparison, conclusions. Lines are not longer (but for single
 *  words and tables of less than 60 columns). color: with ANSI colours. */
void dd_report_terminal(const json_t *report, int width, int color, dd_str *out);
#endif
