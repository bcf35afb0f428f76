/* Checkpoints beside the training: a save copies the state to memory and returns; a thread writes the copy, makes it
 * durable, publishes it and removes older ones.
 *
 *  - At most one save is under way. The next one, whatever asked for it, waits for the one before: no request is lost,
 *    and memory holds one copy.
 *  - A write that fails is repeated once from the copy, in a new file under the second name of that iteration. When
 *    that fails too, the run goes on and the older checkpoint stays; the next save is tried as ever.
 *  - Warnings come through the callbacks in the thread that calls these functions, never in the writer's.
 *  - Without memory for a copy, or without a thread, a save is made on the spot. The files are the same. */
#ifndef DD_RUN_SAVER_H
#define DD_RUN_SAVER_H
#include "run/checkpoint.h"
#include "run/rundir.h"

typedef struct dd_saver dd_saver;

typedef struct dd_saver_options { /* all borrowed and, but for the model's arrays, unchanged while the saver lives */
  dd_rundir *dir;
  dd_metrics *metrics; /* made durable with every checkpoint; NULL: none */
  const dd_model *m;
  const dd_settings *s;
  const dd_vocab *vocab;
  const dd_callbacks *cb;
} dd_saver_options;

/** Memory the copy takes, in bytes; it is made at the first save and kept. */
uint64_t dd_saver_bytes(const dd_layout *l);
int dd_saver_create(dd_saver **out, const dd_saver_options *o, dd_error *err);
/** Save the model with this state. */
void dd_saver_save(dd_saver *v, const dd_run_state *st);
/** Report what has come to an end, without waiting; cheap. */
void dd_saver_poll(dd_saver *v);
/** Wait for the save that is under way. Returns the iteration of the newest checkpoint this saver made durable, -1:
 *  none; *why (may be NULL) is the reason when the last save failed, else its code is DD_OK. */
int64_t dd_saver_wait(dd_saver *v, dd_error *why);
/** Wait, and free; accepts NULL. DD_E_IO when anything failed since dd_saver_create, with what was lost. */
int dd_saver_close(dd_saver *v, dd_error *err);
#endif
