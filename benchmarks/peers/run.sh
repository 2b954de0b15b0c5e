#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Whole jobs on one machine, by turns: the raw profiles of a batch by culprit, by PyTorch alone, by Opacus and by BackPACK,
# beside an ordinary training step; see run.py. Prints a table for each network and writes build/peers/peers.json and .svg.
#   bash benchmarks/peers/run.sh [ROUNDS [THREADS [NETWORK[:BATCH]...]]]
#   bash benchmarks/peers/run.sh ROUNDS THREADS --device cuda [NETWORK[:BATCH]...]     all jobs on a GPU
# CULPRIT_BIN=FOLDER has the program peer_job where it is not to be built.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

rounds="${1:-7}"
threads="${2:-$(nproc)}"
if [ -z "${CULPRIT_BIN:-}" ]; then
  . cmake/setup.sh
  cmake --preset bench
  cmake --build --preset bench --target peer_job
fi
peers=build/peers
if [ ! -x "$peers/bin/python" ]; then python3 -m venv "$peers"; fi
# The torch of the build, where it is PyPI's: the same LibTorch for both languages, and 5 GB that are there already.
for packages in "$PWD"/.venv/lib/python3*/site-packages; do
  if [ -d "$packages/torch" ]; then
    echo "$packages" >"$("$peers/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/build_torch.pth"
  fi
done
"$peers/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.11.0 torchvision==0.26.0 numpy==2.4.6 \
  safetensors==0.8.0 opacus==1.6.0 backpack-for-pytorch==1.7.1

# Every process keeps the memory that it has freed (glibc): to ask the system for it again costs each batch up to as much as
# the layer that needs it, most of all on a virtual machine, and says nothing of the methods.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=68719476736
export OMP_NUM_THREADS="$threads" OMP_WAIT_POLICY=passive
"$peers/bin/python" benchmarks/peers/run.py --bin "${CULPRIT_BIN:-build/bench/bin}" --rounds "$rounds" --threads "$threads" \
  "${@:3}"
