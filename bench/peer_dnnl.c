/* oneDNN's softmax, GELU and LayerNorm. Its types come from its header; its functions are looked up at run time. */
#include "bench/bench.h"
#include "dd_config.h"

#ifdef DD_HAVE_DNNL_HEADER
#include <dlfcn.h>
#include <dnnl.h>
#endif
#if defined(DD_HAVE_DNNL_HEADER) && DNNL_VERSION_MAJOR == 2
#include <stdlib.h>

/* X(function): everything that is called. */
/* clang-format off */
#define FUNCTIONS(X)                                                                                                   \
  X(dnnl_engine_create) X(dnnl_engine_destroy) X(dnnl_stream_create) X(dnnl_stream_destroy) X(dnnl_stream_wait)        \
  X(dnnl_memory_desc_init_by_tag) X(dnnl_memory_create) X(dnnl_memory_destroy) X(dnnl_memory_set_data_handle)          \
  X(dnnl_softmax_forward_desc_init) X(dnnl_eltwise_forward_desc_init)                                                  \
  X(dnnl_layer_normalization_forward_desc_init) X(dnnl_primitive_desc_create) X(dnnl_primitive_desc_destroy)           \
  X(dnnl_primitive_create) X(dnnl_primitive_destroy) X(dnnl_primitive_execute) X(dnnl_version)
/* clang-format on */

enum { SRC, DST, MEAN, VAR, SCALE, SHIFT, MEMORIES };

struct dd_dnnl {
#define FIELD(name) __typeof__(&name) name;
  FUNCTIONS(FIELD)
  dnnl_engine_t engine;
  dnnl_stream_t stream;
  dnnl_primitive_t primitive;
  dnnl_memory_t memory[MEMORIES];
  int memories;
};

static int look_up(dd_dnnl *d, void *handle) {
#define LOOK_UP(name)                                                                                                  \
  *(void **)(void *)&d->name = dlsym(handle, #name);                                                                   \
  if (!d->name) return 0;
  FUNCTIONS(LOOK_UP)
  return d->dnnl_version()->major == 2; /* the library may be newer than the header */
}

static int describe(const dd_dnnl *d, dd_dnnl_op op, const dnnl_memory_desc_t *data, const dnnl_memory_desc_t *rows,
                    dnnl_primitive_desc_t *out) {
  dnnl_softmax_desc_t s;
  dnnl_eltwise_desc_t e;
  dnnl_layer_normalization_desc_t l;
  const void *desc;
  dnnl_status_t rc;
  if (op == DD_DNNL_SOFTMAX) {
    rc = d->dnnl_softmax_forward_desc_init(&s, dnnl_forward_inference, data, 1);
    desc = &s;
  } else if (op == DD_DNNL_GELU) {
    rc = d->dnnl_eltwise_forward_desc_init(&e, dnnl_forward_inference, dnnl_eltwise_gelu_erf, data, 0, 0);
    desc = &e;
  } else { /* training: mean and variance are results, as they are of ours */
    rc = d->dnnl_layer_normalization_forward_desc_init(&l, dnnl_forward_training, data, rows, 1e-5f,
                                                       dnnl_use_scale | dnnl_use_shift);
    desc = &l;
  }
  return rc == dnnl_success && d->dnnl_primitive_desc_create(out, desc, NULL, d->engine, NULL) == dnnl_success;
}

static int create(dd_dnnl *d, dd_dnnl_op op, int64_t rows, int64_t cols) {
  const dnnl_dims_t dims = {rows, cols}, one = {rows}, weights = {cols};
  dnnl_memory_desc_t data, stats, w;
  dnnl_primitive_desc_t pd;
  if (d->dnnl_engine_create(&d->engine, dnnl_cpu, 0) != dnnl_success ||
      d->dnnl_stream_create(&d->stream, d->engine, dnnl_stream_default_flags) != dnnl_success ||
      d->dnnl_memory_desc_init_by_tag(&data, 2, dims, dnnl_f32, dnnl_ab) != dnnl_success ||
      d->dnnl_memory_desc_init_by_tag(&stats, 1, one, dnnl_f32, dnnl_a) != dnnl_success ||
      d->dnnl_memory_desc_init_by_tag(&w, 1, weights, dnnl_f32, dnnl_a) != dnnl_success ||
      !describe(d, op, &data, &stats, &pd))
    return 0;
  const int ok = d->dnnl_primitive_create(&d->primitive, pd) == dnnl_success;
  d->dnnl_primitive_desc_destroy(pd);
  if (!ok) return 0;
  const int n = op == DD_DNNL_LAYERNORM ? MEMORIES : DST + 1;
  for (; d->memories < n; d->memories++) {
    const dnnl_memory_desc_t *m = d->memories <= DST ? &data : d->memories <= VAR ? &stats : &w;
    if (d->dnnl_memory_create(&d->memory[d->memories], m, d->engine, DNNL_MEMORY_NONE) != dnnl_success) return 0;
  }
  return 1;
}

bool dd_dnnl_usable(const dd_peer *p) {
  dd_dnnl d;
  return p->handle && look_up(&d, p->handle);
}

dd_dnnl *dd_dnnl_create(const dd_peer *p, dd_dnnl_op op, int64_t rows, int64_t cols) {
  if (!p->handle) return NULL;
  dd_dnnl *d = calloc(1, sizeof *d);
  if (!d || !look_up(d, p->handle)) {
    free(d);
    return NULL;
  }
  if (create(d, op, rows, cols)) return d;
  dd_dnnl_destroy(d);
  return NULL;
}

void dd_dnnl_run(dd_dnnl *d, float *out, float *in, float *w, float *b, float *mean, float *var) {
  float *const data[MEMORIES] = {in, out, mean, var, w, b};
  static const int role[MEMORIES] = {DNNL_ARG_SRC,      DNNL_ARG_DST,   DNNL_ARG_MEAN,
                                     DNNL_ARG_VARIANCE, DNNL_ARG_SCALE, DNNL_ARG_SHIFT};
  dnnl_exec_arg_t args[MEMORIES];
  for (int i = 0; i < d->memories; i++) {
    d->dnnl_memory_set_data_handle(d->memory[i], data[i]);
    args[i] = (dnnl_exec_arg_t){role[i], d->memory[i]};
  }
  d->dnnl_primitive_execute(d->primitive, d->stream, d->memories, args);
  d->dnnl_stream_wait(d->stream);
}

void dd_dnnl_destroy(dd_dnnl *d) {
  if (!d) return;
  for (int i = 0; i < d->memories; i++) d->dnnl_memory_destroy(d->memory[i]);
  if (d->primitive) d->dnnl_primitive_destroy(d->primitive);
  if (d->stream) d->dnnl_stream_destroy(d->stream);
  if (d->engine) d->dnnl_engine_destroy(d->engine);
  free(d);
}

#else
bool dd_dnnl_usable(const dd_peer *p) { return (void)p, false; }
dd_dnnl *dd_dnnl_create(const dd_peer *p, dd_dnnl_op op, int64_t rows, int64_t cols) {
  (void)p, (void)op, (void)rows, (void)cols;
  return NULL;
}
void dd_dnnl_run(dd_dnnl *d, float *out, float *in, float *w, float *b, float *mean, float *var) {
  (void)d, (void)out, (void)in, (void)w, (void)b, (void)mean, (void)var;
}
void dd_dnnl_destroy(dd_dnnl *d) { (void)d; }
#endif
