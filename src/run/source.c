#include "run/source.h"
#include "core/file.h"
#include "formats/tokens.h"
#include "run/corpus.h"
#include "run/settings.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Last part of a path, trailing slashes aside: "data/mine/" gives "mine". */
static void base_name(const char *path, char *out, size_t size) {
  size_t end = strlen(path), from;
  while (end > 1 && path[end - 1] == '/') end--;
  for (from = end; from > 0 && path[from - 1] != '/';) from--;
  if (from == end) from = 0; /* "/" */
  snprintf(out, size, "%.*s", (int)(end - from), path + from);
}

int dd_source_exists(const char *path, int *there, dd_error *err) {
  struct stat st;
  *there = dd_fs()->stat(path, &st) == 0;
  if (*there || errno == ENOENT || errno == ENOTDIR) return DD_OK;
  return dd_fail(err, DD_E_IO, "cannot read %.700s: %s", path, strerror(errno));
}

static int open_corpus(dd_source *s, const dd_corpus *corpus, const dd_callbacks *cb, dd_error *err) {
  const int status = corpus ? dd_corpus_load(corpus, cb, &s->text, &s->size, err)
                            : dd_corpus_load_default(cb, &corpus, &s->text, &s->size, err);
  if (status) return status;
  s->corpus = corpus;
  snprintf(s->name, sizeof s->name, "%s", corpus->name);
  snprintf(s->spec, sizeof s->spec, "%s", corpus->name);
  return DD_OK;
}

int dd_source_open(dd_source *s, const char *spec, const dd_callbacks *cb, dd_error *err) {
  *s = (dd_source){0};
  if (!spec || !spec[0]) return open_corpus(s, NULL, cb, err);
  if (strcmp(spec, DD_SOURCE_PROGRAM) == 0)
    return dd_fail(err, DD_E_USAGE, "the tokens of this run were given by the program that trained it: name a "
                   "directory that holds the same ones as train.bin and val.bin (--data)");
  const dd_corpus *corpus = dd_corpus_find(spec);
  if (corpus) return open_corpus(s, corpus, cb, err);
  if (strlen(spec) >= sizeof s->spec)
    return dd_fail(err, DD_E_USAGE, "the path given as data is too long: %.200s...", spec);
  int there;
  char in_data[sizeof s->spec];
  int status = dd_source_exists(spec, &there, err);
  if (status) return status;
  if (!there && !strchr(spec, '/')) { /* as nanoGPT's `dataset`, where `prepare` puts it too */
    const int n = snprintf(in_data, sizeof in_data, "data/%s", spec);
    if (n > 0 && (size_t)n < sizeof in_data && dd_is_dir(in_data)) there = 1, spec = in_data;
  }
  if (!there) {
    char names[256];
    dd_corpus_names(names, sizeof names);
    const char *list[16], *close;
    int n = 0;
    for (; dd_corpus_at(n) && n < 15; n++) list[n] = dd_corpus_at(n)->name;
    list[n] = NULL;
    close = dd_suggest(spec, list);
    return dd_fail(err, DD_E_IO, "no such file, directory or corpus: '%.700s'%s%s%s (corpora known by name: %s)", spec,
                   close ? "; did you mean '" : "", close ? close : "", close ? "'?" : "", names);
  }
  char full[PATH_MAX];
  const char *absolute = realpath(spec, full) ? full : spec; /* a resume may start in another directory */
  snprintf(s->spec, sizeof s->spec, "%.*s", (int)sizeof s->spec - 1, absolute);
  base_name(absolute, s->name, sizeof s->name);
  s->is_directory = dd_is_dir(s->spec);
  if (s->is_directory) return DD_OK;
  const size_t n = strlen(s->name);
  bool is_tokens;
  if ((status = dd_token_file_detect(s->spec, &is_tokens, err)) != 0) return status;
  s->is_tokens = is_tokens ? 2 : n > 4 && !strcmp(s->name + n - 4, ".bin");
  return s->is_tokens ? DD_OK : dd_source_text(s, cb, err);
}

int dd_source_text(dd_source *s, const dd_callbacks *cb, dd_error *err) {
  return s->text ? DD_OK : dd_file_read_polled(s->spec, DD_SOURCE_MAX_BYTES, cb, &s->text, &s->size, err);
}

void dd_source_close(dd_source *s) {
  free(s->text);
  s->text = NULL;
}
