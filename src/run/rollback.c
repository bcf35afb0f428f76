/* --on-nan rollback: the run goes back to its newest planned checkpoint and on from there with other batches. Which one
 * that is, and which batches, follows from data and settings; checkpoints made on request are none to go back to. */
#include "core/file.h"
#include "run/train.h"
#include <stdlib.h>
#include <string.h>

static int load_anchor(dd_job *j, int64_t anchor, dd_error *err) {
  dd_run_file *file;
  size_t n, i = 0;
  int rc = dd_run_checkpoints(dd_rundir_path(j->dir), &file, &n, err);
  if (rc) return rc;
  rc = dd_fail(err, DD_E_IO, "its checkpoint is gone");
  for (; i < n && rc; i++) { /* there may be one under its second name */
    char path[4096];
    dd_checkpoint *c = NULL;
    if (file[i].iter != anchor) continue;
    rc = dd_path_join(path, sizeof path, dd_rundir_path(j->dir), file[i].name, err);
    if (!rc) rc = dd_checkpoint_open(path, &c, err);
    if (!rc) rc = dd_checkpoint_verify(c, err);
    if (!rc) rc = dd_job_load(j, c, err);
    dd_checkpoint_close(c);
  }
  free(file);
  return rc ? dd_fail_prefix(err, "cannot roll back to iteration %lld: ", (long long)anchor) : DD_OK;
}

/* Checkpoints beyond the state that was gone back to: a resume must not take them for newer ones. */
static int discard_after(dd_job *j, int64_t iter, dd_error *err) {
  dd_run_file *file;
  size_t n;
  int rc = dd_run_checkpoints(dd_rundir_path(j->dir), &file, &n, err);
  if (rc) return rc;
  for (size_t i = 0; i < n && !rc; i++) {
    char path[4096];
    if (file[i].iter <= iter) continue;
    rc = dd_path_join(path, sizeof path, dd_rundir_path(j->dir), file[i].name, err);
    if (!rc && dd_fs()->unlink(path)) rc = dd_fail(err, DD_E_IO, "cannot remove %.700s", path);
  }
  free(file);
  return rc;
}

/* Records of iterations gone back over that metrics.jsonl did not take yet. */
static void forget_records(dd_job *j) {
  for (size_t i = json_array_size(j->unlogged); i-- > 0;) {
    const json_t *iter = json_object_get(json_array_get(j->unlogged, i), "iter");
    if (iter && json_integer_value(iter) >= j->state.iter) json_array_remove(j->unlogged, i);
  }
}

int dd_job_rollback(dd_job *j, dd_error *err) {
  const dd_guard_state was = j->state.guard;
  const double elapsed = j->state.elapsed_s;
  dd_error why;
  int rc = DD_OK;
  dd_job_durable(j, NULL); /* nothing under way while files go */
  if (was.anchor < 0) rc = dd_job_begin(j, err);
  else rc = load_anchor(j, was.anchor, err);
  if (rc) return rc;
  j->state.elapsed_s = elapsed;
  j->state.guard.anchor = was.anchor;
  j->state.guard.redraw = was.redraw + 1;
  j->state.guard.rollbacks = was.rollbacks + 1;
  /* First the state from which a resume goes on like this, then nothing else that it could take. */
  dd_job_save(j);
  dd_job_durable(j, &why);
  if (why.code) return dd_fail(err, why.code, "cannot roll back to iteration %lld: %.700s", (long long)j->state.iter,
                               why.message);
  rc = discard_after(j, j->state.iter, err);
  if (!rc) rc = dd_metrics_truncate_after(j->dir, j->state.iter - 1, err);
  if (!rc) rc = dd_metrics_reopen(j->metrics, err);
  if (!rc) forget_records(j);
  return rc;
}
