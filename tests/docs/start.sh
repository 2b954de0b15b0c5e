#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Runs what docs/start.md shows, on a network with random weights and pictures of noise.
#   start.sh PROGRAM PYTHON
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
culprit="$1"
python="$2"
if ! "$python" -c "import PIL, torchvision" 2>/dev/null; then
  echo "SKIPPED: needs Python with torchvision and pillow"
  exit 0
fi
out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT
pictures="$out/pictures"
weights=random
"$python" - "$pictures" <<'END'
import os, pathlib, sys
from PIL import Image

for name in ("cat", "dog", "horse"):
    folder = pathlib.Path(sys.argv[1]) / name
    folder.mkdir(parents=True)
    for i in range(4):
        Image.frombytes("RGB", (64, 48), os.urandom(64 * 48 * 3)).save(folder / f"{i}.png")
END

# [own_model]
"$python" examples/export.py squeezenet1_1 "$out/model.pt" --weights "$weights"
what=(--model "$out/model.pt" --data "folder:$pictures" --preset imagenet)
"$culprit" fit "${what[@]}" --out "$out/baseline.safetensors"
"$culprit" explain "${what[@]}" --baseline "$out/baseline.safetensors" --wrong 2 --out "$out/explained"
"$culprit" report --explained "$out/explained" --out "$out/report.html"
# [/own_model]
test -s "$out/report.html"
