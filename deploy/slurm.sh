#!/bin/bash
# A recipe with several seeds on SLURM, a GPU each: an array of jobs that know nothing of each other. In the clone, whose
# .venv has text-zoo, on a node that reaches the network:
#
#     python -m zoo.fetch imdb_bert
#     sbatch deploy/slurm.sh imdb_bert
#     sbatch --array=0-4 --time=02:00:00 deploy/slurm.sh imdb_bert --set training.epochs=2
#
# Five minutes before the time is up the run gets SIGTERM, saves itself and ends in 143; then the job is put back into
# the queue, and goes on from there when it is its turn. docs/deploying.md says more.
#SBATCH --job-name=text-zoo
#SBATCH --array=0-2
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --gres=gpu:1
#SBATCH --time=08:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%A_%a.out

set -euo pipefail

recipe=${1:?usage: sbatch deploy/slurm.sh RECIPE [--profile NAME] [--set KEY=VALUE]...}
out=${ZOO_RUNS:-runs}/$(basename "$recipe" .yaml)-seed-$SLURM_ARRAY_TASK_ID
export PATH=$PWD/.venv/bin:$PATH

# Nothing is left to bring where it was fetched before; without a network it would otherwise end here, in 4.
python -m zoo.fetch "$@"

code=0
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" \
    python -m zoo.run "$@" --set seed="$SLURM_ARRAY_TASK_ID" --out "$out" --resume || code=$?
if [ "$code" -eq 143 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
