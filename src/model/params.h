/* Parameters as one flat array, and the named views into it. Gradients and both AdamW moments are arrays of the same
 * layout. */
#ifndef DD_MODEL_PARAMS_H
#define DD_MODEL_PARAMS_H
#include "core/parallel.h"
#include "model/tensors.def"

/** Shape of a GPT (Radford et al. 2019): L layers, H heads, C channels, S positions, V symbols. */
typedef struct dd_shape {
  int64_t L, H, C, S, V;
  int bias;
} dd_shape;

typedef struct dd_layer_params {
#define DD_FIELD(field, ...) float *field; /* NULL when the shape has no such tensor */
  DD_TENSORS_LAYER(DD_FIELD)
} dd_layer_params;
typedef struct dd_params {
  DD_TENSORS_HEAD(DD_FIELD)
  DD_TENSORS_TAIL(DD_FIELD)
#undef DD_FIELD
  dd_layer_params *layer; /* [L] */
} dd_params;

typedef enum dd_init { DD_INIT_NORMAL, DD_INIT_RESIDUAL, DD_INIT_ONE, DD_INIT_BIAS } dd_init;

typedef struct dd_tensor {
  char name[64];
  int64_t rows, cols; /* cols 0: a vector of rows */
  int64_t offset;     /* in floats from the start of the flat array, a multiple of 16 */
  int64_t size;       /* elements */
  dd_init init;
  int decay;          /* weight decay applies: 2-dimensional */
} dd_tensor;

typedef struct dd_layout {
  dd_shape shape;
  dd_tensor *tensors; /* canonical order */
  int count;
  int64_t floats;     /* length of a flat array, gaps (always 0) included */
  int64_t parameters; /* elements of all tensors */
} dd_layout;

int dd_layout_create(dd_layout *l, const dd_shape *shape, dd_error *err);
void dd_layout_destroy(dd_layout *l);
/** Point the names into a flat array. p->layer must hold shape.L entries. */
void dd_params_bind(dd_params *p, const dd_layout *l, float *flat);

/** Initial parameters: nanoGPT's distributions, drawn from the seed by address. Element i of tensor n (its index in the
 *  canonical order of the shape with biases) comes from Philox counter (i/2, n, 1 << 24, 0), words x0..x3:
 *  u = ((x0 << 32 | x1) >> 11 + 1) 2^-53, w = ((x2 << 32 | x3) >> 11) 2^-53, r = sqrt(-2 ln u); even elements
 *  r cos(2 pi w), odd ones r sin(2 pi w) (Box and Muller 1958), in double, times std, rounded to float. */
void dd_params_init(dd_ctx *c, float *flat, const dd_layout *l, uint64_t seed, double std);
/** XXH3-128 of all tensors in canonical order, little-endian float32. */
void dd_params_fingerprint(const float *flat, const dd_layout *l, char hex[33]);
#endif
