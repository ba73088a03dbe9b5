#!/usr/bin/env bash
# Which attack harms a learner: IQL and RIQL under each attack on the observations of hopper-replay, unit by unit.
# The same command again goes on where it stopped. Usage: scripts/attack_study.sh [WORKERS] [UNITS] [THREAT ...]
set -eu
workers=${1:-2} units=${2:-3}
shift $(($# < 2 ? $# : 2))
threats=${*:-none obs-adv obs-zero obs-swap obs-inflate obs-targeted obs-targeted:by=advantage obs-adv:preset=riql2024
  obs-gauss obs-adv:preset=rdt2025 obs-random}
for unit in $(seq 0 $((units - 1))); do
  for threat in $threats; do
    for algorithm in iql riql; do
      echo "--algo $algorithm --corrupt $threat --unit $unit --steps 25000"
    done
  done
done | xargs -P "$workers" -L 1 corruptbench run --out results
