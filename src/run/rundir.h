/* The run directory: lock, checkpoints, metrics.jsonl, config.json.
 *
 *   config.json             everything needed to repeat the run
 *   metrics.jsonl           one JSON record per line
 *   ckpt-0000250.safetensors  checkpoint after 250 iterations; ckpt-0000250-2.safetensors when the first write failed
 *   latest, best            small text files that hold the name of a checkpoint
 *   tensorboard/            event files, with --tensorboard (run/events.h)
 *   run.lock                held (flock) by the process that trains here; content: who that is. Never deleted.
 *
 * Order of writing: a checkpoint is durable before `best` and `latest` name it, and they are durable before an older
 * checkpoint is removed. So a crash at any instant leaves a run that can be resumed. */
#ifndef DD_RUN_RUNDIR_H
#define DD_RUN_RUNDIR_H
#include "core/error.h"
#include <jansson.h>
#include <stdint.h>

typedef struct dd_rundir dd_rundir;

enum { /* flags of dd_rundir_open */
  DD_RUN_CREATE = 1,   /* make the directory when there is none */
  DD_RUN_RESUME = 2,   /* a run in it is welcome */
  DD_RUN_OVERWRITE = 4 /* a run in it is removed: only files of our names, and only once the lock is held */
};

/** Open for training: make, lock, probe that files can be written and renamed, remove what a crash left behind.
 *  DD_E_LOCKED: another process trains here. DD_E_USAGE: there is a run and neither flag says what to do with it, or
 *  (without DD_RUN_CREATE) no such directory. DD_E_IO: cannot be written. */
int dd_rundir_open(const char *path, unsigned flags, dd_rundir **out, dd_error *err);
void dd_rundir_close(dd_rundir *rd); /* drops the lock; accepts NULL */
const char *dd_rundir_path(const dd_rundir *rd);
/** Fails with DD_E_IO when less than `bytes` are free. Systems that do not tell pass. */
int dd_rundir_check_space(const dd_rundir *rd, uint64_t bytes, dd_error *err);

/** Path of the checkpoint of that iteration, for dd_st_write; spare: the name for a second attempt. */
int dd_rundir_checkpoint_path(const dd_rundir *rd, int64_t iter, int spare, char *out, size_t size, dd_error *err);
enum { DD_PUBLISH_BEST = 1, DD_PUBLISH_SPARE = 2 /* written under the second name */ };
/** After the checkpoint of `iter` is durable: name it in `best` (DD_PUBLISH_BEST) and `latest`, then remove checkpoints
 *  older than the `keep` newest up to iter, but never one that `best` or `latest` names. keep <= 0 removes nothing.
 *  Checkpoints of later iterations (left by a run that fell back) are not counted and not removed. */
int dd_rundir_publish(dd_rundir *rd, int64_t iter, unsigned how, int keep, dd_error *err);

typedef struct dd_run_file {
  int64_t iter;
  char name[64];
} dd_run_file;
/** All checkpoints of a run directory, newest first: resume takes the first that is whole. *files is malloc'd (NULL
 *  when none), *n their number. No lock is needed. */
int dd_run_checkpoints(const char *dir, dd_run_file **files, size_t *n, dd_error *err);
/** What `best` or `latest` says: the name and its iteration. *iter = -1: there is no such file. */
int dd_run_pointer(const char *dir, const char *which, char name[64], int64_t *iter, dd_error *err);

/** For readers (sample, eval), without the lock. path: a checkpoint file, or a run directory; which: "best" or
 *  "latest". A run without that pointer yields, in turn, `latest` and the newest checkpoint. */
int dd_run_find_checkpoint(const char *path, const char *which, char *out, size_t size, dd_error *err);

/** config.json, replaced atomically. Reading takes the directory; *out is a new object (json_decref). */
int dd_rundir_config_write(dd_rundir *rd, const json_t *config, dd_error *err);
int dd_run_config_read(const char *dir, json_t **out, dd_error *err);

/* ---- metrics.jsonl (metrics_file.c) ---- */
#define DD_RUN_METRICS "metrics.jsonl"
typedef struct dd_metrics dd_metrics;
/** For appending; made when there is none. */
int dd_metrics_open(const dd_rundir *rd, dd_metrics **out, dd_error *err);
/** Go on in the file that is there now, after dd_metrics_truncate_after. On failure m stays as it was. */
int dd_metrics_reopen(dd_metrics *m, dd_error *err);
/** line: without newline. One write; when it fails the file is cut back to whole lines and stays usable. */
int dd_metrics_append_line(dd_metrics *m, const char *line, dd_error *err);
/** The same for an object; reals with 17 digits, so that they read back exactly. Not sorted: order of insertion. */
int dd_metrics_append(dd_metrics *m, const json_t *record, dd_error *err);
/** What was appended is durable when it returns. May be called by another thread than the one that appends. A failure
 *  is told once; the file is not synced again. */
int dd_metrics_sync(dd_metrics *m, dd_error *err);
/** Sync and close; accepts NULL (and then succeeds). The object is gone in any case. */
int dd_metrics_close(dd_metrics *m, dd_error *err);
/** Before resuming at `iter` (and before dd_metrics_open): drop records with "iter" > iter, what follows them without
 *  an "iter" of its own, lines that are no JSON objects and a torn last line. What is dropped is kept in
 *  metrics.jsonl.cut-ITER. Changes nothing when nothing is to be dropped or there is no such file. */
int dd_metrics_truncate_after(dd_rundir *rd, int64_t iter, dd_error *err);

typedef struct dd_metrics_seen {
  int64_t records, bad; /* whole lines that are JSON objects; other lines, a torn last one included */
} dd_metrics_seen;
/** Calls take for every record in the metrics.jsonl of a run directory, in order; a status other than DD_OK ends it and
 *  is returned (take has no way to say more: err is its own affair). */
int dd_metrics_each(const char *dir, int (*take)(void *user, const json_t *record), void *user, dd_metrics_seen *seen,
                    dd_error *err);
#endif
