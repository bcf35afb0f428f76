#include "study/html.h"
#include "core/file.h"
#include "core/hash.h"
#include "study/assets.h"
#include "study/html_internal.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- head ---- */

static void styles(dd_str *css) {
#define LIGHT(name, light, dark) dd_str_puts(css, "--" name ":" light ";");
#define DARK(name, light, dark) dd_str_puts(css, "--" name ":" dark ";");
  dd_str_puts(css, ":root{");
  DD_THEME(LIGHT)
  dd_str_puts(css, "}\n@media screen and (prefers-color-scheme:dark){:root{");
  DD_THEME(DARK)
  dd_str_puts(css, "}}\n");
#undef LIGHT
#undef DARK
  dd_str_puts(css, dd_asset_plot_css);
  dd_str_puts(css, dd_asset_report_css);
}

/* A source of a content security policy: 'sha256-...' with the digest in base64. */
static void hash_source(dd_str *out, const char *data, size_t n) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  char hex[65], base64[45];
  unsigned char digest[33] = {0};
  dd_sha256_hex(data, n, hex);
  for (int i = 0; i < 32; i++) {
    const char byte[3] = {hex[2 * i], hex[2 * i + 1], 0};
    digest[i] = (unsigned char)strtoul(byte, NULL, 16);
  }
  for (int i = 0; i < 11; i++) {
    const unsigned v = (unsigned)digest[3 * i] << 16 | (unsigned)digest[3 * i + 1] << 8 | digest[3 * i + 2];
    for (int k = 0; k < 4; k++) base64[4 * i + k] = digits[v >> (18 - 6 * k) & 63];
  }
  base64[43] = '=';
  base64[44] = 0;
  dd_str_printf(out, "'sha256-%s'", base64);
}

static void head(dd_str *out, const char *title) {
  dd_str css = {0};
  styles(&css);
  dd_str_puts(
      out, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
           "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; base-uri 'none'; "
           "form-action 'none'; style-src ");
  if (css.data) hash_source(out, css.data, css.n);
  dd_str_puts(out, "; script-src ");
  hash_source(out, dd_asset_report_js, strlen(dd_asset_report_js));
  dd_str_puts(out, "\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                   "<meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n<title>");
  dd_escape(out, title);
  dd_str_puts(out, "</title>\n<style>");
  dd_str_puts(out, css.data);
  if (css.failed) out->failed = 1;
  dd_str_free(&css);
  dd_str_puts(out, "</style>\n</head>\n");
}

/* ---- small parts ---- */

static void sentences(dd_str *out, const json_t *texts, const char *class) {
  size_t i;
  json_t *text;
  if (!json_array_size(texts)) return;
  dd_str_printf(out, "<ul class=\"%s\">", class);
  json_array_foreach((json_t *)texts, i, text) {
    if (!json_is_string(text)) continue;
    dd_str_puts(out, "<li>");
    dd_escape(out, json_string_value(text));
    dd_str_puts(out, "</li>");
  }
  dd_str_puts(out, "</ul>\n");
}

static const char *group_label(const json_t *group) {
  const char *label = dd_view_text(group, "label");
  return *label ? label : "Results";
}

static void header(dd_str *out, const dd_view *v, const char *title) {
  long planned = 0, finished = 0;
  size_t g, i;
  json_t *group, *s;
  const json_t *groups = dd_view_array(v->report, "groups");
  json_array_foreach((json_t *)groups, g, group) {
    json_array_foreach((json_t *)dd_view_array(group, "schedules"), i, s) {
      finished += dd_view_int(s, "finished", 0);
      planned += dd_view_int(s, "planned", 0);
    }
  }
  dd_str_puts(out, "<body>\n<a class=\"skip\" href=\"#main\">Skip to the conclusions</a>\n<header><h1>");
  dd_escape(out, title);
  dd_str_printf(out, "</h1><p class=\"lead-in\">%zu schedule%s, %ld of %ld runs finished", json_object_size(v->names),
                json_object_size(v->names) == 1 ? "" : "s", finished, planned);
  if (json_array_size(groups) > 1) dd_str_printf(out, ", in %zu groups", json_array_size(groups));
  dd_str_puts(out, ". Made by ");
  const char *program = dd_view_text(v->report, "program");
  dd_escape(out, *program ? program : "dd-cpu");
  dd_str_puts(out, " ");
  dd_escape(out, dd_view_text(v->report, "version"));
  const int numerics = dd_view_int(v->report, "numerics", 0);
  if (numerics) dd_str_printf(out, ", numerics %d", numerics);
  dd_str_puts(out,
              ".</p></header>\n<nav aria-label=\"Contents\"><ul><li><a href=\"#conclusions\">Conclusions</a></li>");
  json_array_foreach((json_t *)groups, g, group) {
    dd_str_printf(out, "<li><a href=\"#g%zu\">", g + 1);
    dd_escape(out, group_label(group));
    dd_str_puts(out, "</a></li>");
  }
  dd_str_puts(out,
              "<li><a href=\"#reading\">How to read this</a></li><li><a href=\"#origin\">Machine and origin</a></li>"
              "</ul></nav>\n<main id=\"main\">\n");
}

static void conclusions(dd_str *out, const dd_view *v) {
  size_t g;
  json_t *group;
  const json_t *groups = dd_view_array(v->report, "groups"), *warnings = dd_view_array(v->report, "warnings");
  dd_str_puts(out, "<section id=\"conclusions\"><h2>Conclusions</h2>\n");
  size_t said = 0;
  json_array_foreach((json_t *)groups, g, group) {
    if (json_array_size(groups) > 1) dd_page_element(out, "h3", "", group_label(group));
    sentences(out, dd_view_array(group, "conclusions"), "said");
    said += json_array_size(dd_view_array(group, "conclusions"));
  }
  if (!said) dd_str_puts(out, "<p>There is nothing to conclude yet.</p>");
  if (json_array_size(warnings)) {
    dd_str_puts(out, "<div class=\"warnings\" role=\"note\" aria-label=\"Warnings\"><h3>Warnings</h3>");
    sentences(out, warnings, "");
    dd_str_puts(out, "</div>");
  }
  dd_str_puts(out, "</section>\n");
}

/* ---- a group ---- */

static void legend(const dd_page *p) {
  size_t i;
  json_t *s;
  dd_str_puts(p->out, "<div class=\"legend\" role=\"group\" aria-label=\"Schedules shown\">");
  json_array_foreach((json_t *)dd_view_array(p->group, "schedules"), i, s) {
    const char *name = dd_view_text(s, "name");
    const dd_look look = dd_view_look(p->view, name);
    dd_str_printf(p->out, "<button type=\"button\" aria-pressed=\"true\" data-toggle=\"%d\" data-i=\"%zu\">",
                  look.number, i);
    dd_figure_key(p->out, &look);
    dd_str_printf(p->out, "<b class=\"chip c%d\">%s</b><span class=\"name\">", look.colour, look.letter);
    dd_escape(p->out, name);
    dd_str_puts(p->out, "</span></button>");
  }
  dd_str_puts(p->out,
              "<span class=\"script\"><button type=\"button\" class=\"plain\" data-all=\"true\">show all</button>"
              "<button type=\"button\" class=\"plain\" data-all=\"false\">hide all</button></span></div>\n");
}

static void comparison(const dd_page *p, size_t index, const json_t *c) {
  dd_str *o = p->out;
  dd_str figure = {0};
  if (index) {
    dd_str_puts(o, "<details class=\"more\"><summary>Paired differences in ");
    dd_escape(o, dd_view_text(c, "label"));
    dd_str_puts(o, "</summary>");
  }
  dd_str_puts(o, "<div class=\"two\">");
  if (dd_figure_forest(&figure, p->view, p->index, (int)index, false)) {
    dd_str_puts(o, "<figure><figcaption>Difference to ");
    dd_escape(o, dd_view_text(p->group, "baseline"));
    dd_str_puts(o, ": ");
    dd_escape(o, dd_view_text(c, "label"));
    dd_str_puts(o, "<small>Diamond: mean over seeds; bar: 95 % interval; dots: seeds.</small></figcaption>");
    dd_str_append(o, figure.data, figure.n);
    dd_str_puts(o, "</figure>");
  }
  if (figure.failed) o->failed = 1;
  dd_str_free(&figure);
  dd_str_puts(o, "<div class=\"verdicts\">");
  dd_page_element(o, "p", "", dd_view_text(json_object_get(c, "pairing"), "text"));
  dd_str_puts(o, "<ul>");
  size_t i;
  json_t *row;
  json_array_foreach((json_t *)dd_view_array(c, "rows"), i, row) {
    if (!*dd_view_text(row, "text")) continue;
    const dd_look look = dd_view_look(p->view, dd_view_text(row, "schedule"));
    dd_str_printf(o, "<li data-s=\"%d\"><b class=\"chip c%d\">%s</b> <span>", look.number, look.colour, look.letter);
    dd_escape(o, dd_view_text(row, "text"));
    dd_str_puts(o, "</span></li>");
  }
  dd_str_puts(o, "</ul></div></div>\n");
  dd_page_comparison(p, c);
  if (index) dd_str_puts(o, "</details>\n");
}

static void curves(const dd_page *p) {
  dd_str *o = p->out;
  dd_str_printf(o, "<h3 id=\"g%d-curves\">Curves</h3><div class=\"curves\">\n", p->index + 1);
  const dd_figure *f;
  for (int i = 0; (f = dd_figure_at(i)); i++) {
    dd_str figure = {0};
    if (dd_figure_curve(&figure, p->view, p->index, f, false)) {
      dd_str_printf(o, "<figure><figcaption>%s<small>%s</small></figcaption>", f->title, f->help);
      dd_str_append(o, figure.data, figure.n);
      dd_str_puts(o, "</figure>\n");
    }
    if (figure.failed) o->failed = 1;
    dd_str_free(&figure);
  }
  dd_str_puts(o, "</div>\n");
  dd_str_puts(
      o, "<p class=\"hint script\">Point at a plot, or focus it and use the arrow keys, to read its values. "
         "A click on a schedule above hides it or shows it again; with Shift, it alone stays. Pointing at it shows "
         "its band, from the smallest to the largest seed.</p>");
  dd_str_puts(o, "<details class=\"more long\"><summary>The curves as numbers</summary>");
  bool any = false;
  for (int i = 0; (f = dd_figure_at(i)); i++)
    if (!strcmp(f->key, "val_loss") || !strcmp(f->key, "train_loss") || !strcmp(f->key, "gap"))
      any |= dd_page_curve_values(p, f);
  if (!any) dd_str_puts(o, "<p>No run has been evaluated.</p>");
  dd_str_puts(o, "</details>\n");
}

static void panels(const dd_page *p) {
  size_t i;
  json_t *s;
  dd_str_printf(p->out,
                "<h3 id=\"g%d-panels\">Schedule by schedule</h3><p class=\"hint\">Solid: validation loss, with a "
                "band from the smallest to the largest seed. Dashed: training loss, dropout off. Grey: validation loss "
                "of the baseline. All have the same scales (nats/token over iterations).</p><div class=\"panels\">",
                p->index + 1);
  json_array_foreach((json_t *)dd_view_array(p->group, "schedules"), i, s) {
    const char *name = dd_view_text(s, "name");
    dd_str figure = {0};
    if (dd_figure_panel(&figure, p->view, p->index, (int)i)) {
      dd_str_printf(p->out, "<figure class=\"panel\" data-s=\"%d\"><figcaption>", dd_view_look(p->view, name).number);
      dd_page_schedule(p, "div", name);
      dd_str_puts(p->out, "</figcaption>");
      dd_str_append(p->out, figure.data, figure.n);
      dd_str_puts(p->out, "</figure>");
    }
    if (figure.failed) p->out->failed = 1;
    dd_str_free(&figure);
  }
  dd_str_puts(p->out, "</div>\n");
}

static void signatures(const dd_page *p) {
  size_t i, k, any = 0;
  json_t *s, *sign;
  dd_str_printf(p->out, "<h3 id=\"g%d-signatures\">Failure signatures</h3><dl class=\"signs\">", p->index + 1);
  json_array_foreach((json_t *)dd_view_array(p->group, "schedules"), i, s) {
    const json_t *signs = dd_view_array(s, "signatures");
    if (!json_array_size(signs)) continue;
    dd_str_printf(p->out, "<div data-s=\"%d\">", dd_view_look(p->view, dd_view_text(s, "name")).number);
    dd_page_schedule(p, "dt", dd_view_text(s, "name"));
    json_array_foreach((json_t *)signs, k, sign) {
      const char *text = dd_view_text(sign, "text");
      dd_page_element(p->out, "dd", "", *text ? text : dd_view_text(sign, "name"));
      any++;
    }
    dd_str_puts(p->out, "</div>");
  }
  dd_str_puts(p->out, any ? "</dl>\n" : "</dl><p>None was seen in any run.</p>\n");
}

static void group_section(const dd_page *p) {
  dd_str *o = p->out;
  size_t i;
  json_t *c;
  const json_t *comparisons = dd_view_array(p->group, "comparisons");
  dd_str_printf(o, "<section class=\"group\" id=\"g%d\" data-g=\"%d\"><h2>", p->index + 1, p->index);
  dd_escape(o, group_label(p->group));
  dd_str_puts(o, "</h2>\n");
  legend(p);
  dd_str_printf(o, "<h3 id=\"g%d-results\">Table</h3>\n", p->index + 1);
  if (dd_page_results(p, false))
    dd_str_puts(
        o, "<p class=\"hint\">Marked: the best mean of a column. Whether it differs from the baseline by more than "
           "chance is what the paired differences say.</p>\n");
  else dd_str_puts(o, "<p>No results.</p>");
  dd_str_printf(o, "<h3 id=\"g%d-paired\">Paired differences</h3>\n", p->index + 1);
  json_array_foreach((json_t *)comparisons, i, c) comparison(p, i, c);
  if (!json_array_size(comparisons)) dd_str_puts(o, "<p>There is nothing to compare.</p>");
  curves(p);
  panels(p);
  signatures(p);
  dd_str_printf(
      o,
      "<h3 id=\"g%d-cost\">Cost</h3><p class=\"hint\">Times are no results: they depend on the machine and on what "
      "else it did. Everything above is the same, to the bit, on any machine and any number of threads.</p>\n",
      p->index + 1);
  if (!dd_page_results(p, true)) dd_str_puts(o, "<p>No times are known.</p>");
  dd_str_printf(o, "<h3 id=\"g%d-settings\">Schedules and settings</h3>\n", p->index + 1);
  dd_page_formulas(p);
  dd_page_pairs(o, dd_view_array(p->group, "settings"), "Settings that all runs of this group share");
  dd_str_puts(o, "<details class=\"more long\"><summary>Every run: seed, state, fingerprint, values</summary>");
  dd_page_runs(p);
  dd_str_puts(o, "</details></section>\n");
}

/* ---- end ---- */

static void columns_help(dd_str *out, const json_t *report) {
  size_t i;
  json_t *c;
  const json_t *columns = dd_view_array(report, "columns");
  if (!json_array_size(columns)) return;
  dd_str_puts(out, "<h3>Columns</h3><dl class=\"terms\">");
  json_array_foreach((json_t *)columns, i, c) {
    dd_str_puts(out, "<div>");
    dd_page_element(out, "dt", "", dd_view_text(c, "label"));
    dd_page_element(out, "dd", "", dd_view_text(c, "help"));
    dd_str_puts(out, "</div>");
  }
  dd_str_puts(out, "</dl>");
}

static void reading_and_origin(dd_str *out, const json_t *report) {
  const json_t *cost = json_object_get(report, "cost"), *sources = dd_view_array(report, "sources");
  dd_str_puts(out, "<section id=\"reading\"><h2>How to read this</h2>");
  sentences(out, dd_view_array(report, "notes"), "notes");
  columns_help(out, report);
  dd_str_puts(out, "</section>\n<section id=\"origin\"><h2>Machine and origin</h2>");
  if (json_is_object(cost)) {
    static const struct {
      const char *key, *label;
      int digits;
    } rows[] = {{"threads", "threads", 0},
                {"step_ms", "step, ms", 2},
                {"step_ms_no_dropout", "step without dropout, ms", 2},
                {"dropout_price", "share of dropout in a step", 3},
                {"generation_tokens_per_s", "generation, tokens/s", 1}};
    dd_str_puts(out, "<h3>Speed on this machine</h3>");
    dd_page_element(out, "p", "", dd_view_text(cost, "text"));
    dd_page_element(out, "p", "", dd_view_text(cost, "generation_text"));
    dd_str_puts(out, "<dl class=\"pairs\">");
    char b[48];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
      const double value = dd_view_number(cost, rows[i].key);
      if (!isnan(value))
        dd_str_printf(out, "<div><dt>%s</dt><dd>%s</dd></div>", rows[i].label, dd_number(b, value, rows[i].digits));
    }
    if (*dd_view_text(cost, "tier")) {
      dd_str_puts(out, "<div><dt>kernels</dt>");
      dd_page_element(out, "dd", "", dd_view_text(cost, "tier"));
      dd_str_puts(out, "</div>");
    }
    dd_str_puts(out, "</dl>");
  }
  if (json_object_size(json_object_get(report, "machine")))
    dd_page_pairs(out, json_object_get(report, "machine"), "Machine");
  if (*dd_view_text(report, "command")) {
    dd_str_puts(out, "<h4>The command that repeats this</h4>");
    dd_page_element(out, "pre", "", dd_view_text(report, "command"));
  }
  if (json_array_size(sources)) {
    dd_str_puts(out, "<h4>Read from</h4>");
    sentences(out, sources, "code");
  }
  dd_str_puts(out, "</section>\n");
}

/* JSON in a page: < would allow </script>. It occurs in strings only, where it may be written as an escape. */
static void embed(dd_str *out, const json_t *report) {
  char *text = json_dumps(report, JSON_COMPACT | JSON_ENSURE_ASCII);
  dd_str_puts(out, "<script type=\"application/json\" id=\"report\">");
  if (!text) out->failed = 1;
  for (const char *at = text; at && *at;) {
    const size_t n = strcspn(at, "<>&");
    dd_str_append(out, at, n);
    at += n;
    if (*at) dd_str_printf(out, "\\u%04x", (unsigned)(unsigned char)*at++);
  }
  free(text);
  dd_str_puts(out, "</script>\n");
}

int dd_report_html(const json_t *report, dd_str *out) {
  dd_view v;
  const int status = dd_view_init(&v, report, NULL);
  if (status) {
    out->failed = 1;
    return status;
  }
  const char *name = dd_view_text(report, "title");
  dd_str title = {0};
  dd_str_printf(&title, "Dropout schedules%s%s", *name ? " on " : "", name);
  head(out, title.data ? title.data : "");
  header(out, &v, title.data ? title.data : "");
  if (title.failed) out->failed = 1;
  dd_str_free(&title);
  conclusions(out, &v);
  for (int g = 0; g < (int)json_array_size(dd_view_array(report, "groups")); g++) {
    const dd_page page = {.out = out, .view = &v, .index = g, .group = dd_view_group(&v, g)};
    group_section(&page);
  }
  reading_and_origin(out, report);
  dd_str_puts(out, "</main>\n<div id=\"tip\" hidden></div>\n");
  embed(out, report);
  dd_str_puts(out, "<script>");
  dd_str_puts(out, dd_asset_report_js);
  dd_str_puts(out, "</script>\n</body>\n</html>\n");
  dd_view_free(&v);
  return out->failed ? DD_E_RUNTIME : DD_OK;
}

/* ---- files ---- */

enum { SLUG = 64 };
static void slug(char out[SLUG], const char *label) {
  size_t n = 0;
  for (; *label && n < SLUG - 1; label++) {
    const bool plain =
        strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", *label) || (n && *label == '.');
    if (plain || (n && out[n - 1] != '-')) out[n++] = plain ? *label : '-';
  }
  out[n] = 0;
}

/* File name without ".svg"; groups whose labels look alike get their number. */
static void plot_name(char *out, size_t size, const dd_view *v, int group, const char *plot) {
  char own[SLUG], other[SLUG];
  slug(own, dd_view_text(dd_view_group(v, group), "label"));
  const int groups = (int)json_array_size(dd_view_array(v->report, "groups"));
  bool same = groups > 1 && !*own;
  for (int g = 0; g < groups; g++) {
    slug(other, dd_view_text(dd_view_group(v, g), "label"));
    same |= g != group && !strcmp(own, other);
  }
  if (same) snprintf(out, size, "%s%sgroup%d-%s.svg", own, *own ? "-" : "", group + 1, plot);
  else snprintf(out, size, "%s%s%s.svg", own, *own ? "-" : "", plot);
}

static int write_plot(const char *dir, const dd_view *v, int group, const char *plot, dd_str *svg, dd_error *err) {
  char name[SLUG + 96], path[4096];
  plot_name(name, sizeof name, v, group, plot);
  int status = DD_OK;
  if (svg->failed) status = dd_fail(err, DD_E_RUNTIME, "no memory for the plot %s", name);
  if (!status) status = dd_path_join(path, sizeof path, dir, name, err);
  if (!status) status = dd_file_replace(path, svg->data, svg->n, err);
  dd_str_free(svg);
  return status;
}

static int group_plots(const dd_view *v, int g, const char *dir, dd_error *err) {
  int status = DD_OK;
  const dd_figure *f;
  dd_str svg = {0};
  for (int i = 0; !status && (f = dd_figure_at(i)); i++)
    if (dd_figure_curve(&svg, v, g, f, true) || svg.failed) status = write_plot(dir, v, g, f->key, &svg, err);
  const json_t *comparisons = dd_view_array(dd_view_group(v, g), "comparisons");
  for (int i = 0; !status && i < (int)json_array_size(comparisons); i++) {
    char metric[SLUG], plot[SLUG + 24];
    slug(metric, dd_view_text(json_array_get(comparisons, (size_t)i), "metric"));
    if (*metric) snprintf(plot, sizeof plot, "paired-%s", metric);
    else snprintf(plot, sizeof plot, "paired-%d", i + 1);
    if (dd_figure_forest(&svg, v, g, i, true) || svg.failed) status = write_plot(dir, v, g, plot, &svg, err);
  }
  if (!status && (dd_figure_panels(&svg, v, g) || svg.failed)) status = write_plot(dir, v, g, "panels", &svg, err);
  dd_str_free(&svg);
  return status;
}

int dd_report_plots(const json_t *report, const char *dir, dd_error *err) {
  dd_view v;
  int status = dd_view_init(&v, report, err);
  if (status) return status;
  status = dd_make_dirs(dir, err);
  for (int g = 0; !status && g < (int)json_array_size(dd_view_array(report, "groups")); g++)
    status = group_plots(&v, g, dir, err);
  dd_view_free(&v);
  return status;
}
