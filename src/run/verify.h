/* Parts of `dd-cpu verify`: verify.c (files) and replay.c (training again). */
#ifndef DD_RUN_VERIFY_H
#define DD_RUN_VERIFY_H
#include "run/rundir.h"
#include "run/settings.h"

/** --replay as two iterations: "A..B", or "last" for the two newest checkpoints in file[n] (newest first). DD_E_USAGE
 *  when it is neither, or a checkpoint is missing. */
int dd_replay_range(const char *text, const dd_run_file *file, size_t n, int64_t range[2], dd_error *err);
/** Train again from the checkpoint of range[0] to that of range[1] and compare the losses and fingerprints that
 *  metrics.jsonl holds in between, and at the end every tensor and the state. DD_OK: all is equal, text says what was
 *  compared. DD_E_DIVERGED: it is not, text says what and where. Other codes: could not be done. */
int dd_replay(const char *dir, const char *from, const char *to, const dd_settings *given, const dd_callbacks *cb,
              char text[512], dd_error *err);
#endif
