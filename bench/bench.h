/* The bench suite: what the machine can do, what dd-cpu reaches of it, and what other libraries reach beside it.
 *
 * Everything that is to be compared is measured in the same rounds: each round times every contender once, so that a
 * slow moment of the machine hits all of them. Figures are medians with the 10th and 90th percentile; shares and ratios
 * are formed round by round before the median is taken.
 *
 *   suite.c     options -> plan, subjects in turn          stats.c    medians and spreads
 *   rounds.c    interleaved timing                          report.c   rows: table and JSON
 *   compare.c   against an older JSON file                  watch.c    the machine, other load, throttling
 *   peers.c     libraries found at run time                 loops.c    streaming loops and plain C, once per tier
 *   ceilings.c, kernels.c (with cases.c), products.c, step.c, generate.c, scaling.c    one subject each
 *
 * Layer: cli -> bench -> run. It prints nothing itself: text goes to the callbacks. */
#ifndef DD_BENCH_BENCH_H
#define DD_BENCH_BENCH_H
#include "core/arena.h"
#include "core/machine.h"
#include "core/parallel.h"
#include "model/model.h"
#include "run/settings.h"

/** Subjects, in the order in which they run: X(name, what it measures). */
#define DD_BENCH_SUBJECTS(X)                                                                                           \
  X(ceilings, "multiply-add peak, the tile on data in the first cache, bandwidths, barrier")                           \
  X(kernels, "row and element kernels beside oneDNN and plain C")                                                      \
  X(products, "matrix products beside OpenBLAS, BLIS and oneDNN")                                                      \
  X(step, "training step, its phases, its memory, the price of dropout, evaluation")                                   \
  X(generate, "generation of text")                                                                                    \
  X(scaling, "training step over thread counts; model of larger machines")                                            \
  X(schedules, "iterations under each dropout schedule beside the fixed rate")

/** Run the subjects that s->subjects names (all, in a quick form, when it names none). The table goes to cb->text,
 *  progress to cb->message; JSON to the file s->json ("-": to cb->text instead of the table). Warnings about the
 *  machine are part of the result and no error. DD_E_USAGE for bad options, DD_E_CORRUPT when s->compare is no result
 *  of this suite, DD_E_IO for files. */
int dd_run_bench(const dd_settings *s, const dd_callbacks *cb, dd_error *err);

/* ---- stats.c ---- */

typedef struct dd_spread {
  double median, p10, p90;
  int n; /* samples */
} dd_spread;
/** Quantile q (0..1) of n >= 1 sorted values, linear between neighbours. */
double dd_quantile(const double *sorted, int n, double q);
/** Median and percentiles of n samples (1 <= n <= DD_SAMPLES_MAX, any order, left as they are). n = 0: all NaN. */
dd_spread dd_spread_of(const double *x, int n);
/** Geometric mean of n >= 1 positive values. */
double dd_geomean(const double *x, int n);
/** -1, 0, 1: is b outside a on the low side, not distinguishable, or on the high side? Their p10..p90 must not touch.
 */
int dd_spread_differs(const dd_spread *a, const dd_spread *b);

/* ---- watch.c ---- */

/** Processor time since boot, and ours. */
typedef struct dd_watch {
  double wall, busy, steal, own; /* seconds; busy: of all processors */
} dd_watch;
void dd_watch_now(dd_watch *w);
/** Processors that others kept busy between two looks, and the share of processor time the hypervisor took. */
void dd_watch_between(const dd_watch *from, const dd_watch *to, double *others, double *stolen);
/** Resident memory of this process in bytes, now and at most since dd_memory_peak_reset; 0 when not known. */
uint64_t dd_memory_now(void);
uint64_t dd_memory_peak(void);
/** 1 when the system let us reset it. */
int dd_memory_peak_reset(void);
/** CPU, caches, kernel, compiler, load, date as a JSON object. */
json_t *dd_machine_json(void);

/* ---- loops.c ---- */

/** Loops that say what memory can do, and the plain C that an optimizing compiler would make of a kernel with
 *  -ffast-math: no contract, any order. Compiled once per tier with that tier's flags. Pointers 64-byte aligned. */
typedef struct dd_loops {
  const char *tier;
  float (*read)(const float *x, int64_t n, int64_t times);
  void (*copy)(float *dst, const float *src, int64_t n);
  void (*update)(float *x, int64_t n, float by);                            /* x += by */
  void (*update3)(float *p, float *m, float *v, const float *g, int64_t n); /* the traffic of AdamW */
  void (*exp)(float *y, const float *x, int64_t n);
  void (*gelu)(float *y, const float *x, int64_t n);
  void (*gelu_slope)(float *y, float *d, const float *x, int64_t n);
  void (*dropout)(float *y, const float *x, int64_t n, const dd_drop *d); /* draws by Philox4x32-10 */
  void (*dropout_add)(float *y, const float *r, const float *x, int64_t n, const dd_drop *d);
  void (*layernorm)(float *out, float *mean, float *rstd, const float *x, const float *w, const float *b, int64_t n);
  void (*layernorm_backward)(float *dx, const float *dy, const float *x, const float *w, float mean, float rstd,
                             int64_t n);
  void (*softmax)(float *s, int64_t n, float scale);
  void (*softmax_backward)(float *dp, const float *p, int64_t n, float scale);
  void (*xent)(float *l, int64_t v, int64_t target, float g);
  void (*adamw)(float *p, float *m, float *v, const float *g, int64_t n, const dd_adamw *a);
  float (*sumsq)(const float *x, int64_t n);
} dd_loops;
/** Those of a tier; every tier that is built has them. */
const dd_loops *dd_loops_of(const dd_kernels *k);

/* ---- peers.c ---- */

/** Libraries that may be there: X(id, name, sonames in the order to try). */
#define DD_PEERS(X)                                                                                                    \
  X(OPENBLAS, "OpenBLAS", "openblas-openmp/libopenblas.so.0", "libopenblas.so.0")                                      \
  X(BLIS, "BLIS", "blis-openmp/libblis.so.4", "libblis.so.4")                                                          \
  X(ONEDNN, "oneDNN", "libdnnl.so.2", "libdnnl.so.3")
#define DD_PEER_ROW(id, ...) DD_PEER_##id,
enum dd_peer_id { DD_PEERS(DD_PEER_ROW) DD_PEER_COUNT };
#undef DD_PEER_ROW

typedef struct dd_peer {
  const char *name;
  char version[96]; /* and the kernels it chose, where it tells */
  void *handle;     /* NULL: not here, or not wanted */
  void *sgemm;      /* cblas_sgemm or dnnl_sgemm */
  void *set_threads;
} dd_peer;
typedef struct dd_dnnl dd_dnnl; /* oneDNN's primitives for rows, see peer_dnnl.c */

/** which: "auto", "none" or names with commas. A named one that is missing is DD_E_USAGE. */
int dd_peers_open(dd_peer peers[DD_PEER_COUNT], const char *which, dd_error *err);
void dd_peers_close(dd_peer peers[DD_PEER_COUNT]);
void dd_peer_threads(const dd_peer *p, int n);
/** C[m][n] = A B with A[m][k] (or [k][m] when ta) and B[k][n] (or [n][k] when tb), row-major, dense. */
void dd_peer_sgemm(const dd_peer *p, int ta, int tb, int64_t m, int64_t n, int64_t k, const float *a, const float *b,
                   float *c);

typedef enum dd_dnnl_op { DD_DNNL_SOFTMAX, DD_DNNL_GELU, DD_DNNL_LAYERNORM } dd_dnnl_op;
/** Whether the library that was found has these, as the header that this program was built with describes them. */
bool dd_dnnl_usable(const dd_peer *p);
/** A primitive over [rows][cols]; NULL when oneDNN is not usable, or cannot. */
dd_dnnl *dd_dnnl_create(const dd_peer *p, dd_dnnl_op op, int64_t rows, int64_t cols);
/** out and in may be the same for softmax and gelu; w, b, mean, var only for layernorm. */
void dd_dnnl_run(dd_dnnl *d, float *out, float *in, float *w, float *b, float *mean, float *var);
void dd_dnnl_destroy(dd_dnnl *d);

/* ---- report.c ---- */

/** One measured figure. subject, preset, what, who, tier, threads and unit together are its identity in --compare. */
typedef struct dd_row {
  char subject[12], preset[12], what[40], who[16], tier[12], unit[12];
  int threads;
  int lower_is_better, modelled;
  dd_spread value;
  double share; /* of the ceiling in its rounds, 1 = all of it; NaN: has none */
  double ratio; /* how many times as fast as the best peer of its rounds; NaN: none there */
} dd_row;
typedef struct dd_results {
  dd_row *at;
  int n, room;
} dd_results;

/* ---- the suite ---- */

enum { DD_SAMPLES_MAX = 101, DD_LIST_MAX = 16 };

/** A preset at the size that the suite uses: T as in training, gpt2 with 4 sequences of 64 tokens. */
typedef struct dd_bench_preset {
  const char *name;
  dd_shape shape;
  int64_t B, T;
} dd_bench_preset;

typedef struct dd_bench {
  const dd_callbacks *cb;
  const char *subject;
  unsigned subjects; /* bits: row of DD_BENCH_SUBJECTS */
  dd_bench_preset presets[DD_LIST_MAX];
  int n_presets;
  int threads[DD_LIST_MAX], n_threads;
  const dd_kernels *tiers[DD_LIST_MAX];
  int n_tiers;           /* tiers[0] is what training uses; subjects about kernels look at all of them */
  int tiers_given;       /* --tier named them: then every subject looks at all */
  int repeats;           /* 0: each subject's own choice */
  int quick, silent;     /* silent: no table, JSON goes to the text callback */
  int using;             /* threads that should be busy now */
  int unsettled;         /* processors may be asleep, or busy with others' threads: see rounds.c */
  double sample_seconds; /* shortest sample of a fast contender */
  dd_peer peers[DD_PEER_COUNT];
  dd_caches caches;
  dd_results rows, old; /* old: of --compare */
  json_t *machine, *warnings;
} dd_bench;

#define DD_SUBJECT_FN(name, help) int dd_bench_##name(dd_bench *b, dd_error *err);
DD_BENCH_SUBJECTS(DD_SUBJECT_FN)
#undef DD_SUBJECT_FN

/** Plan from settings: lists parsed, shapes of the presets, tiers that run here. */
int dd_bench_plan(dd_bench *b, const dd_settings *s, dd_error *err);
/** Repeats to take where `usual` is the subject's own choice. */
int dd_bench_repeats(const dd_bench *b, int usual);
/** How many of the tiers a subject about whole steps looks at. */
int dd_bench_main_tiers(const dd_bench *b);
/** One warning: kept for the JSON, shown in the table. */
void dd_bench_warn(dd_bench *b, const char *fmt, ...) DD_PRINTF(2, 3);
/** Text of the table; not in JSON. */
void dd_bench_say(dd_bench *b, const char *fmt, ...) DD_PRINTF(2, 3);
/** Heading of a block of rows, then the names of the columns. */
void dd_bench_heading(dd_bench *b, const char *fmt, ...) DD_PRINTF(2, 3);
/** Fill in the names of a row; fmt makes `what`. preset may be NULL. */
void dd_row_name(dd_row *r, const char *preset, const char *who, const dd_kernels *k, const char *unit, const char *fmt,
                 ...) DD_PRINTF(6, 7);
/** Keep a row and show it; subject is filled in. */
int dd_bench_add(dd_bench *b, dd_row *r, dd_error *err);
/** Rows and everything else as the JSON of a result; NULL: out of memory. */
json_t *dd_bench_json(const dd_bench *b);

/* ---- compare.c ---- */

/** Rows of an older result. DD_E_CORRUPT when the file is none. */
int dd_compare_load(dd_results *rows, const char *path, dd_error *err);
/** Rows of both, side by side, through dd_bench_say; *regressed: rows that became worse by more than both spreads. */
void dd_compare_print(dd_bench *b, int *regressed);

/* ---- rounds.c ---- */

/** Something that is timed in turn with others. */
typedef struct dd_contender {
  const char *who;
  void (*run)(void *arg, int64_t times);
  void *arg;
  void (*prepare)(void *arg); /* untimed, before each sample; may be NULL */
  double work;                /* of one time, in any unit */
  int foreign;                /* has threads of its own, which spin for a while afterwards */
  int64_t times;              /* per sample; 0: as many as make a sample long enough */
  int n;
  double seconds[DD_SAMPLES_MAX]; /* of one time, per round */
} dd_contender;
/** One round to warm up, then `repeats` rounds over all contenders. DD_E_STOPPED when the user wants no more. */
int dd_rounds(dd_bench *b, dd_contender *c, int n, int repeats, dd_error *err);
dd_spread dd_contender_seconds(const dd_contender *c);
/** work / seconds / unit. */
dd_spread dd_contender_rate(const dd_contender *c, double unit);
/** (rate of a) / (rate of b) round by round, and the median of that; NaN when b is NULL. */
dd_spread dd_contender_ratios(const dd_contender *a, const dd_contender *b);
double dd_contender_ratio(const dd_contender *a, const dd_contender *b);
/** The fastest of n, by median rate, NULL when n is 0. */
const dd_contender *dd_contender_best(const dd_contender *c, int n);

/** A contender that runs on a team: fn on every thread, `times` times inside. */
typedef struct dd_team_job {
  dd_team *team;
  void (*fn)(dd_ctx *c, void *arg, int64_t times);
  void *arg;
  int64_t times;
} dd_team_job;
void dd_run_team(void *job, int64_t times);

/* ---- ceilings.c ---- */

/** Ceilings that other subjects carry along in their rounds. */
typedef struct dd_meter {
  dd_team *team;
  dd_arena memory;
  float *sink, *tiles;
  int64_t tile_stride, tile_k; /* floats per thread in tiles; k of the panels, so that both stay in the first cache */
  int64_t call_tiles;          /* so many rows of tiles in a call, from one panel of A */
  dd_team_job peak, tile;
} dd_meter;
/** The meter is not to be moved afterwards. */
int dd_meter_open(dd_meter *m, const dd_bench *b, dd_team *t, dd_error *err);
void dd_meter_close(dd_meter *m);
dd_contender dd_meter_peak(dd_meter *m); /* multiply-adds on registers, all threads; work in FLOP */
dd_contender dd_meter_tile(dd_meter *m); /* the tile kernel on panels in the first cache; FLOP */

typedef enum dd_flow { DD_FLOW_READ, DD_FLOW_COPY, DD_FLOW_UPDATE, DD_FLOW_UPDATE3, DD_FLOWS } dd_flow;
/** A streaming loop over `bytes` of memory in all, divided among the threads. */
typedef struct dd_stream {
  dd_flow flow;
  const dd_loops *loops;
  dd_arena memory;
  float *base;
  int64_t floats; /* per thread */
  dd_team_job job;
} dd_stream;
extern const char *const dd_flow_name[DD_FLOWS];
int dd_stream_open(dd_stream *s, dd_team *t, dd_flow flow, int64_t bytes, dd_error *err);
void dd_stream_close(dd_stream *s);
dd_contender dd_stream_contender(dd_stream *s); /* work in bytes read plus bytes written */
/** Seconds of one barrier of the team, measured for a moment. */
double dd_barrier_seconds(dd_team *t);

/* ---- step.c ---- */

/** A model with a batch to train on. */
typedef struct dd_trainee {
  dd_model *m;
  int32_t *idx, *targets; /* [B][T] */
  int64_t B, T, step;
  double rate;
} dd_trainee;
int dd_trainee_open(dd_trainee *t, const dd_bench_preset *p, const dd_kernels *k, int threads, dd_error *err);
void dd_trainee_close(dd_trainee *t);
void dd_run_step(void *trainee, int64_t times);    /* forward, backward, clip, AdamW at dropout `rate` */
void dd_run_forward(void *trainee, int64_t times); /* evaluation; packs the weights if they changed */
/** FLOPs of a step over all tokens, the causal half of attention counted: 6 (matrix parameters) + 6 L T C per token. */
double dd_step_flops(const dd_bench_preset *p);
#endif
