#include "study/html_internal.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NONE "<span class=\"none\">\xE2\x80\x93</span>" /* a value that is not known */

void dd_page_element(dd_str *out, const char *tag, const char *class, const char *text) {
  if (!*text) return;
  dd_str_printf(out, "<%s", tag);
  if (*class) dd_str_printf(out, " class=\"%s\"", class);
  dd_str_puts(out, ">");
  dd_escape(out, text);
  dd_str_printf(out, "</%s>", tag);
}

/* A table in a box of its own that scrolls, so that the page never does. */
static void open_table(dd_str *out, const char *class, const char *caption) {
  dd_str_puts(out, "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"");
  dd_escape(out, caption);
  dd_str_printf(out, "\"><table class=\"%s\"><caption><span>", class);
  dd_escape(out, caption);
  dd_str_puts(out, "</span></caption>");
}
static void close_table(dd_str *out) { dd_str_puts(out, "</tbody></table></div>\n"); }

void dd_page_schedule(const dd_page *p, const char *cell, const char *name) {
  const dd_look look = dd_view_look(p->view, name);
  const bool base = !strcmp(name, dd_view_text(p->group, "baseline"));
  dd_str_printf(p->out, "<%s><span class=\"who\"><b class=\"chip c%d\">%s</b> <span class=\"name\">", cell, look.colour,
                look.letter);
  dd_escape(p->out, name);
  dd_str_printf(p->out, "</span>%s</span></%.*s>", base ? " <small>baseline</small>" : "", (int)strcspn(cell, " "),
                cell);
}

static void number(dd_str *out, double v, int digits) {
  char b[48];
  dd_str_puts(out, isnan(v) ? NONE : dd_number(b, v, digits));
}

/* ---- results ---- */

static bool is_cost(const json_t *column) { return !strcmp(dd_view_text(column, "kind"), "cost"); }

/* The best mean of a column; NAN when the column has no direction or all means are equal. */
static double best_of(const dd_page *p, const json_t *column) {
  const char *key = dd_view_text(column, "key"), *better = dd_view_text(column, "better");
  const double sign = !strcmp(better, "lower") ? 1 : !strcmp(better, "higher") ? -1 : 0;
  double best = NAN, worst = NAN;
  size_t i;
  json_t *s;
  json_array_foreach((json_t *)dd_view_array(p->group, "schedules"), i, s) {
    const double v = dd_view_number(json_object_get(json_object_get(s, "columns"), key), "mean");
    if (isnan(v)) continue;
    if (!(sign * best <= sign * v)) best = v;
    if (!(sign * worst >= sign * v)) worst = v;
  }
  return sign == 0 || best == worst ? (double)NAN : best;
}

static void head_cell(dd_str *out, const json_t *column, size_t index) {
  const char *better = dd_view_text(column, "better");
  dd_str_printf(out, "<th scope=\"col\" data-sort=\"%zu\">", index);
  dd_escape(out, dd_view_text(column, "label"));
  dd_str_puts(out, "<small>");
  dd_escape(out, dd_view_text(column, "unit"));
  if (!strcmp(better, "lower")) dd_str_puts(out, " \xE2\x86\x93<span class=\"vh\"> lower is better</span>");
  if (!strcmp(better, "higher")) dd_str_puts(out, " \xE2\x86\x91<span class=\"vh\"> higher is better</span>");
  dd_str_puts(out, "</small></th>");
}

static void value_cell(dd_str *out, const json_t *column, const json_t *value, double best, size_t index) {
  char b[48];
  const double mean = dd_view_number(value, "mean"), sd = dd_view_number(value, "sd");
  const int digits = dd_view_int(column, "digits", 4);
  if (isnan(mean)) {
    dd_str_printf(out, "<td data-k=\"%zu\">" NONE "</td>", index);
    return;
  }
  const bool is_best = mean == best;
  snprintf(b, sizeof b, "%.17g", mean);
  for (char *c = b; *c; c++)
    if (!strchr("0123456789-+e", *c)) *c = '.';
  dd_str_printf(out, "<td data-k=\"%zu\" data-v=\"%s\"%s><span class=\"m\">", index, b,
                is_best ? " class=\"best\"" : "");
  dd_str_puts(out, dd_number(b, mean, digits));
  dd_str_puts(out, "</span>");
  if (!isnan(sd)) dd_str_printf(out, " <span class=\"sd\">\xC2\xB1\xC2\xA0%s</span>", dd_number(b, sd, digits));
  if (is_best) dd_str_puts(out, "<span class=\"vh\"> best mean</span>");
  dd_str_puts(out, "</td>");
}

bool dd_page_results(const dd_page *p, bool cost) {
  const json_t *columns = dd_view_array(p->view->report, "columns"), *schedules = dd_view_array(p->group, "schedules");
  size_t i, k;
  json_t *c, *s;
  int shown = 0;
  json_array_foreach((json_t *)columns, k, c) shown += is_cost(c) == cost;
  if (!shown) return false;
  dd_str class = {0};
  dd_str_printf(&class, "values %s sortable%s", cost ? "cost" : "results", shown > 6 ? " stacked" : "");
  open_table(p->out, class.data ? class.data : "",
             cost ? "Time and speed: mean \xC2\xB1 standard deviation over seeds"
                  : "Results: mean \xC2\xB1 standard deviation over seeds");
  p->out->failed |= class.failed;
  dd_str_free(&class);
  dd_str_puts(p->out, "<thead><tr><th scope=\"col\">schedule</th><th scope=\"col\">runs</th>");
  json_array_foreach((json_t *)columns, k, c) if (is_cost(c) == cost) head_cell(p->out, c, k);
  dd_str_puts(p->out, "</tr></thead><tbody>");
  double *best = malloc((json_array_size(columns) + 1) * sizeof *best);
  if (!best) p->out->failed = 1;
  for (k = 0; best && k < json_array_size(columns); k++) best[k] = best_of(p, json_array_get(columns, k));
  json_array_foreach((json_t *)schedules, i, s) {
    const char *name = dd_view_text(s, "name");
    const int finished = dd_view_int(s, "finished", 0), planned = dd_view_int(s, "planned", finished);
    dd_str_printf(p->out, "<tr data-s=\"%d\" data-i=\"%zu\">", dd_view_look(p->view, name).number, i);
    dd_page_schedule(p, "th scope=\"row\"", name);
    if (finished == planned) dd_str_printf(p->out, "<td>%d</td>", finished);
    else dd_str_printf(p->out, "<td class=\"short\">%d of %d</td>", finished, planned);
    json_array_foreach((json_t *)columns, k, c) {
      if (is_cost(c) != cost || !best) continue;
      value_cell(p->out, c, json_object_get(json_object_get(s, "columns"), dd_view_text(c, "key")), best[k], k);
    }
    dd_str_puts(p->out, "</tr>\n");
  }
  free(best);
  close_table(p->out);
  return true;
}

/* ---- comparisons ---- */

static void interval(dd_str *out, double lo, double hi, int digits) {
  char b[2][48];
  if (isnan(lo) || isnan(hi)) dd_str_puts(out, NONE);
  else dd_str_printf(out, "[%s, %s]", dd_number(b[0], lo, digits), dd_number(b[1], hi, digits));
}

static void probability(dd_str *out, double p) {
  char b[48];
  if (isnan(p)) dd_str_puts(out, NONE);
  else dd_str_puts(out, p < 0.0001 && p >= 0 ? "&lt;0.0001" : dd_number(b, p, 4));
}

static void count(dd_str *out, const json_t *row, const char *key) {
  const double v = dd_view_number(row, key);
  number(out, v, 0);
}

void dd_page_comparison(const dd_page *p, const json_t *comparison) {
  static const char heads[] =
      "<thead><tr><th scope=\"col\">schedule</th><th scope=\"col\" class=\"text\">verdict</th><th "
      "scope=\"col\">pairs</th>"
      "<th scope=\"col\">mean difference</th>"
      "<th scope=\"col\">95 % interval<small>Student t</small></th><th scope=\"col\">95 % "
      "interval<small>bootstrap</small>"
      "</th><th scope=\"col\">p<small>t test</small></th><th scope=\"col\">p<small>permutation</small></th>"
      "<th scope=\"col\">p<small>sign test</small></th><th scope=\"col\">p<small>Holm</small></th>"
      "<th scope=\"col\">wins, ties, losses</th><th scope=\"col\">seeds needed</th>"
      "</tr></thead><tbody>";
  const int digits = dd_view_int(comparison, "digits", 4);
  dd_str *o = p->out;
  dd_str caption = {0};
  dd_str_printf(&caption, "Paired differences to %s in %s", dd_view_text(p->group, "baseline"),
                dd_view_text(comparison, "label"));
  if (*dd_view_text(comparison, "unit")) dd_str_printf(&caption, " (%s)", dd_view_text(comparison, "unit"));
  open_table(o, "values paired", caption.data ? caption.data : "");
  o->failed |= caption.failed;
  dd_str_free(&caption);
  dd_str_puts(o, heads);
  size_t i;
  json_t *row;
  json_array_foreach((json_t *)dd_view_array(comparison, "rows"), i, row) {
    const char *name = dd_view_text(row, "schedule"), *verdict = dd_view_text(row, "verdict");
    dd_str_printf(o, "<tr data-s=\"%d\" data-i=\"%zu\">", dd_view_look(p->view, name).number, i);
    dd_page_schedule(p, "th scope=\"row\"", name);
    dd_str_printf(o, "<td data-k=\"verdict\" class=\"text %s\">",
                  !strcmp(verdict, "better")  ? "good"
                  : !strcmp(verdict, "worse") ? "bad"
                                              : "open");
    dd_escape(o, verdict);
    dd_str_puts(o, "</td><td data-k=\"n\">");
    count(o, row, "n");
    dd_str_puts(o, "</td><td data-k=\"mean\"><span class=\"m\">");
    number(o, dd_view_number(row, "mean"), digits);
    dd_str_puts(o, "</span></td><td data-k=\"t\">");
    interval(o, dd_view_number(row, "t_lo"), dd_view_number(row, "t_hi"), digits);
    dd_str_puts(o, "</td><td data-k=\"boot\">");
    interval(o, dd_view_number(row, "boot_lo"), dd_view_number(row, "boot_hi"), digits);
    static const char *const tests[] = {"t_p", "perm_p", "sign_p", "holm_p"};
    for (int k = 0; k < 4; k++) {
      dd_str_printf(o, "</td><td data-k=\"%s\">", tests[k]);
      probability(o, dd_view_number(row, tests[k]));
      if (k == 1 && json_is_false(json_object_get(row, "perm_exact"))) dd_str_puts(o, " <small>sampled</small>");
    }
    dd_str_puts(o, "</td><td data-k=\"wins\">");
    count(o, row, "wins");
    dd_str_puts(o, ", ");
    count(o, row, "ties");
    dd_str_puts(o, ", ");
    count(o, row, "losses");
    dd_str_puts(o, "</td><td data-k=\"seeds_needed\">");
    count(o, row, "seeds_needed");
    dd_str_puts(o, "</td></tr>\n");
  }
  close_table(o);
}

/* ---- runs ---- */

static void run_row(const dd_page *p, const json_t *columns, const char *schedule, const json_t *run) {
  dd_str *o = p->out;
  const char *state = dd_view_text(run, "state");
  dd_str_printf(o, "<tr data-s=\"%d\">", dd_view_look(p->view, schedule).number);
  dd_page_schedule(p, "th scope=\"row\"", schedule);
  dd_str_puts(o, "<td>");
  dd_escape(o, dd_view_text(run, "seed"));
  dd_str_printf(o, "</td><td class=\"text%s\">", strcmp(state, "finished") ? " short" : "");
  dd_escape(o, state);
  dd_page_element(o, "small", "", dd_view_text(run, "why"));
  dd_str_puts(o, "</td><td>");
  number(o, dd_view_number(run, "iter"), 0);
  dd_str_puts(o, "</td>");
  size_t k;
  json_t *c;
  json_array_foreach((json_t *)columns, k, c) {
    dd_str_printf(o, "<td data-k=\"%zu\">", k);
    number(o, dd_view_number(json_object_get(run, "columns"), dd_view_text(c, "key")), dd_view_int(c, "digits", 4));
    dd_str_puts(o, "</td>");
  }
  dd_str_puts(o, "<td class=\"text wide\">");
  json_array_foreach((json_t *)dd_view_array(run, "signatures"), k, c) {
    if (k) dd_str_puts(o, "; ");
    dd_escape(o, dd_view_text(c, "text"));
  }
  dd_str_puts(o, "</td><td class=\"text\">");
  dd_page_element(o, "code", "", dd_view_text(run, "fingerprint"));
  dd_str_puts(o, "</td><td class=\"text\">");
  dd_page_element(o, "code", "", dd_view_text(run, "dir"));
  dd_str_puts(o, "</td></tr>\n");
}

void dd_page_runs(const dd_page *p) {
  const json_t *columns = dd_view_array(p->view->report, "columns");
  dd_str *o = p->out;
  open_table(o, "values runs", "Every run: seed, state, values, fingerprint of the final model");
  dd_str_puts(
      o,
      "<thead><tr><th scope=\"col\">schedule</th><th scope=\"col\">seed</th><th scope=\"col\" class=\"text\">state</th>"
      "<th scope=\"col\">iterations</th>");
  size_t k, i;
  json_t *c, *s, *run;
  json_array_foreach((json_t *)columns, k, c) head_cell(o, c, k);
  dd_str_puts(o, "<th scope=\"col\" class=\"text\">signatures</th><th scope=\"col\" class=\"text\">fingerprint</th>"
                 "<th scope=\"col\" class=\"text\">directory</th></tr></thead><tbody>");
  json_array_foreach((json_t *)dd_view_array(p->group, "schedules"), i, s) {
    json_array_foreach((json_t *)dd_view_array(s, "runs"), k, run) run_row(p, columns, dd_view_text(s, "name"), run);
  }
  close_table(o);
}

/* ---- curves as numbers ---- */

typedef struct column {
  dd_curve c;
  dd_look look;
  const char *name;
  int at;
} column;

/* The smallest iteration that a column has not shown yet; NAN at the end. */
static double next_iteration(const column *all, size_t n) {
  double next = NAN;
  for (size_t i = 0; i < n; i++)
    if (all[i].at < all[i].c.n && !(next <= all[i].c.x[all[i].at])) next = all[i].c.x[all[i].at];
  return next;
}

bool dd_page_curve_values(const dd_page *p, const dd_figure *f) {
  const json_t *schedules = dd_view_array(p->group, "schedules");
  size_t n = 0, i;
  json_t *s;
  dd_str *o = p->out;
  column *all = calloc(json_array_size(schedules) + 1, sizeof *all);
  if (!all) o->failed = 1;
  else json_array_foreach((json_t *)schedules, i, s) if (dd_curve_read(&all[n].c, p->group, s, f->key, &o->failed)) {
      all[n].name = dd_view_text(s, "name");
      all[n].look = dd_view_look(p->view, all[n].name);
      n++;
    }
  if (n) {
    open_table(o, "values curve", f->title);
    dd_str_puts(o, "<thead><tr><th scope=\"col\">iteration</th>");
    for (i = 0; i < n; i++) {
      dd_str_printf(o, "<th scope=\"col\"><b class=\"chip c%d\">%s</b><span class=\"vh\"> ", all[i].look.colour,
                    all[i].look.letter);
      dd_escape(o, all[i].name);
      dd_str_puts(o, "</span></th>");
    }
    dd_str_puts(o, "</tr></thead><tbody>");
    for (double x; !isnan(x = next_iteration(all, n));) {
      char b[48];
      dd_str_printf(o, "<tr><th scope=\"row\">%s</th>", dd_number(b, x, 0));
      for (i = 0; i < n; i++) {
        const bool here = all[i].at < all[i].c.n && all[i].c.x[all[i].at] == x;
        dd_str_puts(o, "<td>");
        number(o, here ? all[i].c.mean[all[i].at] : (double)NAN, f->digits);
        dd_str_puts(o, "</td>");
        all[i].at += here;
      }
      dd_str_puts(o, "</tr>\n");
    }
    close_table(o);
  }
  for (i = 0; i < n; i++) dd_curve_free(&all[i].c);
  free(all);
  return n > 0;
}

/* ---- texts ---- */

void dd_page_formulas(const dd_page *p) {
  size_t i;
  json_t *s;
  open_table(p->out, "texts", "The schedules: p is the dropout rate, t the iteration, T the last one");
  dd_str_puts(p->out,
              "<thead><tr><th scope=\"col\">schedule</th><th scope=\"col\">rate</th><th scope=\"col\">meaning</th>"
              "</tr></thead><tbody>");
  json_array_foreach((json_t *)dd_view_array(p->group, "schedules"), i, s) {
    dd_str_puts(p->out, "<tr>");
    dd_page_schedule(p, "th scope=\"row\"", dd_view_text(s, "name"));
    dd_str_puts(p->out, "<td>");
    dd_page_element(p->out, "code", "", dd_view_text(s, "formula"));
    dd_str_puts(p->out, "</td><td>");
    dd_escape(p->out, dd_view_text(s, "help"));
    dd_str_puts(p->out, "</td></tr>\n");
  }
  close_table(p->out);
}

static void pair(dd_str *out, const char *key, const json_t *value) {
  char b[48];
  dd_str_puts(out, "<div><dt>");
  dd_escape(out, key);
  dd_str_puts(out, "</dt><dd>");
  if (json_is_string(value)) dd_escape(out, json_string_value(value));
  else if (json_is_integer(value)) dd_str_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
  else if (json_is_real(value)) dd_str_puts(out, dd_number(b, json_real_value(value), 4));
  else if (json_is_boolean(value)) dd_str_puts(out, json_is_true(value) ? "yes" : "no");
  else dd_str_puts(out, NONE);
  dd_str_puts(out, "</dd></div>");
}

void dd_page_pairs(dd_str *out, const json_t *pairs, const char *caption) {
  size_t i;
  json_t *item;
  const char *key;
  dd_page_element(out, "h4", "", caption);
  dd_str_puts(out, "<dl class=\"pairs\">");
  json_array_foreach((json_t *)pairs, i, item) {
    const char *name = json_string_value(json_array_get(item, 0));
    pair(out, name ? name : "", json_array_get(item, 1));
  }
  json_object_foreach((json_t *)pairs, key, item) pair(out, key, item);
  dd_str_puts(out, "</dl>\n");
}
