/* --on-nan rollback: the run goes back to its newest planned checkpoint and on from there with other batches. Which one
 * that is, and which batches, follows from data and settings; checkpoints made on request are none to go back to. */
#include "core/file.h"
#include "run/train.h"
#include <stdlib.h>
#include <string.h>

static int load_anchor(dd_job *j, int64_t anchor, dd_error *err) {
  char path[4096];
  dd_checkpoint *c = NULL;
  int rc = dd_rundir_checkpoint_path(j->dir, anchor, path, sizeof path, err);
  if (!rc) rc = dd_checkpoint_open(path, &c, err);
  if (!rc) rc = dd_checkpoint_verify(c, err);
  if (!rc) rc = dd_job_load(j, c, err);
  dd_checkpoint_close(c);
  return rc ? dd_fail_prefix(err, "cannot roll back to iteration %lld: ", (long long)anchor) : DD_OK;
}

/* Checkpoints beyond the state that was gone back to: a resume must not take them for newer ones. */
static int discard_after(dd_job *j, int64_t iter, dd_error *err) {
  int64_t *iters;
  size_t n;
  int rc = dd_rundir_candidates(j->dir, &iters, &n, err);
  if (rc) return rc;
  for (size_t i = 0; i < n && !rc; i++) {
    char path[4096];
    if (iters[i] <= iter) continue;
    rc = dd_rundir_checkpoint_path(j->dir, iters[i], path, sizeof path, err);
    if (!rc && dd_fs()->unlink(path)) rc = dd_fail(err, DD_E_IO, "cannot remove %.700s", path);
  }
  free(iters);
  return rc;
}

int dd_job_rollback(dd_job *j, dd_error *err) {
  const dd_guard_state was = j->state.guard;
  const double elapsed = j->state.elapsed_s;
  int rc = DD_OK;
  if (was.anchor < 0) dd_job_begin(j);
  else rc = load_anchor(j, was.anchor, err);
  if (rc) return rc;
  j->state.elapsed_s = elapsed;
  j->state.guard.anchor = was.anchor;
  j->state.guard.redraw = was.redraw + 1;
  j->state.guard.rollbacks = was.rollbacks + 1;
  /* First the state from which a resume goes on like this, then nothing else that it could take. */
  rc = dd_job_save(j, err);
  if (!rc) rc = discard_after(j, j->state.iter, err);
  if (!rc) rc = dd_metrics_truncate_after(j->dir, j->state.iter - 1, err);
  if (!rc) rc = dd_metrics_reopen(j->metrics, err);
  return rc;
}
