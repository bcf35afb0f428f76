/* TensorBoard files of a run: what the records of metrics.jsonl become, live (--tensorboard) and afterwards (export).
 *
 *   RUN/tensorboard/events.out.tfevents.SECONDS.HOST.PID   one per process that trained; names sort by age
 *
 * A resumed run begins a new file with the start of a session at the iteration it goes on from, on which TensorBoard
 * forgets what older files have from there on. A torn end, left by a crash, is passed over by readers. */
#ifndef DD_RUN_EVENTS_H
#define DD_RUN_EVENTS_H
#include "formats/tfevents.h"
#include <jansson.h>

#define DD_EVENTS_DIR "tensorboard"
#define DD_EVENTS_PREFIX "events.out.tfevents."

/* Tags of the numbers in records: X(kind, key, tag). */
#define DD_EVENTS_TAGS(X)                                                                                            \
  X(step, "loss", "loss/batch") X(step, "dropout", "dropout") X(step, "lr", "lr") X(step, "grad_norm", "grad_norm")  \
  X(step, "tokens_per_s", "tokens_per_s") X(step, "ms_per_iter", "ms_per_iter")                                      \
  X(eval, "train_loss", "loss/train") X(eval, "val_loss", "loss/val") X(eval, "best_val_loss", "loss/val_best")      \
  X(skip, "skipped", "skipped") X(rollback, "rollbacks", "rollbacks")
/* Besides: loss/gap (validation minus training loss), dropout/embed ... where sites have rates of their own, the text
 * settings, and the settings that decide the result as hyperparameters. */

/** Iterations written so far; begins as {-1, -1}. */
typedef struct dd_events_state {
  int64_t step, eval;
} dd_events_state;

/** Events of a record, behind those in *out. A record that goes back in iterations begins a session first. */
void dd_events_of_record(dd_events_state *st, const json_t *record, double wall, dd_tfevents *out);

typedef struct dd_events dd_events;
/** A new file in RUN/tensorboard. iter >= 0: the run goes on from that iteration. */
int dd_events_open(const char *run, int64_t iter, dd_events **out, dd_error *err);
/** A record that metrics.jsonl gets too. What cannot be written is told once, kept, and tried again with the next
 *  record: no failure ends the training. Accepts NULL. */
void dd_events_log(dd_events *e, const json_t *record, const dd_callbacks *cb);
/** DD_E_IO when anything failed, with what is lost. The object is gone in any case; accepts NULL. */
int dd_events_close(dd_events *e, dd_error *err);
/** Remove the event files of a run that is replaced, and their directory when nothing else is in it. */
int dd_events_remove(const char *run, dd_error *err);

/* ---- events_read.c ---- */
/** Does a file begin like an event file? head[n]: its first bytes, 12 at least. */
int dd_events_looks(const unsigned char *head, size_t n);
/** What an event file holds, as a new object: events, sessions, first_step, last_step, begin and end (seconds since
 *  1970), torn_bytes, values: [{tag, count, first, last}] (steps; in order of appearance, at most 1000 tags), and
 *  more_values when there are more. Errors as dd_tfevents_read. */
int dd_events_describe(const char *path, json_t **out, dd_error *err);
#endif
