/* The HTML report: well-formed, everything escaped, values equal to the JSON, the same bytes each time; with
 * `--write DIR` it writes pages and plots to look at (tests/report_browser.sh). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ctype.h>
#include <locale.h>
#include <stdlib.h>
#include <unistd.h>
#include "core/file.h"
#include "report_fixture.h"
#include "study/html.h"
#include "study/svg.h"
#include "study/view.h"

static const fixture_size usual = {10, 8, 2, false}, hostile = {10, 8, 2, true}, many = {20, 5, 1, false};

static dd_str page_of(const json_t *report) {
  dd_str page = {0};
  assert_int_equal(dd_report_html(report, &page), DD_OK);
  return page;
}
static dd_str page_of_size(fixture_size size) {
  json_t *report = report_fixture(size);
  assert_non_null(report);
  dd_str page = page_of(report);
  json_decref(report);
  return page;
}

/* ---- every element is closed, in order; attributes are quoted and hold no < ---- */

static const char *const void_elements[] = {"meta", "link", "br", "img"};

static void check_balance(const char *text, const char *what) {
  char stack[64][16];
  int depth = 0;
  const char *const end_of_text = text + strlen(text); /* once: sanitizers have strchr and strstr walk to the end */
  for (const char *at = text; (at = memchr(at, '<', (size_t)(end_of_text - at)));) {
    const char *name = ++at;
    if (!strncmp(at, "!doctype", 8)) continue;
    const int closing = *at == '/';
    name += closing;
    if (!isalpha((unsigned char)*name)) fail_msg("%s: a bare < at: %.60s", what, at - 1);
    size_t n = 0;
    while (isalnum((unsigned char)name[n])) n++;
    assert_true(n < sizeof stack[0]);
    const char *end = name + n;
    for (char quote = 0; *end && (quote || *end != '>'); end++) {
      if (*end == '<') fail_msg("%s: < in a tag: %.60s", what, at - 1);
      if (quote) quote = *end == quote ? 0 : quote;
      else if (*end == '"') quote = '"';
      else if (!strncmp(end, " on", 3)) fail_msg("%s: a handler in a tag: %.60s", what, at - 1);
      else if (*end == '\'' || (*end == '=' && end[1] != '"'))
        fail_msg("%s: attribute without quotes: %.60s", what, at - 1);
    }
    assert_int_equal(*end, '>');
    if (closing) {
      if (!depth || strncmp(stack[depth - 1], name, n) || stack[depth - 1][n])
        fail_msg("%s: </%.*s> closes nothing", what, (int)n, name);
      depth--;
    } else if (end[-1] != '/') {
      int is_void = 0;
      for (size_t i = 0; i < sizeof void_elements / sizeof *void_elements; i++)
        is_void |= strlen(void_elements[i]) == n && !strncmp(void_elements[i], name, n);
      if (!is_void) {
        assert_true(depth < 64);
        memcpy(stack[depth], name, n);
        stack[depth++][n] = 0;
        if (!strcmp(stack[depth - 1], "script") || !strcmp(stack[depth - 1], "style")) {
          char close_tag[24];
          snprintf(close_tag, sizeof close_tag, "</%s>", stack[depth - 1]);
          end = strstr(end, close_tag);
          assert_non_null(end);
        }
      }
    }
    at = end;
  }
  if (depth) fail_msg("%s: <%s> is never closed", what, stack[depth - 1]);
}

static void check_characters(const dd_str *text) {
  assert_int_equal(strlen(text->data), text->n);
  json_t *as_text = json_stringn(text->data, text->n); /* fails on invalid UTF-8 */
  assert_non_null(as_text);
  json_decref(as_text);
  for (size_t i = 0; i < text->n; i++) assert_true((unsigned char)text->data[i] >= 32 || text->data[i] == '\n');
}

static int occurrences(const char *text, const char *part) {
  const char *const end = text + strlen(text);
  const size_t length = strlen(part);
  int n = 0;
  for (const char *at = text; (at = memmem(at, (size_t)(end - at), part, length)); at += length) n++;
  return n;
}

static void well_formed(void **state) {
  (void)state;
  const fixture_size sizes[] = {usual, hostile, many, {1, 1, 1, false}, {2, 2, 1, false}, {0, 0, 1, false}};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    dd_str page = page_of_size(sizes[i]);
    check_balance(page.data, "page");
    check_characters(&page);
    dd_str_free(&page);
  }
}

static void deterministic(void **state) {
  (void)state;
  dd_str a = page_of_size(hostile), b = page_of_size(hostile);
  assert_int_equal(a.n, b.n);
  assert_memory_equal(a.data, b.data, a.n);
  dd_str_free(&a);
  dd_str_free(&b);
}

/* ---- strangers ---- */

static void escaped(void **state) {
  (void)state;
  dd_str page = page_of_size(hostile);
  assert_int_equal(occurrences(page.data, "<script"), 2); /* the JSON and ours */
  assert_int_equal(occurrences(page.data, "</script"), 2);
  assert_int_equal(occurrences(page.data, "<style"), 1);
  assert_int_equal(occurrences(page.data, "<img"), 0);
  assert_int_equal(occurrences(page.data, "<b>"), 0);
  assert_int_equal(occurrences(page.data, "<i>"), 0);
  assert_int_equal(occurrences(page.data, "\x01"), 0);
  assert_int_equal(occurrences(page.data, "\xE2\x80\xAE"), 0); /* right-to-left override */
  assert_true(occurrences(page.data, "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;") > 5);
  assert_true(occurrences(page.data, "&quot;&amp;&#39; --&gt;&lt;b&gt;]]&gt;\xEF\xBF\xBD\xEF\xBF\xBDgnp.exe") > 5);
  dd_str_free(&page);
}

static void no_network(void **state) {
  (void)state;
  dd_str page = page_of_size(usual);
  const int namespaces = occurrences(page.data, "http://www.w3.org/2000/svg");
  assert_true(namespaces > 10);
  assert_int_equal(occurrences(page.data, "http"), namespaces + 1); /* and http-equiv */
  assert_int_equal(occurrences(page.data, "src="), 0);
  assert_int_equal(occurrences(page.data, "@import"), 0);
  assert_int_equal(occurrences(page.data, "url("), occurrences(page.data, "url(#"));
  assert_non_null(strstr(page.data, "default-src 'none'"));
  assert_null(strstr(page.data, "unsafe-inline"));
  dd_str_free(&page);
}

/* The JSON in the page is the report, whatever its texts hold. */
static void embedded_json(void **state) {
  (void)state;
  json_t *report = report_fixture(hostile);
  dd_str page = page_of(report);
  const char *begin = strstr(page.data, "id=\"report\">"), *end;
  assert_non_null(begin);
  begin += strlen("id=\"report\">");
  end = strstr(begin, "</script>");
  assert_non_null(end);
  json_t *back = json_loadb(begin, (size_t)(end - begin), 0, NULL);
  assert_non_null(back);
  assert_true(json_equal(back, report));
  json_decref(back);
  json_decref(report);
  dd_str_free(&page);
}

/* Any key may be missing or of any type: take each value of the report away, or put something else there. */
static int visits;
static void damage(json_t *root, json_t *value, int wanted) {
  const char *key;
  json_t *item;
  void *next;
  size_t i;
  json_object_foreach_safe(value, next, key, item) {
    if (visits++ % 37 == wanted) {
      const int how = visits % 4;
      if (how == 0) json_object_del(value, key);
      else
        json_object_set_new(value, key,
                            how == 1   ? json_null()
                            : how == 2 ? json_real(1e300)
                                       : json_pack("[s,{s:i}]", "<x>", "a", 1));
    } else damage(root, item, wanted);
  }
  json_array_foreach(value, i, item) {
    if (visits++ % 37 == wanted) json_array_set_new(value, i, visits % 2 ? json_null() : json_real(-1e300));
    else damage(root, item, wanted);
  }
}

static void damaged_reports(void **state) {
  (void)state;
  int all = 0;
  for (int i = 0; i < 37; i++) {
    json_t *report = report_fixture((fixture_size){4, 3, 2, i % 2});
    visits = 0;
    damage(report, report, i);
    all += visits;
    dd_str page = page_of(report);
    check_balance(page.data, "page of a damaged report");
    check_characters(&page);
    json_decref(report);
    dd_str_free(&page);
  }
  assert_true(all > 37 * 300); /* the reports were walked, not cut off at the root */
  const char *const odd[] = {"{}",
                             "{\"groups\":[]}",
                             "{\"groups\":[{}]}",
                             "{\"groups\":{\"schedules\":[]}}",
                             "[]",
                            "{\"groups\":[{\"schedules\":[{},{\"curves\":{\"gap\":{\"iter\":[0],\"mean\":[null]}}}]}]}",
                             "{\"groups\":[{\"comparisons\":[{},{\"rows\":[{}]}]}]}"};
  for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
    json_t *report = json_loads(odd[i], 0, NULL);
    assert_non_null(report);
    dd_str page = page_of(report);
    check_balance(page.data, odd[i]);
    json_decref(report);
    dd_str_free(&page);
  }
}

/* ---- values ---- */

/* The cell of row i and column key k in a table of that class within the group's section. */
static const char *find_cell(const char *page, int group, const char *table, size_t i, const char *k) {
  char mark[64];
  snprintf(mark, sizeof mark, "<section class=\"group\" id=\"g%d\"", group + 1);
  const char *at = strstr(page, mark);
  assert_non_null(at);
  snprintf(mark, sizeof mark, "<table class=\"values %s", table);
  at = strstr(at, mark);
  assert_non_null(at);
  const char *end = strstr(at, "</table>");
  snprintf(mark, sizeof mark, "data-i=\"%zu\">", i);
  at = strstr(at, mark);
  assert_true(at && at < end);
  snprintf(mark, sizeof mark, "data-k=\"%s\"", k);
  at = strstr(at, mark);
  assert_true(at && at < end);
  return at;
}

static void expect_in(const char *cell, const char *text) {
  const char *end = strstr(cell, "</td>"), *found = strstr(cell, text);
  if (!found || found > end) fail_msg("'%s' is not in: %.*s", text, (int)(end - cell), cell);
}

static void results_equal_json(void **state) {
  (void)state;
  json_t *report = report_fixture(hostile), *group, *schedule, *column;
  dd_str page = page_of(report);
  size_t g, i, c;
  int compared = 0;
  json_array_foreach(json_object_get(report, "groups"), g, group)
      json_array_foreach(json_object_get(group, "schedules"), i, schedule)
          json_array_foreach(json_object_get(report, "columns"), c, column) {
    const char *kind = json_string_value(json_object_get(column, "kind"));
    const json_t *v =
        json_object_get(json_object_get(schedule, "columns"), json_string_value(json_object_get(column, "key")));
    const int digits = (int)json_integer_value(json_object_get(column, "digits"));
    char k[24], text[64];
    snprintf(k, sizeof k, "%zu", c);
    const char *cell = find_cell(page.data, (int)g, strcmp(kind, "cost") ? "results" : "cost", i, k);
    if (!json_is_number(json_object_get(v, "mean"))) {
      expect_in(cell, "class=\"none\"");
      continue;
    }
    snprintf(text, sizeof text, "<span class=\"m\">%.*f</span>", digits, json_number_value(json_object_get(v, "mean")));
    expect_in(cell, text);
    snprintf(text, sizeof text, "\xC2\xB1\xC2\xA0%.*f</span>", digits, json_number_value(json_object_get(v, "sd")));
    expect_in(cell, text);
    compared++;
  }
  assert_true(compared > 120);
  json_decref(report);
  dd_str_free(&page);
}

static void comparisons_equal_json(void **state) {
  (void)state;
  json_t *report = report_fixture(usual), *group, *row;
  dd_str page = page_of(report);
  size_t g, i;
  int compared = 0;
  json_array_foreach(json_object_get(report, "groups"), g, group) {
    const json_t *first = json_array_get(json_object_get(group, "comparisons"), 0);
    json_array_foreach(json_object_get(first, "rows"), i, row) {
      char text[96];
#define VALUE(key) json_number_value(json_object_get(row, key))
      snprintf(text, sizeof text, ">%.4f<", VALUE("mean"));
      expect_in(find_cell(page.data, (int)g, "paired", i, "mean"), text);
      snprintf(text, sizeof text, "[%.4f, %.4f]", VALUE("t_lo"), VALUE("t_hi"));
      expect_in(find_cell(page.data, (int)g, "paired", i, "t"), text);
      snprintf(text, sizeof text, "[%.4f, %.4f]", VALUE("boot_lo"), VALUE("boot_hi"));
      expect_in(find_cell(page.data, (int)g, "paired", i, "boot"), text);
      snprintf(text, sizeof text, ">%.4f", VALUE("holm_p"));
      expect_in(find_cell(page.data, (int)g, "paired", i, "holm_p"), text);
      snprintf(text, sizeof text, ">%.0f, %.0f, %.0f<", VALUE("wins"), VALUE("ties"), VALUE("losses"));
      expect_in(find_cell(page.data, (int)g, "paired", i, "wins"), text);
      expect_in(find_cell(page.data, (int)g, "paired", i, "verdict"),
                json_string_value(json_object_get(row, "verdict")));
      compared++;
    }
  }
  assert_int_equal(compared, 18);
  json_decref(report);
  dd_str_free(&page);
}

/* The best mean is marked: one per column with a direction and different values, none elsewhere. */
static void best_is_marked(void **state) {
  (void)state;
  dd_str page = page_of_size((fixture_size){10, 8, 1, false});
  assert_int_equal(occurrences(page.data, "class=\"best\""), 6);
  dd_str_free(&page);
  json_t *report = report_fixture((fixture_size){3, 4, 1, false}), *s;
  size_t i;
  json_array_foreach(json_object_get(json_array_get(json_object_get(report, "groups"), 0), "schedules"), i, s) {
    json_object_set_new(json_object_get(json_object_get(s, "columns"), "val_loss"), "mean", json_real(1.5));
    json_object_set_new(json_object_get(json_object_get(s, "columns"), "train_loss"), "mean",
                        json_real(i == 1 ? 1 : 2));
  }
  page = page_of(report);
  assert_int_equal(occurrences(page.data, "class=\"best\""), 5);
  expect_in(find_cell(page.data, 0, "results", 1, "0"), "class=\"best\"");
  json_decref(report);
  dd_str_free(&page);
}

/* ---- parts ---- */

static void numbers(void **state) {
  (void)state;
  char b[48];
  assert_string_equal(dd_number(b, 1.23456, 4), "1.2346");
  assert_string_equal(dd_number(b, -0.00001, 4), "0.0000");
  assert_string_equal(dd_number(b, -2.5, 1), "-2.5");
  assert_string_equal(dd_number(b, 1234567, 0), "1234567");
  assert_string_equal(dd_number(b, 1e300, 4), "1.000000e+300");
  assert_string_equal(dd_number_typeset(b, -0.25, 2, true), "\xE2\x88\x92"
                                                            "0.25");
  assert_string_equal(dd_number_typeset(b, 0.25, 2, true), "+0.25");
  assert_string_equal(dd_number_typeset(b, 0.001, 2, true), "0.00");
  const char *const locales[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE.utf8", "C.UTF-8"};
  for (size_t i = 0; i < 4; i++)
    if (setlocale(LC_ALL, locales[i])) assert_string_equal(dd_number(b, -3.14159, 2), "-3.14");
  setlocale(LC_ALL, "C");
}

static void axes(void **state) {
  (void)state;
  dd_axis a;
  double v, first = 0;
  const double ranges[][2] = {{0, 2000}, {1.4, 1.7},    {-0.02, 0.013}, {5, 5},   {0, 0},
                              {1, 0},    {-1e15, 1e15}, {1e-9, 2e-9},   {0, 0.2}, {1e15, 1e15}};
  for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
    dd_axis_fit(&a, ranges[i][0], ranges[i][1], 5);
    assert_true(a.lo < a.hi && a.step > 0);
    int n = 0;
    for (; dd_axis_tick(&a, n, &v); n++) {
      assert_true(v >= a.lo - 1e-6 * a.step && v <= a.hi + 1e-6 * a.step);
      char b[48];
      dd_number(b, v, a.digits);
      assert_true(fabs(strtod(b, NULL) - v) <= 1e-6 * a.step); /* the label says where the tick is */
      if (!n) first = v;
    }
    assert_true(n >= 2 && n <= 12);
    assert_true(first - a.lo <= a.step);
  }
  dd_axis_fit(&a, 0, 2000, 5);
  assert_true(a.step == 500 && a.digits == 0);
  dd_axis_fit(&a, 0, 1, 4);
  assert_true(a.step == 0.25 && a.digits == 2);
}

static void labels_apart(void **state) {
  (void)state;
  double y[20];
  for (int i = 0; i < 20; i++) y[i] = 100 + (i % 3);
  dd_spread(y, 20, 12, 0, 240);
  for (int i = 0; i < 20; i++) {
    assert_true(y[i] >= -1e-9 && y[i] <= 240 + 1e-9);
    for (int k = 0; k < i; k++) assert_true(fabs(y[i] - y[k]) >= 12 - 1e-9);
  }
  double two[2] = {239, 240};
  dd_spread(two, 2, 300, 0, 240); /* does not fit: as far as possible */
  assert_true(two[0] >= 0 && two[1] <= 240 && two[1] - two[0] > 239);
}

static void looks(void **state) {
  (void)state;
  json_t *report = report_fixture(many);
  dd_view v;
  assert_int_equal(dd_view_init(&v, report, NULL), DD_OK);
  bool taken[DD_COLOURS + 1][DD_DASHES] = {{0}};
  for (int k = 0; k < 20; k++) {
    const dd_look l = dd_view_look(&v, fixture_names[k]);
    assert_int_equal(l.letter[0], 'A' + k);
    assert_int_equal(l.colour == 0, k == 0); /* the baseline alone */
    assert_false(taken[l.colour][l.dash]);
    taken[l.colour][l.dash] = true;
  }
  dd_view_free(&v);
  json_decref(report);
}

/* ---- files ---- */

static void plot_files(void **state) {
  (void)state;
  char dir[] = "/tmp/dd-plots-XXXXXX", path[128];
  assert_non_null(mkdtemp(dir));
  json_t *report = report_fixture(hostile);
  json_t *second = json_array_get(json_object_get(report, "groups"), 1);
  json_object_set_new(second, "label", json_string("../../<n> /etc"));
  dd_error err;
  assert_int_equal(dd_report_plots(report, dir, &err), DD_OK);
  static const char *const names[] = {
      "val_loss", "val_diff", "train_loss", "gap", "rate", "loss", "paired-best_val_loss", "paired-val_loss", "panels"};
  for (int g = 0; g < 2; g++)
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
      snprintf(path, sizeof path, "%s/%s-%s.svg", dir, g ? "n-etc" : "n_layer-6", names[i]);
      char *data;
      size_t n;
      if (dd_file_read_all(path, 1 << 24, &data, &n, &err)) fail_msg("%s", err.message);
      check_balance(data, path);
      assert_null(strstr(data, "var(--"));
      assert_non_null(strstr(data, "<style>"));
      assert_int_equal(occurrences(data, "http"), 1);
      assert_non_null(strstr(data, "role=\"img\""));
      free(data);
      assert_int_equal(unlink(path), 0);
    }
  assert_int_equal(rmdir(dir), 0); /* nothing else was written */
  assert_int_equal(dd_report_plots(report, "/dev/null/plots", &err), DD_E_IO);
  json_decref(report);
}

/* ---- pages for the browser ---- */

static int write_pages(const char *dir) {
  static const struct {
    const char *name;
    fixture_size size;
  } pages[] = {{"usual", {10, 8, 2, false}},
               {"hostile", {10, 8, 2, true}},
               {"many", {20, 5, 1, false}},
               {"few", {2, 3, 1, false}}};
  dd_error err;
  for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
    json_t *report = report_fixture(pages[i].size);
    dd_str page = {0};
    char path[4096], plots[4096];
    snprintf(path, sizeof path, "%s/%s.html", dir, pages[i].name);
    snprintf(plots, sizeof plots, "%s/%s", dir, pages[i].name);
    int status = dd_report_html(report, &page);
    if (!status) status = dd_file_replace(path, page.data, page.n, &err);
    if (!status) status = dd_report_plots(report, plots, &err);
    dd_str_free(&page);
    json_decref(report);
    if (status) return status;
  }
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 3 && !strcmp(argv[1], "--write")) return write_pages(argv[2]);
  const struct CMUnitTest tests[] = {cmocka_unit_test(well_formed),
                                     cmocka_unit_test(deterministic),
                                     cmocka_unit_test(escaped),
                                     cmocka_unit_test(no_network),
                                     cmocka_unit_test(embedded_json),
                                     cmocka_unit_test(damaged_reports),
                                     cmocka_unit_test(results_equal_json),
                                     cmocka_unit_test(comparisons_equal_json),
                                     cmocka_unit_test(best_is_marked),
                                     cmocka_unit_test(numbers),
                                     cmocka_unit_test(axes),
                                     cmocka_unit_test(labels_apart),
                                     cmocka_unit_test(looks),
                                     cmocka_unit_test(plot_files)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
