#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Which filters are to blame for the mistakes of a small network on Fashion-MNIST?
#   bash examples/demo.sh            fits the baseline, explains the most confidently wrong images, finds others with the
#                                    same culprits, switches the filters to blame off in all wrong ones, and writes
#                                    build/demo/report.html
#   bash examples/demo.sh --train    trains the network anew first
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. cmake/setup.sh

data=/usr/share/datasets/fashion-mnist
weights=examples/weights/resnet8_fashion.safetensors
out=build/demo
case "${1:-}" in
  "") targets=(culprit) ;;
  --train) targets=(culprit train_fashion) weights=$out/resnet8_fashion.safetensors ;;
  *) echo "usage: bash examples/demo.sh [--train]" >&2 && exit 2 ;;
esac

cmake --preset release
cmake --build --preset release --target "${targets[@]}"
mkdir -p "$out"

if [ "${1:-}" = --train ]; then build/release/bin/train_fashion "$data" "$weights"; fi

# Threads of LibTorch that wait for each other by spinning make a busy machine many times slower.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
what=(--model "resnet8_fashion:$weights" --data "idx:$data" --preset fashion)
build/release/bin/culprit fit "${what[@]}" --out "$out/baseline.safetensors"
what+=(--baseline "$out/baseline.safetensors")
build/release/bin/culprit explain "${what[@]}" --wrong 4 --out "$out/explained"
build/release/bin/culprit profile "${what[@]}" --out "$out/profiles.safetensors"
build/release/bin/culprit neighbors --profiles "$out/profiles.safetensors" --queries wrong:4 --among wrong \
  --data "idx:$data" --preset fashion --out "$out/neighbors"
for experiment in correctness neighbors prune; do
  build/release/bin/culprit experiment "$experiment" "${what[@]}" --seed 1 --out "$out/results"
done
build/release/bin/culprit report --explained "$out/explained" --neighbors "$out/neighbors" --results "$out/results" \
  --out "$out/report.html"
