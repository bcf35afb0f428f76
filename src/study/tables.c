#include "study/tables.h"
#include "study/numbers.h"
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *text_of(const json_t *o, const char *key) {
  const char *s = json_string_value(json_object_get(o, key));
  return s ? s : "";
}
static double value_of(const json_t *o, const char *key) { return dd_json_value(json_object_get(o, key)); }
static int digits_of(const json_t *o) { return (int)json_integer_value(json_object_get(o, "digits")); }
static int is_cost(const json_t *column) { return !strcmp(text_of(column, "kind"), "cost"); }

/* ---- Markdown ---- */

/* What Markdown or HTML would take for its own; an underline inside a word is none of it. */
static void md_text(dd_str *s, const char *text) {
  for (const char *p = text; *p; p++) {
    const int inside = *p == '_' && p > text && isalnum((unsigned char)p[-1]) && isalnum((unsigned char)p[1]);
    if (!inside && strchr("\\`*_[]<>|#~", *p)) dd_str_append(s, "\\", 1);
    dd_str_append(s, *p == '\n' ? " " : p, 1);
  }
}

static void md_sentences(dd_str *s, const char *title, const json_t *list) {
  const json_t *v;
  size_t i;
  if (!json_array_size(list)) return;
  if (title) dd_str_printf(s, "\n### %s\n\n", title);
  else dd_str_puts(s, "\n");
  json_array_foreach(list, i, v) {
    dd_str_puts(s, "- ");
    md_text(s, json_string_value(v) ? json_string_value(v) : "");
    dd_str_puts(s, "\n");
  }
}

static void md_summary(dd_str *s, const json_t *summary, int digits) {
  const double sd = value_of(summary, "sd");
  dd_str_puts(s, dd_fixed(value_of(summary, "mean"), digits).s);
  if (isfinite(sd)) dd_str_printf(s, " ± %s", dd_fixed(sd, digits).s);
}

/* Means of the columns that are of cost, or of those that are not. */
static void md_means(dd_str *s, const json_t *report, const json_t *group, int cost) {
  const json_t *columns = json_object_get(report, "columns"), *c, *schedule;
  size_t i, k;
  dd_str_puts(s, "| schedule | finished |");
  json_array_foreach(columns, i, c)
    if (is_cost(c) == cost) {
      const char *unit = text_of(c, "unit");
      dd_str_printf(s, " %s%s%s |", text_of(c, "label"), cost && *unit ? ", " : "", cost ? unit : "");
    }
  dd_str_puts(s, "\n|---|---|");
  json_array_foreach(columns, i, c)
    if (is_cost(c) == cost) dd_str_puts(s, "---|");
  json_array_foreach(json_object_get(group, "schedules"), k, schedule) {
    dd_str_puts(s, "\n| ");
    md_text(s, text_of(schedule, "name"));
    dd_str_printf(s, " | %s of %s |", dd_fixed(value_of(schedule, "finished"), 0).s,
                  dd_fixed(value_of(schedule, "planned"), 0).s);
    json_array_foreach(columns, i, c) {
      if (is_cost(c) != cost) continue;
      dd_str_puts(s, " ");
      md_summary(s, json_object_get(json_object_get(schedule, "columns"), text_of(c, "key")), digits_of(c));
      dd_str_puts(s, " |");
    }
  }
  dd_str_puts(s, "\n");
}

static void md_comparison(dd_str *s, const json_t *comparison) {
  const json_t *row;
  size_t i;
  const int digits = digits_of(comparison);
  if (!json_array_size(json_object_get(comparison, "rows"))) return;
  dd_str_printf(s, "\n%s (%s):\n\n", text_of(comparison, "label"), text_of(comparison, "unit"));
  dd_str_puts(s, "| schedule | seeds | mean difference | 95 % interval | bootstrap | p (permutation) | p (Holm) | "
                 "p (t) | p (sign) | lower, equal, higher | seeds needed | verdict |\n"
                 "|---|---|---|---|---|---|---|---|---|---|---|---|\n");
  json_array_foreach(json_object_get(comparison, "rows"), i, row) {
    dd_str_puts(s, "| ");
    md_text(s, text_of(row, "schedule"));
    dd_str_printf(s, " | %s | %s |", dd_fixed(value_of(row, "n"), 0).s, dd_signed(value_of(row, "mean"), digits).s);
    dd_str_printf(s, " %s to %s | %s to %s |", dd_signed(value_of(row, "t_lo"), digits).s,
                  dd_signed(value_of(row, "t_hi"), digits).s, dd_signed(value_of(row, "boot_lo"), digits).s,
                  dd_signed(value_of(row, "boot_hi"), digits).s);
    dd_str_printf(s, " %s%s | %s | %s | %s |", dd_p_cell(value_of(row, "perm_p")).s,
                  json_is_true(json_object_get(row, "perm_exact")) ? "" : " (drawn)",
                  dd_p_cell(value_of(row, "holm_p")).s, dd_p_cell(value_of(row, "t_p")).s,
                  dd_p_cell(value_of(row, "sign_p")).s);
    dd_str_printf(s, " %s, %s, %s | %s | ", dd_fixed(value_of(row, "wins"), 0).s, dd_fixed(value_of(row, "ties"), 0).s,
                  dd_fixed(value_of(row, "losses"), 0).s, dd_fixed(value_of(row, "seeds_needed"), 0).s);
    md_text(s, text_of(row, "verdict"));
    dd_str_puts(s, " |\n");
  }
  dd_str_puts(s, "\n");
  md_text(s, text_of(json_object_get(comparison, "pairing"), "text"));
  dd_str_puts(s, ".\n");
}

static void md_signs(dd_str *s, const json_t *group) {
  const json_t *schedule, *sign;
  size_t i, k;
  int any = 0;
  json_array_foreach(json_object_get(group, "schedules"), i, schedule)
    json_array_foreach(json_object_get(schedule, "signatures"), k, sign) {
      if (!any++) dd_str_puts(s, "\n### Signs\n\n");
      dd_str_puts(s, "- ");
      md_text(s, text_of(schedule, "name"));
      dd_str_puts(s, ": ");
      md_text(s, text_of(sign, "text"));
      dd_str_puts(s, "\n");
    }
}

static void md_runs(dd_str *s, const json_t *group) {
  const json_t *schedule, *run;
  size_t i, k;
  dd_str_puts(s, "\n### Runs\n\n| schedule | seed | state | best val loss | final val loss | fingerprint |\n"
                 "|---|---|---|---|---|---|\n");
  json_array_foreach(json_object_get(group, "schedules"), i, schedule)
    json_array_foreach(json_object_get(schedule, "runs"), k, run) {
      const json_t *columns = json_object_get(run, "columns");
      dd_str_puts(s, "| ");
      md_text(s, text_of(schedule, "name"));
      dd_str_printf(s, " | %s | %s", text_of(run, "seed"), text_of(run, "state"));
      if (*text_of(run, "why")) {
        dd_str_puts(s, ": ");
        md_text(s, text_of(run, "why"));
      }
      dd_str_printf(s, " | %s | %s | `%s` |\n", dd_fixed(value_of(columns, "best_val_loss"), 4).s,
                    dd_fixed(value_of(columns, "val_loss"), 4).s, text_of(run, "fingerprint"));
    }
}

static void md_group(dd_str *s, const json_t *report, const json_t *group) {
  const json_t *list = json_object_get(group, "comparisons"), *v;
  size_t i;
  dd_str_puts(s, "\n## ");
  md_text(s, *text_of(group, "label") ? text_of(group, "label") : "Results");
  dd_str_puts(s, "\n");
  md_sentences(s, NULL, json_object_get(group, "conclusions"));
  dd_str_puts(s, "\n### Means ± standard deviation\n\n");
  md_means(s, report, group, 0);
  if (json_array_size(json_object_get(json_array_get(list, 0), "rows"))) {
    dd_str_puts(s, "\n### Differences from ");
    md_text(s, text_of(group, "baseline"));
    dd_str_puts(s, "\n");
  }
  json_array_foreach(list, i, v) md_comparison(s, v);
  md_signs(s, group);
  md_runs(s, group);
  dd_str_puts(s, "\nSettings:");
  json_array_foreach(json_object_get(group, "settings"), i, v) {
    dd_str_puts(s, i ? ", " : " ");
    md_text(s, json_string_value(json_array_get(v, 0)));
    dd_str_puts(s, "=");
    md_text(s, json_string_value(json_array_get(v, 1)));
  }
  dd_str_puts(s, "\n");
}

static void md_cost(dd_str *s, const json_t *report) {
  const json_t *groups = json_object_get(report, "groups"), *cost = json_object_get(report, "cost"), *group;
  const json_t *machine = json_object_get(report, "machine");
  size_t i;
  dd_str_puts(s, "\n## Cost\n");
  json_array_foreach(groups, i, group) {
    if (*text_of(group, "label")) {
      dd_str_puts(s, "\n");
      md_text(s, text_of(group, "label"));
      dd_str_puts(s, ":\n");
    }
    dd_str_puts(s, "\n");
    md_means(s, report, group, 1);
  }
  static const char *const keys[] = {"text", "generation_text"};
  for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
    if (*text_of(cost, keys[k])) {
      dd_str_puts(s, "\n");
      md_text(s, text_of(cost, keys[k]));
      dd_str_puts(s, "\n");
    }
  dd_str_puts(s, "\nMachine: ");
  md_text(s, text_of(machine, "cpu"));
  dd_str_printf(s, ", tier %s, %s threads.\n", text_of(machine, "tier"), text_of(machine, "threads"));
}

void dd_report_md(const json_t *report, dd_str *s) {
  const json_t *group, *c;
  size_t i;
  dd_str_puts(s, "# Dropout schedules on ");
  md_text(s, text_of(report, "title"));
  dd_str_puts(s, "\n");
  for (const char *p = text_of(report, "command"); *p; p += strcspn(p, "\n"), p += *p == '\n') /* calls, a line each */
    dd_str_printf(s, "%s    %.*s\n", p == text_of(report, "command") ? "\n" : "", (int)strcspn(p, "\n"), p);
  if (json_array_size(json_object_get(report, "warnings"))) dd_str_puts(s, "\n## Warnings\n");
  md_sentences(s, NULL, json_object_get(report, "warnings"));
  if (!json_array_size(json_object_get(report, "groups"))) dd_str_puts(s, "\nNo run could be read.\n");
  json_array_foreach(json_object_get(report, "groups"), i, group) md_group(s, report, group);
  if (json_array_size(json_object_get(report, "groups"))) md_cost(s, report);
  dd_str_puts(s, "\n## How to read it\n\n");
  json_array_foreach(json_object_get(report, "columns"), i, c) {
    dd_str_printf(s, "- %s: ", text_of(c, "label"));
    md_text(s, text_of(c, "help"));
    dd_str_puts(s, "\n");
  }
  md_sentences(s, NULL, json_object_get(report, "notes"));
  dd_str_printf(s, "\ndd-cpu %s, numerics %s\n", text_of(report, "version"),
                dd_fixed(value_of(report, "numerics"), 0).s);
}

/* ---- csv, tsv ---- */

static void cell(dd_str *s, const char *text, int csv, int first) {
  if (!first) dd_str_puts(s, csv ? "," : "\t");
  if (!csv) {
    for (; *text; text++) dd_str_append(s, strchr("\t\n\r", *text) ? " " : text, 1);
    return;
  }
  const int quote = text[strcspn(text, ",\"\r\n")] != '\0';
  if (quote) dd_str_puts(s, "\"");
  for (; *text; text++) {
    if (*text == '"') dd_str_puts(s, "\"");
    dd_str_append(s, text, 1);
  }
  if (quote) dd_str_puts(s, "\"");
}

/* Shortest text that reads back to the same bits; nothing for what is not known. */
static void real_cell(dd_str *s, const json_t *v, int csv) {
  char text[64] = "";
  const double x = dd_json_value(v);
  for (int digits = 15; isfinite(x) && digits <= 17; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, x);
    if (strtod(text, NULL) == x) break;
  }
  for (char *p = text; *p; p++)
    if (*p == ',') *p = '.'; /* a host program's locale */
  cell(s, text, csv, 0);
}

static void run_line(dd_str *s, const json_t *report, const json_t *group, const json_t *schedule, const json_t *run,
                     int csv) {
  const json_t *c, *sign;
  size_t i;
  dd_str signs = {0};
  cell(s, text_of(group, "label"), csv, 1);
  cell(s, text_of(schedule, "name"), csv, 0);
  cell(s, text_of(run, "seed"), csv, 0);
  cell(s, text_of(run, "state"), csv, 0);
  real_cell(s, json_object_get(run, "iter"), csv);
  json_array_foreach(json_object_get(report, "columns"), i, c)
    if (!is_cost(c)) real_cell(s, json_object_get(json_object_get(run, "columns"), text_of(c, "key")), csv);
  json_array_foreach(json_object_get(run, "signatures"), i, sign)
    dd_str_printf(&signs, "%s%s@%s", i ? "; " : "", text_of(sign, "name"), dd_fixed(value_of(sign, "since"), 0).s);
  cell(s, signs.data ? signs.data : "", csv, 0);
  s->failed |= signs.failed;
  dd_str_free(&signs);
  cell(s, text_of(run, "fingerprint"), csv, 0);
  cell(s, text_of(run, "dir"), csv, 0);
  dd_str_puts(s, csv ? "\r\n" : "\n");
}

static void separated(dd_str *s, const json_t *report, int csv) {
  const json_t *group, *schedule, *run, *c;
  size_t i, k, m;
  static const char *const before[] = {"group", "schedule", "seed", "state", "iter"};
  static const char *const after[] = {"signatures", "fingerprint", "dir"};
  for (size_t n = 0; n < sizeof before / sizeof *before; n++) cell(s, before[n], csv, n == 0);
  json_array_foreach(json_object_get(report, "columns"), i, c)
    if (!is_cost(c)) cell(s, text_of(c, "key"), csv, 0);
  for (size_t n = 0; n < sizeof after / sizeof *after; n++) cell(s, after[n], csv, 0);
  dd_str_puts(s, csv ? "\r\n" : "\n");
  json_array_foreach(json_object_get(report, "groups"), i, group)
    json_array_foreach(json_object_get(group, "schedules"), k, schedule)
      json_array_foreach(json_object_get(schedule, "runs"), m, run) run_line(s, report, group, schedule, run, csv);
}

void dd_report_csv(const json_t *report, dd_str *out) { separated(out, report, 1); }
void dd_report_tsv(const json_t *report, dd_str *out) { separated(out, report, 0); }

static int add_piece(const char *bytes, size_t n, void *out) {
  dd_str_append(out, bytes, n);
  return ((dd_str *)out)->failed ? -1 : 0;
}

void dd_report_json(const json_t *report, dd_str *out) {
  if (json_dump_callback(report, add_piece, out, JSON_INDENT(1) | JSON_REAL_PRECISION(17))) out->failed = 1;
  dd_str_puts(out, "\n");
}
