/* The headline promise: one fingerprint whatever the threads, tier, compiler, optimization level, interruptions and
 * cadence of evaluation, logging and saving. The expected values are stored here, so every build of every kind (gcc,
 * clang, -O1, -O3, sanitizers, qemu, SIMDe) is held to the same bits; they change only with DD_NUMERICS_VERSION.
 *
 * Argument --record prints the values instead of checking them. DD_QUICK=1 (sanitizers, further compilers) leaves out
 * most numbers of threads, scalar cases and polls; DD_QUICK=2 (emulators) also cadences and stops; it says so. */
#include "core/file.h"
#include "core/machine.h"
#include "dd_cpu.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ITERS = 30 };

/* Two configurations of a small but complete model: ragged sizes, several chunks of tokens, all dropout sites. */
static const char *const common[] = {"n_layer",
                                     "2",
                                     "n_head",
                                     "3",
                                     "n_embd",
                                     "24",
                                     "block_size",
                                     "50",
                                     "batch_size",
                                     "6",
                                     "max_iters",
                                     "30",
                                     "warmup_iters",
                                     "5",
                                     "lr",
                                     "3e-3",
                                     "min_lr",
                                     "1e-3",
                                     "init_std",
                                     "0.08",
                                     "seed",
                                     "81985529216486895",
                                     "keep_checkpoints",
                                     "100",
                                     NULL};
static const struct {
  const char *name, *const *extra, *expected;
} cases[] = {
    {"val-loss, bias, two micro-batches",
     (const char *const[]){"bias", "true", "schedule", "val-loss", "dropout", "0.3", "dropout_step", "0.05",
                           "gradient_accumulation_steps", "2", "eval_interval", "4", NULL},
     "e8bdfd532ce1ad451b20920b71db9b5b"},
    {"cosine, no bias, one micro-batch",
     (const char *const[]){"bias", "false", "schedule", "cosine", "dropout", "0.2", "dropout_final", "0.05",
                           "gradient_accumulation_steps", "1", "eval_interval", "10", NULL},
     "181ffbefa2212c41cf5f425bd3dc7d4f"},
    {"a schedule at each site, rates rise with depth",
     (const char *const[]){"schedule", "expr:clamp(p0*val/best + gap/4 + t/T/50, 0.05, 0.5)", "dropout_attn",
                           "0.1,gap", "dropout_proj", "table", "dropout_mlp", "steps:0=0.3,40%=0.1,25=0",
                           "dropout_depth", "linear", "gap_target", "-0.01", "eval_interval", "4", NULL},
     "7c2b413dea9377f33c720baabd313ce6"},
};
enum { VAL_LOSS, COSINE, SITES, CASES };

static char root[256];
static int checks, failures, record;

static void fail(const char *fmt, ...) DD_PRINTF(1, 2);
static void fail(const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  vprintf(fmt, ap);
  va_end(ap);
  printf("\n");
  failures++;
}

/* 3,000 words of four letters from a small generator: a text of our own, 15 kB. */
static int write_text(const char *path) {
  static const char letters[] = "etaoinshrdlu ETAOIN.\n";
  char text[15000];
  uint32_t s = 12345;
  for (size_t i = 0; i < sizeof text; i++) {
    s = s * 1664525u + 1013904223u;
    const uint32_t r = s >> 24;
    text[i] = letters[r * r / 256 * (sizeof letters - 1) / 256];
  }
  return dd_file_replace(path, text, sizeof text, NULL);
}

typedef struct stopper {
  int64_t at, seen; /* polls of should_stop until it says stop; -1: never */
} stopper;
static int should_stop(void *user) {
  stopper *s = user;
  return s->at >= 0 && s->seen++ >= s->at;
}

/* One training call; fingerprint into hex. Returns its status. */
static int run(int which, const char *out, const char *tier, int threads, int resume, int64_t stop_at,
               const char *const *more, char hex[33], dd_error *err) {
  char n[16], text[300];
  snprintf(n, sizeof n, "%d", threads);
  snprintf(text, sizeof text, "%s/text.txt", root);
  dd_settings *s = dd_settings_create();
  if (!s) return DD_E_RUNTIME;
  int rc = 0;
  const char *const *lists[] = {common, cases[which].extra, more};
  for (int l = 0; l < 3 && !rc && !(resume && l < 2); l++)
    for (const char *const *p = lists[l]; p && *p && !rc; p += 2) rc = dd_settings_set(s, p[0], p[1], err);
  if (!rc) rc = dd_settings_set(s, "out", out, err);
  if (!rc && !resume) rc = dd_settings_set(s, "data", text, err);
  snprintf(text, sizeof text, "%s/rates.csv", root);
  if (!rc && !resume && which == SITES) rc = dd_settings_set(s, "dropout_table", text, err);
  if (!rc) rc = dd_settings_set(s, "tier", tier, err);
  if (!rc) rc = dd_settings_set(s, "threads", n, err);
  if (!rc) rc = dd_settings_set(s, resume ? "resume" : "overwrite", "true", err);
  stopper stop = {.at = stop_at};
  const dd_callbacks cb = {.user = &stop, .should_stop = should_stop};
  dd_train_result r = {0};
  if (!rc) rc = dd_train(s, &cb, &r, err);
  memcpy(hex, r.fingerprint, 33);
  dd_settings_destroy(s);
  return rc;
}

static void expect(int which, const char *what, int rc, const char *hex, const dd_error *err) {
  checks++;
  if (rc) fail("%s, %s: status %d: %s", cases[which].name, what, rc, err->message);
  else if (strcmp(hex, cases[which].expected) != 0)
    fail("%s, %s: fingerprint %s, expected %s", cases[which].name, what, hex, cases[which].expected);
}

static void straight(int which, const char *tier, int threads, const char *const *more, const char *label) {
  char hex[33] = "", what[256], out[300];
  dd_error err = {0};
  snprintf(out, sizeof out, "%s/straight", root);
  const int rc = run(which, out, tier, threads, 0, -1, more, hex, &err);
  snprintf(what, sizeof what, "tier %s, %d threads%s%s", tier, threads, *label ? ", " : "", label);
  if (record) printf("%s: %s (%s) rc %d %s\n", cases[which].name, hex, what, rc, rc ? err.message : "");
  else expect(which, what, rc, hex, &err);
}

/* Stop at every poll of the run in turn (each micro-batch and each evaluation batch is one; every `stride`-th), then
 * resume, with one and with two threads in turn. */
static void resumed(int which, const char *tier, int stride) {
  char out[300];
  snprintf(out, sizeof out, "%s/resumed", root);
  for (int64_t at = 0;; at += stride) {
    char hex[33] = "", what[128];
    dd_error err = {0};
    int rc = run(which, out, tier, 1 + (int)(at / stride % 2), 0, at, NULL, hex, &err);
    if (!rc) {
      if (at < ITERS) fail("%s: the run polled should_stop only %d times", cases[which].name, (int)at);
      return; /* it ran through: every poll has had its turn */
    }
    if (rc != DD_E_STOPPED) {
      fail("%s: stop at poll %d gave status %d: %s", cases[which].name, (int)at, rc, err.message);
      return;
    }
    rc = run(which, out, tier, 2 - (int)(at / stride % 2), 1, -1, NULL, hex, &err);
    snprintf(what, sizeof what, "stopped at poll %d and resumed", (int)at);
    expect(which, what, rc, hex, &err);
    if (failures > 10) return;
  }
}

int main(int argc, char **argv) {
  static const int threads[] = {1, 2, 3, 5, 8, 32};
  record = argc > 1 && strcmp(argv[1], "--record") == 0;
  const char *asked = getenv("DD_QUICK");
  const int quick = asked != NULL, emulated = quick && strcmp(asked, "2") == 0;
  /* Hundreds of checkpoints are synced: memory is kinder than a disk. */
  const char *tmp = getenv("TMPDIR");
  if (!tmp) tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
  snprintf(root, sizeof root, "%s/dd-fingerprint-XXXXXX", tmp);
  char text[300];
  static const char rates[] = "iteration,rate\n0,0.1\n10,0.4\n100%,0\n";
  if (!mkdtemp(root) || (snprintf(text, sizeof text, "%s/text.txt", root), write_text(text)) ||
      (snprintf(text, sizeof text, "%s/rates.csv", root), dd_file_replace(text, rates, sizeof rates - 1, NULL))) {
    printf("cannot make a temporary directory in %s\n", tmp);
    return 1;
  }
  const dd_kernels *k, *best = NULL;
  for (int i = 0, runs; (k = dd_tier_at(i, &runs)); i++) {
    if (!runs) {
      printf("tier %s does not run on this processor: not compared here\n", k->tier);
      continue;
    }
    if (!best) best = k;
    const int is_scalar = strcmp(k->tier, "scalar") == 0;
    for (int c = 0; c < CASES; c++)
      for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
        const int few = is_scalar || c == SITES, five = threads[t] == 5;
        if (quick ? five && (!is_scalar || c == VAL_LOSS) : !few || five || threads[t] == 1)
          straight(c, k->tier, threads[t], NULL, "");
      }
  }
  if (emulated) printf("DD_QUICK=2: no other cadences and no stops, which instruction sets do not change\n");
  if (!record && !emulated) {
    /* Cadence: with a schedule that does not listen to evaluations, their number and kind must change nothing. */
    straight(COSINE, best->tier, 2, (const char *const[]){"eval_interval", "1", "log_interval", "1", NULL},
             "evaluated every iteration");
    straight(COSINE, best->tier, 2, (const char *const[]){"eval_interval", "1000", "checkpoint_interval", "3", NULL},
             "saved every third");
    straight(COSINE, best->tier, 2, (const char *const[]){"eval_iters", "3", "eval_interval", "7", NULL},
             "random evaluation");
    straight(VAL_LOSS, best->tier, 2, (const char *const[]){"log_interval", "7", "checkpoint_interval", "5", NULL},
             "logged every seventh");
    straight(VAL_LOSS, best->tier, 2, (const char *const[]){"batch_size", "6", "keep_checkpoints", "1", NULL},
             "one checkpoint kept");
    resumed(COSINE, best->tier, quick ? 23 : 1);
    resumed(VAL_LOSS, best->tier, quick ? 61 : 3);
    resumed(SITES, best->tier, quick ? 67 : 4); /* an evaluation and the steps to the next are 15 polls */
    if (quick) printf("DD_QUICK: without a stop with 2 and 5 threads only, scalar in one case, resumed at few polls\n");
  }
  char clean[300];
  snprintf(clean, sizeof clean, "rm -rf '%s'", root);
  if (system(clean)) printf("could not remove %s\n", root);
  printf("%d passed, %d failed\n", checks - failures, failures);
  return failures != 0;
}
