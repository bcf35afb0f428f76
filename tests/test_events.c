/* TensorBoard's event files and the table of metrics: what is written, what a resume and a failing disk do to it, and
 * that no damaged byte is read. As `test_events export csv|tensorboard RUN PATH` it converts a run, for other tests. */
#include "run_fixture.h"
#include "core/machine.h"
#include "formats/crc32c.h"
#include "run/events.h"
#include "run/export_metrics.h"
#include "run/rundir.h"
#include <dirent.h>
#include <math.h>

double __wrap_dd_machine_peak(const dd_kernels *k, int ms);
double __wrap_dd_machine_peak(const dd_kernels *k, int ms) { return (void)k, (void)ms, 1e10; }

/* ---- formats ---- */

static void test_crc(void **state) {
  (void)state;
  unsigned char ramp[32], zeros[32] = {0};
  for (int i = 0; i < 32; i++) ramp[i] = (unsigned char)i;
  assert_int_equal(dd_crc32c("123456789", 9), 0xe3069283);
  assert_int_equal(dd_crc32c(zeros, 32), 0x8a9136aa); /* RFC 3720, B.4 */
  assert_int_equal(dd_crc32c(ramp, 32), 0x46dd794e);
  assert_int_equal(dd_crc32c("", 0), 0);
  assert_int_equal(dd_crc32c_masked("", 0), 0xa282ead8);
}

typedef struct seen {
  int n;
  struct { char tag[64]; int64_t step; float value; int start, scalar; } e[2000];
} seen;

static int take(void *user, const dd_tfevent *e) {
  seen *s = user;
  assert_true(s->n < 2000);
  s->e[s->n].step = e->step;
  s->e[s->n].value = e->value;
  s->e[s->n].start = e->start;
  s->e[s->n].scalar = e->is_scalar;
  snprintf(s->e[s->n].tag, sizeof s->e->tag, "%s", e->version ? "version" : e->tag ? e->tag : "");
  s->n++;
  return DD_OK;
}

static seen *read_events(const char *path) {
  static seen s[3];
  static int next;
  dd_error err;
  dd_tfevents_end end;
  seen *const to = &s[next = (next + 1) % 3];
  to->n = 0;
  if (dd_tfevents_read(path, take, to, &end, &err)) fail_msg("%s", err.message);
  assert_false(end.torn);
  return to;
}

static void write_sample(dd_tfevents *b) {
  dd_tfevents_version(b, 1.7e9);
  dd_tfevents_start(b, 1.7e9, 300);
  dd_tfevents_scalars(b, 1.7e9, 300, (const dd_tfscalar[]){{"loss/val", 1.5F}, {"lr", -1e-30F}, {"x", NAN}}, 3);
  dd_tfevents_text(b, 1.7e9, 301, "settings", "| a | b |");
  dd_tfevents_hparams(b, 1.7e9, "g", (const dd_tfparam[]){{"lr", NULL, 0.5}, {"schedule", "cosine", 0}}, 2);
  assert_false(b->failed);
}

static void test_round_trip(void **state) {
  (void)state;
  dd_tfevents b = {0};
  write_sample(&b);
  put(at("sample"), b.data, b.n);
  const seen *s = read_events(at("sample"));
  assert_int_equal(s->n, 7);
  assert_string_equal(s->e[0].tag, "version");
  assert_true(s->e[1].start && s->e[1].step == 300);
  assert_string_equal(s->e[2].tag, "loss/val");
  assert_true(s->e[2].scalar && s->e[2].step == 300 && s->e[2].value == 1.5F);
  assert_true(s->e[3].value == -1e-30F && isnan(s->e[4].value));
  assert_true(!s->e[5].scalar && s->e[5].step == 301);
  assert_string_equal(s->e[6].tag, "_hparams_/session_start_info");
  free(b.data);
}

/* Every bit flipped, every length: refused, or fewer records and a torn end. */
static void test_damage(void **state) {
  (void)state;
  dd_tfevents b = {0};
  dd_tfevents_end end, whole;
  dd_error err;
  seen *s = malloc(sizeof *s);
  write_sample(&b);
  const char *path = at("damaged");
  put(path, b.data, b.n);
  s->n = 0;
  assert_int_equal(dd_tfevents_read(path, take, s, &whole, &err), DD_OK);
  for (size_t bit = 0; bit < 8 * b.n; bit += getenv("DD_QUICK") ? 7 : 1) {
    b.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
    put(path, b.data, b.n);
    s->n = 0;
    err.message[0] = '\0';
    if (dd_tfevents_read(path, take, s, &end, &err) != DD_E_CORRUPT || !strstr(err.message, "damaged"))
      fail_msg("bit %zu: %s", bit, err.message);
    b.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
  }
  for (size_t n = 0; n < b.n; n++) {
    put(path, b.data, n);
    s->n = 0;
    assert_int_equal(dd_tfevents_read(path, take, s, &end, &err), DD_OK);
    assert_true(end.records < whole.records && end.bytes <= n && end.torn == (end.bytes < n));
  }
  put(path, "a text that is no event file", 28);
  assert_int_equal(dd_tfevents_read(path, take, s, &end, &err), DD_E_CORRUPT);
  assert_part(err.message, "no event file");
  assert_int_equal(dd_tfevents_read(root, take, s, &end, &err), DD_E_IO);
  assert_int_equal(dd_tfevents_read(at("none"), take, s, &end, &err), DD_E_IO);
  free(s);
  free(b.data);
}

/* ---- runs ---- */

/* Event files of a run, by name. */
static int event_files(const char *run, char name[4][300]) {
  struct dirent **list;
  char dir[1100];
  int found = 0;
  snprintf(dir, sizeof dir, "%s/tensorboard", run);
  const int n = scandir(dir, &list, NULL, alphasort);
  for (int i = 0; i < n; i++) {
    if (!strncmp(list[i]->d_name, DD_EVENTS_PREFIX, sizeof DD_EVENTS_PREFIX - 1)) {
      assert_true(found < 4);
      snprintf(name[found++], 300, "%s", list[i]->d_name);
    }
    free(list[i]);
  }
  if (n >= 0) free(list);
  return found;
}

static const seen *events_of(const char *run, int i, int count) {
  char name[4][300], path[1500];
  assert_int_equal(event_files(run, name), count);
  snprintf(path, sizeof path, "%s/tensorboard/%s", run, name[i]);
  return read_events(path);
}

static long long scalar_at(const seen *s, const char *tag, int64_t step, float *value) { /* how many there are */
  long long n = 0;
  for (int i = 0; i < s->n; i++)
    if (s->e[i].scalar && s->e[i].step == step && !strcmp(s->e[i].tag, tag)) *value = s->e[i].value, n++;
  return n;
}

/* Every number of metrics.jsonl is in the events, once, as a float. */
typedef struct comparison { const seen *s; int64_t from; int values; } comparison;
static int compare_record(void *user, const json_t *o) {
  static const struct { const char *kind, *key, *tag; } tags[] = {
#define TAG_ROW(kind, key, tag) {#kind, key, tag},
      DD_EVENTS_TAGS(TAG_ROW)};
  comparison *c = user;
  const char *type = json_string_value(json_object_get(o, "type"));
  const int64_t iter = json_integer_value(json_object_get(o, "iter"));
  if (iter < c->from) return DD_OK;
  for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
    const json_t *v = json_object_get(o, tags[i].key);
    float got = 0;
    if (strcmp(type, tags[i].kind) || !v) continue;
    if (scalar_at(c->s, tags[i].tag, iter, &got) != 1) fail_msg("%s of %lld", tags[i].tag, (long long)iter);
    assert_true(got == (float)json_number_value(v));
    c->values++;
  }
  return DD_OK;
}

static int compare_with_metrics(const char *run, const seen *s, int64_t from) {
  comparison c = {s, from, 0};
  dd_metrics_seen all;
  assert_int_equal(dd_metrics_each(run, compare_record, &c, &all, NULL), DD_OK);
  return c.values;
}

static int stop_after; /* polls */
static int stop_now(void *user) { return (void)user, stop_after-- <= 0; }

static int train_stopped(const char *out, int polls) {
  dd_settings *s = dd_settings_create();
  dd_error err;
  const dd_callbacks cb = {.message = listen, .should_stop = stop_now};
  const char *const pairs[] = {"n_layer", "1", "n_head", "2", "n_embd", "8", "block_size", "8", "batch_size", "2",
                               "max_iters", "40", "warmup_iters", "4", "eval_interval", "10", "eval_iters", "2",
                               "lr", "3e-3", "min_lr", "1e-3", "init_std", "0.1", "threads", "1",
                               "log_interval", "5", "tensorboard", "true", NULL};
  for (int i = 0; pairs[i]; i += 2) assert_int_equal(dd_settings_set(s, pairs[i], pairs[i + 1], &err), DD_OK);
  assert_int_equal(dd_settings_set(s, "data", at("text.txt"), &err), DD_OK);
  assert_int_equal(dd_settings_set(s, "out", out, &err), DD_OK);
  stop_after = polls;
  const int rc = dd_train(s, &cb, NULL, &err);
  dd_settings_destroy(s);
  return rc;
}

static void test_run(void **state) {
  (void)state;
  char hex[33], plain[33];
  dd_error err;
  json_t *o;
  assert_int_equal(train(at("plain"), 0, plain, &err, "log_interval", "5", NULL), DD_OK);
  assert_int_equal(train(at("run"), 0, hex, &err, "log_interval", "5", "tensorboard", "true", NULL), DD_OK);
  assert_string_equal(hex, plain);
  char name[4][300];
  assert_int_equal(event_files(at("plain"), name), 0);
  const seen *s = events_of(at("run"), 0, 1);
  assert_string_equal(s->e[0].tag, "version");
  assert_int_equal(compare_with_metrics(at("run"), s, 0), 5 * 3 + 9 * 6);
  char path[1500];
  event_files(at("run"), name);
  snprintf(path, sizeof path, "%s/tensorboard/%s", at("run"), name[0]);
  assert_int_equal(dd_events_describe(path, &o, &err), DD_OK);
  assert_int_equal(json_integer_value(json_object_get(o, "last_step")), 40);
  assert_int_equal(json_integer_value(json_object_get(o, "sessions")), 0);
  assert_int_equal(json_array_size(json_object_get(o, "values")), 2 + 4 + 6);
  json_decref(o);
  /* replaced: the old events are gone, what is not ours stays */
  put(at("run/tensorboard/mine"), "x", 1);
  assert_int_equal(train(at("run"), 0, hex, &err, NULL), DD_OK);
  assert_int_equal(event_files(at("run"), name), 0);
  assert_int_equal(access(at("run/tensorboard/mine"), F_OK), 0);
}

static void test_resume(void **state) {
  (void)state;
  char hex[33], name[4][300];
  dd_error err;
  char run[1000];
  snprintf(run, sizeof run, "%s", at("resumed"));
  assert_int_equal(train_stopped(run, 32), DD_E_STOPPED); /* behind the evaluation of 20 */
  assert_int_equal(train(run, 1, hex, &err, NULL), DD_OK); /* the run's own settings say --tensorboard */
  assert_int_equal(event_files(run, name), 2);
  assert_true(strcmp(name[0], name[1]) < 0);
  const seen *s = events_of(run, 1, 2);
  assert_true(s->n > 3 && s->e[1].start && s->e[1].step > 0 && s->e[1].step < 40);
  const int64_t from = s->e[1].step;
  for (int i = 2; i < s->n; i++) assert_true(s->e[i].step >= from);
  assert_true(compare_with_metrics(run, s, from) > 10);
  s = events_of(run, 0, 2);
  float v;
  assert_int_equal(scalar_at(s, "loss/val", 10, &v), 1);
  /* and without: no third file */
  assert_int_equal(train(run, 1, hex, &err, "max_iters", "45", "tensorboard", "false", NULL), DD_OK);
  assert_int_equal(event_files(run, name), 2);
}

/* A record that goes back in iterations, as after a rollback, begins a session. */
static void test_going_back(void **state) {
  (void)state;
  static const char *const lines[] = {"eval 0", "step 0", "eval 10", "step 10", "step 15", "eval 10", "rollback 10",
                                      "step 10", "eval 20", "eval 20", "step 19"};
  static const int starts[] = {0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1};
  dd_events_state st = {-1, -1};
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
    char type[16];
    long long iter;
    assert_int_equal(sscanf(lines[i], "%15s %lld", type, &iter), 2);
    json_t *o = json_pack("{s:s, s:I, s:f, s:f}", "type", type, "iter", (json_int_t)iter, "loss", 1.0, "val_loss", 1.0);
    dd_tfevents b = {0};
    dd_events_of_record(&st, o, 0, &b);
    if (b.n) {
      put(at("back"), b.data, b.n);
      assert_int_equal(read_events(at("back"))->e[0].start, starts[i]);
    } else assert_int_equal(starts[i], 0);
    free(b.data);
    json_decref(o);
  }
}

/* ---- a disk that fails for the events only ---- */

static int event_fd = -1, writes_left, failures;
static int f_open(const char *path, int flags, mode_t mode) {
  const int fd = dd_fs_posix.open(path, flags, mode);
  if (strstr(path, DD_EVENTS_PREFIX)) event_fd = fd;
  return fd;
}
static ssize_t f_write(int fd, const void *buf, size_t n) {
  if (fd != event_fd || --writes_left >= 0 || failures-- <= 0) return dd_fs_posix.write(fd, buf, n);
  if (n > 5 && failures % 2) return dd_fs_posix.write(fd, buf, 5); /* a part, and nothing of the rest */
  return errno = ENOSPC, -1;
}
static int f_close(int fd) {
  if (fd == event_fd) event_fd = -1;
  return dd_fs_posix.close(fd);
}

static void test_faults(void **state) {
  (void)state;
  char plain[33], hex[33];
  dd_error err;
  dd_fs_ops ops = dd_fs_posix;
  ops.open = f_open, ops.write = f_write, ops.close = f_close;
  assert_int_equal(train(at("faults"), 0, plain, &err, "tensorboard", "true", NULL), DD_OK);
  for (int when = 0; when < 10; when += 3)
    for (int times = 1; times < 100; times += 98) {
      writes_left = when;
      failures = times;
      dd_fs_replace(&ops);
      const int rc = train(at("faults"), 0, hex, &err, "tensorboard", "true", NULL);
      dd_fs_replace(NULL);
      assert_int_equal(rc, DD_E_IO);
      assert_string_equal(hex, plain);
      assert_part(err.message, "export --format tensorboard");
      assert_part(heard, "training goes on");
      assert_null(strstr(strstr(heard, "training goes on") + 1, "training goes on")); /* told once */
      if (times == 1) compare_with_metrics(at("faults"), events_of(at("faults"), 0, 1), 0);
    }
}

/* ---- conversion ---- */

static void test_export_tensorboard(void **state) {
  (void)state;
  char hex[33], name[4][300];
  dd_error err;
  assert_int_equal(mkdir(at("study"), 0755), 0);
  assert_int_equal(train(at("study/b"), 0, hex, &err, "seed", "2", NULL), DD_OK);
  assert_int_equal(train(at("study/a"), 0, hex, &err, "dropout_attn", "0.1,cosine", NULL), DD_OK);
  for (int twice = 0; twice < 2; twice++)
    if (dd_export_tensorboard(at("study/a"), at("one/tensorboard"), NULL, NULL, &err)) fail_msg("%s", err.message);
  assert_int_equal(event_files(at("one"), name), 1);
  compare_with_metrics(at("study/a"), events_of(at("one"), 0, 1), 0);
  float v;
  assert_int_equal(scalar_at(events_of(at("one"), 0, 1), "dropout/attn", 20, &v), 1);
  if (dd_export_tensorboard(at("study"), at("converted"), NULL, NULL, &err)) fail_msg("%s", err.message);
  assert_int_equal(access(at("converted/a"), F_OK), 0);
  assert_int_equal(access(at("converted/b"), F_OK), 0);
  assert_int_equal(dd_export_tensorboard(at("one"), at("converted"), NULL, NULL, &err), DD_E_USAGE);
  assert_part(err.message, "no directory of a run");
  assert_int_equal(dd_export_tensorboard(at("nowhere"), at("converted"), NULL, NULL, &err), DD_E_USAGE);
}

static void test_export_csv(void **state) {
  (void)state;
  static const char metrics[] =
      "{\"type\":\"config\",\"run_id\":\"x\"}\n"
      "{\"type\":\"eval\",\"iter\":0,\"train_loss\":4.5,\"val_loss\":null,\"best_val_loss\":4.25,\"best_iter\":0,"
      "\"dropout\":0.2,\"fingerprint\":\"0123\",\"elapsed_s\":1.5}\n"
      "{\"type\":\"step\",\"iter\":0,\"loss\":4.1,\"lr\":1e-3,\"dropout\":0.2,\"grad_norm\":null,\"ms_per_iter\":0,"
      "\"tokens_per_s\":0,\"elapsed_s\":1.75,\"rates\":{\"embed\":0.2,\"attn\":0.1,\"proj\":0.2,\"mlp\":0}}\n"
      "no JSON\n"
      "{\"type\":\"skip\",\"iter\":3,\"why\":\"outlier\",\"skipped\":1,\"grad_norm\":12.5}\n"
      "{\"type\":\"step\",\"iter\":10,\"loss\":3.0000000000000004,\"lr\":1e-3,\"dropout\":0.1,\"elapsed_s\":2}\n"
      "{\"torn";
  static const char want[] =
      "iter,loss,train_loss,val_loss,best_val_loss,best_iter,dropout,dropout_embed,dropout_attn,dropout_proj,"
      "dropout_mlp,lr,grad_norm,ms_per_iter,tokens_per_s,elapsed_s,skipped,rollbacks,fingerprint\n"
      "0,4.1,4.5,,4.25,0,0.2,0.2,0.1,0.2,0,0.001,,0,0,1.75,,,0123\n"
      "3,,,,,,,,,,,,12.5,,,,1,,\n"
      "10,3.0000000000000004,,,,,0.1,,,,,0.001,,,,2,,,\n";
  const dd_callbacks cb = {.message = listen};
  size_t n;
  dd_error err;
  assert_int_equal(mkdir(at("table"), 0755), 0);
  put(at("table/metrics.jsonl"), metrics, sizeof metrics - 1);
  *heard = '\0';
  if (dd_export_csv(at("table"), at("table.csv"), &cb, &err)) fail_msg("%s", err.message);
  assert_part(heard, "2 lines are no records");
  char *got = slurp(at("table.csv"), &n);
  assert_string_equal(got, want);
  free(got);
  put(at("table/metrics.jsonl"), "[]\n", 3);
  assert_int_equal(dd_export_csv(at("table"), at("table.csv"), &cb, &err), DD_E_CORRUPT);
  assert_int_equal(dd_export_csv(at("nowhere"), at("table.csv"), &cb, &err), DD_E_USAGE);
}

static int clean(void **state) { return (void)state, remove_tree(root), 0; }

static int export(char **argv) {
  dd_error err;
  const int rc = strcmp(argv[2], "csv") ? dd_export_tensorboard(argv[3], argv[4], NULL, NULL, &err)
                                        : dd_export_csv(argv[3], argv[4], NULL, &err);
  if (rc) fprintf(stderr, "%s\n", err.message);
  return rc;
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_crc),         cmocka_unit_test(test_round_trip),
      cmocka_unit_test(test_damage),      cmocka_unit_test(test_run),
      cmocka_unit_test(test_resume),      cmocka_unit_test(test_going_back),
      cmocka_unit_test(test_faults),      cmocka_unit_test(test_export_tensorboard),
      cmocka_unit_test(test_export_csv)};
  if (argc == 5 && !strcmp(argv[1], "export")) return export(argv);
  if (!make_root()) return 1;
  return cmocka_run_group_tests(tests, NULL, clean);
}
