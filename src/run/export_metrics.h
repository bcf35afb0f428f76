/* metrics.jsonl of a run in forms that other programs read. */
#ifndef DD_RUN_EXPORT_METRICS_H
#define DD_RUN_EXPORT_METRICS_H
#include "core/error.h"

/** Columns of the table: X(record it stands in, key there, column). A row is an iteration that has a record; what it
 *  does not have, and numbers that are not finite, are empty. Columns dropout_embed ... follow `dropout` when the run
 *  has rates for single sites. */
#define DD_CSV_COLUMNS(X)                                                                                            \
  X("step", "loss", "loss") X("eval", "train_loss", "train_loss") X("eval", "val_loss", "val_loss")                  \
  X("eval", "best_val_loss", "best_val_loss") X("eval", "best_iter", "best_iter")                                    \
  X(NULL, "dropout", "dropout") X("step", "lr", "lr") X(NULL, "grad_norm", "grad_norm")                              \
  X("step", "ms_per_iter", "ms_per_iter") X("step", "tokens_per_s", "tokens_per_s")                                  \
  X(NULL, "elapsed_s", "elapsed_s") X("skip", "skipped", "skipped") X("rollback", "rollbacks", "rollbacks")          \
  X("eval", "fingerprint", "fingerprint")

/** A table with a head, numbers with as many digits as they need. run: directory of a run. path: file that is replaced;
 *  "-": through cb->text. DD_E_USAGE: no run there; DD_E_CORRUPT: no record can be read. Damaged lines are told. */
int dd_export_csv(const char *run, const char *path, const dd_callbacks *cb, dd_error *err);

/** What an export wrote; added to. */
typedef struct dd_written {
  int64_t files, bytes;
} dd_written;

/** Event files for TensorBoard in dir, which is made: one file, that an export of the same run replaces. run may be the
 *  directory of a study, or of runs: then each run has a directory of its name in dir. written: may be NULL. */
int dd_export_tensorboard(const char *run, const char *dir, dd_written *written, const dd_callbacks *cb, dd_error *err);
#endif
