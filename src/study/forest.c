/* Paired differences: two lines for each schedule, name and figures above, interval and seeds below. */
#include "study/figures_internal.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 440, ROW = 44, TRACK = 30 };

int dd_figure_better(const dd_view *v, const json_t *comparison) {
  const char *better = dd_view_text(dd_view_column(v->report, dd_view_text(comparison, "metric")), "better");
  return !strcmp(better, "lower") ? -1 : !strcmp(better, "higher") ? 1 : 0;
}

static void include(double *lo, double *hi, double v) {
  if (!(fabs(v) <= DD_PLOT_MAX)) return;
  if (!(*lo <= v)) *lo = v;
  if (!(*hi >= v)) *hi = v;
}

static double seed_difference(const json_t *differences, size_t i) {
  return dd_view_value(json_array_get(json_array_get(differences, i), 1));
}

static bool range_of(const json_t *rows, double *lo, double *hi) {
  size_t i;
  json_t *row;
  bool any = false;
  *lo = *hi = 0; /* zero is always in sight */
  json_array_foreach((json_t *)rows, i, row) {
    const json_t *d = dd_view_array(row, "differences");
    for (size_t k = 0; k < json_array_size(d); k++) include(lo, hi, seed_difference(d, k));
    include(lo, hi, dd_view_number(row, "t_lo"));
    include(lo, hi, dd_view_number(row, "t_hi"));
    include(lo, hi, dd_view_number(row, "mean"));
    any |= !isnan(dd_view_number(row, "mean")) || json_array_size(d) > 0;
  }
  const double pad = 0.03 * (*hi - *lo);
  *lo -= pad;
  *hi += pad;
  return any;
}

static void track(const dd_plot *p, double y, const json_t *row, int digits) {
  const json_t *d = dd_view_array(row, "differences");
  char b[4][48], hover[256];
  dd_plot at = *p; /* heights are units of the viewBox here */
  at.y = (dd_axis){.lo = 0, .hi = 1};
  at.top = y - 1;
  at.bottom = y;
  const double lo = dd_view_number(row, "t_lo"), hi = dd_view_number(row, "t_hi"), mean = dd_view_number(row, "mean");
  if (fabs(lo) <= DD_PLOT_MAX && fabs(hi) <= DD_PLOT_MAX) {
    dd_number(b[0], dd_plot_x(p, lo), 1);
    dd_number(b[1], dd_plot_x(p, hi), 1);
    dd_str_printf(p->out, "<path class=\"bar\" d=\"M%s %sH%s", b[0], dd_number(b[2], y, 1), b[1]);
    dd_number(b[2], y - 5, 1);
    dd_str_printf(p->out, "M%s %sv10M%s %sv10\"/>", b[0], b[2], b[1], b[2]);
  }
  for (size_t k = 0; k < json_array_size(d); k++) {
    const double x = seed_difference(d, k);
    if (isnan(x)) continue;
    const char *seed = json_string_value(json_array_get(json_array_get(d, k), 0));
    snprintf(hover, sizeof hover, "seed %.40s: %s", seed ? seed : "?", dd_number_typeset(b[0], x, digits, true));
    dd_plot_dot(&at, "seed", x, 0, 3.2, hover);
  }
  if (fabs(mean) <= DD_PLOT_MAX) {
    const double x = dd_plot_x(p, mean);
    dd_str_printf(p->out, "<path class=\"mean\" d=\"M%s %sl5.5 6l-5.5 6l-5.5 -6z\"/>", dd_number(b[0], x, 1),
                  dd_number(b[1], y - 6, 1));
  }
}

static const char *verdict_class(const char *verdict) {
  return !strcmp(verdict, "better") ? "good" : !strcmp(verdict, "worse") ? "bad" : "small";
}

static void describe(dd_str *out, const json_t *row, int digits, const char *name, double y) {
  char b[3][48], text[256];
  const char *verdict = dd_view_text(row, "verdict");
  const double mean = dd_view_number(row, "mean"), lo = dd_view_number(row, "t_lo"), hi = dd_view_number(row, "t_hi");
  *text = 0;
  if (!isnan(mean)) snprintf(text, sizeof text, "%s", dd_number_typeset(b[0], mean, digits, true));
  if (!isnan(mean) && !isnan(lo) && !isnan(hi)) {
    const size_t n = strlen(text);
    snprintf(text + n, sizeof text - n, " [%s, %s]", dd_number_typeset(b[1], lo, digits, true),
             dd_number_typeset(b[2], hi, digits, true));
  }
  dd_str_printf(out, "<text class=\"end\" x=\"%d\" y=\"%d\">", WIDTH - 8, (int)y);
  dd_escape(out, text);
  dd_str_printf(out, "<tspan class=\"%s\" dx=\"6\">", verdict_class(verdict));
  dd_escape_fit(out, verdict, 8);
  dd_str_puts(out, "</tspan></text>");
  const double taken = (dd_text_em(text) + dd_text_em(verdict)) * 12.5 + 6;
  dd_str_printf(out, "<text class=\"strong\" x=\"28\" y=\"%d\">", (int)y);
  dd_escape_fit(out, name, (WIDTH - 28 - 22 - taken) / 14.5);
  dd_str_puts(out, "</text>");
}

bool dd_figure_forest(dd_str *out, const dd_view *v, int group, int comparison, bool alone) {
  const json_t *g = dd_view_group(v, group);
  const json_t *c = json_array_get(dd_view_array(g, "comparisons"), (size_t)comparison);
  const json_t *rows = dd_view_array(c, "rows");
  const int n = (int)json_array_size(rows), digits = dd_view_int(c, "digits", 4), better = dd_figure_better(v, c);
  double lo, hi;
  if (!n || !range_of(rows, &lo, &hi)) return false;

  const double top = (alone ? 26 : 0) + 20, height = top + n * ROW + 42;
  char id[64], attributes[128], b[48];
  snprintf(id, sizeof id, "g%d-forest%d", group + 1, comparison + 1);
  snprintf(attributes, sizeof attributes, "data-forest=\"%d\" data-digits=\"%d\" data-rows=\"%d %d\"", comparison,
           digits, (int)top, ROW);
  dd_plot p = {.out = out, .left = 22, .right = WIDTH - 22, .top = top, .bottom = top + n * ROW + 2};
  dd_axis_fit(&p.x, lo, hi, 5);

  dd_str name = {0}, title = {0}, desc = {0}, axis = {0};
  dd_str_printf(&name, "Difference to %s: %s", dd_view_text(g, "baseline"), dd_view_text(c, "label"));
  dd_figure_group_title(&title, v, group, name.data ? name.data : "");
  dd_str_puts(&desc,
              "Mean over seeds of the paired difference (diamond), its 95 % interval (bar) and each seed (dots).");
  size_t i;
  json_t *row;
  json_array_foreach((json_t *)rows, i, row) {
    dd_str_printf(&desc, " %s: %s", dd_view_text(row, "schedule"),
                  isnan(dd_view_number(row, "mean")) ? "no value" : dd_number(b, dd_view_number(row, "mean"), digits));
    dd_str_printf(&desc, ", %s.", *dd_view_text(row, "verdict") ? dd_view_text(row, "verdict") : "no verdict");
  }
  const char *unit = dd_view_text(c, "unit");
  dd_str_printf(&axis, "difference to %s%s%s", "the baseline", *unit ? ", " : "", unit);
  dd_plot_open(&p, WIDTH, height, id, attributes, title.data ? title.data : "", desc.data ? desc.data : "");
  if (alone) dd_figure_alone(out, WIDTH, height, title.data ? title.data : "");
  if (name.failed || title.failed || desc.failed || axis.failed) out->failed = 1;
  dd_plot_x_axis(&p, "");
  dd_str_puts(out, "<text class=\"axis mid\" x=\"220\" ");
  dd_str_printf(out, "y=\"%d\">", (int)(p.bottom + 31));
  dd_escape_fit(out, axis.data, 34);
  dd_str_puts(out, "</text>");
  dd_str_free(&name);
  dd_str_free(&title);
  dd_str_free(&desc);
  dd_str_free(&axis);

  const double zero = dd_plot_x(&p, 0);
  json_array_foreach((json_t *)rows, i, row) {
    const char *schedule = dd_view_text(row, "schedule");
    const dd_look look = dd_view_look(v, schedule);
    const double y = top + (double)i * ROW;
    /* The text has a ground of its own, so that neither grid nor zero line run through it. */
    dd_str_printf(
        out,
        "<g class=\"s c%d\" data-s=\"%d\" data-row=\"%d\"><rect class=\"stripe\" x=\"0\" y=\"%d\" width=\"%d\" "
        "height=\"20\"/>",
        look.colour, look.number, (int)i, (int)y, WIDTH);
    dd_plot_text(out, "letter", 10, y + 14, look.letter);
    describe(out, row, digits, schedule, y + 14);
    dd_str_printf(out, "<path class=\"zero\" d=\"M%s %dv%d\"/>", dd_number(b, zero, 1), (int)y + 20, ROW - 20);
    track(&p, y + TRACK + 2, row, digits);
    dd_str_puts(out, "</g>");
  }
  if (better) { /* what the directions mean, left and right of zero where there is room */
    const bool room_left = zero > 70, room_right = zero < WIDTH - 70;
    if (room_left)
      dd_plot_text(out, "small end", zero - 6, top - 7, better < 0 ? "\xE2\x86\x90 better" : "\xE2\x86\x90 worse");
    if (room_right)
      dd_plot_text(out, "small", zero + 6, top - 7, better < 0 ? "worse \xE2\x86\x92" : "better \xE2\x86\x92");
  }
  dd_str_puts(out, "</svg>");
  return true;
}
