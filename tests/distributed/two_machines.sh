#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# torchrun on two machines with two processes each, which are network namespaces joined by a cable:
#   two_machines.sh PYTHON command...
set -uo pipefail
python="$1"
shift

one="culprit-one-$$" two="culprit-two-$$"
clean_up() {
  ip netns delete "$one"
  ip netns delete "$two"
} 2>/dev/null
trap clean_up EXIT

if ! ip netns add "$one" || ! ip netns add "$two" ||
  ! ip link add culprit netns "$one" type veth peer name culprit netns "$two"; then
  echo "SKIPPED: needs network namespaces: iproute2, and to be root"
  exit 77
fi
set -e
for machine in "$one:1" "$two:2"; do
  ip -n "${machine%:*}" address add "10.213.7.${machine#*:}/24" dev culprit
  ip -n "${machine%:*}" link set lo up
  ip -n "${machine%:*}" link set culprit up
done

node() {
  local machine="$1" address="$2" hosts="$3"
  shift 3
  ip netns exec "$machine" "$python" -m torch.distributed.run --no-python --nnodes 2 --nproc-per-node 2 \
    --max-restarts 1 --rdzv-backend c10d --rdzv-endpoint 10.213.7.1:29400 --rdzv-conf "is_host=$hosts" \
    --local-addr "$address" "$@"
}
node "$one" 10.213.7.1 1 "$@" &
first=$!
node "$two" 10.213.7.2 0 "$@"
wait "$first"
