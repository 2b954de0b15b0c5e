#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Installs what is missing, builds everything and runs all tests and checks; ends with ctest's summary.
# CULPRIT_TORCH=DIR or CMAKE_PREFIX_PATH uses a LibTorch that is there already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. cmake/setup.sh tests

cmake --preset release
cmake --build --preset release
ctest --preset release
