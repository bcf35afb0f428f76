/* Curves, panels and the line samples; the plot of differences is in forest.c. */
#include "study/figures.h"
#include "study/assets.h"
#include "study/figures_internal.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 440, HEIGHT = 270, PANEL_WIDTH = 210, PANEL_HEIGHT = 142, PANEL_COLUMNS = 4 };

static const dd_figure figures[] = {
#define ROW(key, title, unit, digits, help) {key, title, unit, digits, help},
    DD_FIGURE_CURVES(ROW)
#undef ROW
};
const dd_figure *dd_figure_at(int i) {
  return i >= 0 && i < (int)(sizeof figures / sizeof *figures) ? &figures[i] : NULL;
}

/* ---- style ---- */

static const struct {
  const char *name, *light;
} theme[] = {
#define ROW(name, light, dark) {name, light},
    DD_THEME(ROW)
#undef ROW
};

void dd_figure_css(dd_str *out) {
  const char *at = dd_asset_plot_css;
  for (const char *var; (var = strstr(at, "var(--"));) {
    const char *name = var + 6, *end = strchr(name, ')');
    if (!end) break;
    dd_str_append(out, at, (size_t)(var - at));
    for (size_t i = 0; i < sizeof theme / sizeof *theme; i++)
      if (strlen(theme[i].name) == (size_t)(end - name) && !strncmp(theme[i].name, name, (size_t)(end - name)))
        dd_str_puts(out, theme[i].light);
    at = end + 1;
  }
  dd_str_puts(out, at);
}

void dd_figure_alone(dd_str *out, double width, double height, const char *title) {
  dd_str css = {0};
  dd_figure_css(&css);
  dd_plot_style(out, css.data ? css.data : "");
  if (css.failed) out->failed = 1;
  dd_str_free(&css);
  dd_str_printf(out, "<rect class=\"back\" width=\"%d\" height=\"%d\"/>", (int)width, (int)height);
  dd_plot_text(out, "title", 6, 20, title);
}

static void key_line(dd_str *out, double x, double y, const dd_look *look) {
  dd_str_printf(out, "<g class=\"c%d d%d\"><path class=\"line\" d=\"M%d %dh34\"/></g>", look->colour, look->dash,
                (int)x, (int)y);
}

void dd_figure_key(dd_str *out, const dd_look *look) {
  dd_str_puts(out, "<svg class=\"plot key\" viewBox=\"0 0 34 12\" width=\"34\" height=\"12\" aria-hidden=\"true\">");
  key_line(out, 0, 6, look);
  dd_str_puts(out, "</svg>");
}

void dd_figure_group_title(dd_str *out, const dd_view *v, int group, const char *figure) {
  const char *label = dd_view_text(dd_view_group(v, group), "label");
  dd_str_printf(out, "%s%s%s", figure, *label ? ", " : "", label);
}

/* ---- curves ---- */

typedef struct series {
  dd_curve c;
  dd_look look;
} series;

static int last_known(const dd_curve *c) {
  int last = c->n - 1;
  while (last > 0 && isnan(c->mean[last])) last--;
  return last;
}

typedef struct bounds {
  double lo, hi;
} bounds;
static void include(bounds *b, double v) {
  if (isnan(v)) return;
  if (!(b->lo <= v)) b->lo = v;
  if (!(b->hi >= v)) b->hi = v;
}
static void include_curve(bounds *b, const dd_curve *c, double from) {
  for (int i = 0; i < c->n; i++) {
    if (c->x[i] < from) continue;
    include(b, c->mean[i]);
    include(b, c->lo[i]);
    include(b, c->hi[i]);
  }
}

static int read_all(dd_str *out, series **all, const dd_view *v, int group, const char *key, bounds *x) {
  const json_t *g = dd_view_group(v, group), *schedules = dd_view_array(g, "schedules");
  const size_t most = json_array_size(schedules);
  *all = most ? calloc(most, sizeof **all) : NULL;
  *x = (bounds){(double)NAN, (double)NAN};
  if (most && !*all) out->failed = 1;
  if (!*all) return 0;
  int n = 0;
  for (size_t i = 0; i < most; i++) {
    const json_t *s = json_array_get(schedules, i);
    if (!dd_curve_read(&(*all)[n].c, g, s, key, &out->failed)) continue;
    (*all)[n].look = dd_view_look(v, dd_view_text(s, "name"));
    include(x, (*all)[n].c.x[0]);
    include(x, (*all)[n].c.x[(*all)[n].c.n - 1]);
    n++;
  }
  return n;
}
static void free_all(series *all, int n) {
  for (int i = 0; i < n; i++) dd_curve_free(&all[i].c);
  free(all);
}

/* The first part of a training is often so far above the rest that it would flatten it: then the axis begins after it.
 * Returns whether something is outside. */
static bool fit_heights(dd_axis *y, const series *all, int n, bounds x, const char *key, int ticks) {
  bounds whole = {(double)NAN, (double)NAN}, late = whole;
  for (int i = 0; i < n; i++) {
    include_curve(&whole, &all[i].c, x.lo);
    include_curve(&late, &all[i].c, x.lo + 0.15 * (x.hi - x.lo));
  }
  if (!strcmp(key, "rate") || !strcmp(key, "val_diff")) {
    include(&whole, 0);
    include(&late, 0);
  }
  const bool cut =
      strcmp(key, "rate") && strcmp(key, "gap") && late.hi - late.lo < 0.6 * (whole.hi - whole.lo) && late.hi > late.lo;
  const bounds b = cut ? late : whole;
  const double pad = 0.04 * (b.hi - b.lo);
  dd_axis_fit(y, b.lo - (strcmp(key, "rate") ? pad : 0), b.hi + pad, ticks);
  return cut;
}

/* A letter at the end of each line; many stand in two columns, and very many are left to the legend. */
static void end_labels(const dd_plot *p, const series *all, int n) {
  const double gap = 13.2, room = p->bottom - p->top;
  const int columns = (n - 1) * gap <= room ? 1 : 2;
  if ((n - 1) * gap > columns * room) return;
  double *wanted = malloc(2 * (size_t)n * sizeof *wanted), *ends = wanted + n;
  if (!wanted) {
    p->out->failed = 1;
    return;
  }
  for (int i = 0; i < n; i++) {
    const double y = dd_plot_y(p, all[i].c.mean[last_known(&all[i].c)]);
    ends[i] = wanted[i] = y < p->top ? p->top : y > p->bottom ? p->bottom : y;
  }
  dd_spread(wanted, n, gap / columns, p->top - 6, p->bottom - 6);
  for (int i = 0; i < n; i++) {
    int above = 0;
    for (int k = 0; k < n; k++) above += wanted[k] < wanted[i];
    const double x = p->right + 14 + (above % columns) * 12;
    char b[4][48];
    dd_str_printf(p->out, "<g class=\"s c%d\" data-s=\"%d\"><path class=\"lead\" d=\"M%s %sL%s %s\"/>",
                  all[i].look.colour, all[i].look.number,
                  dd_number(b[0], dd_plot_x(p, all[i].c.x[last_known(&all[i].c)]), 1), dd_number(b[1], ends[i], 1),
                  dd_number(b[2], p->right + 12, 1), dd_number(b[3], wanted[i], 1));
    dd_plot_text(p->out, "letter", x, wanted[i] + 4, all[i].look.letter);
    dd_str_puts(p->out, "</g>");
  }
  free(wanted);
}

static void legend(dd_str *out, const dd_view *v, int group, double top) {
  size_t i;
  json_t *s;
  json_array_foreach((json_t *)dd_view_array(dd_view_group(v, group), "schedules"), i, s) {
    const char *name = dd_view_text(s, "name");
    const dd_look look = dd_view_look(v, name);
    const double x = 8 + (double)(i % 2) * 216, y = top + (double)(i / 2) * 18;
    key_line(out, x, y, &look);
    dd_str_printf(out, "<g class=\"c%d\">", look.colour);
    dd_plot_text(out, "letter", x + 40, y + 4, look.letter);
    dd_str_printf(out, "</g><text x=\"%d\" y=\"%d\">", (int)x + 58, (int)y + 4);
    dd_escape_fit(out, name, 11.3);
    dd_str_puts(out, "</text>");
  }
}

static bool has_width(const dd_curve *c) {
  for (int i = 0; i < c->n; i++)
    if (c->hi[i] > c->lo[i]) return true;
  return false;
}

bool dd_figure_curve(dd_str *out, const dd_view *v, int group, const dd_figure *f, bool alone) {
  series *all;
  bounds x;
  const int n = read_all(out, &all, v, group, f->key, &x);
  const bool difference = !strcmp(f->key, "val_diff");
  if (!n || (difference && n < 2)) {
    free_all(all, n);
    return false;
  }
  const double shift = alone ? 26 : 0;
  char id[64], clip[80], b[4][48];
  snprintf(id, sizeof id, "g%d-%s", group + 1, f->key);
  snprintf(clip, sizeof clip, "%s-c", id);
  dd_plot p = {.out = out, .left = 52, .right = 402, .top = 26 + shift, .bottom = 228 + shift, .clip = clip};
  dd_axis_fit(&p.x, x.lo, x.hi, 5);
  const bool cut = fit_heights(&p.y, all, n, x, f->key, 5);

  dd_str title = {0}, attributes = {0}, desc = {0};
  dd_figure_group_title(&title, v, group, f->title);
  dd_str_printf(&attributes, "data-curve=\"%s\" data-digits=\"%d\" data-x=\"%s ", f->key, f->digits,
                dd_number(b[0], p.x.lo, 6));
  dd_str_printf(&attributes, "%s %d %d\"", dd_number(b[0], p.x.hi, 6), (int)p.left, (int)p.right);
  dd_str_printf(&desc, "%s One line for each of %d schedules, over iterations %s to %s; %s from %s to %s.", f->help, n,
                dd_number(b[0], x.lo, 0), dd_number(b[1], x.hi, 0), f->unit, dd_number(b[2], p.y.lo, 2),
                dd_number(b[3], p.y.hi, 2));
  const int rows = alone ? (int)(json_array_size(dd_view_array(dd_view_group(v, group), "schedules")) + 1) / 2 : 0;
  const double height = HEIGHT + shift + (rows ? 8 + 18 * rows : 0);
  dd_plot_open(&p, WIDTH, height, id, attributes.data ? attributes.data : "", title.data ? title.data : "",
               desc.data ? desc.data : "");
  if (alone) dd_figure_alone(out, WIDTH, height, title.data ? title.data : "");
  if (title.failed || attributes.failed || desc.failed) out->failed = 1;
  dd_str_free(&title);
  dd_str_free(&attributes);
  dd_str_free(&desc);

  dd_plot_axes(&p, "iteration", f->unit);
  if (cut)
    dd_plot_text(out, "small end", p.right, p.top - 10,
                 difference ? "the start may be outside" : "the start is above this plot");
  if (difference && p.y.lo <= 0 && p.y.hi >= 0) {
    const double zero[2] = {0, 0}, ends[2] = {p.x.lo, p.x.hi};
    dd_plot_line(&p, "zero", 2, ends, zero);
  }
  /* Bands of more than three schedules hide each other; then they show for the one pointed at, and in the panels. */
  const bool crowded = n > 3 && strcmp(f->key, "rate");
  for (int layer = 0; layer < 2; layer++)
    for (int i = 0; i < n; i++) {
      if (!layer && !has_width(&all[i].c)) continue;
      if (difference && all[i].look.colour == 0) continue;
      dd_str_printf(out, "<g class=\"s c%d d%d%s\" data-s=\"%d\">", all[i].look.colour, all[i].look.dash,
                    layer     ? ""
                    : crowded ? " bands many"
                              : " bands",
                    all[i].look.number);
      if (layer) dd_plot_line(&p, "line", all[i].c.n, all[i].c.x, all[i].c.mean);
      else dd_plot_band(&p, "band", all[i].c.n, all[i].c.x, all[i].c.lo, all[i].c.hi);
      dd_str_puts(out, "</g>");
    }
  end_labels(&p, all, n);
  if (alone) legend(out, v, group, HEIGHT + shift + 2);
  dd_str_puts(out, "</svg>");
  free_all(all, n);
  return true;
}

/* ---- panels ---- */

/* Scales that all panels of a group share. */
static bool panel_scales(dd_str *out, dd_plot *p, const dd_view *v, int group) {
  series *val, *train;
  bounds x, x_train;
  const int n = read_all(out, &val, v, group, "val_loss", &x);
  const int m = read_all(out, &train, v, group, "train_loss", &x_train);
  if (n) {
    p->left = 38;
    p->right = PANEL_WIDTH - 20; /* half a tick label stands out */
    p->top = 8;
    p->bottom = PANEL_HEIGHT - 20;
    dd_axis_fit(&p->x, x.lo, x.hi, 2);
    dd_axis other;
    fit_heights(&p->y, val, n, x, "val_loss", 3);
    if (m) {
      fit_heights(&other, train, m, x, "train_loss", 3);
      dd_axis_fit(&p->y, other.lo < p->y.lo ? other.lo : p->y.lo, other.hi > p->y.hi ? other.hi : p->y.hi, 3);
    }
  }
  free_all(val, n);
  free_all(train, m);
  return n > 0;
}

static void panel_lines(const dd_plot *p, const dd_view *v, int group, const json_t *schedule) {
  const json_t *g = dd_view_group(v, group);
  const dd_look look = dd_view_look(v, dd_view_text(schedule, "name"));
  dd_curve base, val, train;
  dd_plot_axes(p, "", "");
  const json_t *baseline = dd_view_schedule(g, dd_view_text(g, "baseline"));
  if (look.colour && dd_curve_read(&base, g, baseline, "val_loss", &p->out->failed)) {
    dd_plot_line(p, "base", base.n, base.x, base.mean);
    dd_curve_free(&base);
  }
  dd_str_printf(p->out, "<g class=\"c%d\">", look.colour);
  if (dd_curve_read(&val, g, schedule, "val_loss", &p->out->failed)) {
    dd_plot_band(p, "band", val.n, val.x, val.lo, val.hi);
    dd_plot_line(p, "thin", val.n, val.x, val.mean);
    dd_curve_free(&val);
  }
  if (dd_curve_read(&train, g, schedule, "train_loss", &p->out->failed)) {
    dd_plot_band(p, "band", train.n, train.x, train.lo, train.hi);
    dd_plot_line(p, "train", train.n, train.x, train.mean);
    dd_curve_free(&train);
  }
  dd_str_puts(p->out, "</g>");
}

static const char panel_desc[] =
    "Validation loss (solid, band from the smallest to the largest seed), training loss with "
    "dropout off (dashed) and the validation loss of the baseline (grey), over iterations.";

bool dd_figure_panel(dd_str *out, const dd_view *v, int group, int schedule) {
  const json_t *s = json_array_get(dd_view_array(dd_view_group(v, group), "schedules"), (size_t)schedule);
  char id[64], clip[80], b[48];
  snprintf(id, sizeof id, "g%d-panel%d", group + 1, schedule + 1);
  snprintf(clip, sizeof clip, "%s-c", id);
  dd_plot p = {.out = out, .clip = clip};
  if (!panel_scales(out, &p, v, group)) return false;
  dd_str attributes = {0};
  dd_str_printf(&attributes, "data-panel=\"%d\" data-digits=\"4\" data-x=\"%s ", schedule, dd_number(b, p.x.lo, 6));
  dd_str_printf(&attributes, "%s %d %d\"", dd_number(b, p.x.hi, 6), (int)p.left, (int)p.right);
  dd_plot_open(&p, PANEL_WIDTH, PANEL_HEIGHT, id, attributes.data ? attributes.data : "", dd_view_text(s, "name"),
               panel_desc);
  out->failed |= attributes.failed;
  dd_str_free(&attributes);
  panel_lines(&p, v, group, s);
  dd_str_puts(out, "</svg>");
  return true;
}

bool dd_figure_panels(dd_str *out, const dd_view *v, int group) {
  const json_t *schedules = dd_view_array(dd_view_group(v, group), "schedules");
  const int n = (int)json_array_size(schedules), columns = n < PANEL_COLUMNS ? n : PANEL_COLUMNS;
  char clip[64];
  snprintf(clip, sizeof clip, "g%d-panels-c", group + 1);
  dd_plot p = {.out = out, .clip = clip};
  if (!n || !panel_scales(out, &p, v, group)) return false;
  const double width = (columns < 2 ? 2 : columns) * PANEL_WIDTH, row = PANEL_HEIGHT + 24;
  const double height = 52 + row * ((n + columns - 1) / columns);
  char id[64];
  snprintf(id, sizeof id, "g%d-panels", group + 1);
  dd_str title = {0};
  dd_figure_group_title(&title, v, group, "Validation and training loss of each schedule");
  const char *text = title.data ? title.data : "";
  dd_plot_open(&p, width, height, id, "", text, panel_desc);
  dd_figure_alone(out, width, height, text);
  out->failed |= title.failed;
  dd_str_free(&title);
  dd_plot_text(out, "small", 6, 36, "solid: validation, dashed: training (dropout off), grey: baseline; nats/token");
  for (int i = 0; i < n; i++) {
    const json_t *s = json_array_get(schedules, (size_t)i);
    const dd_look look = dd_view_look(v, dd_view_text(s, "name"));
    dd_str_printf(out, "<g transform=\"translate(%d %d)\"><g class=\"c%d\">", i % columns * PANEL_WIDTH,
                  (int)(48 + row * (i / columns)), look.colour);
    dd_plot_text(out, "letter", 38, 12, look.letter);
    dd_str_puts(out, "</g><text class=\"strong\" x=\"56\" y=\"12\">");
    dd_escape_fit(out, dd_view_text(s, "name"), 10);
    dd_str_puts(out, "</text><g transform=\"translate(0 14)\">");
    panel_lines(&p, v, group, s);
    dd_str_puts(out, "</g></g>");
  }
  dd_str_puts(out, "</svg>");
  return true;
}
