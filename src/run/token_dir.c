#include "run/token_dir.h"
#include "core/checked.h"
#include "core/file.h"
#include "formats/tokens.h"
#include "run/source.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GPT2_VOCABULARY = 50257, MAX_FILES = 100000 };

int dd_token_vocab_size(int largest) {
  return largest >= GPT2_VOCABULARY / 3 * 2 && largest < GPT2_VOCABULARY ? GPT2_VOCABULARY : largest + 1;
}

/* ---- which files ---- */

/* Length of NAME in NAME_SPLIT.bin, NAME_SPLIT_*.bin or the same with .npy; 0: the name is none of them. */
static size_t stem_of(const char *name, const char *split) {
  const size_t n = strlen(name), m = strlen(split);
  if (n < 5 || (strcmp(name + n - 4, ".bin") && strcmp(name + n - 4, ".npy"))) return 0;
  for (size_t i = n - 4; i-- > 1;)
    if (name[i] == '_' && !strncmp(name + i + 1, split, m) && (i + 1 + m == n - 4 || name[i + 1 + m] == '_')) return i;
  return 0;
}

static int is_shard(const char *dir, const char *name, const void *split) {
  (void)dir;
  return stem_of(name, split) > 0;
}

static int list_shards(const char *dir, const char *split, dd_names *l, dd_error *err) {
  const dd_names_wanted shards = {.keep = is_shard, .user = split, .most = MAX_FILES, .what = "token files"};
  const int rc = dd_dir_names(dir, &shards, l, err);
  if (rc || !l->n) return rc;
  const size_t stem = stem_of(l->name[0], split);
  for (size_t i = 1; i < l->n; i++)
    if (stem_of(l->name[i], split) != stem || strncmp(l->name[0], l->name[i], stem))
      return dd_fail(err, DD_E_USAGE,
                     "%.400s holds token files of several texts (%.100s, %.100s); give each a directory of its own",
                     dir, l->name[0], l->name[i]);
  return DD_OK;
}

static int find_files(const char *dir, const char *split, dd_names *l, dd_error *err) {
  static const char *const endings[] = {".bin", ".npy"};
  char name[16], path[4200];
  for (int i = 0; i < 2; i++) {
    int there = 0;
    snprintf(name, sizeof name, "%s%s", split, endings[i]);
    int rc = dd_path_join(path, sizeof path, dir, name, err);
    if (!rc) rc = dd_source_exists(path, &there, err);
    if (rc) return rc;
    if (there)
      return dd_names_add(l, name) ? DD_OK : dd_fail(err, DD_E_RUNTIME, "out of memory while listing %.700s", dir);
  }
  return list_shards(dir, split, l, err);
}

int dd_token_dir_is(const char *dir) {
  dd_names train = {0}, val = {0};
  const int is = !find_files(dir, "train", &train, NULL) && !find_files(dir, "val", &val, NULL) && train.n && val.n;
  dd_names_free(&train);
  dd_names_free(&val);
  return is;
}

/* ---- reading ---- */

/* Append the ids of a file to ids[*n], which grows. */
static int append_file(const char *path, const dd_callbacks *cb, uint16_t **ids, int64_t *n, dd_error *err) {
  dd_token_file *f;
  uint64_t total = 0;
  size_t bytes = 0;
  int rc = dd_token_file_open(path, &f, err);
  if (rc) return rc;
  if (!dd_add_u64((uint64_t)*n, dd_token_file_layout(f)->count, &total) || total > SIZE_MAX / 2 - 1 ||
      !dd_mul_size((size_t)total + 1, sizeof **ids, &bytes))
    rc = dd_fail(err, DD_E_RUNTIME, "%.700s is too large for memory", path);
  uint16_t *bigger = rc ? NULL : realloc(*ids, bytes);
  if (!rc && !bigger) rc = dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.700s (%zu bytes)", path, bytes);
  if (bigger) *ids = bigger;
  if (!rc) rc = dd_token_file_ids(f, *ids + *n, cb, err);
  if (!rc) *n = (int64_t)total;
  dd_token_file_close(f);
  return rc;
}

static int check_length(int rc, const char *path, uint16_t **ids, int64_t n, dd_error *err) {
  if (!rc && n < 2)
    rc = dd_fail(err, DD_E_CORRUPT, "%.700s holds %" PRId64 " tokens; at least 2 are needed", path, n);
  if (rc) {
    free(*ids);
    *ids = NULL;
  }
  return rc;
}

int dd_token_path_read(const char *path, const dd_callbacks *cb, uint16_t **ids, int64_t *n, dd_error *err) {
  *ids = NULL;
  *n = 0;
  const int rc = append_file(path, cb, ids, n, err);
  return check_length(rc, path, ids, *n, err);
}

int dd_token_dir_read(const char *dir, const char *split, const dd_callbacks *cb, uint16_t **ids, int64_t *n,
                      dd_error *err) {
  dd_names l = {0};
  char path[4200] = "";
  *ids = NULL;
  *n = 0;
  int rc = find_files(dir, split, &l, err);
  if (!rc && !l.n)
    rc = dd_fail(err, DD_E_IO,
                 "%s holds no %s.bin: a data directory has train.bin and val.bin (make one with dd-cpu prepare), or "
                 "the same as .npy, or NAME_train*.bin and NAME_val*.bin of llm.c",
                 dir, split);
  for (size_t i = 0; !rc && i < l.n; i++) {
    rc = dd_path_join(path, sizeof path, dir, l.name[i], err);
    if (!rc) rc = append_file(path, cb, ids, n, err);
  }
  rc = check_length(rc, path, ids, *n, err);
  dd_names_free(&l);
  return rc;
}
