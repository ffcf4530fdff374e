#!/bin/bash
# On a machine with a CUDA card: the tests that need one, what a guarded step costs there, and as much of the paper's
# CIFAR-100 as there is time for.
#
#   bench/gpu.sh DATA_ROOT OUT [JOBS [BUDGET]]       for example: bench/gpu.sh ~/.cache/agscl/data runs/gpu 8 8m
#
# JOBS runs share the card. What is finished is left alone and what is not goes on: call it again at any time.
set -euo pipefail
data_root=$(realpath "$1") out=$2 jobs=${3:-8} budget=${4:-8m}
mkdir -p "$out"
out=$(realpath "$out")
cd "$(dirname "$0")/.."
export PYTHON=${PYTHON:-.venv/bin/python} OMP_NUM_THREADS=1

"$PYTHON" -m pytest -q -rs tests/cuda 2>&1 | tee "$out/tests.txt"
"$PYTHON" -m pytest -q --capture=no bench/test_cuda_step.py 2>&1 | tee "$out/steps.txt"

plan=(paper-cifar100 --device cuda --data-root "$data_root" --out "$out/runs")
"$PYTHON" -m agscl reproduce "${plan[@]}" --jobs "$jobs" --budget "$budget" 2>&1 | tee "$out/reproduce.txt"
"$PYTHON" -m agscl reproduce "${plan[@]}" --list --json > "$out/plan.json"
"$PYTHON" -m agscl runs "$out/runs" --out "$out/runs.csv" > /dev/null
