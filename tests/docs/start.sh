#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Runs what docs/start.md shows, on networks with random weights and pictures of noise.
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
"$python" - "$pictures" <<'END'
import os, pathlib, sys
from PIL import Image

for name in ("cat", "dog", "horse"):
    folder = pathlib.Path(sys.argv[1]) / name
    folder.mkdir(parents=True)
    for i in range(4):
        Image.frombytes("RGB", (64, 48), os.urandom(64 * 48 * 3)).save(folder / f"{i}.png")
END

"$python" examples/export.py squeezenet1_1 "$out/exported.pt" --weights random
prepared=(--preset imagenet)
"$culprit" fit --model "$out/exported.pt" --data "folder:$pictures" "${prepared[@]}" --out "$out/exported.safetensors"

cat >"$out/my_net.py" <<'END'
import torch


class MyNet(torch.nn.Sequential):
    def __init__(self):
        super().__init__(
            torch.nn.Conv2d(3, 16, 3, stride=2), torch.nn.ReLU(), torch.nn.Conv2d(16, 16, 3, stride=2), torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(16, 3))


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.save(MyNet().state_dict(), "my_weights.pt")
END
(cd "$out" && "$python" my_net.py)
(cd "$out" && "$python") <<'END'
# [own_module]
import torch
from my_net import MyNet  # your module

model = MyNet()
model.load_state_dict(torch.load("my_weights.pt"))
example = torch.zeros(1, 3, 32, 32)  # one input, as large as the model takes them
torch.jit.trace(model.eval(), example).save("model.pt")
# [/own_module]
END
model="$out/model.pt"
prepared=(--resize 32 --crop 32 --mean 0.5,0.5,0.5 --std 0.25,0.25,0.25)

# [own_model]
what=(--model "$model" --data "folder:$pictures" "${prepared[@]}")
"$culprit" fit "${what[@]}" --out "$out/baseline.safetensors"
"$culprit" explain "${what[@]}" --baseline "$out/baseline.safetensors" --wrong 2 --out "$out/explained"
"$culprit" report --explained "$out/explained" --out "$out/report.html"
# [/own_model]
test -s "$out/report.html"

# [whole_report]
"$culprit" profile "${what[@]}" --baseline "$out/baseline.safetensors" --out "$out/profiles.safetensors"
"$culprit" neighbors --profiles "$out/profiles.safetensors" --queries wrong:3 --among wrong --out "$out/near" \
  --data "folder:$pictures" "${prepared[@]}"
"$culprit" experiment prune "${what[@]}" --baseline "$out/baseline.safetensors" --out "$out/results"
"$culprit" report --explained "$out/explained" --neighbors "$out/near" --results "$out/results" --out "$out/report.html"
# [/whole_report]
grep -q "The nearest neighbours" "$out/report.html"
