# SPDX-License-Identifier: MIT
"""The script examples/python/blame.py runs, on random weights and pictures."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

from package import ROOT

import PIL.Image
import torch
import torchvision


class Blame(unittest.TestCase):
    def test_runs(self):
        torch.manual_seed(3)
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            torch.save(torchvision.models.resnet50(weights=None).state_dict(), folder / "weights.pth")
            for i in range(3):
                (folder / f"pictures/{i}").mkdir(parents=True)
                pixels = torch.randint(256, (64, 64, 3), dtype=torch.uint8)
                PIL.Image.fromarray(pixels.numpy()).save(folder / f"pictures/{i}/0.png")
            script = ROOT / "examples/python/blame.py"
            out = subprocess.run([sys.executable, script, folder / "pictures", folder / "weights.pth"], check=True,
                                 stdout=subprocess.PIPE, text=True).stdout
        self.assertRegex(out, r"^a .* is taken for a .*; to blame:\n(  [\w.]+\.weight:\d+  z = -?\d+\.\d\d\n){10}"
                              r"most salient pixel: \(\d+, \d+\)\nprobability of .* without them: \S+\n$")


unittest.main()
