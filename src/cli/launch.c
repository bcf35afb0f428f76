/* What a launcher of ranks may start. */
#include "cli/cli.h"
#include "core/ranks.h"
#include <time.h>

/* Started several times by mpirun: copies of anything but training would do the same work, and write over each other.
 */
int dd_cli_check_launch(const dd_cli *cli, dd_error *err) {
  const dd_launch l = dd_ranks_launch();
  const unsigned use = cli->command->use;
  if (l.size < 2 || use == DD_USE_INFO || (use & DD_USE_TRAIN && !(use & DD_USE_COMPARE))) return DD_OK;
  if (use & DD_USE_COMPARE && *cli->settings->shard) return DD_OK;
  return dd_fail(err, DD_E_USAGE,
                 "`dd-cpu %s` does not work over ranks and was started %d times (%s is set); start it "
                 "once, without mpirun%s",
                 cli->command->name, l.size, l.sign,
                 use & DD_USE_COMPARE ? ", or give every copy its own --shard" : "");
}

/* The first that fails makes the launcher kill the others: rank 0 gets the time to start and to speak, and then it is
 * this one that is killed. */
void dd_cli_refused(dd_cli *cli) {
  cli->silent = dd_ranks_launch().rank > 0;
  if (cli->silent) nanosleep(&(struct timespec){.tv_sec = 2}, NULL);
}
