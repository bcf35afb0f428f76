/* What the tests of whole runs share: a directory in memory, a text of our own, the smallest model, how to train it. */
#ifndef DD_TESTS_RUN_FIXTURE_H
#define DD_TESTS_RUN_FIXTURE_H
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "core/file.h"
#include "dd_cpu.h"

static char root[128], heard[8192]; /* heard: warnings since the last train() or verify() */

static inline const char *at(const char *name) { /* a path below root; eight may be in use */
  static char path[8][1000];
  static int next;
  next = (next + 1) % 8;
  snprintf(path[next], sizeof path[next], "%s/%.800s", root, name);
  return path[next];
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
  (void)st, (void)type, (void)ftw;
  return remove(path);
}
static inline void remove_tree(const char *path) { nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

static inline void put(const char *path, const void *data, size_t n) {
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(data, 1, n, f), n);
  assert_int_equal(fclose(f), 0);
}
static inline char *slurp(const char *path, size_t *n) { /* free() by the caller */
  char *data;
  dd_error err;
  if (dd_file_read_all(path, SIZE_MAX, &data, n, &err) != DD_OK) fail_msg("%s", err.message);
  return data;
}
static inline void copy_file(const char *from, const char *to) {
  size_t n;
  char *data = slurp(from, &n);
  put(to, data, n);
  free(data);
}
static inline void replace_in(const char *path, const char *from, const char *to) { /* same length */
  size_t n, len = strlen(from);
  char *data = slurp(path, &n), *p = data;
  assert_int_equal(len, strlen(to));
  while (p + len <= data + n && memcmp(p, from, len) != 0) p++;
  assert_true(p + len <= data + n);
  memcpy(p, to, len);
  put(path, data, n);
  free(data);
}

static inline void listen(void *user, dd_level level, const char *text) {
  (void)user;
  const size_t n = strlen(heard);
  if (level == DD_WARNING) snprintf(heard + n, sizeof heard - n, "%s\n", text);
}

/* 3,000 characters of nonsense, always the same, in ROOT/text.txt. */
static inline int make_root(void) {
  const char *tmp = getenv("TMPDIR");
  const char *const places[] = {tmp && *tmp && strlen(tmp) < 90 ? tmp : "/dev/shm", "/tmp"};
  for (int i = 0; i < 2 && !*root; i++) {
    snprintf(root, sizeof root, "%s/dd-run-XXXXXX", places[i]);
    if (!mkdtemp(root)) *root = '\0';
  }
  if (!*root) return 0;
  char text[3000];
  uint32_t s = 12345;
  for (size_t i = 0; i < sizeof text; i++) {
    s = s * 1664525u + 1013904223u;
    text[i] = "etaoinshrdlu ETAO.\n"[(s >> 24) * (s >> 24) / 256 * 19 / 256];
  }
  return dd_file_replace(at("text.txt"), text, sizeof text, NULL) == DD_OK;
}

/* Settings of the smallest model, then pairs of key and value up to a NULL. With resume only the pairs. */
static inline dd_settings *settings_of(const char *out, int resume, va_list pairs) {
  static const char *const smallest[] = {
      "n_layer",    "1", "n_head",    "2", "n_embd",        "8",  "block_size", "8",    "batch_size", "2",
      "max_iters",  "40", "warmup_iters", "4", "eval_interval", "10", "eval_iters", "2",    "lr",         "3e-3",
      "min_lr",     "1e-3", "dropout", "0.2", "init_std",      "0.1", "threads", "1", "keep_checkpoints", "100", NULL};
  dd_settings *s = dd_settings_create();
  dd_error err;
  assert_non_null(s);
  int rc = DD_OK;
  for (const char *const *p = smallest; *p && !rc && !resume; p += 2) rc = dd_settings_set(s, p[0], p[1], &err);
  if (!rc && !resume) rc = dd_settings_set(s, "data", at("text.txt"), &err);
  if (!rc && resume) rc = dd_settings_set(s, "threads", "1", &err);
  if (!rc) rc = dd_settings_set(s, "out", out, &err);
  if (!rc) rc = dd_settings_set(s, resume ? "resume" : "overwrite", "true", &err);
  for (const char *key; !rc && (key = va_arg(pairs, const char *)) != NULL;)
    rc = dd_settings_set(s, key, va_arg(pairs, const char *), &err);
  if (rc) fail_msg("%s", err.message);
  return s;
}

/* Train or resume; the result's fingerprint into hex[33]. Returns the status. */
static inline int train(const char *out, int resume, char hex[33], dd_error *err, ...) {
  va_list pairs;
  va_start(pairs, err);
  dd_settings *s = settings_of(out, resume, pairs);
  va_end(pairs);
  const dd_callbacks cb = {.message = listen};
  dd_train_result r = {0};
  *heard = '\0';
  *err = (dd_error){.code = DD_OK};
  const int rc = dd_train(s, &cb, &r, err);
  memcpy(hex, r.fingerprint, 33);
  dd_settings_destroy(s);
  return rc;
}

#define assert_part(text, part)                                                                                        \
  do {                                                                                                                 \
    if (!strstr(text, part)) fail_msg("\"%s\" is not in \"%s\"", part, text);                                          \
  } while (0)
#endif
