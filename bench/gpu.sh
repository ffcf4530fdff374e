#!/bin/bash
# On a machine with a CUDA card: the tests that need one, what a guarded step costs there, and the runs of results/.
#
#   bench/gpu.sh DATA_ROOT OUT [JOBS [SEEDS]]       for example: bench/gpu.sh ~/.cache/agscl runs/gpu 8 "0 1 2"
#
# JOBS runs share the card. What is finished in OUT is left alone and what is not goes on: call it again at any time.
set -euo pipefail
data_root=$(realpath "$1") out=$2 jobs=${3:-8} seeds=${4:-0 1 2}
cd "$(dirname "$0")/.."
export PYTHON=${PYTHON:-.venv/bin/python} OMP_NUM_THREADS=1
mkdir -p "$out"

"$PYTHON" -m pytest -q -rs tests/cuda
"$PYTHON" -m pytest -q --capture=no bench/test_cuda_step.py

# One line a run, the most needed first: folder, preset, method and options.
runs() {
  for seed in $seeds; do
    for epochs in 100 15; do
      for method in ags-cl fine-tuning lwf wsn ewc mas si rwalk hat joint; do
        echo "cifar100-$epochs-epochs/$method-$seed cifar100 --method $method --epochs $epochs --seed $seed"
      done
    done
    for method in ags-cl fine-tuning lwf wsn ewc; do
      echo "omniglot-100-epochs/$method-$seed omniglot --method $method --seed $seed"
    done
  done
}

one() {
  folder=$2/$3; shift 3
  mkdir -p "$(dirname "$folder")"
  "$PYTHON" -m agscl run "$@" --device cuda --precision fp32 --data-root "$DATA_ROOT" --out "$folder" --resume \
    > "$folder.log" 2>&1 && echo "$folder: done" || echo "$folder: FAILED, see $folder.log"
}
export -f one
export DATA_ROOT=$data_root
runs | xargs -P "$jobs" -I{} bash -c "one - $out {}"
