/* The suite: subjects in turn, an eye on the machine all along, the result at the end. */
#include "bench/bench.h"
#include "core/file.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Above these, figures are not those of this program alone. */
#define OTHERS_MOST 0.05 /* processors that others keep busy */
#define STOLEN_MOST 0.01 /* of processor time, by the hypervisor */
#define PEAK_MOST 0.10   /* between the largest and the smallest peak */

/* Multiply-add peak of the largest team, looked at before and after each subject: a processor that throttles, or that
 * is shared, does not give the same twice. */
typedef struct vigil {
  dd_watch begin;
  double peak[16];
  int peaks;
} vigil;

static int look(dd_bench *b, vigil *v, dd_error *err) {
  dd_team *t;
  dd_meter m;
  int most = 1;
  for (int i = 0; i < b->n_threads; i++)
    if (b->threads[i] > most) most = b->threads[i];
  if (v->peaks == (int)(sizeof v->peak / sizeof *v->peak)) return DD_OK;
  b->using = most;
  int rc = dd_team_create(&t, most, 64, b->tiers[0], err);
  if (rc) return rc;
  if (!(rc = dd_meter_open(&m, b, t, err))) {
    dd_contender c = dd_meter_peak(&m);
    rc = dd_rounds(b, &c, 1, 25, err); /* the best: threads take a while to find their processors */
    if (!rc) v->peak[v->peaks++] = dd_contender_rate(&c, 1e9).p90;
  }
  dd_meter_close(&m);
  dd_team_destroy(t);
  return rc;
}

static void judge(dd_bench *b, const vigil *v) {
  dd_watch end;
  double others, stolen, least = v->peak[0], most = v->peak[0];
  dd_watch_now(&end);
  dd_watch_between(&v->begin, &end, &others, &stolen);
  for (int i = 1; i < v->peaks; i++) {
    least = fmin(least, v->peak[i]);
    most = fmax(most, v->peak[i]);
  }
  json_object_set_new(b->machine, "other_load", json_real(others));
  json_object_set_new(b->machine, "stolen", json_real(stolen));
  json_object_set_new(b->machine, "peak_least", json_real(least));
  json_object_set_new(b->machine, "peak_most", json_real(most));
  dd_bench_say(b,
               "\nduring the run: others kept %.2f processors busy, %.1f %% stolen, peak %.0f to %.0f GFLOP/s, %.0f s",
               others, 100 * stolen, least, most, end.wall - v->begin.wall);
  if (others > OTHERS_MOST)
    dd_bench_warn(b, "other programs used %.2f processors meanwhile; compare only figures of the same block", others);
  if (stolen > STOLEN_MOST)
    dd_bench_warn(b, "the hypervisor gave %.1f %% of the processor time to others", 100 * stolen);
  if (most > least * (1 + PEAK_MOST))
    dd_bench_warn(b, "the peak moved between %.0f and %.0f GFLOP/s: throttling, or threads that shared a core", least,
                  most);
}

/* ---- the machine line ---- */

static void tier_list(const dd_bench *b, char *out, size_t size) {
  out[0] = '\0';
  for (int i = 0; i < b->n_tiers; i++)
    snprintf(out + strlen(out), size - strlen(out), "%s%s", i ? ", " : "", b->tiers[i]->tier);
}

static const char *word(const dd_bench *b, const char *key) {
  return json_string_value(json_object_get(b->machine, key));
}

static double value(const dd_bench *b, const char *key) { return json_number_value(json_object_get(b->machine, key)); }

static int introduce(dd_bench *b, dd_error *err) {
  char tiers[128];
  b->machine = dd_machine_json();
  b->warnings = json_array();
  json_t *peers = json_object(), *threads = json_array();
  if (!b->machine || !b->warnings || !peers || !threads) return dd_fail(err, DD_E_RUNTIME, "out of memory for results");
  tier_list(b, tiers, sizeof tiers);
  json_object_set_new(b->machine, "tiers", json_string(tiers));
  for (int i = 0; i < b->n_threads; i++) json_array_append_new(threads, json_integer(b->threads[i]));
  json_object_set_new(b->machine, "threads", threads);
  json_object_set_new(b->machine, "quick", json_boolean(b->quick));
  dd_bench_say(b, "machine: %s, %.0f processors, caches %.0f KB + %.1f MB + %.0f MB", word(b, "cpu"),
               value(b, "processors"), value(b, "l1") / 1024, value(b, "l2") / 1048576, value(b, "l3") / 1048576);
  dd_bench_say(b, "         huge pages %s, Linux %s, load average %.2f, %s", word(b, "huge_pages"), word(b, "kernel"),
               value(b, "load_average"), word(b, "date"));
  dd_bench_say(b, "build:   dd-cpu %s, numerics %.0f, %s, %s; tiers %s", word(b, "version"),
               value(b, "numerics_version"), word(b, "compiler"), word(b, "build"), tiers);
  for (int i = 0; i < DD_PEER_COUNT; i++) {
    if (!b->peers[i].handle) continue;
    json_object_set_new(peers, b->peers[i].name, json_string(b->peers[i].version));
    dd_bench_say(b, "peer:    %s %s", b->peers[i].name, b->peers[i].version);
  }
  json_object_set_new(b->machine, "peers", peers);
  if (b->quick) dd_bench_say(b, "quick form: fewer repeats, smaller data; name a subject for all of it");
  return DD_OK;
}

static int run_subjects(dd_bench *b, dd_error *err) {
#define SUBJECT_ROW(name, help) {#name, dd_bench_##name},
  static const struct {
    const char *name;
    int (*run)(dd_bench *b, dd_error *err);
  } subjects[] = {DD_BENCH_SUBJECTS(SUBJECT_ROW)};
  vigil v = {0};
  dd_watch_now(&v.begin);
  int rc = look(b, &v, err);
  for (int i = 0; i < (int)(sizeof subjects / sizeof *subjects) && !rc; i++) {
    if (!(b->subjects >> i & 1)) continue;
    b->subject = subjects[i].name;
    dd_say(b->cb, DD_DEBUG, "measuring %s", b->subject);
    if (!(rc = subjects[i].run(b, err))) rc = look(b, &v, err);
  }
  if (!rc) judge(b, &v);
  return rc;
}

/* A file has a row per line, so that two results can also be looked at with diff; standard output gets one line. */
static int write_json(const dd_bench *b, const char *path, dd_error *err) {
  json_t *o = dd_bench_json(b);
  char *text = o ? json_dumps(o, (b->silent ? JSON_COMPACT : JSON_INDENT(1)) | JSON_REAL_PRECISION(8)) : NULL;
  json_decref(o);
  if (!text) return dd_fail(err, DD_E_RUNTIME, "out of memory for JSON");
  int rc = DD_OK;
  if (b->silent) {
    if (b->cb && b->cb->text) b->cb->text(b->cb->user, text, strlen(text)), b->cb->text(b->cb->user, "\n", 1);
  } else rc = dd_file_replace(path, text, strlen(text), err);
  free(text);
  return rc;
}

int dd_run_bench(const dd_settings *s, const dd_callbacks *cb, dd_error *err) {
  dd_bench *b = calloc(1, sizeof *b);
  if (!b) return dd_fail(err, DD_E_RUNTIME, "out of memory for the suite");
  b->cb = cb;
  int regressed = 0, rc = dd_bench_plan(b, s, err);
  if (!rc && *s->compare) rc = dd_compare_load(&b->old, s->compare, err);
  if (!rc) rc = dd_peers_open(b->peers, s->peers, err);
  if (!rc) rc = introduce(b, err);
  if (!rc) rc = run_subjects(b, err);
  if (!rc && *s->compare) dd_compare_print(b, &regressed);
  if (!rc && *s->json) rc = write_json(b, s->json, err);
  dd_peers_close(b->peers);
  json_decref(b->machine);
  json_decref(b->warnings);
  free(b->rows.at);
  free(b->old.at);
  free(b);
  return rc;
}
