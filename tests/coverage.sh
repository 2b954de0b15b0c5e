#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Prints which share of the lines of include/ the tests run. It builds them with g++ --coverage in build/coverage.
#   tests/coverage.sh                 all test programs that use the library
#   tests/coverage.sh core_tests      these alone; core_tests needs no LibTorch and takes minutes
# CULPRIT_COVERAGE_DETAILS=FILE.html writes the lines as well.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. cmake/setup.sh coverage

programs=("$@")
if [ "${#programs[@]}" -eq 0 ]; then
  programs=(core_tests library_tests distributed_tests example_tests reference_tests exported_tests)
fi
build=build/coverage
libtorch=ON
if [ "${programs[*]}" = core_tests ]; then libtorch=OFF; fi

# Inlined functions would share their lines' counts.
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_COMPILER=g++ -DCULPRIT_BUILD_BENCHMARKS=OFF \
  -DCULPRIT_WITH_TORCH="$libtorch" "-DCMAKE_CXX_FLAGS=--coverage -O0 -fno-inline -fprofile-update=atomic" >/dev/null
cmake --build "$build" --target "${programs[@]}"
find "$build" -name '*.gcda' -delete
names="$(IFS='|' && echo "${programs[*]}")"
ctest --test-dir "$build" --output-on-failure --label-exclude nightly --tests-regex "^($names|io/python_roundtrip)"

report=(--txt-summary)
if [ -n "${CULPRIT_COVERAGE_DETAILS:-}" ]; then report+=(--html-details "$CULPRIT_COVERAGE_DETAILS"); fi
# A line of a template counts once, however many instances there are of it.
.venv/bin/python -m gcovr --root . --filter include/ --merge-lines --merge-mode-functions merge-use-line-min \
  --exclude-unreachable-branches --exclude-throw-branches --txt - "${report[@]}" "$build/tests"
