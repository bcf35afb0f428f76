#include "run/export.h"
#include "core/file.h"
#include "run/export_metrics.h"
#include "run/rundir.h"
#include "run/tokenizer.h"
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

/* ---- formats ---- */

static int to_csv(dd_export_job *e, dd_error *err);
static int to_tensorboard(dd_export_job *e, dd_error *err);

static const struct {
  int (*write)(dd_export_job *e, dd_error *err);
  int weights; /* reads a checkpoint; else e->s->run itself */
} formats[DD_EXPORT_COUNT] = {
    [DD_EXPORT_HF] = {dd_export_hf, 1},
    [DD_EXPORT_NANOGPT] = {dd_export_nanogpt, 1},
    [DD_EXPORT_GGUF] = {dd_export_gguf, 1},
    [DD_EXPORT_CSV] = {to_csv, 0},
    [DD_EXPORT_TENSORBOARD] = {to_tensorboard, 0},
};

/* ---- for the formats ---- */

static int check_free(const dd_export_job *e, const char *path, dd_error *err) {
  int there = 0;
  const int rc = dd_file_exists(path, &there, err);
  if (rc || !there || e->s->overwrite) return rc;
  return dd_fail(err, DD_E_USAGE, "%.600s is there already; name another --out, or replace it with --overwrite", path);
}

int dd_export_path(dd_export_job *e, const char *name, char path[4096], dd_error *err) {
  int rc = dd_make_dirs(e->out, err);
  if (!rc) rc = dd_path_join(path, 4096, e->out, name, err);
  return rc ? rc : check_free(e, path, err);
}

void dd_export_count(dd_export_job *e, const char *path) {
  struct stat st;
  e->r.files++;
  if (!dd_fs()->stat(path, &st)) e->r.bytes += st.st_size;
}

int dd_export_write(dd_export_job *e, const char *name, const dd_bytes *b, dd_error *err) {
  char path[4096];
  if (b->failed) return dd_fail(err, DD_E_RUNTIME, "out of memory for %s", name);
  int rc = dd_export_path(e, name, path, err);
  if (!rc) rc = dd_file_replace(path, b->data, b->n, err);
  if (!rc) dd_export_count(e, path);
  return rc;
}

int dd_export_write_json(dd_export_job *e, const char *name, const json_t *o, dd_error *err) {
  char *text = o ? json_dumps(o, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) : NULL;
  dd_bytes b = {.failed = !text};
  if (text) dd_bytes_text(&b, text);
  dd_bytes_text(&b, "\n");
  const int rc = dd_export_write(e, name, &b, err);
  dd_bytes_free(&b);
  free(text);
  return rc;
}

int dd_export_full(const dd_export_job *e, int conv1d, dd_layout *l, float **flat, dd_error *err) {
  dd_shape shape = e->layout.shape;
  const dd_tensor *own = e->layout.tensors;
  shape.bias = 1;
  *flat = NULL;
  int rc = dd_layout_create(l, &shape, err);
  if (rc) return rc;
  float *to = calloc((size_t)l->floats, sizeof *to);
  if (!to) {
    dd_layout_destroy(l);
    return dd_fail(err, DD_E_RUNTIME, "out of memory for a copy of the weights");
  }
  for (int i = 0; i < l->count; i++) {
    const dd_tensor *t = l->tensors + i;
    if (t->init == DD_INIT_BIAS && !e->layout.shape.bias) continue;
    const float *from = e->param + (own++)->offset;
    float *at = to + t->offset;
    if (!conv1d || !t->cols || strncmp(t->name, "transformer.h.", 14)) memcpy(at, from, (size_t)t->size * sizeof *at);
    else
      for (int64_t r = 0; r < t->rows; r++)
        for (int64_t c = 0; c < t->cols; c++) at[c * t->rows + r] = from[r * t->cols + c];
  }
  *flat = to;
  return DD_OK;
}

void dd_export_json_text(dd_bytes *b, const char *text, size_t n) {
  json_t *s = json_stringn(text, n);
  char *quoted = s ? json_dumps(s, JSON_ENCODE_ANY) : NULL;
  if (quoted) dd_bytes_text(b, quoted);
  else b->failed = 1;
  free(quoted);
  json_decref(s);
}

/* ---- metrics ---- */

static int to_csv(dd_export_job *e, dd_error *err) {
  const int file = strcmp(e->out, "-") != 0;
  int rc = file ? check_free(e, e->out, err) : DD_OK;
  if (!rc) rc = dd_export_csv(e->s->run, e->out, e->cb, err);
  if (!rc && file) dd_export_count(e, e->out);
  return rc;
}

static int to_tensorboard(dd_export_job *e, dd_error *err) {
  dd_written w = {0};
  const int rc = dd_export_tensorboard(e->s->run, e->out, &w, e->cb, err);
  e->r.files = w.files;
  e->r.bytes = w.bytes;
  return rc;
}

/* ---- the command ---- */

static int load(dd_export_job *e, dd_error *err) {
  char path[4096];
  int rc = dd_run_find_checkpoint(e->s->run, dd_settings_choice(e->s, DD_SETTING_checkpoint), path, sizeof path, err);
  if (!rc) rc = dd_checkpoint_open(path, &e->c, err);
  if (!rc) rc = dd_checkpoint_verify(e->c, err);
  if (!rc) rc = dd_vocab_copy(&e->vocab, dd_checkpoint_vocab(e->c), err);
  if (!rc && *e->s->bpe) rc = dd_vocab_read_as_text(&e->vocab, e->s->bpe, err);
  if (!rc) rc = dd_layout_create(&e->layout, dd_checkpoint_shape(e->c), err);
  if (rc) return rc;
  e->param = malloc((size_t)e->layout.floats * sizeof *e->param);
  return e->param ? dd_checkpoint_read(e->c, &e->layout, e->param, NULL, NULL, err)
                  : dd_fail(err, DD_E_RUNTIME, "out of memory for the weights of %.600s", path);
}

int dd_export(const dd_settings *s, const dd_callbacks *cb, dd_export_result *out, dd_error *err) {
  const char *format = dd_settings_choice(s, DD_SETTING_export_format);
  if (!*s->run)
    return dd_fail(err, DD_E_USAGE, "no run named: give a run directory or a checkpoint file, for example "
                                    "`dd-cpu export runs/shakespeare-fixed-s1337 --format hf -o model`");
  if (!*s->out)
    return dd_fail(err, DD_E_USAGE, "where to? name a %s with --out",
                   s->export_format == DD_EXPORT_GGUF || s->export_format == DD_EXPORT_CSV ? "file" : "directory");
  dd_export_job e = {.s = s, .cb = cb, .out = s->out};
  snprintf(e.r.path, sizeof e.r.path, "%s", s->out);
  int rc = formats[s->export_format].weights ? load(&e, err) : DD_OK;
  if (!rc) rc = formats[s->export_format].write(&e, err);
  if (rc) dd_fail_prefix(err, "export to %s: ", format);
  free(e.param);
  dd_vocab_free(&e.vocab);
  dd_layout_destroy(&e.layout);
  dd_checkpoint_close(e.c);
  if (out) *out = e.r;
  return rc;
}
