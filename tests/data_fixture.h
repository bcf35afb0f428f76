/* What test_data.c and test_corpus.c share: a directory of their own, files in it, expectations about errors. */
#ifndef DD_TESTS_DATA_FIXTURE_H
#define DD_TESTS_DATA_FIXTURE_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/file.h"
#include "run/dataset.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char root[256]; /* fresh directory of this process */
static dd_error err;
static char heard[4096]; /* messages since hush() */

static void listen(void *user, dd_level level, const char *text) {
  (void)user, (void)level;
  const size_t used = strlen(heard);
  snprintf(heard + used, sizeof heard - used, "%s\n", text);
}
static const dd_callbacks callbacks = {.message = listen};
static void hush(void) {
  heard[0] = err.message[0] = 0;
}

/* Path of a file in the test's directory; a handful may be in use at once. */
static const char *at(const char *name) {
  static char ring[8][512];
  static int next;
  char *path = ring[next++ % 8];
  snprintf(path, sizeof ring[0], "%s/%s", root, name);
  return path;
}

static void put(const char *name, const void *data, size_t n) {
  char dir[512];
  snprintf(dir, sizeof dir, "%s", at(name));
  *strrchr(dir, '/') = 0;
  assert_int_equal(dd_make_dirs(dir, &err), DD_OK);
  assert_int_equal(dd_file_replace(at(name), data, n, &err), DD_OK);
}
static inline void put_text(const char *name, const char *text) {
  put(name, text, strlen(text));
}

static inline void put_script(const char *name, const char *body) {
  char text[2048];
  snprintf(text, sizeof text, "#!/bin/sh\n%s\n", body);
  put_text(name, text);
  assert_int_equal(chmod(at(name), 0755), 0);
}

/* The text of an id, copied to out; its length. */
static inline size_t text_of(const dd_vocab *v, int id, char *out) {
  char scratch[8];
  size_t n;
  const char *text = dd_vocab_decode(v, id, scratch, &n);
  memcpy(out, text, n);
  return n;
}

#define assert_says(part)                                                                                              \
  do {                                                                                                                 \
    if (!strstr(err.message, part)) fail_msg("\"%s\" is not in \"%s\"", part, err.message);                            \
  } while (0)
#define assert_heard(part)                                                                                             \
  do {                                                                                                                 \
    if (!strstr(heard, part)) fail_msg("\"%s\" is not in \"%s\"", part, heard);                                        \
  } while (0)

/* Opening must fail with this code and these words. */
static inline void refuse(const char *spec, const char *tokenizer, int code, const char *words) {
  dd_dataset *d = NULL;
  hush();
  assert_int_equal(dd_dataset_open(&d, spec, tokenizer, &callbacks, &err), code);
  assert_null(d);
  assert_int_equal(err.code, code);
  assert_says(words);
}

static int set_up(void **state) {
  (void)state;
  const char *tmp = getenv("TMPDIR");
  snprintf(root, sizeof root, "%s/dd-test-data.XXXXXX", tmp && tmp[0] == '/' ? tmp : "/tmp");
  if (!mkdtemp(root)) return -1;
  char *full = realpath(root, NULL);
  if (full && strlen(full) < sizeof root) strcpy(root, full);
  free(full);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  char command[400];
  setenv("PATH", "/usr/bin:/bin", 1);
  snprintf(command, sizeof command, "rm -rf '%s'", root);
  return system(command);
}
#endif
