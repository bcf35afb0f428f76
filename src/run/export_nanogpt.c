/* export --format nanogpt: ckpt.pt as nanoGPT's train.py saves it, with AdamW's moments, and the meta.pkl of its text.
 * `python sample.py --out_dir=DIR` samples from it, `train.py --out_dir=DIR --init_from=resume` goes on with it. */
#include "formats/pickle_write.h"
#include "formats/zip.h"
#include "run/export.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct moments { /* NULL: the checkpoint has none */
  float *m, *v;
} moments;

static void put_int(dd_bytes *b, const char *key, int64_t v) { dd_pk_string(b, key), dd_pk_int(b, v); }
static void put_real(dd_bytes *b, const char *key, double v) { dd_pk_string(b, key), dd_pk_real(b, v); }
static void put_bool(dd_bytes *b, const char *key, int v) { dd_pk_string(b, key), dd_pk_bool(b, v); }
static void put_none(dd_bytes *b, const char *key) { dd_pk_string(b, key), dd_pk_none(b); }
static void put_string(dd_bytes *b, const char *key, const char *v) { dd_pk_string(b, key), dd_pk_string(b, v); }

static void put_tensor(dd_bytes *b, int64_t storage, const dd_tensor *t) {
  dd_pk_tensor(b, storage, t->cols ? 2 : 1, t->rows, t->cols);
}

/* GPT's state_dict: in our order and under our names, and the output layer, which is the embedding. */
static void put_model(dd_bytes *b, const dd_layout *l) {
  dd_pk_string(b, "model");
  dd_pk_dict(b);
  for (int i = 0; i < l->count; i++) {
    dd_pk_string(b, l->tensors[i].name);
    put_tensor(b, i, l->tensors + i);
  }
  dd_pk_string(b, "lm_head.weight");
  put_tensor(b, 0, l->tensors);
  dd_pk_dict_end(b);
}

static void put_model_args(dd_bytes *b, const dd_shape *p, const dd_settings *s) {
  dd_pk_string(b, "model_args");
  dd_pk_dict(b);
  put_int(b, "n_layer", p->L);
  put_int(b, "n_head", p->H);
  put_int(b, "n_embd", p->C);
  put_int(b, "block_size", p->S);
  put_bool(b, "bias", p->bias);
  put_int(b, "vocab_size", p->V);
  put_real(b, "dropout", s->dropout);
  dd_pk_dict_end(b);
}

/* nanoGPT's folder below data/, in which sample.py looks for meta.pkl. */
static const char *dataset_of(const dd_settings *s) {
  const char *slash = strrchr(s->data, '/');
  return slash && slash[1] ? slash + 1 : s->data;
}

static void put_config(dd_bytes *b, const dd_settings *s) {
  dd_pk_string(b, "config");
  dd_pk_dict(b);
  put_string(b, "dataset", dataset_of(s));
  put_int(b, "gradient_accumulation_steps", s->gradient_accumulation_steps);
  put_int(b, "batch_size", s->batch_size);
  put_int(b, "block_size", s->block_size);
  put_int(b, "n_layer", s->n_layer);
  put_int(b, "n_head", s->n_head);
  put_int(b, "n_embd", s->n_embd);
  put_real(b, "dropout", s->dropout);
  put_bool(b, "bias", s->bias);
  put_real(b, "learning_rate", s->lr);
  put_int(b, "max_iters", s->max_iters);
  put_real(b, "weight_decay", s->weight_decay);
  put_real(b, "beta1", s->beta1);
  put_real(b, "beta2", s->beta2);
  put_real(b, "grad_clip", s->grad_clip);
  put_bool(b, "decay_lr", s->decay_lr);
  put_int(b, "warmup_iters", s->warmup_iters);
  put_int(b, "lr_decay_iters", s->lr_decay_iters ? s->lr_decay_iters : s->max_iters);
  put_real(b, "min_lr", s->min_lr);
  dd_pk_dict_end(b);
}

/* A group of AdamW: first all parameters that decay, then the others; they are numbered through both groups. */
static void put_group(dd_bytes *b, const dd_settings *s, double decay, int from, int count) {
  dd_pk_dict(b);
  put_real(b, "lr", s->lr);
  dd_pk_string(b, "betas");
  dd_pk_tuple(b);
  dd_pk_real(b, s->beta1);
  dd_pk_real(b, s->beta2);
  dd_pk_tuple_end(b);
  put_real(b, "eps", 1e-8);
  put_real(b, "weight_decay", decay);
  put_bool(b, "amsgrad", 0);
  put_bool(b, "maximize", 0);
  put_none(b, "foreach");
  put_bool(b, "capturable", 0);
  put_bool(b, "differentiable", 0);
  put_none(b, "fused");
  dd_pk_string(b, "params");
  dd_pk_list(b);
  for (int i = 0; i < count; i++) dd_pk_int(b, from + i);
  dd_pk_list_end(b);
  dd_pk_dict_end(b);
}

static void put_optimizer(dd_bytes *b, const dd_layout *l, const dd_settings *s, int has_state) {
  int number = 0, decayed = 0;
  for (int i = 0; i < l->count; i++) decayed += l->tensors[i].decay;
  dd_pk_string(b, "optimizer");
  dd_pk_dict(b);
  dd_pk_string(b, "state");
  dd_pk_dict(b);
  for (int decay = 1; decay >= 0 && has_state; decay--)
    for (int i = 0; i < l->count; i++) {
      if (l->tensors[i].decay != decay) continue;
      dd_pk_int(b, number++);
      dd_pk_dict(b);
      dd_pk_string(b, "step");
      dd_pk_tensor(b, 3 * l->count + i, 0, 0, 0);
      dd_pk_string(b, "exp_avg");
      put_tensor(b, l->count + i, l->tensors + i);
      dd_pk_string(b, "exp_avg_sq");
      put_tensor(b, 2 * l->count + i, l->tensors + i);
      dd_pk_dict_end(b);
    }
  dd_pk_dict_end(b);
  dd_pk_string(b, "param_groups");
  dd_pk_list(b);
  put_group(b, s, s->weight_decay, 0, decayed);
  put_group(b, s, 0, decayed, l->count - decayed);
  dd_pk_list_end(b);
  dd_pk_dict_end(b);
}

static void put_checkpoint(dd_bytes *b, const dd_export_job *e, int has_state) {
  const dd_settings *s = dd_checkpoint_settings(e->c);
  const dd_run_state *st = dd_checkpoint_state(e->c);
  dd_pk_begin(b);
  dd_pk_dict(b);
  put_model(b, &e->layout);
  put_optimizer(b, &e->layout, s, has_state);
  put_model_args(b, &e->layout.shape, s);
  put_int(b, "iter_num", st->iter);
  put_real(b, "best_val_loss", st->best_iter >= 0 ? st->best_val_loss : 1e9); /* nanoGPT's own beginning */
  put_config(b, s);
  dd_pk_dict_end(b);
  dd_pk_end(b);
}

static int add_storages(dd_zip_writer *w, const dd_layout *l, const float *flat, int first, dd_error *err) {
  int rc = DD_OK;
  for (int i = 0; i < l->count && !rc; i++) {
    char name[48];
    snprintf(name, sizeof name, "ckpt/data/%d", first + i);
    rc = dd_zip_add(w, name, flat + l->tensors[i].offset, (uint64_t)l->tensors[i].size * sizeof *flat, err);
  }
  return rc;
}

/* One number each: PyTorch counts updates in place. */
static int add_steps(dd_zip_writer *w, const dd_layout *l, float updates, dd_error *err) {
  int rc = DD_OK;
  for (int i = 0; i < l->count && !rc; i++) {
    char name[48];
    snprintf(name, sizeof name, "ckpt/data/%d", 3 * l->count + i);
    rc = dd_zip_add(w, name, &updates, sizeof updates, err);
  }
  return rc;
}

static int write_archive(dd_export_job *e, const moments *o, const char *path, dd_error *err) {
  const dd_layout *l = &e->layout;
  dd_zip_writer w;
  dd_bytes b = {0};
  put_checkpoint(&b, e, o->m != NULL);
  if (b.failed) return dd_bytes_free(&b), dd_fail(err, DD_E_RUNTIME, "out of memory while writing %.600s", path);
  int rc = dd_zip_begin(&w, path, (uint64_t)l->parameters * (o->m ? 12 : 4) + b.n, err);
  if (!rc) rc = dd_zip_add(&w, "ckpt/data.pkl", b.data, b.n, err);
  if (!rc) rc = dd_zip_add(&w, "ckpt/byteorder", "little", 6, err);
  if (!rc) rc = add_storages(&w, l, e->param, 0, err);
  if (!rc && o->m) rc = add_storages(&w, l, o->m, l->count, err);
  if (!rc && o->m) rc = add_storages(&w, l, o->v, 2 * l->count, err);
  if (!rc && o->m) rc = add_steps(&w, l, (float)dd_checkpoint_state(e->c)->guard.updates, err);
  if (!rc) rc = dd_zip_add(&w, "ckpt/version", "3\n", 2, err);
  dd_bytes_free(&b);
  if (!rc) return dd_zip_commit(&w, err);
  dd_zip_abort(&w);
  return rc;
}

static int read_moments(dd_export_job *e, moments *o, dd_error *err) {
  const size_t bytes = (size_t)e->layout.floats * sizeof(float);
  if (!dd_checkpoint_has_moments(e->c) || !dd_checkpoint_state(e->c)->guard.updates) return DD_OK;
  o->m = malloc(bytes);
  o->v = malloc(bytes);
  if (!o->m || !o->v) return dd_fail(err, DD_E_RUNTIME, "out of memory for the state of the optimizer");
  return dd_checkpoint_read(e->c, &e->layout, e->param, o->m, o->v, err);
}

/* prepare.py's meta.pkl of character-level data. */
static int write_meta(dd_export_job *e, dd_error *err) {
  const dd_vocab *v = &e->vocab;
  dd_bytes b = {0};
  char scratch[8];
  if (v->kind != DD_VOCAB_CHAR) {
    dd_say(e->cb, DD_WARNING,
           "nanoGPT's meta.pkl holds characters, and the tokens of this run are none: none was written");
    return DD_OK;
  }
  dd_pk_begin(&b);
  dd_pk_dict(&b);
  put_int(&b, "vocab_size", v->size);
  for (int back = 0; back < 2; back++) {
    dd_pk_string(&b, back ? "stoi" : "itos");
    dd_pk_dict(&b);
    for (int i = 0; i < v->size; i++) {
      size_t n;
      const char *text = dd_vocab_decode(v, i, scratch, &n);
      if (back) dd_pk_text(&b, text, n);
      dd_pk_int(&b, i);
      if (!back) dd_pk_text(&b, text, n);
    }
    dd_pk_dict_end(&b);
  }
  dd_pk_dict_end(&b);
  dd_pk_end(&b);
  const int rc = dd_export_write(e, "meta.pkl", &b, err);
  dd_bytes_free(&b);
  if (!rc)
    dd_say(e->cb, DD_INFO,
           "for nanoGPT's sample.py put meta.pkl into its folder data/%.300s, which the configuration in ckpt.pt "
           "names",
           dataset_of(dd_checkpoint_settings(e->c)));
  return rc;
}

int dd_export_nanogpt(dd_export_job *e, dd_error *err) {
  char path[4096];
  moments o = {0};
  int rc = dd_export_path(e, "ckpt.pt", path, err);
  if (!rc) rc = read_moments(e, &o, err);
  if (!rc) rc = write_archive(e, &o, path, err);
  if (!rc) dd_export_count(e, path);
  free(o.m);
  free(o.v);
  return rc ? rc : write_meta(e, err);
}
