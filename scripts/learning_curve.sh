#!/usr/bin/env bash
# How many steps are enough: IQL on the clean hopper-replay, separate runs per horizon (the cosine belongs to it).
# The same command again goes on where it stopped. Usage: scripts/learning_curve.sh [WORKERS] [UNITS]
set -eu
workers=${1:-2} units=${2:-3}
for unit in $(seq 0 $((units - 1))); do
  for steps in 25000 50000 100000; do
    echo "--algo iql --corrupt none --unit $unit --steps $steps"
  done
done | xargs -P "$workers" -L 1 corruptbench run --out results
