#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The search for neighbours beside FAISS (PyPI's faiss-cpu, IndexFlatIP) on a table of the same size and as many threads,
# by turns, once a round; the medians in milliseconds and their ratio are printed.
#   bash benchmarks/peers/neighbors.sh [ROUNDS [THREADS]]
# CULPRIT_BENCHMARKS=FILE is the program of the benchmarks where it is not to be built.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

rounds="${1:-5}"
threads="${2:-2}"
program="${CULPRIT_BENCHMARKS:-build/bench/bin/benchmarks}"
if [ -z "${CULPRIT_BENCHMARKS:-}" ]; then
  . cmake/setup.sh
  cmake --preset bench
  cmake --build --preset bench
fi
peers=build/peers
if [ ! -x "$peers/bin/python" ]; then python3 -m venv "$peers"; fi
"$peers/bin/python" -m pip install --quiet faiss-cpu==1.15.1 numpy==2.4.6

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
ours() {
  OMP_NUM_THREADS="$threads" "$program" --benchmark_filter="^neighbors/$1/" --benchmark_format=csv 2>/dev/null |
    awk -F, '/^"neighbors/ {print $3}' >>"$work/$1"
}
for ((round = 0; round < rounds; ++round)); do
  "$peers/bin/python" benchmarks/peers/neighbors.py "$threads" >>"$work/faiss"
  ours among_themselves
  ours of_others
done

median() {
  sort -n "$work/$1" | awk '{value[NR] = $1} END {print (value[int((NR + 1) / 2)] + value[int(NR / 2) + 1]) / 2}'
}
printf '%-18s %12s %10s\n' "" milliseconds "to faiss"
for name in faiss among_themselves of_others; do
  awk -v name="$name" -v value="$(median "$name")" -v faiss="$(median faiss)" \
    'BEGIN {printf "%-18s %12.0f %10.2f\n", name, value, value / faiss}'
done
