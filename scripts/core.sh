#!/usr/bin/env bash
# Runs of the suite `core`, in the order in which they matter most: unit by unit, none and obs-adv first.
# The same command again goes on where it stopped. Usage: scripts/core.sh [WORKERS] [UNITS] [CORRUPTION ...]
set -eu
workers=${1:-2} units=${2:-1}
shift $(($# < 2 ? $# : 2))
corruptions=${*:-obs-adv none obs-random mix-adv mix-random}
for unit in $(seq 0 $((units - 1))); do
  for corruption in $corruptions; do
    for algorithm in "riql --sam" riql "iql --sam" iql bc; do
      echo "--algo $algorithm --corrupt $corruption --unit $unit"
    done
  done
done | xargs -P "$workers" -L 1 corruptbench run --out results
