# SPDX-License-Identifier: MIT
"""trace_resnet20.py WEIGHTS.safetensors OUT.pt: ResNet-20 for CIFAR-10 in float64 as a traced TorchScript file."""

import pathlib
import sys

import safetensors.torch
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "examples"))
from model_references import DEFINITIONS  # noqa: E402

make, extents = DEFINITIONS["resnet20"]
model = make()
# strict=False for num_batches_tracked alone, which files of that age lack
missing, unexpected = model.load_state_dict(safetensors.torch.load_file(sys.argv[1]), strict=False)
assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing), (missing, unexpected)
model.double().eval()
for parameter in model.parameters():
    parameter.requires_grad_(False)
torch.jit.trace(model, torch.randn(2, *extents, dtype=torch.float64)).save(sys.argv[2])
