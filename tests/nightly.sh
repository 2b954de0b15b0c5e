#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# What takes too long for every change, about ten hours on two cores: bash tests/nightly.sh [STEP...]
# Steps: build, labelled, fuzz, scripts, soak, coverage, mutants, newer_torch; without one all of them. Says at the end which failed.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. cmake/setup.sh tests

build() {
  cmake --preset release && cmake --build --preset release --target culprit reference_tests gpu_tests cli_tests && cmake --preset asan &&
    cmake --build --preset asan
}

# The tests with the label nightly, which `ctest --preset release` leaves out.
labelled() { ctest --test-dir build/release --output-on-failure --label-regex '^nightly$'; }

# Ten million inputs for each reader, with the address and undefined behaviour sanitizers: of up to 1 KiB, for what a
# larger compressed one unpacks to takes a millisecond and more (in CI they have up to 8). A million at a time, so that
# the next call goes on where one was cut off. A fuzzer that was built anew starts over.
fuzz_reader() {
  local fuzzer="$1" name="${1##*/fuzz_}" done=0 counted
  counted="build/found/$name-$(sha256sum "$fuzzer" | cut -c 1-16).millions"
  mkdir -p "build/found/$name"
  if [ -e "$counted" ]; then done="$(cat "$counted")"; fi
  while [ "$done" -lt 10 ]; do
    if ! "$fuzzer" "-seed=$((done + 2))" -runs=1000000 -max_len=1024 "-artifact_prefix=build/found/$name-" \
      "build/found/$name" "tests/fuzz/corpus/$name" >"build/found/$name.log" 2>&1; then
      grep -E 'what\(\)|SUMMARY' "build/found/$name.log"
      return 1
    fi
    done=$((done + 1))
    echo "$done" >"$counted"
  done
  echo "fuzz $name: $done million inputs"
}
export -f fuzz_reader

fuzz() { printf '%s\n' build/asan/bin/fuzz_* | xargs -P "$(nproc)" -I{} bash -c 'fuzz_reader {}'; }

# A thousand damaged TorchScript files through --isolate.
scripts() { .venv/bin/python tests/cli/mutated_scripts.py build/release/bin/culprit 1000; }

# Half an hour of one run, whose memory must not grow.
soak() { .venv/bin/python tests/soak.py build/release/bin/culprit 30; }

coverage() { bash tests/coverage.sh; }

mutants() { .venv/bin/python tests/mutants.py; }

# The library and all its consumers with a newer LibTorch, which takes 5 GB meanwhile.
newer_torch() {
  local version=2.15.0 folder=build/newer_torch status=0
  python3 -m venv "$folder/venv" &&
    "$folder/venv/bin/pip" install --quiet --no-input --disable-pip-version-check "torch==$version" &&
    CULPRIT_TORCH="$(echo "$PWD/$folder"/venv/lib/python3*/site-packages/torch)" cmake --preset release -B "$folder/build" &&
    cmake --build "$folder/build" --target library_tests &&
    ctest --test-dir "$folder/build" --output-on-failure --tests-regex '^(consumer|library_tests)/' || status=1
  rm -rf "$folder/venv"
  return "$status"
}

failed=()
for step in "${@:-build}" $([ $# -eq 0 ] && echo labelled fuzz scripts soak coverage mutants newer_torch); do
  "$step" || failed+=("$step")
done
echo "failed: ${failed[*]:-none}"
[ ${#failed[@]} -eq 0 ]
