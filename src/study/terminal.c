/* The report in a terminal: results, differences, conclusions; columns are left out from the right when the width does
 * not suffice. */
#include "study/numbers.h"
#include "study/tables.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS_MOST = 16, CELL = 64 };

typedef struct grid { /* a table of short texts */
  char (*cell)[COLUMNS_MOST][CELL];
  size_t rows;
  int columns;
} grid;

static const char *text_of(const json_t *o, const char *key) {
  const char *s = json_string_value(json_object_get(o, key));
  return s ? s : "";
}
static double value_of(const json_t *o, const char *key) { return dd_json_value(json_object_get(o, key)); }

/* Columns on a screen: code points, as all that reports write is one column wide. */
static int columns_of(const char *text) {
  int n = 0;
  for (; *text; text++) n += ((unsigned char)*text & 0xc0) != 0x80;
  return n;
}

static int begin(grid *g, size_t rows, int columns) {
  *g = (grid){.rows = rows, .columns = columns < COLUMNS_MOST ? columns : COLUMNS_MOST};
  g->cell = calloc(rows, sizeof *g->cell);
  return g->cell != NULL;
}

/* A value that does not fit ends at a whole character. */
static void put(grid *g, size_t row, int column, const char *text) {
  if (column >= g->columns) return;
  size_t n = strlen(text);
  if (n >= CELL)
    for (n = CELL - 1; n && ((unsigned char)text[n] & 0xc0) == 0x80;) n--;
  memcpy(g->cell[row][column], text, n);
  g->cell[row][column][n] = '\0';
}

/* The first column to the left, the others to the right. */
static void print(dd_str *s, const grid *g, int width, int color) {
  int wide[COLUMNS_MOST] = {0}, total = 0, shown = 0;
  for (int c = 0; c < g->columns; c++)
    for (size_t r = 0; r < g->rows; r++)
      if (columns_of(g->cell[r][c]) > wide[c]) wide[c] = columns_of(g->cell[r][c]);
  for (; shown < g->columns && (shown < 2 || total + 2 + wide[shown] <= width); shown++)
    total += wide[shown] + (shown ? 2 : 0);
  for (size_t r = 0; r < g->rows; r++) {
    if (color && r == 0) dd_str_puts(s, "\033[1m");
    for (int c = 0; c < shown; c++) {
      const char *text = g->cell[r][c];
      const int pad = wide[c] - columns_of(text);
      if (c == 0 && shown > 1) dd_str_printf(s, "%s%*s", text, pad, "");
      else dd_str_printf(s, "%s%*s%s", c ? "  " : "", pad, "", text);
    }
    if (color && r == 0) dd_str_puts(s, "\033[0m");
    dd_str_puts(s, "\n");
  }
}

static void wrap(dd_str *s, const char *text, int width) {
  int at = 2;
  dd_str_puts(s, "- ");
  for (int first = 1; *text; first = 0) {
    size_t n = strcspn(text, " ");
    int w = 0;
    if (text[n] && text[n + 1] == '%') n += 1 + strcspn(text + n + 1, " "); /* stays with its number */
    for (size_t i = 0; i < n; i++) w += ((unsigned char)text[i] & 0xc0) != 0x80;
    if (!first && at + 1 + w > width) {
      dd_str_puts(s, "\n  ");
      at = 2;
    } else if (!first) {
      dd_str_puts(s, " ");
      at++;
    }
    dd_str_append(s, text, n);
    at += w;
    text += n;
    text += strspn(text, " ");
  }
  dd_str_puts(s, "\n");
}

static void means(dd_str *s, const json_t *report, const json_t *group, int width, int color) {
  const json_t *schedules = json_object_get(group, "schedules"), *columns = json_object_get(report, "columns"), *c;
  const json_t *schedule;
  size_t i, k;
  grid g;
  if (!begin(&g, json_array_size(schedules) + 1, COLUMNS_MOST)) {
    s->failed = 1;
    return;
  }
  put(&g, 0, 0, "schedule");
  put(&g, 0, 1, "finished");
  json_array_foreach(schedules, k, schedule) {
    int at = 2;
    dd_str cell = {0};
    put(&g, k + 1, 0, text_of(schedule, "name"));
    dd_str_printf(&cell, "%s/%s", dd_fixed(value_of(schedule, "finished"), 0).s,
                  dd_fixed(value_of(schedule, "planned"), 0).s);
    put(&g, k + 1, 1, cell.data ? cell.data : "");
    json_array_foreach(columns, i, c) {
      if (!strcmp(text_of(c, "kind"), "cost")) continue;
      const json_t *sum = json_object_get(json_object_get(schedule, "columns"), text_of(c, "key"));
      const int digits = (int)json_integer_value(json_object_get(c, "digits"));
      const double sd = value_of(sum, "sd");
      dd_str_free(&cell);
      dd_str_puts(&cell, dd_fixed(value_of(sum, "mean"), digits).s);
      if (isfinite(sd)) dd_str_printf(&cell, " ± %s", dd_fixed(sd, digits).s);
      put(&g, 0, at, text_of(c, "label"));
      put(&g, k + 1, at++, cell.data ? cell.data : "");
    }
    s->failed |= cell.failed;
    dd_str_free(&cell);
  }
  print(s, &g, width, color);
  free(g.cell);
}

static void differences(dd_str *s, const json_t *group, int width, int color) {
  const json_t *primary = json_array_get(json_object_get(group, "comparisons"), 0), *row;
  const json_t *rows = json_object_get(primary, "rows");
  static const char *const titles[] = {"schedule", "seeds", "mean", "95 % interval", "p", "verdict",
                                       "lower/equal/higher"};
  const int digits = (int)json_integer_value(json_object_get(primary, "digits"));
  size_t i;
  grid g;
  if (!json_array_size(rows)) return;
  if (!begin(&g, json_array_size(rows) + 1, 7)) {
    s->failed = 1;
    return;
  }
  dd_str_printf(s, "\n%s, difference from %s:\n", text_of(primary, "label"), text_of(group, "baseline"));
  for (int c = 0; c < 7; c++) put(&g, 0, c, titles[c]);
  json_array_foreach(rows, i, row) {
    dd_str cell = {0};
    put(&g, i + 1, 0, text_of(row, "schedule"));
    put(&g, i + 1, 1, dd_fixed(value_of(row, "n"), 0).s);
    put(&g, i + 1, 2, dd_signed(value_of(row, "mean"), digits).s);
    dd_str_printf(&cell, "%s to %s", dd_signed(value_of(row, "t_lo"), digits).s,
                  dd_signed(value_of(row, "t_hi"), digits).s);
    put(&g, i + 1, 3, isfinite(value_of(row, "t_lo")) && cell.data ? cell.data : "-");
    put(&g, i + 1, 4, dd_p_cell(value_of(row, "holm_p")).s);
    put(&g, i + 1, 5, text_of(row, "verdict"));
    dd_str_free(&cell);
    dd_str_printf(&cell, "%s/%s/%s", dd_fixed(value_of(row, "wins"), 0).s, dd_fixed(value_of(row, "ties"), 0).s,
                  dd_fixed(value_of(row, "losses"), 0).s);
    put(&g, i + 1, 6, cell.data ? cell.data : "");
    s->failed |= cell.failed;
    dd_str_free(&cell);
  }
  print(s, &g, width, color);
  free(g.cell);
}

void dd_report_terminal(const json_t *report, int width, int color, dd_str *s) {
  const json_t *group, *v, *groups = json_object_get(report, "groups");
  size_t i, k;
  if (width < 60) width = 60;
  json_array_foreach(groups, i, group) {
    if (i) dd_str_puts(s, "\n");
    if (*text_of(group, "label")) dd_str_printf(s, "%s%s%s\n", color ? "\033[1m" : "", text_of(group, "label"),
                                                color ? "\033[0m" : "");
    means(s, report, group, width, color);
    differences(s, group, width, color);
    dd_str_puts(s, "\n");
    json_array_foreach(json_object_get(group, "conclusions"), k, v)
      wrap(s, json_string_value(v) ? json_string_value(v) : "", width);
  }
  if (!json_array_size(groups)) dd_str_puts(s, "No run could be read.\n");
  json_array_foreach(json_object_get(report, "warnings"), i, v)
    wrap(s, json_string_value(v) ? json_string_value(v) : "", width);
}
