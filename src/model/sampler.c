/* Drawing a token from logits. */
#include "core/mathd.h"
#include "core/philox.h"
#include "model/infer.h"

/* Let heap[0], which may be too large, sink to its place: smallest first. */
static void sink(double *heap, int64_t n) {
  const double x = heap[0];
  int64_t i = 0;
  for (int64_t child; (child = 2 * i + 1) < n; i = child) {
    if (child + 1 < n && heap[child + 1] < heap[child]) child++;
    if (!(heap[child] < x)) break;
    heap[i] = heap[child];
  }
  heap[i] = x;
}

/* The k-th largest of n logits, 0 < k < n: a heap keeps the k largest so far. work: k doubles. */
static double kth_largest(const float *logits, int64_t n, int64_t k, double *work) {
  for (int64_t i = 0; i < k; i++) {
    int64_t at = i;
    for (; at > 0 && (double)logits[i] < work[(at - 1) / 2]; at = (at - 1) / 2) work[at] = work[(at - 1) / 2];
    work[at] = (double)logits[i];
  }
  for (int64_t i = k; i < n; i++)
    if ((double)logits[i] > work[0]) {
      work[0] = (double)logits[i];
      sink(work, k);
    }
  return work[0];
}

int dd_sample_token(const float *logits, int64_t V, double temperature, int64_t top_k, uint64_t seed, uint32_t sample,
                    uint32_t position, double *work) {
  int64_t best = 0;
  for (int64_t i = 1; i < V; i++)
    if (logits[i] > logits[best]) best = i;
  if (temperature <= 0) return (int)best;
  const double floor_logit = top_k > 0 && top_k < V ? kth_largest(logits, V, top_k, work) : -__builtin_inf();
  double total = 0;
  for (int64_t i = 0; i < V; i++) {
    if ((double)logits[i] >= floor_logit) total += dd_exp(((double)logits[i] - (double)logits[best]) / temperature);
    work[i] = total;
  }
  uint32_t x[4];
  dd_philox(x, seed, sample, position, (uint32_t)DD_PURPOSE_SAMPLE << 24, 0);
  const double u = (double)(((uint64_t)x[0] << 32 | x[1]) >> 11) * 0x1p-53 * total;
  for (int64_t i = 0; i < V; i++)
    if (work[i] > u) return (int)i;
  return (int)best;
}
