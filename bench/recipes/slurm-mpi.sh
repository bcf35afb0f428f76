#!/bin/sh
# One training over several machines under Slurm, queued again until it is done.
#
#   sbatch --nodes=4 bench/recipes/slurm-mpi.sh -o runs/long --gradient-accumulation-steps 8 [OPTION OF dd-cpu train]...
#
# One rank per machine with all its cores; --gradient-accumulation-steps must be at least the number of ranks. The run
# directory and the text must be on a file system that the machines share. Two minutes before its time is up every rank
# gets SIGTERM, rank 0 saves, and the job is queued again; it may go on with another number of machines, to the same bits.
# MPI_TYPE is what `srun --mpi=list` offers for the MPI that the plugin was built with: pmix (Open MPI) or pmi2 (MPICH).
# DD_CPU names the program.

#SBATCH --job-name=dd-cpu
#SBATCH --nodes=2 --ntasks-per-node=1 --cpus-per-task=16
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append

srun --mpi="${MPI_TYPE:-pmix}" --kill-on-bad-exit=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" \
  "${DD_CPU:-dd-cpu}" train --auto-resume "$@"
code=$?
[ $code != 75 ] || scontrol requeue "$SLURM_JOB_ID"
exit $code
