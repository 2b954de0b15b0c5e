# SPDX-License-Identifier: MIT
"""Exports with random weights: export_models.py OUT_DIR

The four models of the paper's ImageNet experiments, and small transformers of pictures and of text.
"""

import importlib.util
import pathlib
import sys

if not importlib.util.find_spec("torchvision"):
    print("SKIPPED: needs Python with torchvision")
    sys.exit()

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "examples"))
import export
import torch
import torchvision


class TextTransformer(torch.nn.Module):
    """Classes of sequences of 9 of 50 words."""

    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(50, 16, padding_idx=0)
        self.places = torch.nn.Parameter(torch.randn(1, 9, 16))
        layer = torch.nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.encoder = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = torch.nn.Linear(16, 200)

    def forward(self, words):
        return self.head(self.encoder(self.words(words) + self.places).mean(1))


out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
torch.manual_seed(0)
vision = torchvision.models.VisionTransformer(32, 8, num_layers=2, num_heads=4, hidden_dim=24, mlp_dim=48, num_classes=200)
torch.nn.init.normal_(vision.heads.head.weight)  # 0 as it is made
export.save_atomically(export.to_torchscript(vision, 32, script=False), out / "vision_transformer.pt")
text = torch.jit.trace(TextTransformer().eval(), torch.randint(50, (2, 9)))
export.save_atomically(text, out / "text_transformer.pt")

# 96 is the size that is quick and that Inception v3, which needs at least 75, still takes.
sys.exit(any(export.main([name, str(out / f"{name}.pt"), "--input-size", "96"])
             for name in ("resnet50", "vgg19", "densenet121", "inception_v3")))
