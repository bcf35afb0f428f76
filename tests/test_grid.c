/* The grid of `compare`: cells, names, plans; blocks of processors for its jobs. */
#include "core/file.h"
#include "core/machine.h"
#include "study/grid.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[64];

static dd_settings *settings(const char *const *pairs) {
  dd_settings *s = dd_settings_create();
  assert_non_null(s);
  for (; *pairs; pairs += 2) {
    dd_error err = {0};
    if (dd_settings_set(s, pairs[0], pairs[1], &err)) fail_msg("%s: %s", pairs[0], err.message);
  }
  return s;
}
#define SETTINGS(...) settings((const char *const[]){__VA_ARGS__, NULL})

/* Names of all cells, a space after each. */
static void names(const dd_settings *s, const char *expected) {
  dd_grid g;
  dd_error err = {0};
  char text[4096] = "";
  if (dd_grid_create(&g, s, &err)) fail_msg("%s", err.message);
  for (size_t i = 0; i < g.n; i++) {
    strcat(text, g.cells[i].name);
    strcat(text, " ");
  }
  assert_string_equal(text, expected);
  dd_grid_destroy(&g);
}

static void refused(const dd_settings *s, const char *part) {
  dd_grid g;
  dd_error err = {0};
  assert_int_equal(dd_grid_create(&g, s, &err), DD_E_USAGE);
  if (!strstr(err.message, part)) fail_msg("'%s' is not in: %s", part, err.message);
}

static void test_cells(void **state) {
  (void)state;
  dd_settings *s = SETTINGS("schedules", "fixed, linear", "seeds", "2", "seed", "7");
  names(s, "fixed-s7 linear-s7 fixed-s8 linear-s8 ");
  dd_settings_destroy(s);
  /* fixed has no final rate: one cell of it, not two; 0 is what linear has anyway */
  s = SETTINGS("schedules", "fixed,linear", "seeds", "1", "grid", "dropout_final=0,0.05");
  names(s, "fixed-s1337 linear-s1337 linear-dropout_final=0.05-s1337 ");
  dd_settings_destroy(s);
  s = SETTINGS("schedules", "fixed", "seeds", "1", "grid", "n-layer=6,12; lr=1e-3,0.002");
  names(s, "fixed-s1337 fixed-lr=0.002-s1337 fixed-n_layer=12-s1337 fixed-n_layer=12-lr=0.002-s1337 ");
  dd_settings_destroy(s);
  s = SETTINGS("schedules", "fixed", "seeds", "1", "grid", "lr=1e-3,0.002;n-layer=6,12"); /* the same names */
  names(s, "fixed-s1337 fixed-n_layer=12-s1337 fixed-lr=0.002-s1337 fixed-n_layer=12-lr=0.002-s1337 ");
  dd_settings_destroy(s);
  /* seeds are 64-bit and wrap */
  s = SETTINGS("schedules", "fixed", "seeds", "2", "seed", "18446744073709551615");
  names(s, "fixed-s18446744073709551615 fixed-s0 ");
  dd_settings_destroy(s);
  /* commas inside an item */
  s = SETTINGS("schedules", "steps:0=0.2,50%=0.1 , expr:min(p0,t/T),late", "seeds", "1");
  dd_grid list;
  dd_error why = {0};
  if (dd_grid_create(&list, s, &why)) fail_msg("%s", why.message);
  assert_int_equal(list.n, 3);
  assert_string_equal(json_string_value(json_array_get(list.schedules, 0)), "steps:0=0.2,50%=0.1");
  assert_string_equal(json_string_value(json_array_get(list.schedules, 1)), "expr:min(p0,t/T)");
  assert_string_equal(list.cells[2].name, "late-s1337");
  assert_int_equal(strlen(list.cells[0].name), strlen("steps-12345678-s1337"));
  dd_grid_destroy(&list);
  dd_settings_destroy(s);
  /* long names end in a hash: every combination stays a cell of its own */
  s = SETTINGS("schedules", "fixed,linear", "seeds", "2", "grid",
               "n_layer=6,12;n_head=6,3;n_embd=384,768;block_size=256,128;init_std=0.02,0.0211111111;max_iters=50,60;"
               "lr=0.001,0.00122222222;min_lr=0.0001,0.000122222222;grad_clip=1,2;beta2=0.99,0.999;warmup_iters=100,10");
  dd_grid many;
  assert_int_equal(dd_grid_create(&many, s, NULL), 0);
  assert_int_equal(many.n, 2 * 2 * 2048);
  for (size_t i = 0; i < many.n; i++) assert_true(strlen(many.cells[i].name) < 160);
  dd_grid_destroy(&many);
  dd_settings_destroy(s);
  /* a path is no file name */
  s = SETTINGS("schedules", "fixed", "seeds", "1", "grid", "data=shakespeare,/tmp/a b.txt");
  dd_grid g;
  assert_int_equal(dd_grid_create(&g, s, NULL), 0);
  assert_int_equal(g.n, 2);
  assert_null(strpbrk(g.cells[1].name, "/ "));
  assert_memory_equal(g.cells[1].name, "fixed-data=", 11);
  dd_grid_destroy(&g);
  dd_settings_destroy(s);
}

static void test_cell_settings(void **state) {
  (void)state;
  dd_settings *s = SETTINGS("schedules", "exponential", "seeds", "1", "grid", "n_layer=2,3", "lr", "0.01", "out", "x"),
              *c;
  dd_grid g;
  assert_int_equal(dd_grid_create(&g, s, NULL), 0);
  assert_int_equal(dd_grid_settings(&g, 1, "x", &c, NULL), 0);
  assert_int_equal(c->n_layer, 3);
  assert_int_equal(c->schedule, DD_SCHEDULE_EXPONENTIAL);
  assert_true(c->dropout_final == 0.01 && c->lr == 0.01); /* the default of that schedule */
  assert_string_equal(c->out, "x/runs/exponential-n_layer=3-s1337");
  dd_settings_destroy(c);
  dd_grid_destroy(&g);
  dd_settings_destroy(s);
}

static void test_refusals(void **state) {
  (void)state;
  static const struct {
    const char *key, *value, *part;
  } bad[] = {
      {"schedules", "fixed,fixed", "'fixed' twice"},
      {"schedules", "fixed,,linear", "empty item"},
      {"schedules", "fixed,linaer", "did you mean 'linear'?"},
      {"grid", "n_layer=6,6", "'6' twice"},
      {"grid", "n_layr=6", "did you mean 'n_layer'?"},
      {"grid", "n_layer", "must look like"},
      {"grid", "n_layer=1;n-layer=2", "'n_layer' twice"},
      {"grid", "seed=1,2", "--seeds"},
      {"grid", "schedule=fixed", "--schedules"},
      {"grid", "threads=1,2", "changes nothing"},
      {"grid", "preset=tiny,small", "many options at once"},
      {"grid", "n_head=7", "cell fixed-n_head=7-s1337"},
      {"grid", "n_head=x", "n_head must be"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    dd_settings *s = SETTINGS(bad[i].key, bad[i].value);
    refused(s, bad[i].part);
    dd_settings_destroy(s);
  }
  dd_settings *s = SETTINGS("seeds", "100000", "grid", "n_layer=1,2,3");
  refused(s, "at most");
  dd_settings_destroy(s);
}

static void test_shards(void **state) {
  (void)state;
  dd_settings *s = SETTINGS("seeds", "7");
  size_t all = 0;
  for (int i = 1; i <= 4; i++) {
    dd_grid g, whole;
    assert_int_equal(dd_grid_create(&g, s, NULL) + dd_grid_create(&whole, s, NULL), 0);
    dd_grid_shard(&g, i, 4);
    for (size_t c = 0; c < g.n; c++) assert_string_equal(g.cells[c].name, whole.cells[4 * c + (size_t)i - 1].name);
    all += g.n;
    dd_grid_destroy(&g);
    dd_grid_destroy(&whole);
  }
  assert_int_equal(all, 35);
  dd_settings_destroy(s);
}

static json_t *plan(void) {
  char path[128];
  snprintf(path, sizeof path, "%s/compare.json", dir);
  return json_load_file(path, 0, NULL);
}

static int add_plan(dd_settings *s, dd_error *err) {
  dd_grid g;
  assert_int_equal(dd_grid_create(&g, s, NULL), 0);
  const int rc = dd_grid_plan(&g, dir, "dd-cpu compare", err);
  dd_grid_destroy(&g);
  dd_settings_destroy(s);
  return rc;
}

static void test_plans(void **state) {
  (void)state;
  dd_error err;
  assert_int_equal(add_plan(SETTINGS("schedules", "fixed,linear", "seeds", "2"), &err), 0);
  assert_int_equal(add_plan(SETTINGS("schedules", "cosine,fixed", "seeds", "3"), &err), 0);
  assert_int_equal(add_plan(SETTINGS("seeds", "1", "threads", "3", "tier", "scalar"), &err), 0);
  json_t *p = plan();
  assert_int_equal(json_array_size(json_object_get(p, "cells")), 4 + 4 + 2);
  assert_int_equal(json_array_size(json_object_get(p, "seeds")), 3);
  assert_int_equal(json_array_size(json_object_get(p, "schedules")), 5);
  json_decref(p);
  /* a call that names no baseline leaves the one there; it must be a schedule of the study */
  assert_int_equal(add_plan(SETTINGS("schedules", "late", "seeds", "1", "baseline", "cosine"), &err), 0);
  assert_int_equal(add_plan(SETTINGS("schedules", "late", "seeds", "1"), &err), 0);
  p = plan();
  assert_string_equal(json_string_value(json_object_get(p, "baseline")), "cosine");
  json_decref(p);
  assert_int_equal(add_plan(SETTINGS("seeds", "1", "baseline", "gap"), &err), DD_E_USAGE);
  assert_non_null(strstr(err.message, "baseline 'gap' is none of the schedules"));
  /* other settings may not join */
  assert_int_equal(add_plan(SETTINGS("max_iters", "10"), &err), DD_E_CORRUPT);
  assert_non_null(strstr(err.message, "max_iters = 5000, this call says 10"));
  /* damaged plans are left alone */
  static const char *const damaged[] = {"",
                                        "{",
                                        "[]",
                                        "{\"settings\": 1}",
                                        "{\"settings\": {}, \"numerics_version\": 0}",
                                        "{\"settings\": {}, \"numerics_version\": 2, \"cells\": 3}"};
  char path[128];
  snprintf(path, sizeof path, "%s/compare.json", dir);
  for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
    assert_int_equal(dd_file_replace(path, damaged[i], strlen(damaged[i]), &err), 0);
    assert_int_equal(add_plan(SETTINGS("seeds", "1"), &err), DD_E_CORRUPT);
    assert_non_null(strstr(err.message, "compare.json"));
    char *text;
    size_t n;
    assert_int_equal(dd_file_read_all(path, 1000, &text, &n, &err), 0);
    assert_string_equal(text, damaged[i]);
    free(text);
  }
}

/* ---- blocks ---- */

static void put(const char *root, const char *name, const char *text) {
  char path[256], *slash;
  dd_error err;
  snprintf(path, sizeof path, "%s%s", root, name);
  slash = strrchr(path, '/');
  *slash = 0;
  assert_int_equal(dd_make_dirs(path, &err), 0);
  *slash = '/';
  assert_int_equal(dd_file_replace(path, text, strlen(text), &err), 0);
}

/* Two nodes of four cores with two hyperthreads: processors n and n + 8 are one core, nodes hold 0-3 and 4-7. */
static void make_machine(char *root, size_t size) {
  snprintf(root, size, "%s/machine", dir);
  for (int i = 0; i < 16; i++) {
    char name[128], list[32];
    snprintf(name, sizeof name, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", i);
    snprintf(list, sizeof list, "%d,%d\n", i % 8, i % 8 + 8);
    put(root, name, list);
  }
  put(root, "/sys/devices/system/node/node0/cpulist", "0-3,8-11\n");
  put(root, "/sys/devices/system/node/node2/cpulist", "4-7,12-15\n");
}

static unsigned bits(const cpu_set_t *set) {
  unsigned b = 0;
  for (int i = 0; i < 32; i++) b |= (unsigned)CPU_ISSET(i, set) << i;
  return b;
}

static void blocks(const char *root, unsigned among, int threads, int jobs, int n, const unsigned *expected) {
  cpu_set_t set, got[16];
  CPU_ZERO(&set);
  for (int i = 0; i < 32; i++)
    if (among >> i & 1) CPU_SET(i, &set);
  assert_int_equal(dd_machine_blocks(root, &set, threads, jobs, got), n);
  for (int i = 0; i < n; i++) assert_int_equal(bits(got + i), expected[i]);
}
#define BLOCKS(among, threads, jobs, n, ...) blocks(root, among, threads, jobs, n, (const unsigned[]){__VA_ARGS__})

static void test_blocks(void **state) {
  (void)state;
  char root[128];
  make_machine(root, sizeof root);
  BLOCKS(0xffff, 4, 2, 2, 0x0f0f, 0xf0f0);                 /* a node each */
  BLOCKS(0xffff, 2, 4, 4, 0x0303, 0x0c0c, 0x3030, 0xc0c0); /* whole cores */
  BLOCKS(0xffff, 3, 2, 2, 0x0707, 0x7070);                 /* not across nodes, though 0-2, 3-5 would do */
  BLOCKS(0xffff, 8, 1, 1, 0xffff);                         /* more than a node */
  /* 16 threads are more than the cores: processors, hyperthreads beside each other */
  BLOCKS(0xffff, 8, 2, 2, 0x0f0f, 0xf0f0);
  BLOCKS(0xffff, 1, 16, 16, 1, 0x100, 2, 0x200, 4, 0x400, 8, 0x800, 0x10, 0x1000, 0x20, 0x2000, 0x40, 0x4000, 0x80,
         0x8000);
  BLOCKS(0xffff, 6, 3, 2, 0x0707, 0x7070); /* not enough for three */
  BLOCKS(0x00f0, 2, 2, 2, 0x30, 0xc0);     /* a mask without hyperthreads */
  BLOCKS(0x0018, 2, 1, 1, 0x18);           /* across nodes when there is no other way */
}

int main(void) {
  snprintf(dir, sizeof dir, "/tmp/test_grid_XXXXXX");
  if (!mkdtemp(dir)) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_cells),  cmocka_unit_test(test_cell_settings), cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_shards), cmocka_unit_test(test_plans),         cmocka_unit_test(test_blocks),
  };
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", dir);
  return failed || system(command);
}
