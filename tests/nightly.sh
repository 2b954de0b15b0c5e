#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# What takes too long for every change, about ten hours on two cores: bash tests/nightly.sh [STEP...]
# Steps: build, fuzz, scripts, soak, coverage, mutants; without one all of them. Says at the end which failed.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. cmake/setup.sh tests

build() {
  cmake --preset release && cmake --build --preset release --target culprit && cmake --preset asan &&
    cmake --build --preset asan
}

# Ten million inputs for each reader, with the address and undefined behaviour sanitizers.
fuzz() {
  local failed=0 fuzzer name
  for fuzzer in build/asan/bin/fuzz_*; do
    name="${fuzzer##*/fuzz_}"
    mkdir -p "build/found/$name"
    echo "fuzz $name"
    "$fuzzer" -seed=2 -runs=10000000 -max_len=8192 -print_final_stats=1 "-artifact_prefix=build/found/$name-" \
      "build/found/$name" "tests/fuzz/corpus/$name" >"build/found/$name.log" 2>&1 || failed=1
    grep -E 'stat::number_of_executed_units|SUMMARY' "build/found/$name.log"
  done
  return $failed
}

# A thousand damaged TorchScript files through --isolate.
scripts() { .venv/bin/python tests/cli/mutated_scripts.py build/release/bin/culprit 1000; }

# Half an hour of one run, whose memory must not grow.
soak() { .venv/bin/python tests/soak.py build/release/bin/culprit 30; }

coverage() { bash tests/coverage.sh; }

mutants() { .venv/bin/python tests/mutants.py core engine aggregate; }

failed=()
for step in "${@:-build}" $([ $# -eq 0 ] && echo fuzz scripts soak coverage mutants); do
  "$step" || failed+=("$step")
done
echo "failed: ${failed[*]:-none}"
[ ${#failed[@]} -eq 0 ]
