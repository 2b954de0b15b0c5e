#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# How long does a program that uses culprit compile, against one that includes LibTorch's own umbrella header and does
# nothing? Each is compiled to an object once a round, by turns; the medians are printed, of the clock's seconds and of
# the processor's, which other work on the machine moves less; without optimisation, the compilers' default, and with -O2.
#   bash benchmarks/compile_time/run.sh [ROUNDS]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. cmake/setup.sh

rounds="${1:-5}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# The folders in which the build finds culprit and what it includes.
cmake --preset headers -B "$work" >"$work/configure.log" || { cat "$work/configure.log" >&2 && exit 1; }
read -r -a folders <<<"$(grep -E '"command":.*headers/culprit/culprit\.cpp' "$work/compile_commands.json" |
  grep -oE -- '-(I|isystem )[^ ]+|-D[^ ]+' | tr '\n' ' ')"

# Compiles one of the programs and appends the seconds, by the clock and by the processor, to its file.
compile() {
  local compiler="$1" program="$2" TIMEFORMAT='%R %U'
  { time "$compiler" -std=c++20 "$level" -DNDEBUG "${folders[@]}" -c -o "$work/object.o" \
    "benchmarks/compile_time/$program.cpp" 2>&3; } 3>&2 2>>"$work/$compiler.$program"
}

# The median of a column of a compiler's measurements of a program.
median() {
  sort -n -k "$3,$3" "$work/$1.$2" |
    awk -v column="$3" '{value[NR] = $column} END {print (value[int((NR + 1) / 2)] + value[int(NR / 2) + 1]) / 2}'
}

ratio() {
  awk -v a="$(median "$1" torch "$2")" -v b="$(median "$1" five_lines "$2")" 'BEGIN {printf "%.2f", b / a}'
}

printf '%-12s %-12s %10s %10s\n' compiler seconds clock processor
for setting in "g++ -O0" "g++ -O2" "clang++-14 -O0" "clang++-14 -O2"; do
  read -r compiler level <<<"$setting"
  if ! command -v "$compiler" >/dev/null; then continue; fi
  rm -f "$work/$compiler".*
  echo "$setting"
  for ((round = 0; round < rounds; ++round)); do
    compile "$compiler" torch
    compile "$compiler" five_lines
  done
  for program in torch five_lines; do
    printf '%-12s %-12s %10.1f %10.1f\n' "$compiler" "$program" \
      "$(median "$compiler" "$program" 1)" "$(median "$compiler" "$program" 2)"
  done
  printf '%-12s %-12s %10s %10s\n' "$compiler" ratio "$(ratio "$compiler" 1)" "$(ratio "$compiler" 2)"
done
