# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Sourced by the scripts that build: installs what the build needs and this machine lacks, and nothing else.
#   . cmake/setup.sh          to build and run the programs
#   . cmake/setup.sh tests    to run the tests and checks as well
#   . cmake/setup.sh coverage to see which lines the tests run, too
# LibTorch is PyPI's torch in .venv, unless CULPRIT_TORCH or CMAKE_PREFIX_PATH points at one.

setup_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

setup_debian=(
  g++ cmake ninja-build pkg-config ca-certificates python3-venv
  libeigen3-dev librange-v3-dev libcli11-dev libjpeg62-turbo-dev libpng-dev zlib1g-dev catch2 libbenchmark-dev
  dataset-fashion-mnist
)
setup_torch=(torch==2.11.0)
setup_python=()
if [ "${1:-}" = tests ] || [ "${1:-}" = coverage ]; then
  setup_debian+=(
    clang-14 clang-format-14 clang-tidy-14 libclang-rt-14-dev chromium doxygen doxygen-awesome-css python3-dev
  )
  setup_torch+=(torchvision==0.26.0 timm==1.0.31)
  setup_python+=(numpy==2.4.6 safetensors==0.8.0 pillow==13.0.0 pandas==3.1.1 setuptools==80.9.0)
fi
if [ "${1:-}" = coverage ]; then setup_python+=(gcovr==8.8); fi

# Runs a command and shows what it printed only if it failed.
setup_quietly() {
  local log
  log="$(mktemp)"
  if ! "$@" >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    echo "set-up failed: $*" >&2
    return 1
  fi
  rm -f "$log"
}

setup_packages() {
  local package missing=() as_root=()
  if ! command -v dpkg-query >/dev/null; then
    echo "set-up: not a Debian system, so these are taken to be there: ${setup_debian[*]}"
    return 0
  fi
  for package in "${setup_debian[@]}"; do
    if [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
      missing+=("$package")
    fi
  done
  if [ "${#missing[@]}" -eq 0 ]; then return 0; fi
  if [ "$(id -u)" -ne 0 ]; then as_root=(sudo); fi
  echo "set-up: installing Debian packages: ${missing[*]}"
  setup_quietly "${as_root[@]}" apt-get update -qq
  setup_quietly "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# Whether CULPRIT_TORCH or CMAKE_PREFIX_PATH points at a LibTorch, in any of the ways cmake/FindLibTorch.cmake takes.
setup_have_torch() {
  local start step starts=()
  IFS=: read -r -a starts <<<"${CULPRIT_TORCH:-}:${CMAKE_PREFIX_PATH:-}"
  for start in "${starts[@]}"; do
    for step in "" /torch /.. /../.. /../../..; do
      if [ -n "$start" ] && [ -e "$start$step/include/ATen/ATen.h" ]; then return 0; fi
    done
  done
  if [ -n "${CULPRIT_TORCH:-}" ]; then
    echo "set-up failed: CULPRIT_TORCH: expected a folder with LibTorch, came $CULPRIT_TORCH" >&2
    exit 1
  fi
  return 1
}

setup_venv() {
  local requirement wanted=("${setup_python[@]}") missing=() python=/usr/bin/python3
  local installed="$setup_root/.venv/installed.txt"
  if ! setup_have_torch; then wanted+=("${setup_torch[@]}"); fi
  for requirement in "${wanted[@]}"; do
    if ! grep -qxF "$requirement" "$installed" 2>/dev/null; then missing+=("$requirement"); fi
  done
  if [ "${#missing[@]}" -eq 0 ]; then return 0; fi
  if [ ! -x "$python" ]; then python=python3; fi
  echo "set-up: installing into .venv: ${missing[*]}"
  if [ ! -x "$setup_root/.venv/bin/pip" ]; then setup_quietly "$python" -m venv "$setup_root/.venv"; fi
  setup_quietly "$setup_root/.venv/bin/python" -m pip install --quiet --no-input --disable-pip-version-check \
    "${missing[@]}"
  printf '%s\n' "${missing[@]}" >>"$installed"
}

# A compiler at work on LibTorch's headers takes up to 2 GB.
setup_jobs() {
  local jobs room
  jobs="$(nproc)"
  room="$(awk '/^MemAvailable/ {print int($2 / 2000000)}' /proc/meminfo)"
  if [ "$room" -lt "$jobs" ]; then jobs=$((room > 0 ? room : 1)); fi
  export CMAKE_BUILD_PARALLEL_LEVEL="${CMAKE_BUILD_PARALLEL_LEVEL:-$jobs}"
  export CTEST_PARALLEL_LEVEL="${CTEST_PARALLEL_LEVEL:-$(nproc)}"
}

setup_packages
setup_venv
setup_jobs
