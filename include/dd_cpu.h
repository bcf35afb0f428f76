/** @file dd_cpu.h
 *  public C API of dd-cpu: train GPTs with dynamic dropout on CPUs, to the same bits everywhere.
 *
 * Rules of the whole interface:
 *  - Functions that can fail return 0 (DD_OK) or a dd_status and, on failure, fill *err (when not NULL) with one
 *    sentence that names the file, option or value and the remedy. A status is also the exit code of the program.
 *  - The library never prints, never exits and installs no signal handler: text goes through dd_callbacks.
 *  - Objects are opaque; every dd_X_create has a dd_X_destroy (or dd_X_close, where writing may fail at the end) that
 *    accepts NULL. Different objects may be used from different threads at the same time; one object by one thread at
 *    a time.
 *  - There is no global state: nothing that one object or call does is seen by another.
 *  - Strings are UTF-8 and NUL-terminated. Losses are natural logarithms per token.
 *  - Callbacks are called in the thread that called the library and must return: no longjmp, no C++ exception.
 *
 * Compatibility: libdd.so.0 keeps its functions, constants, and the size and layout of every struct declared here.
 *  - Every struct but dd_error ends in `reserved` room that new members will be taken from. The library sets it to 0;
 *    set a dd_callbacks to zero before you fill it in, so that hooks you do not know are NULL.
 *  - dd_struct_size() tells what the library was built with, for bindings that declare structs again.
 *  - Enumerations may get new values. Where layouts change, the soname does. */
#ifndef DD_CPU_H
#define DD_CPU_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** @def DD_API
 *  Marks what the shared library gives to others. */
/** @def DD_PRINTF
 *  Lets the compiler check the arguments of a printf-like function. */
#if defined(__GNUC__)
#define DD_API __attribute__((visibility("default")))
#define DD_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define DD_API
#define DD_PRINTF(fmt, args)
#endif

/** Version of this header; dd_version() is that of the library. */
#define DD_VERSION_STRING "0.1.0"
/** Raised whenever an order of operations or a polynomial changes, that is whenever fingerprints may change. */
#define DD_NUMERICS_VERSION 2

/** Result of a call, and exit code of the program. */
typedef enum dd_status {
  DD_OK = 0,
  DD_E_RUNTIME = 1,  /**< out of memory, a thread or a device failed */
  DD_E_USAGE = 2,    /**< unknown option or key, value out of range, settings that do not fit together */
  DD_E_DIVERGED = 3, /**< loss or gradient became NaN or infinite */
  DD_E_CORRUPT = 4,  /**< a file is damaged or does not fit this run */
  DD_E_LOCKED = 5,   /**< another process trains in the run directory */
  DD_E_IO = 74,      /**< a file could not be read or written */
  DD_E_STOPPED = 75  /**< stopped on request, checkpoint saved: run again with --resume */
} dd_status;

/** Why a call failed. */
typedef struct dd_error {
  dd_status code;     /**< also what the call returned */
  char message[1024]; /**< one sentence, NUL-terminated */
} dd_error;

/* ---- settings: every option of the program, by name (see `dd-cpu train --help`) ---- */
/** The settings of a job; opaque. */
typedef struct dd_settings dd_settings;

/** New settings with all defaults (preset `paper`). NULL when out of memory. */
DD_API dd_settings *dd_settings_create(void);
/** Free settings; NULL is accepted. */
DD_API void dd_settings_destroy(dd_settings *s);
/** Set one setting. key: as on the command line, '-' and '_' are equal ("n-layer", "n_layer"). value: text. Setting
 *  "preset" applies all values of that preset at once; later calls override single values. */
DD_API int dd_settings_set(dd_settings *s, const char *key, const char *value, dd_error *err);
/** Write the value of a setting as text into buf[size], NUL-terminated. */
DD_API int dd_settings_get(const dd_settings *s, const char *key, char *buf, size_t size, dd_error *err);
/** Read `key = value` lines (nanoGPT's flat config files included). Unknown keys are errors with a suggestion. */
DD_API int dd_settings_load(dd_settings *s, const char *path, dd_error *err);

/* ---- what a run reports ---- */
/** One per --log-interval iterations. */
typedef struct dd_step_record {
  int64_t iter;         /**< this iteration, from 0 */
  int64_t max_iters;    /**< of the run */
  double loss;          /**< mini-batch training loss, dropout active */
  double lr;            /**< learning rate used in this iteration */
  double dropout;       /**< scheduled rate used in this iteration */
  double grad_norm;     /**< before clipping */
  double ms_per_iter;   /**< mean since the last record, evaluation not counted */
  double tokens_per_s;  /**< the same as a speed */
  double peak_fraction; /**< model FLOP/s over the FMA peak measured at start-up, 0..1 */
  double elapsed_s;     /**< seconds of training, earlier processes included */
  double eta_s;         /**< seconds left, estimated */
  int64_t reserved[8];  /**< 0 */
} dd_step_record;

/** One per evaluation. */
typedef struct dd_eval_record {
  int64_t iter;         /**< evaluated before the update of this iteration */
  int64_t max_iters;    /**< of the run */
  double train_loss;    /**< eval mode, dropout off */
  double val_loss;      /**< eval mode, dropout off */
  double best_val_loss; /**< of the run so far */
  int64_t best_iter;    /**< where that was, -1: nowhere yet */
  int improved;         /**< this evaluation set best_val_loss */
  double dropout;       /**< scheduled rate after this evaluation */
  double seconds;       /**< that the evaluation took */
  double elapsed_s;     /**< seconds of training, earlier processes included */
  char fingerprint[33]; /**< XXH3-128 of the parameters */
  int64_t reserved[8];  /**< 0 */
} dd_eval_record;

/** How much a message matters. */
typedef enum dd_level {
  DD_DEBUG,  /**< details */
  DD_INFO,   /**< what is being done */
  DD_WARNING /**< something is not as one would expect */
} dd_level;

/** A run of `compare` that trains now. Losses and rate are NaN before there are any. */
typedef struct dd_study_job {
  char name[200];       /**< of the run in the study */
  int64_t iter;         /**< iterations done */
  int64_t max_iters;    /**< of the run */
  double loss;          /**< of the last mini-batch */
  double val_loss;      /**< of the last evaluation */
  double best_val_loss; /**< of the run so far */
  double dropout;       /**< rate now */
  double eta_s;         /**< seconds left; NaN: not known */
  int64_t reserved[4];  /**< 0 */
} dd_study_job;

/** How far `compare` is, told several times a second. */
typedef struct dd_study_status {
  int64_t cells;           /**< runs of the grid, of this shard */
  int64_t finished;        /**< earlier calls' included */
  int64_t failed;          /**< earlier calls' included */
  int64_t elsewhere;       /**< being trained by another process */
  int jobs;                /**< trained now, by this process */
  const dd_study_job *job; /**< [jobs] */
  double elapsed_s;        /**< seconds of this call */
  double eta_s;            /**< of all: NaN when not known */
  int64_t reserved[8];     /**< 0 */
} dd_study_status;

/** What `verify` thinks of a file. */
typedef enum dd_check_state {
  DD_CHECK_GOOD, /**< all that can be checked is right */
  DD_CHECK_NOTE, /**< nothing is wrong, but something was not checked or is left over */
  DD_CHECK_BAD   /**< damaged, or it does not fit the run */
} dd_check_state;

/** One per file that `verify` looked at. */
typedef struct dd_check_record {
  const char *file;     /**< name in the run directory, or "data", "replay" */
  dd_check_state state; /**< the verdict */
  const char *text;     /**< what was found */
  int64_t reserved[4];  /**< 0 */
} dd_check_record;

/** One per file that `inspect` could read. */
typedef struct dd_inspect_record {
  const char *path;    /**< as it was given */
  const char *kind;    /**< one word: "run", "npy", "safetensors" ... */
  const char *what;    /**< the same for people */
  const char *lines;   /**< facts as lines of text, without control characters */
  const char *json;    /**< the same facts as a JSON object, whose texts may hold an escaped NUL */
  int64_t reserved[4]; /**< 0 */
} dd_inspect_record;

/** What a schedule of the caller's own may depend on. */
typedef struct dd_rate_query {
  int64_t iter;          /**< iteration that the rate is for, 0 .. max_iters */
  int64_t max_iters;     /**< T of the schedules */
  const char *name;      /**< NAME of the setting "callback:NAME" */
  int64_t site;          /**< -1: all that follow the schedule; 0 embed, 1 attn, 2 proj, 3 mlp: it has its own */
  double p0;             /**< setting `dropout`, or the rate that the site was given */
  double train_loss;     /**< of the last evaluation; infinite before the first */
  double val_loss;       /**< of the last evaluation; infinite before the first */
  double best_val_loss;  /**< infinite before the first evaluation */
  int64_t reserved[8];   /**< 0 */
} dd_rate_query;

/** How the library talks to the caller; any of them may be NULL. */
typedef struct dd_callbacks {
  void *user;                                                    /**< handed to each of them */
  void (*message)(void *user, dd_level level, const char *text); /**< one line, no newline */
  void (*phase)(void *user, const char *what, int64_t done, int64_t total); /**< inside long phases: "evaluate", ... */
  void (*step)(void *user, const dd_step_record *r);    /**< every --log-interval iterations */
  void (*eval)(void *user, const dd_eval_record *r);    /**< after each evaluation */
  void (*text)(void *user, const char *utf8, size_t n); /**< generated text or a report, as it comes */
  void (*study)(void *user, const dd_study_status *s);  /**< how far `compare` is */
  void (*check)(void *user, const dd_check_record *r);  /**< what `verify` found */
  /** Polled before every micro-batch and evaluation batch and every few megabytes of data: 0 go on, 1 save and stop, 2
   *  save and go on. */
  int (*should_stop)(void *user);
  /** The dropout schedule where setting `schedule` (or that of a site) is "callback:NAME": a rate from 0 to below 1.
   *  What is outside is clamped; NaN stops the run with DD_E_USAGE. Every rate is recorded in metrics.jsonl. Called at
   *  least once per iteration, so it must depend on nothing but the query: then interrupted runs keep their bits. The
   *  run's configuration says that its rates came from NAME; a resume without this function is refused. */
  double (*rate)(void *user, const dd_rate_query *query);
  void (*inspect)(void *user, const dd_inspect_record *r); /**< what `inspect` found */
  void (*reserved[7])(void); /**< NULL */
} dd_callbacks;

/** How a training ended, or where it is. */
typedef struct dd_train_result {
  int64_t iter;         /**< iterations done in all, resumed ones included */
  double final_loss;    /**< mini-batch loss of the last iteration, dropout active */
  double train_loss;    /**< of the last evaluation; infinite before the first */
  double val_loss;      /**< of the last evaluation; infinite before the first */
  double best_val_loss; /**< of all evaluations; infinite before the first */
  int64_t best_iter;    /**< where that was; -1: nowhere yet */
  int64_t skipped;      /**< updates left out: --on-nan, --outlier-sigma */
  int64_t rollbacks;    /**< times gone back: --on-nan rollback */
  double seconds;       /**< of this process */
  char fingerprint[33]; /**< XXH3-128 of the parameters */
  char run_dir[4096];   /**< "" without one */
  int64_t reserved[8];  /**< 0 */
} dd_train_result;

/** What dd_sample made. */
typedef struct dd_sample_result {
  int64_t tokens;      /**< generated, prompt not counted */
  double seconds;      /**< of generation, loading not counted */
  int64_t reserved[8]; /**< 0 */
} dd_sample_result;

/** What dd_evaluate found. */
typedef struct dd_eval_result {
  int64_t tokens;       /**< predictions made */
  double loss;          /**< mean cross-entropy, nats per token */
  double bits_per_byte; /**< the same per byte of text; 0 where tokens are no text */
  int64_t reserved[8];  /**< 0 */
} dd_eval_result;

/** What dd_verify found. */
typedef struct dd_verify_result {
  int64_t files;       /**< checked */
  int64_t bad;         /**< of these damaged or not fitting */
  int64_t from;        /**< first iteration trained again; -1: none */
  int64_t to;          /**< where that ended; -1: none */
  double seconds;      /**< that it took */
  char path[4096];     /**< of what was verified */
  int64_t reserved[8]; /**< 0 */
} dd_verify_result;

/** What `export` wrote. */
typedef struct dd_export_result {
  int64_t files;       /**< written */
  int64_t bytes;       /**< of all of them */
  char path[4096];     /**< file or directory */
  int64_t reserved[8]; /**< 0 */
} dd_export_result;

/** How a study ended. */
typedef struct dd_compare_result {
  int64_t cells;       /**< runs of the grid, of this shard */
  int64_t finished;    /**< earlier calls' included */
  int64_t failed;      /**< earlier calls' included */
  int64_t elsewhere;   /**< being trained by another process */
  double seconds;      /**< of this process */
  char dir[4096];      /**< of the study */
  char report[4096];   /**< the HTML file */
  int64_t reserved[8]; /**< 0 */
} dd_compare_result;

/* ---- the jobs; each reads what it needs from the settings ---- */
/** Train as `dd-cpu train` does. *out (may be NULL) is filled in also when it fails. DD_E_STOPPED: should_stop asked
 *  for it, and a checkpoint was saved. */
DD_API int dd_train(const dd_settings *s, const dd_callbacks *cb, dd_train_result *out, dd_error *err);
/** Loss of run `s.run` (a run directory or checkpoint) over text `s.data`, with weights in format `s.weights`. */
DD_API int dd_evaluate(const dd_settings *s, const dd_callbacks *cb, dd_eval_result *out, dd_error *err);
/** Generate text from run `s.run`: `s.num_samples` samples, the first of each group as it comes. */
DD_API int dd_sample(const dd_settings *s, const dd_callbacks *cb, dd_sample_result *out, dd_error *err);
/** Train a grid of schedules x seeds x other options in `s.out`, several runs at once, each in a child process, then
 *  report; continues what an earlier call left. command: how to repeat the call, kept with the results; may be NULL.
 *  Forks: call it while the process has no other threads. A failed run does not stop the others; its status is returned
 *  when all are done. */
DD_API int dd_compare(const dd_settings *s, const char *command, const dd_callbacks *cb, dd_compare_result *out,
                      dd_error *err);
/** Turn text `s.data` into train.bin, val.bin and meta.json in directory `s.out`. */
DD_API int dd_prepare(const dd_settings *s, const dd_callbacks *cb, dd_error *err);
/** Analyse the study directories or runs `s.study` (one per line) and write the report `s.format` to file `s.out`; when
 *  that is empty, html goes to report.html in the one directory, all others to the callback `text`, as with "-". Runs
 *  that are damaged or unfinished are told as warnings and in the report. */
DD_API int dd_report(const dd_settings *s, const dd_callbacks *cb, dd_error *err);
/** Facts of machine and build, one message per line. */
DD_API int dd_info(const dd_settings *s, const dd_callbacks *cb, dd_error *err);

/** Read run directory or checkpoint `s.run` again and check everything in it: hashes, numbers, shapes, fingerprints,
 *  that metrics.jsonl is whole and agrees with the checkpoints, what `best` and `latest` name, and that the training
 *  text is the one the run saw. With `s.replay`, train again from one checkpoint to another, in memory, and compare
 *  every bit. Writes nothing, takes no lock. DD_E_CORRUPT when anything is damaged. */
DD_API int dd_verify(const dd_settings *s, const dd_callbacks *cb, dd_verify_result *out, dd_error *err);

/** Say what the files and directories `s.files` (one per line) are and what is in them, one record each to the callback
 *  `inspect`: token files, data and run directories, checkpoints, safetensors, metrics and more. Hashes are not checked
 *  (see dd_verify). A file that is damaged or of no known kind is told as a warning and makes the result its status;
 *  the others are still described. */
DD_API int dd_inspect(const dd_settings *s, const dd_callbacks *cb, dd_error *err);
/** Write run directory or checkpoint `s.run` in the format `s.export_format` of another program to `s.out`: a directory,
 *  made when there is none (hf, nanogpt), or a file (gguf). Files that are there already are DD_E_USAGE without
 *  `s.overwrite`. What the format cannot hold is told as a warning. */
DD_API int dd_export(const dd_settings *s, const dd_callbacks *cb, dd_export_result *out, dd_error *err);

/** Version of the library: "0.1.0". */
DD_API const char *dd_version(void);
/** DD_NUMERICS_VERSION of the library: fingerprints of different ones cannot be compared. */
DD_API int dd_numerics_version(void);
/** Bytes of a struct declared here as the library was built: dd_struct_size("dd_callbacks").
 *  @param name with or without "struct "
 *  @return 0 for a name that is none */
DD_API size_t dd_struct_size(const char *name);

#ifdef __cplusplus
}
#endif

#include "dd_gpt.h"
#endif
