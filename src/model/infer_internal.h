/* The inside of a decoder, shared by infer.c (creation, packing) and decode.c (running it). */
#ifndef DD_MODEL_INFER_INTERNAL_H
#define DD_MODEL_INFER_INTERNAL_H
#include "model/infer.h"

enum {
  DD_INFER_ROWS = 64,  /* tokens of a prompt that go through the layers together */
  DD_INFER_ALONE = 2,  /* up to so many rows every thread normalizes and quantizes for itself: cheaper than a barrier */
  DD_INFER_PIECES = 3  /* q, k, v of a thread's heads */
};

/* Outputs col0 .. col0 + w.n of a matrix, which one thread computes. */
typedef struct dd_share {
  int64_t col0;
  dd_panels w;
} dd_share;

typedef struct dd_share_layer {
  dd_share qkv[DD_INFER_PIECES], att, fc, out;
} dd_share_layer;

typedef struct dd_infer_thread {
  dd_share_layer *layer; /* [L] */
  dd_share head;
  float *norm;        /* [DD_INFER_ALONE][C] */
  int16_t *q;         /* [DD_INFER_ALONE][4C] */
  float *scale;       /* [DD_INFER_ALONE] */
  float *scores;      /* [DD_KV_QUERIES][S] */
  double *work;       /* [V] */
} dd_infer_thread;

struct dd_infer {
  dd_model *m;
  dd_infer_options o;
  int bf16_cache;
  int by_head;   /* a thread owns whole heads: no barrier between its q, k, v and its attention */
  int qkv_pieces;
  int64_t length, rows; /* rows: most rows of one pass */
  uint64_t packed_version; /* of the model's parameters; 0: none yet */
  dd_arena cache, packed, acts;
  dd_kv *kv;           /* [L][H][streams] */
  dd_infer_thread *thread;
  dd_share_layer *layers; /* of all threads */
  float *x, *sum, *norm, *qkv, *att, *act; /* [rows][C], .., [rows][3C], [rows][C], [rows][4C] */
  int16_t *q;          /* [rows][4C], quantized */
  float *scale;        /* [rows] */
  float *logits;       /* [max(streams, rows)][V] */
};

static inline const dd_kv *dd_infer_kv(const dd_infer *g, int64_t l, int64_t h, int64_t s) {
  return g->kv + (l * g->m->o.shape.H + h) * g->o.streams + s;
}
#endif
