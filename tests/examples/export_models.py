# SPDX-License-Identifier: MIT
"""Exports the four models of the paper's ImageNet experiments with random weights: export_models.py OUT_DIR"""

import importlib.util
import pathlib
import sys

if not importlib.util.find_spec("torchvision"):
    print("SKIPPED: needs Python with torchvision")
    sys.exit()

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "examples"))
import export

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
# 96 is the size that is quick and that Inception v3, which needs at least 75, still takes.
sys.exit(any(export.main([name, str(out / f"{name}.pt"), "--input-size", "96"])
             for name in ("resnet50", "vgg19", "densenet121", "inception_v3")))
