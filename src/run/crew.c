#include "run/crew.h"
#include "core/hash.h"
#include <assert.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Rounds shorter than this are not worth a message each. */
#define LONG_ROUND_SECONDS 0.25

/* What rank 0 tells before its settings. */
typedef struct orders {
  uint64_t text_bytes; /* of the settings and the vocabulary, as JSON */
  int64_t symbols;     /* V of weights that were loaded, 0: that of the data */
  int32_t careful;
  char data_hash[36], table_hash[36];
} orders;

/* What ranks tell each other of their machines. */
typedef struct means {
  double peak;
  int32_t threads, local;
} means;

/* Hash of the settings that were given to this rank and decide the result; data is compared by its own. */
static int given_hash(const dd_settings *given, char hex[36], dd_error *err) {
  json_t *o = dd_settings_to_json(given);
  char *text = NULL;
  const dd_setting *d;
  memset(hex, 0, 36);
  for (int i = 0; o && (d = dd_setting_at(i)); i++)
    if (dd_setting_is_harmless(i) || i == DD_SETTING_data) json_object_del(o, d->name);
  if (o) text = json_dumps(o, JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
  if (text) dd_hash_hex(text, strlen(text), hex);
  free(text);
  json_decref(o);
  return text ? DD_OK : dd_fail(err, DD_E_RUNTIME, "out of memory for settings");
}

/* Texts of all ranks that should be equal: the first rank that differs from rank 0, or -1. */
static int exchange_text(dd_job *j, const char own[36], int *differs, char (**all)[36], dd_error *err) {
  const int n = dd_ranks_size(j->ranks);
  *differs = -1;
  *all = calloc((size_t)n, sizeof **all);
  if (!*all) return dd_fail(err, DD_E_RUNTIME, "out of memory for %d ranks", n);
  memcpy((*all)[dd_ranks_rank(j->ranks)], own, 36);
  const int rc = dd_ranks_exchange(j->ranks, *all, sizeof **all, err);
  for (int i = 1; i < n && !rc && *differs < 0; i++)
    if (memcmp((*all)[i], (*all)[0], 36) != 0) *differs = i;
  return rc;
}

static int compare_given(dd_job *j, const dd_settings *given, dd_error *err) {
  char own[36], (*all)[36];
  int differs, rc = given_hash(given, own, err);
  if (!rc) rc = exchange_text(j, own, &differs, &all, err);
  if (rc) return rc;
  free(all);
  if (differs < 0) return DD_OK;
  return dd_fail(err, DD_E_USAGE,
                 "%s was started with other options than rank 0; give all ranks the same, or set "
                 "DD_CPU_MPI=none for trainings that do not know of each other",
                 dd_ranks_name(j->ranks, differs));
}

/* Processors that the launcher of this rank may use: more than it gave away is a binding that was hardly meant. */
static int launcher_cpus(void) {
  cpu_set_t set;
  return sched_getaffinity(getppid(), sizeof set, &set) ? 0 : CPU_COUNT(&set);
}

static int compare_means(dd_job *j, dd_error *err) {
  dd_ranks *r = j->ranks;
  const int n = dd_ranks_size(r), rank = dd_ranks_rank(r), cpus = dd_ranks_local_cpus(r), local = dd_ranks_local(r);
  means *all = calloc((size_t)n, sizeof *all);
  if (!all) return dd_fail(err, DD_E_RUNTIME, "out of memory for %d ranks", n);
  all[rank] = (means){.peak = j->peak, .threads = j->threads, .local = local};
  const int rc = dd_ranks_exchange(r, all, sizeof *all, err);
  if (rc) return rc;
  int threads = 0, here = 0;
  j->peak = 0;
  for (int i = 0; i < n; i++) {
    j->peak += all[i].peak;
    threads += all[i].threads;
    if (dd_ranks_same_host(r, i)) here += all[i].threads;
  }
  free(all);
  dd_ranks_crowded(r, here > cpus);
  dd_say(j->cb, DD_INFO, "%d ranks on %d machine%s (%s), %d threads in all, FMA peak %.0f GFLOP/s", n,
         dd_ranks_hosts(r), dd_ranks_hosts(r) > 1 ? "s" : "", dd_ranks_library(r), threads, j->peak / 1e9);
  if (here > cpus)
    dd_say(j->cb, DD_WARNING,
           "the %d ranks of this machine have %d threads and %d processors: slower than with %d, "
           "with the same result",
           local, here, cpus, cpus);
  else if (launcher_cpus() > cpus && j->s->threads == 0)
    dd_say(j->cb, DD_WARNING,
           "the launcher bound the %d ranks of this machine to %d of its %d processors; use all with "
           "mpirun --bind-to none",
           local, cpus, launcher_cpus());
  return DD_OK;
}

/* A round is one micro-batch of every rank. */
static int is_long(const dd_job *j) {
  const dd_model_options *o = &j->m->o;
  return dd_flops_per_token(&o->shape, o->T) * (double)(o->B * o->T) / (0.7 * j->peak) > LONG_ROUND_SECONDS;
}

int dd_crew_enlist(dd_job *j, dd_error *err) {
  if (!j->ranks) return DD_OK;
  int rc = dd_ranks_agree(j->ranks, DD_OK, NULL, 0, err);
  if (!rc) rc = compare_given(j, j->given, err);
  if (rc) return rc;
  json_t *o = json_object();
  char *text = NULL;
  rc = o && !json_object_set_new(o, "settings", dd_settings_to_json(j->s)) ? dd_vocab_to_json(&j->data->vocab, o, err)
                                                                           : DD_E_RUNTIME;
  if (!rc) text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(17));
  json_decref(o);
  if (!text) return dd_fail(err, DD_E_RUNTIME, "out of memory for settings");
  j->careful = is_long(j);
  orders k = {.text_bytes = strlen(text), .symbols = j->symbols, .careful = j->careful};
  snprintf(k.data_hash, sizeof k.data_hash, "%s", j->data->hash);
  snprintf(k.table_hash, sizeof k.table_hash, "%s", j->rates->table_hash);
  rc = dd_ranks_broadcast(j->ranks, &k, sizeof k, 0, err);
  if (!rc) rc = dd_ranks_broadcast(j->ranks, text, k.text_bytes, 0, err);
  free(text);
  if (!rc) rc = dd_ranks_agree(j->ranks, DD_OK, NULL, 1, err);
  return rc ? rc : compare_means(j, err);
}

static int receive_settings(dd_job *j, orders *k, dd_error *err) {
  json_t *o = NULL;
  int rc = dd_ranks_broadcast(j->ranks, k, sizeof *k, 0, err);
  if (rc) return rc;
  char *text = k->text_bytes < 1 << 24 ? malloc(k->text_bytes + 1) : NULL;
  if (!text) return dd_fail(err, DD_E_RUNTIME, "out of memory for settings");
  rc = dd_ranks_broadcast(j->ranks, text, k->text_bytes, 0, err);
  if (rc) return rc;
  j->symbols = k->symbols;
  o = json_loadb(text, k->text_bytes, 0, NULL);
  rc = o ? dd_vocab_from_json(&j->told, o, "the vocabulary of rank 0", err) : DD_OK;
  if (!rc)
    rc = o ? dd_settings_from_json(j->s, json_object_get(o, "settings"), err)
           : dd_fail(err, DD_E_RUNTIME, "settings of rank 0 cannot be read");
  json_decref(o);
  free(text);
  return rc;
}

/* What each machine decides for itself. */
static void own_settings(dd_settings *s, const dd_settings *given) {
  s->threads = given->threads;
  s->slice = given->slice;
  s->recompute = given->recompute;
  memcpy(s->tier, given->tier, sizeof s->tier);
  if (dd_settings_is_set(given, DD_SETTING_data)) memcpy(s->data, given->data, sizeof s->data);
}

static int same_files(const dd_job *j, const orders *k, dd_error *err) {
  if (strcmp(j->data->hash, k->data_hash) != 0)
    return dd_fail(err, DD_E_CORRUPT,
                   "%s is not the text that rank 0 trains on (hash %s, there %s); give every machine "
                   "the same file",
                   j->data->name, j->data->hash, k->data_hash);
  if (strcmp(j->rates->table_hash, k->table_hash) != 0)
    return dd_fail(err, DD_E_CORRUPT, "%s is not the table of rates that rank 0 has; give every machine the same file",
                   j->s->dropout_table);
  return DD_OK;
}

int dd_crew_open(dd_job *j, const dd_settings *given, dd_error *err) {
  orders k;
  int rc = dd_ranks_agree(j->ranks, DD_OK, NULL, 0, err);
  if (!rc) rc = compare_given(j, given, err);
  if (!rc) rc = receive_settings(j, &k, err);
  if (rc) return rc;
  own_settings(j->s, given);
  j->careful = k.careful;
  if ((rc = dd_settings_check(j->s, err)) || (rc = dd_job_prepare(j, NULL, err)) || (rc = same_files(j, &k, err)) ||
      (rc = dd_job_buffers(j, err)) || (rc = dd_ranks_agree(j->ranks, DD_OK, NULL, 1, err)))
    return rc;
  return compare_means(j, err);
}

int dd_crew_hand_out(dd_job *j, int loaded, dd_error *err) {
  if (!j->ranks) return DD_OK;
  int32_t what = loaded;
  const size_t bytes = (size_t)j->m->layout.floats * sizeof(float);
  const int first = dd_ranks_rank(j->ranks) == 0;
  int rc = dd_ranks_broadcast(j->ranks, &what, sizeof what, 0, err);
  if (!rc && !what && !first) rc = dd_job_begin(j, err);
  float *const array[] = {j->m->param, j->m->m, j->m->v};
  for (int i = 0; i < 3 && what && !rc; i++) rc = dd_ranks_broadcast(j->ranks, array[i], bytes, 0, err);
  if (!rc) rc = dd_ranks_broadcast(j->ranks, &j->state, sizeof j->state, 0, err);
  if (rc || first || !what) return rc;
  dd_model_set_update(j->m, j->state.guard.updates, j->s->beta1, j->s->beta2);
  dd_model_params_changed(j->m);
  return DD_OK;
}

int dd_crew_ask(dd_job *j, int start, int *ask, int64_t at, dd_error *err) {
  if (!j->ranks) return DD_OK;
  if (*ask && (!j->asked || *ask < j->asked)) j->asked = *ask;
  *ask = 0;
  if (!start && !j->careful) return DD_OK;
  *ask = j->asked;
  j->asked = 0;
  return dd_ranks_agree(j->ranks, DD_OK, ask, at, err);
}

int dd_crew_compare(dd_job *j, const char fingerprint[33], dd_error *err) {
  if (!j->ranks) return DD_OK;
  char own[36] = "", (*all)[36];
  int differs;
  memcpy(own, fingerprint, 33);
  const int rc = exchange_text(j, own, &differs, &all, err);
  if (rc) return rc;
  if (differs >= 0)
    dd_fail(err, DD_E_RUNTIME,
            "the weights of %s differ from rank 0's at iteration %lld (fingerprint %.32s, there "
            "%.32s): a processor or memory is broken; check the last checkpoints with `dd-cpu verify --replay last` on "
            "another machine and go on without it",
            dd_ranks_name(j->ranks, differs), (long long)j->state.iter, all[differs], all[0]);
  free(all);
  return differs < 0 ? DD_OK : DD_E_RUNTIME;
}
