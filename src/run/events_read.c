/* What is in an event file, for `inspect`. */
#include "core/file.h"
#include "formats/crc32c.h"
#include "run/events.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TAGS_MOST = 1000 };

typedef struct tag {
  char *name;
  int64_t count, first, last;
} tag;

typedef struct contents {
  tag tags[TAGS_MOST];
  int n;
  int64_t other, sessions, first, last; /* other: values of tags beyond the most */
  double begin, end;
} contents;

static tag *find(contents *c, const char *name) {
  for (int i = 0; i < c->n; i++)
    if (!strcmp(c->tags[i].name, name)) return c->tags + i;
  return NULL;
}

static int take(void *user, const dd_tfevent *e) {
  contents *c = user;
  if (!isfinite(c->begin)) c->begin = e->wall, c->first = e->step;
  c->end = e->wall;
  c->sessions += e->start;
  if (e->version) return DD_OK;
  if (e->step > c->last) c->last = e->step;
  if (!e->tag) return DD_OK;
  tag *t = find(c, e->tag);
  if (!t && c->n == TAGS_MOST) return c->other++, DD_OK;
  if (!t) {
    t = c->tags + c->n;
    *t = (tag){.name = strdup(e->tag), .first = e->step};
    if (!t->name) return DD_E_RUNTIME;
    c->n++;
  }
  t->count++;
  t->last = e->step;
  return DD_OK;
}

static json_t *any_text(const char *text) { /* JSON holds UTF-8 only */
  json_t *good = json_string(text);
  char copy[512];
  if (good) return good;
  snprintf(copy, sizeof copy, "%s", text);
  for (char *p = copy; *p; p++)
    if ((unsigned char)*p >= 0x80) *p = '?';
  return json_string(copy);
}

static json_t *object_of(const contents *c, const dd_tfevents_end *end, uint64_t size) {
  json_t *tags = json_array();
  for (int i = 0; i < c->n; i++) {
    const tag *t = c->tags + i;
    json_array_append_new(tags, json_pack("{s:o, s:I, s:I, s:I}", "tag", any_text(t->name), "count",
                                          (json_int_t)t->count, "first", (json_int_t)t->first, "last",
                                          (json_int_t)t->last));
  }
  json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:o, s:o, s:I, s:o}", "events", (json_int_t)end->records, "sessions",
                        (json_int_t)c->sessions, "first_step", (json_int_t)c->first, "last_step", (json_int_t)c->last,
                        "begin", isfinite(c->begin) ? json_real(c->begin) : json_null(), "end",
                        isfinite(c->end) ? json_real(c->end) : json_null(), "torn_bytes",
                        (json_int_t)(end->torn ? size - end->bytes : 0), "values", tags);
  if (o && c->other) json_object_set_new(o, "more_values", json_integer(c->other));
  return o;
}

int dd_events_looks(const unsigned char *head, size_t n) {
  uint32_t crc = 0;
  if (n < 12) return 0;
  for (int i = 0; i < 4; i++) crc |= (uint32_t)head[8 + i] << 8 * i;
  return crc == dd_crc32c_masked(head, 8);
}

int dd_events_describe(const char *path, json_t **out, dd_error *err) {
  dd_tfevents_end end;
  struct stat st = {0};
  *out = NULL;
  contents *c = calloc(1, sizeof *c);
  if (!c) return dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.700s", path);
  c->begin = c->end = NAN;
  int rc = dd_tfevents_read(path, take, c, &end, err);
  if (rc == DD_E_RUNTIME) rc = dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.700s", path);
  if (!rc && !end.records)
    rc = dd_fail(err, DD_E_CORRUPT, "%.700s is no event file of TensorBoard: it holds no whole record", path);
  if (!rc && dd_fs()->stat(path, &st)) st.st_size = (off_t)end.bytes; /* it was there a moment ago */
  if (!rc && !(*out = object_of(c, &end, (uint64_t)st.st_size)))
    rc = dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.700s", path);
  for (int i = 0; i < c->n; i++) free(c->tags[i].name);
  free(c);
  return rc;
}
