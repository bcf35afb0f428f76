#!/bin/sh
# A long run under Slurm that is queued again until it is done.
#
#   sbatch bench/recipes/slurm-train.sh -o runs/long [OPTION OF dd-cpu train]...
#
# Two minutes before its time is up (or when it is preempted) the job's step gets SIGTERM, saves within one micro-batch
# and ends with 75; then the job is queued again and goes on from there to the same bits. DD_CPU names the program.

#SBATCH --job-name=dd-cpu
#SBATCH --nodes=1 --ntasks=1 --cpus-per-task=16
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append

srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" "${DD_CPU:-dd-cpu}" train --auto-resume "$@"
code=$?
[ $code != 75 ] || scontrol requeue "$SLURM_JOB_ID"
exit $code
