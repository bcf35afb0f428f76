#!/bin/sh
# A study as a job array: every task trains its part of the grid, all in one directory; the last one reports on all.
#
#   sbatch --array=1-8 bench/recipes/slurm-compare.sh -o studies/NAME [OPTION OF dd-cpu compare]...
#
# A task that is stopped by SIGTERM saves its runs, ends with 75 and is queued again; compare goes on where it was. To
# save without stopping: scancel --signal=USR1 JOB. DD_CPU names the program.

#SBATCH --job-name=dd-cpu
#SBATCH --nodes=1 --ntasks=1 --cpus-per-task=16
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append

srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" "${DD_CPU:-dd-cpu}" compare \
  --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" "$@"
code=$?
[ $code != 75 ] || scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
exit $code
