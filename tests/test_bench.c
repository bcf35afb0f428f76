/* The bench suite's own arithmetic and files. Nothing here times anything. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "bench/cases.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))

static dd_error err;

/* ---- statistics ---- */

static void test_quantiles(void **state) {
  (void)state;
  const double odd[] = {5, 1, 3}, even[] = {4, 1, 2, 3}, eleven[] = {10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0};
  dd_spread s = dd_spread_of(odd, 3);
  assert_true(s.median == 3 && s.n == 3);
  assert_true(fabs(s.p10 - 1.4) < 1e-12 && fabs(s.p90 - 4.6) < 1e-12);
  assert_true(odd[0] == 5 && odd[1] == 1); /* left as they are */
  assert_true(dd_spread_of(even, 4).median == 2.5);
  s = dd_spread_of(eleven, 11);
  assert_true(s.median == 5 && s.p10 == 1 && s.p90 == 9);
  s = dd_spread_of(odd, 1);
  assert_true(s.median == 5 && s.p10 == 5 && s.p90 == 5);
  s = dd_spread_of(odd, 0);
  assert_true(isnan(s.median) && isnan(s.p10) && isnan(s.p90) && s.n == 0);
}

static void test_geomean(void **state) {
  (void)state;
  const double x[] = {1, 10, 100};
  assert_true(fabs(dd_geomean(x, 3) - 10) < 1e-12);
  assert_true(fabs(dd_geomean(x + 1, 1) - 10) < 1e-12);
}

static void test_differs(void **state) {
  (void)state;
  const dd_spread a = {10, 9, 11, 5}, above = {13, 11.5, 14, 5}, touching = {12, 11, 13, 5}, below = {5, 4, 8.9, 5};
  assert_int_equal(dd_spread_differs(&a, &above), 1);
  assert_int_equal(dd_spread_differs(&a, &touching), 0);
  assert_int_equal(dd_spread_differs(&a, &below), -1);
  assert_int_equal(dd_spread_differs(&a, &a), 0);
}

/* ---- rounds ---- */

/* Who ran last, before last, ...: a ring, because running in calls as often as it likes. */
static char order[12];

static void note(void *arg, int64_t times) {
  (void)times;
  memmove(order, order + 1, sizeof order - 1);
  order[sizeof order - 1] = *(const char *)arg;
}

static void test_rounds(void **state) {
  (void)state;
  dd_bench b = {.using = 1};
  dd_contender c[3];
  char name[3][2] = {"a", "b", "c"};
  for (int i = 0; i < 3; i++)
    c[i] = (dd_contender){.who = "x", .run = note, .arg = name[i], .work = i + 1, .times = 1};
  assert_int_equal(dd_rounds(&b, c, 3, 4, &err), DD_OK);
  assert_memory_equal(order, "abcabcabcabc", sizeof order);
  for (int i = 0; i < 3; i++) assert_int_equal(c[i].n, 4);
}

static void test_ratios(void **state) {
  (void)state;
  /* The second round was twice as slow for both: the ratio does not see it. */
  dd_contender a = {.work = 8, .n = 3, .seconds = {1, 2, 1}}, b = {.work = 4, .n = 3, .seconds = {1, 2, 1}};
  const dd_spread s = dd_contender_ratios(&a, &b);
  assert_true(s.median == 2 && s.p10 == 2 && s.p90 == 2);
  assert_true(isnan(dd_contender_ratio(&a, NULL)));
  assert_true(dd_contender_rate(&a, 2).median == 4 && dd_contender_seconds(&a).median == 1);
  const dd_contender both[] = {b, a};
  assert_ptr_equal(dd_contender_best(both, 2), both + 1);
  assert_null(dd_contender_best(both, 0));
}

/* ---- every kernel is measured somewhere ---- */

static void test_cases(void **state) {
  (void)state;
#define KERNEL_NAME(ret, name, args) #name,
  static const char *const names[] = {DD_KERNELS(KERNEL_NAME)};
  const dd_case *k;
  for (int i = 0; i < COUNT(names); i++) {
    int found = dd_case_elsewhere(names[i]);
    for (int j = 0; (k = dd_case_at(j)); j++) found += !strcmp(k->name, names[i]);
    if (found != 1) fail_msg("kernel %s has %d rows in bench/cases.c, it needs one", names[i], found);
  }
  for (int j = 0; (k = dd_case_at(j)); j++) {
    int found = 0;
    for (int i = 0; i < COUNT(names); i++) found += !strcmp(k->name, names[i]);
    if (!found) fail_msg("bench/cases.c measures %s, which is no kernel", k->name);
  }
}

/* ---- files ---- */

typedef struct capture {
  char text[16384];
} capture;

static void on_text(void *user, const char *utf8, size_t n) {
  capture *c = user;
  const size_t used = strlen(c->text);
  if (used + n < sizeof c->text) memcpy(c->text + used, utf8, n), c->text[used + n] = '\0';
}

static dd_row row(const char *what, double median, double spread, int lower) {
  dd_row r = {.subject = "step", .preset = "paper", .who = "dd-cpu", .tier = "avx2", .unit = "ms", .threads = 2,
              .lower_is_better = lower, .value = {median, median - spread, median + spread, 5}, .share = 0.5,
              .ratio = NAN};
  snprintf(r.what, sizeof r.what, "%s", what);
  return r;
}

static void open_bench(dd_bench *b, dd_callbacks *cb, capture *out) {
  out->text[0] = '\0';
  *cb = (dd_callbacks){.user = out, .text = on_text};
  *b = (dd_bench){.cb = cb, .subject = "step", .machine = json_object(), .warnings = json_array()};
}

static void close_bench(dd_bench *b) {
  json_decref(b->machine);
  json_decref(b->warnings);
  free(b->rows.at);
  free(b->old.at);
}

static void add(dd_bench *b, dd_row r) { assert_int_equal(dd_bench_add(b, &r, &err), DD_OK); }

static void mentions(const char *text, const char *part) {
  if (!strstr(text, part)) fail_msg("no \"%s\" in:\n%s", part, text);
}

static char path[] = "/tmp/dd-bench-XXXXXX";

static void write_text(const char *text) {
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

static void test_round_trip(void **state) {
  (void)state;
  dd_bench b;
  dd_callbacks cb;
  capture out;
  open_bench(&b, &cb, &out);
  add(&b, row("one", 10.25, 1, 1));
  add(&b, row("two", 1e-9, 0, 0));
  b.rows.at[1].modelled = 1;
  b.rows.at[1].share = NAN;
  b.rows.at[1].value.p10 = NAN;
  dd_bench_warn(&b, "%d things", 3);
  mentions(out.text, "warning: 3 things");
  json_t *o = dd_bench_json(&b);
  assert_non_null(o);
  char *text = json_dumps(o, JSON_INDENT(1));
  write_text(text);
  free(text);
  json_decref(o);
  assert_int_equal(dd_compare_load(&b.old, path, &err), DD_OK);
  assert_int_equal(b.old.n, 2);
  for (int i = 0; i < 2; i++) {
    const dd_row *x = b.rows.at + i, *y = b.old.at + i;
    assert_string_equal(x->subject, y->subject);
    assert_string_equal(x->preset, y->preset);
    assert_string_equal(x->what, y->what);
    assert_string_equal(x->who, y->who);
    assert_string_equal(x->tier, y->tier);
    assert_string_equal(x->unit, y->unit);
    assert_true(x->threads == y->threads && x->lower_is_better == y->lower_is_better && x->modelled == y->modelled);
    assert_true(x->value.median == y->value.median && x->value.n == y->value.n && x->value.p90 == y->value.p90);
  }
  assert_true(b.old.at[0].value.p10 == 9.25 && b.old.at[0].share == 0.5 && isnan(b.old.at[0].ratio));
  assert_true(isnan(b.old.at[1].value.p10) && isnan(b.old.at[1].share));
  close_bench(&b);
}

static void test_compare(void **state) {
  (void)state;
  dd_bench b;
  dd_callbacks cb;
  capture out;
  int regressed;
  open_bench(&b, &cb, &out);
  add(&b, row("slower", 12, 1, 1)); /* 9..11 then 11.5..: see below */
  add(&b, row("faster", 5, 1, 1));
  add(&b, row("same", 10.5, 1, 1));
  add(&b, row("less", 5, 1, 0));
  add(&b, row("fresh", 5, 1, 0));
  b.rows.at[0].value.p10 = 11.5;
  b.old = (dd_results){calloc(5, sizeof(dd_row)), 5, 5};
  static const char *const names[] = {"slower", "faster", "same", "less", "gone"};
  for (int i = 0; i < 5; i++) b.old.at[i] = row(names[i], 10, 1, i < 3);
  add(&b, row("one look", 5, 0, 1));
  b.rows.at[5].value.n = 1;
  b.old.at = realloc(b.old.at, 6 * sizeof(dd_row));
  assert_non_null(b.old.at);
  b.old.at[5] = row("one look", 10, 0, 1);
  b.old.n = b.old.room = 6;
  out.text[0] = '\0';
  dd_compare_print(&b, &regressed);
  assert_int_equal(regressed, 2);
  char *line = strstr(out.text, "paper slower");
  assert_non_null(line);
  mentions(line, "0.83x WORSE"); /* 10 / 12: above 1 is better also where lower is */
  mentions(out.text, "paper faster");
  mentions(strstr(out.text, "paper faster"), "2.00x better");
  line = strstr(out.text, "paper same");
  assert_non_null(line);
  line[strcspn(line, "\n")] = '\0';
  assert_null(strstr(line, "WORSE"));
  line[strlen(line)] = '\n';
  mentions(strstr(out.text, "paper less"), "0.50x WORSE");
  mentions(strstr(out.text, "paper one look"), "2.00x\n"); /* no spread, no verdict */
  mentions(out.text, "only in the old result:\n  step paper gone");
  mentions(out.text, "1 better, 2 worse, 1 new, 1 missing");
  close_bench(&b);
}

static void test_foreign_files(void **state) {
  (void)state;
  static const struct { const char *text, *mention; } bad[] = {
    {"", "is not JSON"}, {"{", "is not JSON"}, {"[1]", "is no result of `dd-cpu bench`"}, {"{}", "is no result"},
    {"{\"format\": \"other\", \"format_version\": 1, \"rows\": []}", "is no result"},
    {"{\"format\": \"dd-cpu bench\", \"format_version\": 1}", "is no result"},
    {"{\"format\": \"dd-cpu bench\", \"format_version\": 7, \"rows\": []}", "format version 7"},
    {"{\"format\": \"dd-cpu bench\", \"format_version\": 1, \"rows\": [{\"subject\": \"step\"}]}",
     "row 1 lacks a name"},
    {"{\"format\": \"dd-cpu bench\", \"format_version\": 1, \"rows\": [3]}", "row 1 lacks a name"},
  };
  dd_results rows;
  for (int i = 0; i < COUNT(bad); i++) {
    write_text(bad[i].text);
    assert_int_equal(dd_compare_load(&rows, path, &err), DD_E_CORRUPT);
    mentions(err.message, bad[i].mention);
    mentions(err.message, path);
    assert_null(rows.at);
  }
  write_text("{\"format\": \"dd-cpu bench\", \"format_version\": 1, \"rows\": []}");
  assert_int_equal(dd_compare_load(&rows, path, &err), DD_OK);
  assert_int_equal(rows.n, 0);
  free(rows.at);
  assert_int_equal(dd_compare_load(&rows, "/nonexistent/x.json", &err), DD_E_IO);
}

/* ---- plan ---- */

static void test_plan(void **state) {
  (void)state;
  dd_settings *s = dd_settings_create();
  dd_bench b = {0};
  assert_int_equal(dd_bench_plan(&b, s, &err), DD_OK);
  assert_true(b.quick && b.n_presets == 2 && b.subjects == 0x7f && b.threads[0] == 1);
  static const char *const values[][2] = {{"subjects", "kernels, step"}, {"presets", "gpt2,tiny"},
                                          {"thread_counts", "3,1"}, {"tier", "scalar"}, {"batch_size", "5"}};
  for (int i = 0; i < COUNT(values); i++) assert_int_equal(dd_settings_set(s, values[i][0], values[i][1], &err), DD_OK);
  b = (dd_bench){0};
  assert_int_equal(dd_bench_plan(&b, s, &err), DD_OK);
  assert_true(!b.quick && b.subjects == (1u << 1 | 1u << 3));
  assert_true(b.n_presets == 2 && b.presets[0].shape.V == 50257 && b.presets[0].T == 64 && b.presets[0].B == 5);
  assert_true(b.presets[1].shape.C == 32 && b.presets[1].T == 32);
  assert_true(b.n_threads == 2 && b.threads[0] == 3 && b.threads[1] == 1);
  assert_true(b.n_tiers == 1 && b.tiers[0] == &dd_kernels_scalar && dd_bench_main_tiers(&b) == 1);
  static const char *const bad[][3] = {
    {"subjects", "kernel", "did you mean 'kernels'?"}, {"subjects", "kernels,,step", "unknown subject ''"},
    {"presets", "papr", "preset must be one of"}, {"presets", "paper,", "preset must be"},
    {"thread_counts", "0", "threads must be auto or whole numbers"}, {"thread_counts", "1,x", "'x'"},
    {"tier", "mmx", "mmx"}, {"thread_counts", "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", "at most 16"},
  };
  for (int i = 0; i < COUNT(bad); i++) {
    dd_settings *t = dd_settings_create();
    assert_int_equal(dd_settings_set(t, bad[i][0], bad[i][1], &err), DD_OK);
    b = (dd_bench){0};
    if (dd_bench_plan(&b, t, &err) != DD_E_USAGE) fail_msg("%s = %s was taken", bad[i][0], bad[i][1]);
    mentions(err.message, bad[i][2]);
    dd_settings_destroy(t);
  }
  dd_settings_destroy(s);
}

static void test_peers(void **state) {
  (void)state;
  dd_peer p[DD_PEER_COUNT];
  assert_int_equal(dd_peers_open(p, "none", &err), DD_OK);
  for (int i = 0; i < DD_PEER_COUNT; i++) assert_null(p[i].handle);
  assert_int_equal(dd_peers_open(p, "openblas,mkl", &err), DD_E_USAGE);
  mentions(err.message, "'mkl'");
}

/* FLOPs as the issue counts them: 1104 G for the paper's step. */
static void test_flops(void **state) {
  (void)state;
  const dd_bench_preset paper = {.shape = {.L = 6, .H = 6, .C = 384, .S = 256, .V = 65}, .B = 64, .T = 256};
  assert_true(fabs(dd_step_flops(&paper) / 1e9 - 1104) < 1);
}

int main(void) {
  const int fd = mkstemp(path);
  if (fd < 0) return 1;
  close(fd);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_quantiles), cmocka_unit_test(test_geomean), cmocka_unit_test(test_differs),
    cmocka_unit_test(test_rounds), cmocka_unit_test(test_ratios), cmocka_unit_test(test_cases),
    cmocka_unit_test(test_round_trip), cmocka_unit_test(test_compare), cmocka_unit_test(test_foreign_files),
    cmocka_unit_test(test_plan), cmocka_unit_test(test_peers), cmocka_unit_test(test_flops),
  };
  const int rc = cmocka_run_group_tests(tests, NULL, NULL);
  unlink(path);
  return rc;
}
