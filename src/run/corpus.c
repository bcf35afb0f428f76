#include "run/corpus.h"
#include "core/file.h"
#include "core/hash.h"
#include "data/corpora.def"
#include "run/spawn.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IDLE_SECONDS = 60, MAX_WORDS = 16 };

static const dd_corpus corpora[] = {
#define ROW(name, bytes, sha256, urls, member, program, package, variable, tokenizer, held_out, val, licence, note)    \
  {name, bytes, sha256, urls, member, program, package, variable, tokenizer, held_out, val, licence, note},
    DD_CORPORA(ROW)
#undef ROW
};

enum { CORPORA = sizeof corpora / sizeof corpora[0] };

/* Where the text was looked for, as one sentence in the making. */
typedef struct trail {
  char text[760]; /* leaves room in dd_error for what follows */
  size_t used;
} trail;

static void note(trail *t, const char *fmt, ...) DD_PRINTF(2, 3);
static void note(trail *t, const char *fmt, ...) {
  if (t->used >= sizeof t->text - 1) return;
  if (t->used) t->used += (size_t)snprintf(t->text + t->used, sizeof t->text - t->used, "; ");
  if (t->used >= sizeof t->text - 1) return;
  va_list ap;
  va_start(ap, fmt);
  const int n = vsnprintf(t->text + t->used, sizeof t->text - t->used, fmt, ap);
  va_end(ap);
  if (n > 0) t->used += (size_t)n;
  if (t->used >= sizeof t->text) t->used = sizeof t->text - 1;
}

const dd_corpus *dd_corpus_at(int i) {
  return i >= 0 && i < CORPORA ? &corpora[i] : NULL;
}

const dd_corpus *dd_corpus_find(const char *name) {
  for (int i = 0; i < CORPORA; i++)
    if (strcmp(corpora[i].name, name) == 0) return &corpora[i];
  return NULL;
}

void dd_corpus_names(char *buf, size_t size) {
  size_t used = 0;
  if (size) buf[0] = 0;
  for (int i = 0; i < CORPORA && used < size; i++) {
    const int n = snprintf(buf + used, size - used, "%s%s", i ? ", " : "", corpora[i].name);
    used += n > 0 ? (size_t)n : 0;
  }
}

int dd_corpus_cache_dir(char *out, size_t size) {
  const char *base = getenv("XDG_CACHE_HOME"), *middle = "";
  if (!base || base[0] != '/') { /* the XDG rules ignore relative paths */
    base = getenv("HOME");
    middle = "/.cache";
  }
  if (!base || base[0] != '/') return -1;
  const int n = snprintf(out, size, "%s%s/dd-cpu", base, middle);
  return n > 0 && (size_t)n < size ? 0 : -1;
}

/* Is this the text of the row? 1, or 0 and the difference as a clause. */
static int verify(const dd_corpus *c, const char *data, size_t size, char *reason, size_t reason_size) {
  if (size != (uint64_t)c->bytes) {
    snprintf(reason, reason_size, "has %zu bytes in place of %" PRId64, size, c->bytes);
    return 0;
  }
  if (!c->sha256[0]) return 1;
  char hex[65];
  dd_sha256_hex(data, size, hex);
  if (strcmp(hex, c->sha256) == 0) return 1;
  snprintf(reason, reason_size, "has SHA-256 %s in place of %.12s...", hex, c->sha256);
  return 0;
}

/* The text was found: tell where. */
static void announce(const dd_corpus *c, const char *where, const char *data, size_t size, const dd_callbacks *cb) {
  if (c->sha256[0]) {
    dd_say(cb, DD_INFO, "corpus %s: %s, SHA-256 verified", c->name, where);
    return;
  }
  char hex[65];
  dd_sha256_hex(data, size, hex);
  dd_say(cb, DD_WARNING, "corpus %s: %s, unverified (no hash is recorded for it); SHA-256 %s", c->name, where, hex);
}

/* Run curl, or wget where there is no curl. */
static dd_spawn_result download(const char *url, int64_t limit, const dd_callbacks *cb, dd_output *out) {
  const char *const curl[] = {
      "curl", "-fsSL", "--connect-timeout", "20", "--speed-limit", "1024", "--speed-time", "30", "--", url, NULL};
  const char *const wget[] = {"wget", "-q", "-O", "-", "-T", "20", "--", url, NULL};
  dd_say(cb, DD_INFO, "fetching %s", url);
  dd_spawn_result r = dd_spawn_capture(curl, (size_t)limit, IDLE_SECONDS, "download", limit, cb, out);
  if (r != DD_SPAWN_MISSING) return r;
  r = dd_spawn_capture(wget, (size_t)limit, IDLE_SECONDS, "download", limit, cb, out);
  if (r == DD_SPAWN_MISSING) snprintf(out->reason, sizeof out->reason, "neither curl nor wget is installed");
  return r;
}

/* Take the member out of the archive in *out; the text then replaces it. Both tools want a file, so the archive lies in
 * the cache meanwhile. */
static dd_spawn_result extract(const dd_corpus *c, const char *cache, const dd_callbacks *cb, dd_output *out) {
  char path[4200];
  snprintf(path, sizeof path, "%s/%s.zip", cache, c->name);
  dd_error e = {0};
  const int status = dd_file_replace(path, out->data, out->size, &e);
  free(out->data);
  out->data = NULL;
  if (status) {
    snprintf(out->reason, sizeof out->reason, "%.300s", e.message);
    return DD_SPAWN_FAILED;
  }
  const char *const unzip[] = {"unzip", "-p", path, c->member, NULL};
  const char *const python[] = {"python3",
                                "-c",
                                "import shutil, sys, zipfile\n"
                                "with zipfile.ZipFile(sys.argv[1]).open(sys.argv[2]) as f:\n"
                                "    shutil.copyfileobj(f, sys.stdout.buffer)",
                                path,
                                c->member,
                                NULL};
  dd_spawn_result r = dd_spawn_capture(unzip, (size_t)c->bytes, IDLE_SECONDS, "unzip", c->bytes, cb, out);
  if (r == DD_SPAWN_MISSING) r = dd_spawn_capture(python, (size_t)c->bytes, IDLE_SECONDS, "unzip", c->bytes, cb, out);
  if (r == DD_SPAWN_MISSING) snprintf(out->reason, sizeof out->reason, "neither unzip nor python3 is installed");
  dd_fs()->unlink(path);
  return r;
}

/* Keep a fetched text for the next time; failing to do so costs only another download. */
static void keep(const dd_corpus *c, const char *cache, const char *data, size_t size, const dd_callbacks *cb) {
  char path[4200];
  dd_error e = {0};
  snprintf(path, sizeof path, "%s/%s", cache, c->name);
  if (dd_make_dirs(cache, &e) || dd_file_replace(path, data, size, &e))
    dd_say(cb, DD_WARNING, "corpus %s is used but not kept: %s", c->name, e.message);
}

static int from_urls(const dd_corpus *c, const char *cache, const dd_callbacks *cb, dd_output *out, trail *t) {
  dd_error e = {0};
  char reason[160];
  if (c->member[0] && (!cache || dd_make_dirs(cache, &e))) { /* no place for the archive */
    note(t, "the archive was not fetched: %s", cache ? e.message : "neither HOME nor XDG_CACHE_HOME is set");
    return 0;
  }
  for (const char *from = c->urls; *from;) {
    char url[512];
    const size_t n = strcspn(from, " ");
    snprintf(url, sizeof url, "%.*s", (int)n, from);
    from += n + (from[n] == ' ');
    dd_spawn_result r = download(url, c->bytes, cb, out); /* an archive is no larger than its text */
    if (r == DD_SPAWN_DONE && c->member[0]) r = extract(c, cache, cb, out);
    if (r == DD_SPAWN_STOPPED) return -1;
    if (r != DD_SPAWN_DONE) {
      note(t, "%s (%s)", url, out->reason);
      continue;
    }
    if (verify(c, out->data, out->size, reason, sizeof reason)) {
      announce(c, url, out->data, out->size, cb);
      if (cache) keep(c, cache, out->data, out->size, cb);
      return 1;
    }
    note(t, "%s (what came %s)", url, reason);
    free(out->data);
    out->data = NULL;
  }
  return 0;
}

static int from_program(const dd_corpus *c, const dd_callbacks *cb, dd_output *out, trail *t) {
  char words[256], reason[160];
  const char *argv[MAX_WORDS + 1];
  int n = 0;
  snprintf(words, sizeof words, "%s", c->program);
  char *rest = NULL;
  for (char *w = strtok_r(words, " ", &rest); w && n < MAX_WORDS; w = strtok_r(NULL, " ", &rest)) argv[n++] = w;
  argv[n] = NULL;
  switch (dd_spawn_capture(argv, (size_t)c->bytes, IDLE_SECONDS, NULL, 0, cb, out)) {
  case DD_SPAWN_STOPPED:
    return -1;
  case DD_SPAWN_MISSING:
    note(t, "the program `%s` is not installed (apt-get install %s)", argv[0], c->package);
    return 0;
  case DD_SPAWN_FAILED:
    note(t, "`%s` failed (%s)", c->program, out->reason);
    return 0;
  case DD_SPAWN_DONE:
    break;
  }
  if (verify(c, out->data, out->size, reason, sizeof reason)) {
    announce(c, c->program, out->data, out->size, cb);
    return 1;
  }
  note(t, "what `%s` prints %s", c->program, reason);
  free(out->data);
  out->data = NULL;
  return 0;
}

/* Try everything: 1 found, 0 not (*t says where), negative: a status that ends the search, *err filled. */
static int search(const dd_corpus *c, const dd_callbacks *cb, dd_output *out, trail *t, dd_error *err) {
  char reason[160], cache_dir[4096], path[4200];
  dd_error e = {0};
  *out = (dd_output){0};
  const char *copy = c->variable[0] ? getenv(c->variable) : NULL;
  if (copy && copy[0]) { /* named on purpose: nothing else will do */
    int status = dd_file_read_all(copy, (size_t)c->bytes * 2 + 1024, &out->data, &out->size, err);
    if (status) {
      dd_fail_prefix(err, "corpus %s, %s=%s: ", c->name, c->variable, copy);
      return -status;
    }
    if (verify(c, out->data, out->size, reason, sizeof reason)) {
      announce(c, copy, out->data, out->size, cb);
      return 1;
    }
    free(out->data);
    return -dd_fail(err, DD_E_CORRUPT, "%s=%s is not corpus %s: it %s; for another text use --data FILE", c->variable,
                    copy, c->name, reason);
  }
  if (c->variable[0]) note(t, "%s is not set", c->variable);
  const char *cache = dd_corpus_cache_dir(cache_dir, sizeof cache_dir) == 0 ? cache_dir : NULL;
  if (cache && c->urls[0]) {
    snprintf(path, sizeof path, "%s/%s", cache, c->name);
    if (!dd_is_file(path)) note(t, "%s does not exist", path);
    else if (dd_file_read_all(path, (size_t)c->bytes * 2 + 1024, &out->data, &out->size, &e)) note(t, "%s", e.message);
    else if (verify(c, out->data, out->size, reason, sizeof reason)) {
      announce(c, path, out->data, out->size, cb);
      return 1;
    } else {
      note(t, "%s %s", path, reason);
      dd_say(cb, DD_WARNING, "corpus %s: %s is damaged (it %s) and is fetched again", c->name, path, reason);
      free(out->data);
    }
    out->data = NULL;
  }
  int found = c->urls[0] ? from_urls(c, cache, cb, out, t) : 0;
  if (found == 0 && c->program[0]) found = from_program(c, cb, out, t);
  if (found < 0) return -dd_fail(err, DD_E_STOPPED, "stopped while fetching corpus %s", c->name);
  return found;
}

static int fail_missing(const dd_corpus *c, const trail *t, dd_error *err) {
  char remedy[200] = "", cache[4096];
  if (c->variable[0]) snprintf(remedy, sizeof remedy, "set %s to a copy of it, or ", c->variable);
  else if (c->urls[0] && dd_corpus_cache_dir(cache, sizeof cache) == 0)
    snprintf(remedy, sizeof remedy, "put the text at %.120s/%.40s, or ", cache, c->name);
  return dd_fail(err, DD_E_IO, "corpus %s was found nowhere: %s. To go on, %spass a text of your own with --data FILE",
                 c->name, t->text, remedy);
}

int dd_corpus_load(const dd_corpus *c, const dd_callbacks *cb, char **data, size_t *size, dd_error *err) {
  trail t = {.used = 0};
  dd_output out;
  *data = NULL;
  *size = 0;
  const int found = search(c, cb, &out, &t, err);
  if (found < 0) return -found;
  if (!found) return fail_missing(c, &t, err);
  *data = out.data;
  *size = out.size;
  return DD_OK;
}

int dd_corpus_load_default(const dd_callbacks *cb, const dd_corpus **which, char **data, size_t *size, dd_error *err) {
  const dd_corpus *first = dd_corpus_find("shakespeare"), *second = dd_corpus_find("kjv");
  trail t = {.used = 0};
  dd_output out;
  *which = first;
  *data = NULL;
  *size = 0;
  int found = search(first, cb, &out, &t, err);
  if (found < 0) return -found;
  if (!found) {
    char why[sizeof t.text];
    snprintf(why, sizeof why, "%s", t.text);
    *which = second;
    found = search(second, cb, &out, &t, err);
    if (found < 0) return -found;
    if (!found) return fail_missing(first, &t, err);
    dd_say(cb, DD_WARNING, "using kjv, %s, in place of shakespeare, which was found nowhere: %s", second->note, why);
  }
  *data = out.data;
  *size = out.size;
  return DD_OK;
}
