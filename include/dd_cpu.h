/* dd_cpu.h - public C API of dd-cpu: train GPTs with dynamic dropout on CPUs, to the same bits everywhere.
 *
 * Rules of the whole interface:
 *  - Functions that can fail return 0 (DD_OK) or a dd_status and, on failure, fill *err (when not NULL) with one
 *    sentence that names the file, option or value and the remedy. A status is also the exit code of the program.
 *  - The library never prints, never exits and installs no signal handler: text goes through dd_callbacks.
 *  - Objects are opaque; every dd_X_create has a dd_X_destroy that accepts NULL. Different objects may be used from
 *    different threads at the same time; one object by one thread at a time.
 *  - Strings are UTF-8 and NUL-terminated. Losses are natural logarithms per token.
 */
#ifndef DD_CPU_H
#define DD_CPU_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define DD_API __attribute__((visibility("default")))
#define DD_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define DD_API
#define DD_PRINTF(fmt, args)
#endif

#define DD_VERSION_STRING "0.1.0"
/** Raised whenever an order of operations or a polynomial changes, that is whenever fingerprints may change. */
#define DD_NUMERICS_VERSION 1

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

typedef struct dd_error {
  dd_status code;
  char message[1024];
} dd_error;

/* ---- settings: every option of the program, by name (see `dd-cpu train --help`) ---- */
typedef struct dd_settings dd_settings;

/** New settings with all defaults (preset `paper`). NULL when out of memory. */
DD_API dd_settings *dd_settings_create(void);
DD_API void dd_settings_destroy(dd_settings *s);
/** Set one setting. key: as on the command line, '-' and '_' are equal ("n-layer", "n_layer"). value: text. Setting
 *  "preset" applies all values of that preset at once; later calls override single values. */
DD_API int dd_settings_set(dd_settings *s, const char *key, const char *value, dd_error *err);
/** Write the value of a setting as text into buf[size], NUL-terminated. */
DD_API int dd_settings_get(const dd_settings *s, const char *key, char *buf, size_t size, dd_error *err);
/** Read `key = value` lines (nanoGPT's flat config files included). Unknown keys are errors with a suggestion. */
DD_API int dd_settings_load(dd_settings *s, const char *path, dd_error *err);

/* ---- what a run reports ---- */
typedef struct dd_step_record { /* one per --log-interval iterations */
  int64_t iter, max_iters;
  double loss;          /**< mini-batch training loss, dropout active */
  double lr, dropout;   /**< learning rate and scheduled rate used in this iteration */
  double grad_norm;     /**< before clipping */
  double ms_per_iter;   /**< mean since the last record, evaluation not counted */
  double tokens_per_s;
  double peak_fraction; /**< model FLOP/s over the FMA peak measured at start-up, 0..1 */
  double elapsed_s, eta_s;
} dd_step_record;

typedef struct dd_eval_record { /* one per evaluation */
  int64_t iter, max_iters;
  double train_loss, val_loss; /**< eval mode, dropout off */
  double best_val_loss;
  int64_t best_iter;
  int improved;          /**< this evaluation set best_val_loss */
  double dropout;        /**< scheduled rate after this evaluation */
  double seconds, elapsed_s;
  char fingerprint[33];  /**< XXH3-128 of the parameters */
} dd_eval_record;

typedef enum dd_level { DD_DEBUG, DD_INFO, DD_WARNING } dd_level;

typedef struct dd_study_job { /* a run of `compare` that trains now */
  char name[200];
  int64_t iter, max_iters;
  double loss, val_loss, best_val_loss, dropout; /**< NaN before the first of them */
  double eta_s;                                  /**< NaN: not known */
} dd_study_job;

typedef struct dd_study_status { /* several times a second */
  int64_t cells;            /**< of the grid, of this shard */
  int64_t finished, failed; /**< earlier calls' included */
  int64_t elsewhere;        /**< being trained by another process */
  int jobs;
  const dd_study_job *job;  /**< [jobs] */
  double elapsed_s, eta_s;  /**< eta_s of all: NaN when not known */
} dd_study_status;

typedef enum dd_check_state {
  DD_CHECK_GOOD,
  DD_CHECK_NOTE, /**< nothing is wrong, but something was not checked or is left over */
  DD_CHECK_BAD
} dd_check_state;

typedef struct dd_check_record { /* one per file that `verify` looked at */
  const char *file; /**< name in the run directory, or "data", "replay" */
  dd_check_state state;
  const char *text; /**< what was found */
} dd_check_record;

typedef struct dd_inspect_record { /* one per file that `inspect` could read */
  const char *path;
  const char *kind;  /**< one word: "run", "npy", "safetensors" ... */
  const char *what;  /**< the same for people */
  const char *lines; /**< facts as lines of text, without control characters */
  const char *json;  /**< the same facts as a JSON object */
} dd_inspect_record;

typedef struct dd_callbacks { /* any of them may be NULL */
  void *user;
  void (*message)(void *user, dd_level level, const char *text); /**< one line, no newline */
  void (*phase)(void *user, const char *what, int64_t done, int64_t total); /**< inside long phases: "evaluate", ... */
  void (*step)(void *user, const dd_step_record *r);
  void (*eval)(void *user, const dd_eval_record *r);
  void (*text)(void *user, const char *utf8, size_t n); /**< generated text or a report, as it comes */
  void (*study)(void *user, const dd_study_status *s);  /**< how far `compare` is */
  void (*check)(void *user, const dd_check_record *r);  /**< what `verify` found */
  void (*inspect)(void *user, const dd_inspect_record *r); /**< what `inspect` found */
  /** Polled before every micro-batch and evaluation batch and every few megabytes of data: 0 go on, 1 save and stop, 2
   *  save and go on. */
  int (*should_stop)(void *user);
} dd_callbacks;

typedef struct dd_train_result {
  int64_t iter;            /**< iterations done in all, resumed ones included */
  double final_loss;       /**< mini-batch loss of the last iteration, dropout active */
  double train_loss, val_loss; /**< of the last evaluation */
  double best_val_loss;
  int64_t best_iter;
  int64_t skipped, rollbacks; /**< updates left out, times gone back: --on-nan, --outlier-sigma */
  double seconds;          /**< of this process */
  char fingerprint[33];
  char run_dir[4096];
} dd_train_result;

typedef struct dd_sample_result {
  int64_t tokens;          /**< generated, prompt not counted */
  double seconds;          /**< of generation, loading not counted */
} dd_sample_result;

typedef struct dd_eval_result {
  int64_t tokens;
  double loss;             /**< mean cross-entropy, nats per token */
  double bits_per_byte;
} dd_eval_result;

typedef struct dd_verify_result {
  int64_t files, bad;      /**< checked, of these damaged or not fitting */
  int64_t from, to;        /**< iterations trained again; -1: none */
  double seconds;
  char path[4096];
} dd_verify_result;

typedef struct dd_export_result {
  int64_t files, bytes;    /**< written */
  char path[4096];         /**< file or directory */
} dd_export_result;

typedef struct dd_compare_result {
  int64_t cells, finished, failed, elsewhere;
  double seconds;          /**< of this process */
  char dir[4096];
  char report[4096];       /**< the HTML file */
} dd_compare_result;

/* ---- the jobs; each reads what it needs from the settings ---- */
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

DD_API const char *dd_version(void);
DD_API int dd_numerics_version(void);

#ifdef __cplusplus
}
#endif
#endif
