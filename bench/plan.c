/* From settings to a plan: which subjects, presets, threads and tiers. */
#include "bench/bench.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One word of a list with commas into word[size], spaces around it dropped; the rest of the list, NULL after the last.
 * Words that are too long come back cut, so that they are no known name. */
static const char *next_word(const char *list, char *word, size_t size) {
  const size_t n = strcspn(list, ",");
  size_t from = 0, to = n;
  while (from < to && isspace((unsigned char)list[from])) from++;
  while (to > from && isspace((unsigned char)list[to - 1])) to--;
  snprintf(word, size, "%.*s", (int)(to - from), list + from);
  return list[n] ? list + n + 1 : NULL;
}

static int plan_subjects(dd_bench *b, const char *list, dd_error *err) {
#define SUBJECT_NAME(name, help) #name,
  static const char *const names[] = {DD_BENCH_SUBJECTS(SUBJECT_NAME) NULL};
  char word[64];
  if (!*list) {
    for (int i = 0; names[i]; i++) b->subjects |= 1u << i;
    return DD_OK;
  }
  for (const char *p = list; p;) {
    p = next_word(p, word, sizeof word);
    int at = -1;
    for (int i = 0; names[i]; i++)
      if (!strcmp(word, names[i])) at = i;
    if (at < 0) {
      const char *close = dd_suggest(word, names);
      return dd_fail(err, DD_E_USAGE,
                     "unknown subject '%s'; %s%s%ssubjects are ceilings, kernels, products, step, "
                     "generate, scaling and schedules",
                     word, close ? "did you mean '" : "", close ? close : "", close ? "'? " : "");
    }
    b->subjects |= 1u << at;
  }
  return DD_OK;
}

static int64_t setting_number(const dd_settings *s, const char *key) {
  char text[64];
  return dd_settings_get(s, key, text, sizeof text, NULL) ? 0 : strtoll(text, NULL, 10);
}

static int plan_preset(dd_bench *b, const char *name, int64_t batch, dd_error *err) {
  if (b->n_presets == DD_LIST_MAX) return dd_fail(err, DD_E_USAGE, "preset names at most %d presets", DD_LIST_MAX);
  dd_settings *s = dd_settings_create();
  if (!s) return dd_fail(err, DD_E_RUNTIME, "out of memory for a preset");
  int rc = dd_settings_set(s, "preset", name, err);
  if (!rc) {
    /* Byte-pair vocabulary and short sequences for gpt2: the configuration that other programs publish. */
    const int gpt2 = s->preset == DD_PRESET_GPT2;
    dd_bench_preset *p = b->presets + b->n_presets++;
    p->name = dd_settings_choice(s, DD_SETTING_preset);
    p->shape = (dd_shape){.L = setting_number(s, "n_layer"),
                          .H = setting_number(s, "n_head"),
                          .C = setting_number(s, "n_embd"),
                          .S = setting_number(s, "block_size"),
                          .V = gpt2 ? 50257 : 65,
                          .bias = s->bias};
    p->T = gpt2 ? 64 : p->shape.S;
    p->B = batch > 0 ? batch : setting_number(s, "batch_size");
    if (b->quick && batch < 1 && s->preset == DD_PRESET_PAPER) p->B = 8;
  }
  dd_settings_destroy(s);
  return rc;
}

static int plan_presets(dd_bench *b, const char *list, int64_t batch, dd_error *err) {
  int rc = DD_OK;
  if (!strcmp(list, "auto")) list = b->quick ? "paper,small" : "paper,small,gpt2";
  for (const char *p = list; p && !rc;) {
    char word[64];
    p = next_word(p, word, sizeof word);
    rc = plan_preset(b, word, batch, err);
  }
  return rc;
}

static int plan_threads(dd_bench *b, const char *list, dd_error *err) {
  char word[64], why[128];
  if (!strcmp(list, "auto")) {
    const int all = dd_machine_threads(0, why, sizeof why);
    b->threads[b->n_threads++] = 1;
    if (all > 1) b->threads[b->n_threads++] = all;
    return DD_OK;
  }
  for (const char *p = list; p;) {
    p = next_word(p, word, sizeof word);
    char *end;
    const long n = strtol(word, &end, 10);
    if (!isdigit((unsigned char)word[0]) || *end || n < 1 || n > 4096)
      return dd_fail(err, DD_E_USAGE,
                     "threads must be auto or whole numbers from 1 to 4096 with commas between, not '%s'", word);
    if (b->n_threads == DD_LIST_MAX) return dd_fail(err, DD_E_USAGE, "threads names at most %d counts", DD_LIST_MAX);
    b->threads[b->n_threads++] = (int)n;
  }
  return DD_OK;
}

static int plan_tiers(dd_bench *b, const char *list, dd_error *err) {
  char why[128];
  b->tiers_given = strcmp(list, "auto") != 0 && *list;
  for (const char *p = list; p;) {
    char word[64];
    p = next_word(p, word, sizeof word);
    const dd_kernels *k;
    int rc = dd_tier_select(word, &k, why, sizeof why, err);
    if (!rc) rc = dd_self_test(k, err);
    if (rc) return rc;
    if (b->n_tiers == DD_LIST_MAX) return dd_fail(err, DD_E_USAGE, "tier names at most %d tiers", DD_LIST_MAX);
    b->tiers[b->n_tiers++] = k;
  }
  if (b->tiers_given || b->quick) return DD_OK;
  const dd_kernels *k; /* the chosen one first, then all others that run here */
  for (int i = 0, runs; (k = dd_tier_at(i, &runs)) && b->n_tiers < DD_LIST_MAX; i++)
    if (runs && k != b->tiers[0]) b->tiers[b->n_tiers++] = k;
  return DD_OK;
}

int dd_bench_repeats(const dd_bench *b, int usual) {
  if (b->repeats > 0) return b->repeats;
  return b->quick ? (usual > 3 ? usual / 3 : usual) : usual;
}

int dd_bench_main_tiers(const dd_bench *b) { return b->tiers_given ? b->n_tiers : 1; }

int dd_bench_plan(dd_bench *b, const dd_settings *s, dd_error *err) {
  b->quick = s->quick || !*s->subjects;
  b->silent = !strcmp(s->json, "-");
  b->repeats = (int)s->repeats;
  b->sample_seconds = b->quick ? 1e-3 : 5e-3;
  b->caches = dd_machine_caches("");
  int rc = plan_subjects(b, s->subjects, err);
  if (!rc) rc = plan_presets(b, s->presets, dd_settings_is_set(s, DD_SETTING_batch_size) ? s->batch_size : 0, err);
  if (!rc) rc = plan_threads(b, s->thread_counts, err);
  if (!rc) rc = plan_tiers(b, s->tier, err);
  return rc;
}
