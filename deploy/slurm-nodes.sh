#!/bin/bash
# One run on the GPUs of several nodes of SLURM, on PyTorch or JAX. In the clone, whose .venv has text-zoo, on a file
# system that all nodes share, as the cache and the runs are:
#
#     python -m zoo.fetch imdb_bert
#     KERAS_BACKEND=torch sbatch deploy/slurm-nodes.sh imdb_bert                         # a process for each GPU
#     KERAS_BACKEND=jax sbatch --ntasks-per-node=1 deploy/slurm-nodes.sh imdb_bert       # a process for each node
#
# SLURM starts the processes, and not torchrun: so its SIGTERM, five minutes before the time is up, is told to each of
# them, the run saves itself and ends in 143, and the job is put back into the queue. docs/deploying.md says more.
#SBATCH --job-name=text-zoo
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --mem=128G
#SBATCH --gres=gpu:4
#SBATCH --time=08:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.out

set -euo pipefail

recipe=${1:?usage: sbatch deploy/slurm-nodes.sh RECIPE [--profile NAME] [--set KEY=VALUE]...}
out=${ZOO_RUNS:-runs}/$(basename "$recipe" .yaml)-job-$SLURM_JOB_ID
export PATH=$PWD/.venv/bin:$PATH

python -m zoo.fetch "$@"

# Where the first process listens, and how many there are: as torchrun, and as jax, would have it.
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 10000))
export MASTER_ADDR=$first MASTER_PORT=$port TORCHELASTIC_RUN_ID=$SLURM_JOB_ID WORLD_SIZE=$SLURM_NTASKS
export LOCAL_WORLD_SIZE=$((SLURM_NTASKS / SLURM_JOB_NUM_NODES))
export JAX_COORDINATOR_ADDRESS=$first:$port JAX_NUM_PROCESSES=$SLURM_NTASKS

code=0
# Which process it is, each of them knows by itself.
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" --kill-on-bad-exit=0 bash -c '
    export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID JAX_PROCESS_ID=$SLURM_PROCID
    exec python -m zoo.run "$@"
' task "$@" --devices "$((SLURM_JOB_NUM_NODES * SLURM_GPUS_ON_NODE))" --out "$out" --resume || code=$?
if [ "$code" -eq 143 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
