#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The whole `culprit experiment prune` beside as many plain batched forward passes (the benchmark plain_forward, ResNet-20,
# 128 images a batch), before and after it; seconds and the ratio are printed.
#   bash benchmarks/prune.sh BASELINE.safetensors [DATA [WEIGHTS]]
# CULPRIT_BIN=FOLDER has the programs where they are not to be built.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

baseline="$1"
data="${2:-folder:../shared/data/cifar10/test}"
weights="${3:-../shared/data/weights/resnet20_cifar10.safetensors}"
bin="${CULPRIT_BIN:-build/bench/bin}"
if [ -z "${CULPRIT_BIN:-}" ]; then
  . cmake/setup.sh
  cmake --preset bench
  cmake --build --preset bench
fi

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
plain() {
  "$bin/benchmarks" --benchmark_filter='^plain_forward' --benchmark_min_time=5 --benchmark_format=csv 2>/dev/null |
    awk -F, '/^"plain_forward/ {print $3}' >>"$work/plain"
}
plain
start="$(date +%s.%N)"
"$bin/culprit" experiment prune --model "resnet20:$weights" --data "$data" --preset cifar10 --baseline "$baseline" \
  --batch 128 --seed 1 --out "$work/prune" >/dev/null
end="$(date +%s.%N)"
plain

python3 - "$work" "$start" "$end" <<'PYTHON'
import csv, json, sys
work, start, end = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
facts = json.load(open(work + "/prune/prune.json"))
sizes = len({row["k"] for row in facts["rows"]})
images = facts["wrong"] * sizes * (2 + facts["random draws"])
milliseconds = [float(line) for line in open(work + "/plain")]
plain = images / 128 * sum(milliseconds) / len(milliseconds) / 1000
print(f"{images} prunings of {facts['wrong']} wrong among {facts['samples']} images: {end - start:.1f} s")
print(f"as many plain forward passes: {plain:.1f} s (batches of {', '.join(f'{m:.1f}' for m in milliseconds)} ms)")
print(f"ratio {(end - start) / plain:.2f}")
PYTHON
