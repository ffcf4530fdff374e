#!/bin/bash
#SBATCH --job-name=agscl
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=1
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@300
#SBATCH --requeue
# A Ray cluster on the nodes of a Slurm job, and a plan (or a sweep) on it:  sbatch examples/slurm.sh
# The project, the results and the data lie on a file system that all nodes see. Five minutes before the end Slurm asks
# for it: runs save a checkpoint, and the next job with the same command goes on.
set -euo pipefail
DATA_ROOT=${DATA_ROOT:-$PWD/data}
export OMP_NUM_THREADS=1

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
ip=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}')
port=$((20000 + SLURM_JOB_ID % 20000))

srun --nodes=1 --ntasks=1 --nodelist="$head" \
  .venv/bin/ray start --head --node-ip-address="$ip" --port="$port" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
sleep 20
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
  srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) --exclude="$head" \
    .venv/bin/ray start --address="$ip:$port" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
  sleep 20
fi

# four runs share a card; or: agscl sweep cifar100 --methods ags-cl,ewc --out runs/sweep --resume --engine ray ...
.venv/bin/agscl reproduce paper-cifar100 --device cuda --data-root "$DATA_ROOT" \
  --engine ray --address "$ip:$port" --trial-cpus 2 --trial-gpus 0.25 &
driver=$!
trap 'kill -TERM "$driver"' TERM
code=0
wait "$driver" || code=$?
if [ "$code" -gt 128 ]; then code=0; wait "$driver" || code=$?; fi  # the signal ended the waiting, not the driver
if [ "$code" -eq 75 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$code"
