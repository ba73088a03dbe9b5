#!/usr/bin/env bash
# IQL and BC on the clean shipped datasets, the figures of their cards.
# The same command again goes on where it stopped. Usage: scripts/learned.sh [WORKERS] [UNITS] [DATASET ...]
set -eu
workers=${1:-2} units=${2:-2}
shift $(($# < 2 ? $# : 2))
datasets=${*:-hopper-replay halfcheetah-replay walker2d-replay}
for dataset in $datasets; do
  for unit in $(seq 0 $((units - 1))); do
    for algorithm in iql bc; do
      echo "--algo $algorithm --corrupt none --dataset $dataset --unit $unit"
    done
  done
done | xargs -P "$workers" -L 1 corruptbench run --out results
