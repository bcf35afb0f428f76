/* The text forms of reports, the job `report`, and studies whose files are damaged at random. */
#include "study_fixture.h"
#include "study/analysis.h"
#include "study/numbers.h"
#include "study/tables.h"

static dd_error err;

static void test_numbers(void **state) {
  (void)state;
  assert_string_equal(dd_fixed(1.23456, 4).s, "1.2346");
  assert_string_equal(dd_fixed(-0.00001, 4).s, "0.0000");
  assert_string_equal(dd_fixed(0, 2).s, "0.00");
  assert_string_equal(dd_fixed(NAN, 2).s, "-");
  assert_string_equal(dd_fixed(1e20, 2).s, "1.000e+20");
  assert_string_equal(dd_signed(0.5, 1).s, "+0.5");
  assert_string_equal(dd_signed(-0.5, 1).s, "-0.5");
  assert_string_equal(dd_signed(0.0001, 2).s, "0.00");
  assert_string_equal(dd_p_text(0.03125).s, "= 0.0312");
  assert_string_equal(dd_p_text(0.0005).s, "= 0.00050");
  assert_string_equal(dd_p_text(0.00001).s, "< 0.0001");
  assert_string_equal(dd_p_text(NAN).s, "unknown");
  json_t *v = dd_json_text("a\nb\xff\xc3\xa4");
  assert_string_equal(json_string_value(v), "a?b???");
  json_decref(v);
  v = dd_json_text("\xc3\xa4");
  assert_string_equal(json_string_value(v), "\xc3\xa4");
  json_decref(v);
}

static void test_str(void **state) {
  (void)state;
  dd_str s = {0};
  dd_str_puts(&s, NULL);
  assert_null(s.data);
  dd_str_printf(&s, "%d", 12);
  dd_str_append(&s, "\0x", 2);
  dd_str_puts(&s, "y");
  assert_int_equal(s.n, 5);
  assert_memory_equal(s.data, "12\0xy", 6);
  for (int i = 0; i < 2000; i++) dd_str_printf(&s, "%s", "0123456789");
  assert_int_equal(s.n, 20005);
  assert_int_equal(strlen(s.data + 3), 20002);
  s.failed = 1;
  dd_str_puts(&s, "more");
  assert_int_equal(s.n, 20005);
  dd_str_free(&s);
  assert_true(!s.data && !s.n && !s.cap && !s.failed);
}

/* Three seeds of two schedules in directory `dir`, timings scaled by `slow`. */
static void make_runs(const char *dir, int seeds) {
  for (int i = 0; i < seeds; i++)
    for (int k = 0; k < 2; k++) {
      char name[100];
      snprintf(name, sizeof name, "%s/%s-%d", dir, k ? "linear" : "fixed", i);
      const double best = 1.5 + 0.01 * i + 0.002 * k;
      make_run(&(fake){name, k ? "linear" : "fixed", i, 100, 100, best, 1.6, 1.2, 1.3, NULL, NULL, 0});
    }
}

static json_t *analyse(const char *dir) {
  const char *path = at(dir);
  dd_settings *s = dd_settings_create();
  json_t *report;
  if (dd_study_analyse(&path, 1, s, NULL, &report, &err)) fail_msg("%s", err.message);
  dd_settings_destroy(s);
  return report;
}

static void test_tables(void **state) {
  (void)state;
  make_runs("r", 3);
  fake odd = {"r/a, \"b\"", "fixed", 7, 100, 60, 1.5, 1.6, 1.2, 1.3, NULL, NULL, 0};
  make_run(&odd);
  json_t *report = analyse("r");
  dd_str s = {0};
  dd_report_csv(report, &s);
  const char *first = "group,schedule,seed,state,iter,best_val_loss,val_loss,final_loss,train_loss,gap,gap_best,"
                      "best_iter,mean_rate,final_rate,signatures,fingerprint,dir\r\n";
  assert_memory_equal(s.data, first, strlen(first));
  assert_non_null(strstr(s.data, ",fixed,0,finished,100,1.5,1.6,1.3,1.2,0.4"));
  assert_non_null(strstr(s.data, "overfitting@50,0000006400000000"));
  assert_non_null(strstr(s.data, ",fixed,7,unfinished,50,,,,,"));
  assert_non_null(strstr(s.data, ",\"a, \"\"b\"\"\"\r\n"));
  dd_str_free(&s);
  dd_report_tsv(report, &s);
  assert_non_null(strstr(s.data, "\ta, \"b\"\n"));
  assert_null(strchr(s.data, '\r'));
  assert_null(strstr(s.data, "ms_per_iter")); /* no timing */
  int lines = 0, tabs = 0;
  for (const char *p = s.data; *p; p++) lines += *p == '\n', tabs += *p == '\t';
  assert_int_equal(lines, 8);
  assert_int_equal(tabs, 8 * 16);
  dd_str_free(&s);
  dd_report_md(report, &s);
  assert_non_null(strstr(s.data, "# Dropout schedules on plays\n"));
  assert_non_null(strstr(s.data, "| fixed | 3 of 4 | 1.5100 ± 0.0100 | 1.6000 ± 0.0000 |"));
  assert_non_null(strstr(s.data, "| linear | 3 | +0.00200 |"));
  assert_non_null(strstr(s.data, "too few"));
  assert_non_null(strstr(s.data, "- linear: overfitting in 3 of 3 runs, from iteration 50"));
  const char *results = strstr(s.data, "### Means"), *cost = strstr(s.data, "## Cost");
  assert_true(results && cost && strstr(s.data, "training time") > cost);
  dd_str_free(&s);
  dd_report_json(report, &s);
  json_t *again = json_loads(s.data, 0, NULL);
  assert_true(json_equal(again, report));
  json_decref(again);
  dd_str_free(&s);
  json_decref(report);
}

static int longest(const char *text) {
  int most = 0, n = 0;
  for (; *text; text++) {
    if (((unsigned char)*text & 0xc0) != 0x80) n = *text == '\n' ? 0 : n + 1;
    if (n > most) most = n;
  }
  return most;
}

static void test_terminal(void **state) {
  (void)state;
  make_runs("r", 4);
  json_t *report = analyse("r");
  static const int widths[] = {20, 60, 80, 200};
  for (size_t i = 0; i < 4; i++) {
    dd_str s = {0};
    dd_report_terminal(report, widths[i], 0, &s);
    assert_in_range(longest(s.data), 30, widths[i] < 60 ? 60 : widths[i]);
    assert_non_null(strstr(s.data, "linear"));
    assert_non_null(strstr(s.data, "1.5150 ± 0.0129"));
    assert_non_null(strstr(s.data, "best val loss, difference from fixed:"));
    assert_non_null(strstr(s.data, "othing can be concluded"));
    const char *last = strstr(s.data, "final rate"); /* the last column: in the first line where there is room */
    assert_true((last && last < strchr(s.data, '\n')) == (widths[i] == 200));
    assert_null(strchr(s.data, '\033'));
    dd_str_free(&s);
  }
  dd_str s = {0};
  dd_report_terminal(report, 80, 1, &s);
  assert_non_null(strstr(s.data, "\033[1mschedule"));
  dd_str_free(&s);
  /* renderers read nothing but the object, and live with an empty one */
  json_t *empty = json_object();
  dd_report_terminal(empty, 80, 0, &s);
  dd_report_md(empty, &s), dd_report_csv(empty, &s), dd_report_tsv(empty, &s), dd_report_json(empty, &s);
  assert_int_equal(s.failed, 0);
  dd_str_free(&s);
  json_decref(empty);
  json_decref(report);
}

/* ---- the job ---- */

static dd_str heard, told;
static void on_text(void *user, const char *text, size_t n) {
  (void)user;
  dd_str_append(&heard, text, n);
}
static void on_message(void *user, dd_level level, const char *text) {
  (void)user;
  dd_str_printf(&told, "%d %s\n", (int)level, text);
}

static int report(const char *study, const char *format, const char *out, const char *plots) {
  const dd_callbacks cb = {.text = on_text, .message = on_message};
  dd_settings *s = dd_settings_create();
  int rc = dd_settings_set(s, "study", study, &err);
  if (!rc) rc = dd_settings_set(s, "format", format, &err);
  if (!rc && out) rc = dd_settings_set(s, "out", out, &err);
  if (!rc && plots) rc = dd_settings_set(s, "plots", plots, &err);
  dd_str_free(&heard);
  dd_str_free(&told);
  if (!rc) rc = dd_report(s, &cb, &err);
  dd_settings_destroy(s);
  return rc;
}

static void test_job(void **state) {
  (void)state;
  char a[600], two[1300];
  make_runs("one", 3), make_runs("two", 3);
  make_run(&(fake){"bad", "fixed", 3, 100, 100, 1.5, 1.6, 1.2, 1.3, NULL, NULL, 0});
  put("bad/config.json", "{");
  snprintf(a, sizeof a, "%s", at("one"));
  assert_int_equal(report(a, "tsv", NULL, NULL), DD_OK);
  char *first = strdup(heard.data);
  assert_int_equal(report(at("two"), "tsv", NULL, NULL), DD_OK);
  assert_string_equal(first, heard.data); /* equal grids, equal reports */
  free(first);
  assert_int_equal(report(a, "csv", at("r.csv"), NULL), DD_OK);
  assert_null(heard.data);
  assert_memory_equal(get("r.csv"), "group,schedule", 14);
  assert_non_null(strstr(told.data, "report written to "));
  snprintf(two, sizeof two, "%s\n%s", a, at("bad"));
  assert_int_equal(report(two, "md", "-", NULL), DD_OK);
  assert_non_null(strstr(told.data, "bad is damaged"));
  assert_non_null(strstr(heard.data, "## Warnings"));
  assert_int_equal(report(two, "html", NULL, NULL), DD_E_USAGE);
  assert_non_null(strstr(err.message, "--out FILE.html"));
  assert_int_equal(report("", "md", NULL, NULL), DD_E_USAGE);
  assert_int_equal(report("\n\n", "md", NULL, NULL), DD_E_USAGE);
  assert_int_equal(report(a, "md", at("no/such/place/r.md"), NULL), DD_E_IO);
  assert_int_equal(report(a, "html", NULL, at("plots")), DD_OK);
  assert_non_null(strcasestr(get("one/report.html"), "<!doctype html>"));
  assert_true(count_files(at("plots"), ".svg") > 0);
  dd_str_free(&heard);
  dd_str_free(&told);
}

/* ---- files from strangers ---- */

static uint32_t seed = 1;
static uint32_t draw(uint32_t n) {
  seed = seed * 1664525u + 1013904223u;
  return (uint32_t)((uint64_t)(seed >> 8) * n >> 24);
}

static char *damage(const char *text) {
  static const char *const words[] = {"\"", "{", "}", "[", "null", "-1", "1e308", "4000000000", "\\u0000", ",", "\n",
                                      "\xff", "999999999999999999999", "\"iter\":", "../", "NaN", "true", ""};
  const size_t n = strlen(text);
  char *copy = malloc(n + 64);
  size_t at_ = draw((uint32_t)n), cut = draw(4) ? draw(6) : draw((uint32_t)n);
  const char *word = words[draw(sizeof words / sizeof *words)];
  if (cut > n - at_) cut = n - at_;
  memcpy(copy, text, at_);
  strcpy(copy + at_, word);
  strcat(copy + at_, text + at_ + cut);
  if (!draw(3) && n > 2) copy[draw((uint32_t)n - 1)] = (char)(1 + draw(255));
  return copy;
}

static void test_hostile(void **state) {
  (void)state;
  make_run(&(fake){"s/runs/x", "fixed", 1, 100, 100, 1.5, 1.6, 1.2, 1.3, NULL, NULL, 0});
  make_run(&(fake){"s/runs/y", "linear", 1, 100, 100, 1.4, 1.6, 1.2, 1.3, NULL, NULL, 0});
  put("s/compare.json",
      "{\"commands\":[\"c\"],\"baseline\":\"fixed\",\"settings\":{\"max_iters\":100},\"cells\":["
      "{\"name\":\"x\",\"settings\":{\"schedule\":\"fixed\",\"seed\":\"1\"}},"
      "{\"name\":\"y\",\"settings\":{\"schedule\":\"linear\",\"seed\":\"1\"}},"
      "{\"name\":\"z\",\"settings\":{\"schedule\":\"linear\",\"seed\":\"2\"}}]}");
  put("s/measured.json", "{\"cost\":{\"threads\":2,\"tier\":\"avx2\",\"generation_tokens_per_s\":10,\"text\":\"t\"}}");
  static const char *const names[] = {"s/compare.json", "s/measured.json", "s/runs/x/config.json",
                                      "s/runs/x/metrics.jsonl"};
  const char *rounds = getenv("DD_FUZZ_ROUNDS");
  const long most = rounds ? strtol(rounds, NULL, 10) : 800;
  dd_settings *s = dd_settings_create();
  char dir[600];
  const char *path = dir;
  long good = 0;
  snprintf(dir, sizeof dir, "%s", at("s"));
  for (long i = 0; i < most; i++) {
    const char *name = names[i % 4];
    char *whole = strdup(get(name)), *bad = damage(whole);
    put(name, bad);
    json_t *o = NULL;
    const int rc = dd_study_analyse(&path, 1, s, NULL, &o, &err);
    if (rc != DD_OK && rc != DD_E_USAGE) fail_msg("round %ld: status %d: %s", i, rc, err.message);
    dd_str out = {0};
    if (o) {
      dd_report_md(o, &out), dd_report_csv(o, &out), dd_report_tsv(o, &out), dd_report_json(o, &out);
      dd_report_terminal(o, 80, 1, &out);
    }
    good += rc == DD_OK;
    assert_int_equal(out.failed, 0);
    dd_str_free(&out);
    json_decref(o);
    put(name, whole);
    free(whole);
    free(bad);
  }
  dd_settings_destroy(s);
  assert_true(good > most / 2); /* the other runs are still reported */
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup(name, setup)
      T(test_numbers), T(test_str), T(test_tables), T(test_terminal), T(test_job), T(test_hostile),
  };
  (void)fail_each_call;
  if (!make_root()) return 1;
  return run_group("report", tests, sizeof tests / sizeof *tests);
}
