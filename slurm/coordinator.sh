#!/bin/bash
# The coordinator of a study as a job of its own, for those who prefer sbatch:
#   sbatch --account=... --partition=... slurm/coordinator.sh -m task=banking77 method=lora,full slurm=mycluster
# PYTHON names the Python to use (default: the one first on PATH where sbatch was called).
#SBATCH --job-name=harness-coordinator
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
# Ten minutes before the limit it leaves, is requeued, and takes its jobs over again.
#SBATCH --signal=B:USR2@600
exec "${PYTHON:-python}" -u -m harness "$@"
