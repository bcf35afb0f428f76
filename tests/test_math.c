/* Accuracy of the functions against double precision, and their equality over tiers on a scan of all floats.
 *
 * The bounds here are stated beside the code too (simd/vmath.h): what was measured over all 2^32 inputs, rounded up.
 * DD_EXHAUSTIVE=1 scans every float (20 minutes of one core); DD_STRIDE=n every n-th (default 257); both add the
 * neighbourhoods of all special points. An argument filters the tests by name (test_math test_exp). */
#include "kernels_common.h"
#include "coeffs.h"
#include <math.h>

#define EXP_ULP 1.02       /* any x */
#define GELU_ABS 1.8       /* any x, of max(|x|, 1), in units of 2^-24 */
#define GELU_REL 4.3       /* x >= -0.5, of |gelu|, in units of 2^-24 */
#define GELU_TINY_ULP 1.0  /* |x| <= 2^-25 */
#define GELU_SLOPE_ABS 3.4 /* any x, in units of 2^-24 */

/* ---- scanning the floats ----------------------------------------------------------------------------------- */

/* Error of `got` in units in the last place of the float binade of `want` (subnormals: 2^-149). */
static double ulps(float got, double want) {
  uint64_t u;
  memcpy(&u, &want, sizeof u);
  int e = (int)(u >> 52 & 0x7ff) - 1023;
  if (isinf(got)) return fabs(want) >= 0x1.ffffffp127 && (got > 0) == (want > 0) ? 0 : INFINITY;
  if (isinf(want)) return INFINITY;
  if (e < -126) e = -126;
  const uint64_t scale = (uint64_t)(23 - e + 1023) << 52; /* 2^(23 - e) */
  double k;
  memcpy(&k, &scale, sizeof k);
  return fabs((double)got - want) * k;
}

typedef struct worst {
  const char *what;
  double error;
  uint32_t at;
  float got;
  double want;
} worst;
static void note(worst *w, double error, uint32_t at, float got, double want) {
  if (error <= w->error) return; /* a NaN is noted: no comparison with it holds */
  *w = (worst){w->what, error, at, got, want};
}
static void require(const worst *w, double bound) {
  printf("  %s: worst %.4f at x = %.9g (0x%08x): %a, exactly %a\n", w->what, w->error, (double)float_of(w->at), w->at,
         (double)w->got, w->want);
  if (!(w->error <= bound)) fail_msg("%s: %.4f is above the bound %.4f", w->what, w->error, bound);
}

enum { CHUNK = 4096 };
typedef void run_fn(const dd_kernels *k, float *out, const float *in, int64_t n);
typedef void judge_fn(float x, float y);
typedef struct scan {
  const char *name;
  run_fn *run;
  judge_fn *judge;
  int any_nan;
  uint64_t count;
  int64_t fill;
  float in[CHUNK], want[CHUNK], got[CHUNK];
} scan;

static void scan_flush(scan *s) {
  s->run(&dd_kernels_scalar, s->want, s->in, s->fill);
  for (int64_t i = 0; i < s->fill; i++) s->judge(s->in[i], s->want[i]);
  FOR_TIERS(k) {
    if (k == &dd_kernels_scalar) continue;
    s->run(k, s->got, s->in, s->fill);
    const int64_t at = first_difference(s->want, s->got, s->fill, sizeof *s->got, s->any_nan);
    if (at >= 0)
      fail_msg("%s of 0x%08x (%.9g): scalar 0x%08x, %s 0x%08x", s->name, bits_of(s->in[at]), (double)s->in[at],
               bits_of(s->want[at]), k->tier, bits_of(s->got[at]));
  }
  s->count += (uint64_t)s->fill;
  s->fill = 0;
}
static void scan_add(scan *s, uint32_t bits) {
  s->in[s->fill++] = float_of(bits);
  if (s->fill == CHUNK) scan_flush(s);
}
static void scan_near(scan *s, float x, uint32_t reach) {
  for (uint32_t d = 0; d <= 2 * reach; d++) {
    scan_add(s, bits_of(x) + d - reach);
    scan_add(s, (bits_of(x) ^ 0x80000000u) + d - reach);
  }
}
static void scan_all(scan *s) {
  const char *every = getenv("DD_EXHAUSTIVE"), *given = getenv("DD_STRIDE");
  const uint64_t usual = getenv("DD_QUICK") ? 4099 : 257;
  const uint64_t stride = every && !strcmp(every, "1") ? 1 : given && atoi(given) > 0 ? (uint64_t)atoi(given) : usual;
  for (uint64_t u = 0; u <= UINT32_MAX; u += stride) scan_add(s, (uint32_t)u);
  static const float points[] = {0.f,       0x1p-126f,  0x1p-24f, 0x1p-12f,    0.5f,        0.751791f,  1.f,
                                 1.5f,      2.f,        12.9f,    13.2f,       14.0f,       14.4f,      16.f,
                                 87.33655f, DD_EXP_MAX, 89.f,     -DD_EXP_MIN, -DD_EXP_LOW, 103.27893f, 103.97208f,
                                 0x1p23f,   0x1p31f,    0x1p63f,  0x1p127f,    INFINITY,    NAN};
  for (size_t i = 0; i < sizeof points / sizeof *points; i++) scan_near(s, points[i], 1500);
  for (int n = 0; n <= 151; n++) { /* where exp changes its power of two, and the middle between two such points */
    scan_near(s, (float)((n + 0.5) * M_LN2), 40);
    scan_near(s, (float)(n * M_LN2), 40);
    scan_near(s, (float)sqrt((2 * n + 1) * M_LN2), 40);
  }
  scan_flush(s);
  printf("  %s: %llu inputs, stride %llu\n", s->name, (unsigned long long)s->count, (unsigned long long)stride);
}

/* ---- exp, gelu --------------------------------------------------------------------------------------------- */

static worst exp_worst = {.what = "exp, ulp"};
static void run_exp(const dd_kernels *k, float *out, const float *in, int64_t n) { k->exp(out, in, n); }
static void judge_exp(float x, float y) {
  if (isnan(x)) assert_int_equal(bits_of(y), DD_NAN_BITS);
  else note(&exp_worst, ulps(y, exp((double)x)), bits_of(x), y, exp((double)x));
}
static void test_exp(void **state) {
  (void)state;
  static scan s = {.name = "exp", .run = run_exp, .judge = judge_exp};
  scan_all(&s);
  require(&exp_worst, EXP_ULP);
}

static double phi_cdf(double x) { return 0.5 * erfc(-x * M_SQRT1_2); }
static double gelu_d(double x) { return x * phi_cdf(x); }
static double gelu_slope_d(double x) { return phi_cdf(x) + x * 0.39894228040143267794 * exp(-0.5 * x * x); }

static worst gelu_abs = {.what = "gelu, of max(|x|, 1), 2^-24"},
             gelu_rel = {.what = "gelu, x >= -0.5, relative, 2^-24"}, gelu_tiny = {.what = "gelu, |x| <= 2^-25, ulp"};
static void run_gelu(const dd_kernels *k, float *out, const float *in, int64_t n) { k->gelu(out, in, n); }
static void judge_gelu(float x, float y) {
  if (isnan(x) || x == -INFINITY) { /* -inf * 0 */
    assert_int_equal(bits_of(y), DD_NAN_BITS);
    return;
  }
  if (fabsf(x) >= 2 * DD_GELU_END) {
    assert_int_equal(bits_of(y), x > 0 ? bits_of(x) : 0);
    return;
  }
  const double want = gelu_d((double)x), off = fabs((double)y - want) * 0x1p24;
  note(&gelu_abs, off / fmax(fabs((double)x), 1), bits_of(x), y, want);
  if (fabsf(x) <= 0x1p-25f) note(&gelu_tiny, ulps(y, want), bits_of(x), y, want);
  else if (x >= -0.5f) note(&gelu_rel, off / fabs(want), bits_of(x), y, want);
}
static void test_gelu(void **state) {
  (void)state;
  static scan s = {.name = "gelu", .run = run_gelu, .judge = judge_gelu};
  scan_all(&s);
  require(&gelu_abs, GELU_ABS);
  require(&gelu_rel, GELU_REL);
  require(&gelu_tiny, GELU_TINY_ULP);
}

static worst slope_abs = {.what = "gelu_slope, 2^-24"};
static void run_gelu_slope(const dd_kernels *k, float *out, const float *in, int64_t n) {
  static float y[CHUNK];
  k->gelu_slope(y, out, in, n);
}
static void judge_gelu_slope(float x, float y) {
  if (isnan(x)) { /* the payload of this NaN is not part of the contract */
    assert_true(isnan(y));
    return;
  }
  if (fabsf(x) >= 2 * DD_GELU_END) assert_int_equal(bits_of(y), bits_of(x > 0 ? 1.f : 0.f));
  const double want = isinf(x) ? (double)(x > 0) : gelu_slope_d((double)x);
  note(&slope_abs, fabs((double)y - want) * 0x1p24, bits_of(x), y, want);
}
static void test_gelu_slope(void **state) {
  (void)state;
  static scan s = {.name = "gelu_slope", .run = run_gelu_slope, .judge = judge_gelu_slope, .any_nan = 1};
  scan_all(&s);
  require(&slope_abs, GELU_SLOPE_ABS);
}

/* The exponential of softmax_again, of x <= 0: the bits of `exp`, but +0 where that is subnormal. */
static void run_exp_low(const dd_kernels *k, float *out, const float *in, int64_t n) {
  for (int64_t i = 0; i < n; i++) out[i] = in[i] > 0 ? -in[i] : in[i];
  const float max = 0.f, inv_sum = 1.f;
  k->softmax_again(out, &(dd_rows){1, n, n, 0, 0}, n, 1.f, &max, &inv_sum);
}
static void judge_exp_low(float x, float y) {
  float e = x > 0 ? -x : x;
  dd_kernels_scalar.exp(&e, &e, 1);
  const uint32_t want = bits_of(e) < 0x00800000 ? 0 : bits_of(e);
  if (isnan(x)) assert_true(isnan(y)); /* NaN times 1 */
  else if (bits_of(y) != want) fail_msg("e^-|%.9g| is 0x%08x, not 0x%08x", (double)x, bits_of(y), want);
}
static void test_exp_low(void **state) {
  (void)state;
  static scan s = {.name = "exp of scores", .run = run_exp_low, .judge = judge_exp_low, .any_nan = 1};
  scan_all(&s);
}

/* ---- rows against double ----------------------------------------------------------------------------------- */

enum { MAX_N = 4097 };
static const int64_t row_sizes[] = {1, 2, 16, 50, 64, 100, 384, 768, 1536, 4097};
#define FOR_ROWS(n)                                                                                                    \
  for (size_t r_ = 0; r_ < sizeof row_sizes / sizeof *row_sizes; r_++)                                                 \
    for (int64_t n = row_sizes[r_], once_ = 1; once_; once_ = 0)

/* Largest |got - want| / unit, in 2^-24, over all calls; the bound is asserted at the end of a test. */
typedef struct error {
  const char *what;
  double worst, got, want;
  int64_t n, at;
} error;
static void err(error *e, int64_t n, int64_t at, double got, double want, double unit) {
  const double d = fabs(got - want) / unit * 0x1p24;
  if (d <= e->worst) return;
  *e = (error){e->what, d, got, want, n, at};
}
static void bound(const error *e, double limit) {
  printf("  %s: worst %.3f * 2^-24 (n %lld, element %lld: %.9g, exactly %.17g), bound %g\n", e->what, e->worst,
         (long long)e->n, (long long)e->at, e->got, e->want, limit);
  if (!(e->worst <= limit)) fail_msg("%s: %.3f is above the bound %g (in 2^-24)", e->what, e->worst, limit);
}

static double layernorm_d(double *out, const double *x, const double *w, const double *b, int64_t n, double *mean) {
  double mu = 0, var = 0;
  for (int64_t i = 0; i < n; i++) mu += x[i] / (double)n;
  for (int64_t i = 0; i < n; i++) var += (x[i] - mu) * (x[i] - mu) / (double)n;
  const double rstd = 1 / sqrt(var + 1e-5);
  for (int64_t i = 0; i < n; i++) out[i] = (x[i] - mu) * rstd * w[i] + (b ? b[i] : 0);
  *mean = mu;
  return rstd;
}
static void widen(double *d, const float *f, int64_t n) {
  for (int64_t i = 0; i < n; i++) d[i] = (double)f[i];
}
static double xd[MAX_N], wd[MAX_N], bd[MAX_N], yd[MAX_N], gd[MAX_N], zd[MAX_N];
static float y[MAX_N], z[MAX_N];

static void test_layernorm(void **state) {
  (void)state;
  float *x = input(0), *w = input(1), *b = input(2), mean, rstd;
  /* The subtraction of the mean loses what x has lost already: |mean| / deviation is the condition of this function. */
  error out = {.what = "layernorm, of (|xhat| + 1 + |mean| rstd) |w| + |b|"},
        m = {.what = "mean, of max(|mean|, deviation)"}, r = {.what = "rstd, of rstd (1 + |mean| rstd)"};
  uint64_t s = 1;
  FOR_TIERS(k)
  FOR_ROWS(n)
  for (int rep = 0; rep < 20; rep++) {
    fill_floats(x, n, FILL_NORMAL, rep % 2 ? 1.f : 30.f, &s);
    fill_floats(w, n, FILL_NORMAL, 1.f, &s);
    fill_floats(b, n, FILL_NORMAL, 1.f, &s);
    if (rep % 4 == 3)
      for (int64_t i = 0; i < n; i++) x[i] += 3.f;
    widen(xd, x, n), widen(wd, w, n), widen(bd, b, n);
    double md;
    const double rd = layernorm_d(yd, xd, wd, bd, n, &md);
    k->layernorm(y, &mean, &rstd, x, w, b, 1, n);
    const double cond = 1 + fabs(md) * rd;
    for (int64_t i = 0; i < n; i++)
      err(&out, n, i, (double)y[i], yd[i], (fabs((xd[i] - md) * rd) + cond) * fabs(wd[i]) + fabs(bd[i]));
    err(&m, n, 0, (double)mean, md, fmax(fabs(md), 1 / rd));
    err(&r, n, 0, (double)rstd, rd, rd * cond);
    layernorm_d(yd, xd, wd, NULL, n, &md);
    k->layernorm(z, &mean, &rstd, x, w, NULL, 1, n);
    for (int64_t i = 0; i < n; i++)
      err(&out, n, i, (double)z[i], yd[i], (fabs((xd[i] - md) * rd) + cond) * fabs(wd[i]));
  }
  bound(&out, 2.5);
  bound(&m, 2.6);
  bound(&r, 1.8);
}

static double softmax_d(double *p, const double *s, int64_t n, double scale, double *max) {
  double m = s[0], sum = 0;
  for (int64_t i = 1; i < n; i++) m = fmax(m, s[i]);
  for (int64_t i = 0; i < n; i++) sum += p[i] = exp((s[i] - m) * scale);
  for (int64_t i = 0; i < n; i++) p[i] /= sum;
  *max = m;
  return sum;
}

static void test_softmax(void **state) {
  (void)state;
  float *x = input(0), max, inv_sum;
  error p = {.what = "softmax, of p (1 + |(s - max) scale|)"}, sums = {.what = "1/sum, relative"},
        total = {.what = "sum of softmax - 1"};
  uint64_t s = 2;
  FOR_TIERS(k)
  FOR_ROWS(n)
  for (int rep = 0; rep < 20; rep++) {
    const float scale = rep % 3 ? 0.125f : 1.f;
    fill_floats(x, n, FILL_NORMAL, rep % 2 ? 4.f : 20.f, &s);
    widen(xd, x, n);
    memcpy(y, x, (size_t)n * sizeof *y);
    double md, sd = softmax_d(yd, xd, n, (double)scale, &md), all = 0;
    k->softmax(y, &(dd_rows){1, n, n, 0, 0}, n, scale, &max, &inv_sum);
    assert_true((double)max == md);
    for (int64_t i = 0; i < n; i++) {
      if (y[i] == 0 && yd[i] * sd < 0x1.001p-126) continue; /* cut off, as promised */
      err(&p, n, i, (double)y[i], yd[i], yd[i] * (1 + fabs((xd[i] - md) * (double)scale)) + 0x1p-126);
      all += (double)y[i];
    }
    err(&sums, n, 0, (double)inv_sum, 1 / sd, 1 / sd);
    err(&total, n, 0, all, 1, 1);
  }
  bound(&p, 3.7);
  bound(&sums, 3.7);
  bound(&total, 3.5);
}

static void test_xent(void **state) {
  (void)state;
  float *x = input(0), max, sum;
  error loss = {.what = "loss, of max(loss, 1)"}, grad = {.what = "gradient, of g p (1 + |l - max|) or g (target)"};
  uint64_t s = 3;
  FOR_TIERS(k)
  FOR_ROWS(n)
  for (int rep = 0; rep < 20; rep++) {
    const float g = rep % 3 ? 1.f / 1536 : 1.f;
    const int64_t target = rnd_below(&s, n);
    fill_floats(x, n, FILL_NORMAL, rep % 2 ? 1.f : 6.f, &s);
    widen(xd, x, n);
    memcpy(y, x, (size_t)n * sizeof *y);
    double md, sd = softmax_d(yd, xd, n, 1, &md);
    k->xent(y, 1, n, &(int32_t){(int32_t)target}, g, &max, &sum);
    const double l = log(sd) + md - xd[target];
    err(&loss, n, target, log((double)sum) + (double)max - xd[target], l, fmax(l, 1));
    for (int64_t i = 0; i < n; i++) {
      const double want = (yd[i] - (i == target)) * (double)g;
      err(&grad, n, i, (double)y[i], want, (double)g * (i == target ? 1 : yd[i] * (1 + fabs(xd[i] - md))));
    }
  }
  bound(&loss, 1.4);
  bound(&grad, 5);
}

static void test_sumsq(void **state) {
  (void)state;
  error e = {.what = "sumsq, relative, times 2^28"};
  uint64_t s = 4;
  FOR_TIERS(k)
  FOR_ROWS(n)
  for (int f = 0; f < FILL_SPECIAL; f++) {
    fill_floats(input(0), n, (fill)f, 1.f, &s);
    long double want = 0;
    for (int64_t i = 0; i < n; i++) want += (long double)input(0)[i] * (long double)input(0)[i];
    const double got = k->sumsq(input(0), n);
    if (want == 0) assert_true(got == 0);
    else err(&e, n, 0, got, (double)want, (double)want * 0x1p-28);
  }
  bound(&e, 5);
}

/* Fifty steps of PyTorch's AdamW; each is compared with the same step in double from the same state. */
static void test_adamw(void **state) {
  (void)state;
  enum { N = 1000, STEPS = 50 };
  error ep = {.what = "adamw p, of max(|p|, |update|)"}, em = {.what = "adamw m, of |m| + |g|/10"},
        ev = {.what = "adamw v, relative"};
  const double lr = 1e-3, b1 = 0.9, b2 = 0.99, decay = 0.1;
  FOR_TIERS(k) {
    uint64_t s = 5;
    float *p = input(0), *m = input(1), *v = input(2), *g = input(3);
    fill_floats(p, N, FILL_NORMAL, 0.02f, &s);
    memset(m, 0, N * sizeof *m);
    memset(v, 0, N * sizeof *v);
    for (int t = 1; t <= STEPS; t++) {
      const double bc1 = 1 - pow(b1, t), bc2 = 1 - pow(b2, t), clip = t % 2 ? 1 : 0.3;
      const dd_adamw a = {.beta1 = (float)b1,
                          .one_minus_beta1 = (float)(1 - b1),
                          .beta2 = (float)b2,
                          .one_minus_beta2 = (float)(1 - b2),
                          .decay = (float)(1 - lr * decay),
                          .step = (float)(lr / bc1),
                          .inv_sqrt_bc2 = (float)(1 / sqrt(bc2)),
                          .eps = 1e-8f,
                          .grad_scale = (float)clip};
      fill_floats(g, N, FILL_NORMAL, 0.01f, &s);
      widen(xd, p, N), widen(yd, m, N), widen(zd, v, N);
      k->adamw(p, m, v, g, N, &a);
      for (int i = 0; i < N; i++) {
        const double x = (double)g[i] * clip, md = b1 * yd[i] + (1 - b1) * x, vd = b2 * zd[i] + (1 - b2) * x * x;
        const double update = lr / bc1 * md / (sqrt(vd) / sqrt(bc2) + 1e-8), pd = xd[i] * (1 - lr * decay) - update;
        err(&ep, N, i, (double)p[i], pd,
            fmax(fabs(pd), lr / bc1 * (fabs(yd[i]) + fabs(x)) / (sqrt(vd) / sqrt(bc2) + 1e-8)));
        err(&em, N, i, (double)m[i], md, fabs(yd[i]) + 0.1 * fabs(x));
        err(&ev, N, i, (double)v[i], vd, vd + 0x1p-120);
      }
    }
  }
  bound(&ep, 2.9);
  bound(&em, 3.3);
  bound(&ev, 4.2);
}

/* ---- gradients against central differences in double ------------------------------------------------------- */

static const int64_t gradient_sizes[] = {2, 7, 50, 64, 130};
#define FOR_GRADIENTS(n)                                                                                               \
  for (size_t r_ = 0; r_ < sizeof gradient_sizes / sizeof *gradient_sizes; r_++)                                       \
    for (int64_t n = gradient_sizes[r_], once_ = 1; once_; once_ = 0)

static double dot(const double *a, const double *b, int64_t n) {
  double s = 0;
  for (int64_t i = 0; i < n; i++) s += a[i] * b[i];
  return s;
}
static double layernorm_loss(int64_t n) { /* sum of gd * layernorm(xd) with wd, bd */
  double m;
  layernorm_d(yd, xd, wd, bd, n, &m);
  return dot(gd, yd, n);
}
static double softmax_loss(int64_t n, double scale) { /* sum of gd * softmax(scale * xd) */
  double m;
  softmax_d(yd, xd, n, scale, &m);
  return dot(gd, yd, n);
}
static double xent_loss(int64_t n, int64_t target) {
  double m, s = softmax_d(yd, xd, n, 1, &m);
  return log(s) + m - xd[target];
}
/* Slope of LOSS in *at, which is put back; the error is about 1e-9 of the loss's scale. */
#define SLOPE(out, at, LOSS)                                                                                           \
  do {                                                                                                                 \
    const double at_ = (at), h_ = 1e-5;                                                                                \
    (at) = at_ + h_;                                                                                                   \
    out = LOSS;                                                                                                        \
    (at) = at_ - h_;                                                                                                   \
    out = (out - LOSS) / (2 * h_);                                                                                     \
    (at) = at_;                                                                                                        \
  } while (0)

static void test_layernorm_gradient(void **state) {
  (void)state;
  float *x = input(0), *w = input(1), *b = input(2), *dy = input(3), *dx = input(4), mean, rstd;
  static float dw[MAX_N], db[MAX_N];
  error ex = {.what = "layernorm dx against differences, of max(|dx|, 1)"}, ew = {.what = "dw"}, eb = {.what = "db"};
  uint64_t s = 6;
  FOR_TIERS(k)
  FOR_GRADIENTS(n)
  for (int rep = 0; rep < 5; rep++) {
    for (int i = 0; i < 5; i++) fill_floats(input(i), n, FILL_NORMAL, 1.f, &s);
    fill_floats(dw, n, FILL_NORMAL, 1.f, &s);
    fill_floats(db, n, FILL_NORMAL, 1.f, &s);
    if (n == 2) x[1] = x[0] + 1.f; /* two equal elements have no slope to speak of */
    float dx0[200], dw0[200], db0[200];
    memcpy(dx0, dx, (size_t)n * sizeof *dx0);
    memcpy(dw0, dw, (size_t)n * sizeof *dw0);
    memcpy(db0, db, (size_t)n * sizeof *db0);
    widen(xd, x, n), widen(wd, w, n), widen(bd, b, n), widen(gd, dy, n);
    k->layernorm(y, &mean, &rstd, x, w, b, 1, n);
    k->layernorm_backward(dx, dy, x, w, &mean, &rstd, 1, n);
    k->layernorm_dparam(dw, db, dy, x, &mean, &rstd, 1, n);
    for (int64_t i = 0; i < n; i++) {
      double slope;
      SLOPE(slope, xd[i], layernorm_loss(n));
      err(&ex, n, i, (double)dx[i], (double)dx0[i] + slope, fmax(fabs(slope), 1));
      SLOPE(slope, wd[i], layernorm_loss(n));
      err(&ew, n, i, (double)dw[i], (double)dw0[i] + slope, fmax(fabs(slope), 1));
      SLOPE(slope, bd[i], layernorm_loss(n));
      err(&eb, n, i, (double)db[i], (double)db0[i] + slope, fmax(fabs(slope), 1));
    }
  }
  bound(&ex, 9.3);
  bound(&ew, 3.4);
  bound(&eb, 3.6);
}

static void test_softmax_gradient(void **state) {
  (void)state;
  float *x = input(0), *dp = input(1), max, inv_sum;
  error e = {.what = "softmax_backward against differences, absolute"};
  uint64_t s = 7;
  FOR_TIERS(k)
  FOR_GRADIENTS(n)
  for (int rep = 0; rep < 5; rep++) {
    const float scale = rep % 2 ? 0.25f : 1.f;
    fill_floats(x, n, FILL_NORMAL, 2.f, &s);
    fill_floats(dp, n, FILL_NORMAL, 1.f, &s);
    widen(xd, x, n), widen(gd, dp, n);
    k->softmax(x, &(dd_rows){1, n, n, 0, 0}, n, scale, &max, &inv_sum);
    k->softmax_backward(dp, x, &(dd_rows){1, n, n, 0, 0}, n, scale);
    for (int64_t i = 0; i < n; i++) {
      double slope;
      SLOPE(slope, xd[i], softmax_loss(n, (double)scale));
      err(&e, n, i, (double)dp[i], slope, 1);
    }
  }
  bound(&e, 1.1);
}

static void test_xent_gradient(void **state) {
  (void)state;
  float *l = input(0), max, sum;
  error e = {.what = "xent gradient against differences, of g"};
  uint64_t s = 8;
  FOR_TIERS(k)
  FOR_GRADIENTS(n)
  for (int rep = 0; rep < 5; rep++) {
    const int64_t target = rnd_below(&s, n);
    const float g = rep % 2 ? 1.f : 1.f / 512;
    fill_floats(l, n, FILL_NORMAL, 2.f, &s);
    widen(xd, l, n);
    k->xent(l, 1, n, &(int32_t){(int32_t)target}, g, &max, &sum);
    for (int64_t i = 0; i < n; i++) {
      double slope;
      SLOPE(slope, xd[i], xent_loss(n, target));
      err(&e, n, i, (double)l[i], slope * (double)g, (double)g);
    }
  }
  bound(&e, 1.5);
}

static void test_gelu_gradient(void **state) {
  (void)state;
  enum { N = 2000 };
  float *x = input(0), *d = input(1);
  error e = {.what = "gelu_slope against differences"};
  FOR_TIERS(k) {
    for (int i = 0; i < N; i++) x[i] = (float)(i - N / 2) * (8.f / N) * 2.f;
    k->gelu_slope(y, d, x, N);
    for (int i = 0; i < N; i++) {
      double slope, at = (double)x[i];
      SLOPE(slope, at, gelu_d(at));
      err(&e, N, i, (double)d[i], slope, 1);
    }
  }
  bound(&e, GELU_SLOPE_ABS + 0.1);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_exp),
                                     cmocka_unit_test(test_gelu),
                                     cmocka_unit_test(test_gelu_slope),
                                     cmocka_unit_test(test_exp_low),
                                     cmocka_unit_test(test_layernorm),
                                     cmocka_unit_test(test_softmax),
                                     cmocka_unit_test(test_xent),
                                     cmocka_unit_test(test_sumsq),
                                     cmocka_unit_test(test_adamw),
                                     cmocka_unit_test(test_layernorm_gradient),
                                     cmocka_unit_test(test_softmax_gradient),
                                     cmocka_unit_test(test_xent_gradient),
                                     cmocka_unit_test(test_gelu_gradient)};
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  print_tiers();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
