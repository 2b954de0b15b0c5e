# SPDX-License-Identifier: MIT
"""The package finds what the program culprit finds, and each reads the other's files: program_test.py PROGRAM"""

import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import unittest

from package import ROOT, TestCase, batches

import numpy
import safetensors
import safetensors.torch
import torch

import culprit
from model_references import DEFINITIONS

WEIGHTS = ROOT / "examples/weights/resnet8_fashion.safetensors"
PREPROCESSING = "resize=0 crop=0 mean=0.286 std=0.353"
COUNT, SIDE, BATCH = 24, 28, 8
PROGRAM = pathlib.Path(sys.argv.pop()).resolve()


def network(dtype):
    model = DEFINITIONS["resnet8_fashion"][0]()
    model.load_state_dict(safetensors.torch.load_file(WEIGHTS))
    return model.to(dtype).eval()


class Program(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.temporary.cleanup)
        cls.folder = pathlib.Path(cls.temporary.name)
        pixels = random.Random(3).randbytes(COUNT * SIDE * SIDE)
        labels = bytes(7 * i % 10 for i in range(COUNT))
        (cls.folder / "digits").mkdir()
        extents = b"".join(extent.to_bytes(4, "big") for extent in (COUNT, SIDE, SIDE))
        (cls.folder / "digits/t10k-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + extents + pixels)
        (cls.folder / "digits/t10k-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + extents[:4] + labels)
        grey = torch.frombuffer(bytearray(pixels), dtype=torch.uint8).reshape(COUNT, 1, SIDE, SIDE)
        # Channels side by side, as the program has them; a layout is part of what a rounding depends on.
        cls.inputs = ((grey.double() / 255 - 0.286) / 0.353).contiguous(memory_format=torch.channels_last)
        cls.labels = torch.tensor(list(labels))

    def run_program(self, command, dtype, model, *options):
        subprocess.run([PROGRAM, command, "--model", model, "--data", "idx:digits", "--preset", "fashion", "--dtype",
                        dtype, "--batch", str(BATCH), "--workers", "1", *options],
                       cwd=self.folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, capture_output=True)

    def fit(self, model, dtype=torch.float64, **options):
        inputs = self.inputs.to(dtype)
        return culprit.fit(model, batches(inputs, self.labels, BATCH), preprocessing=PREPROCESSING, progress=False,
                           **options)

    def assertSameBaseline(self, path, other, tolerance):
        ours, theirs = culprit.Baseline.load(path), culprit.Baseline.load(other)
        torch.testing.assert_close(ours.mean, theirs.mean, rtol=tolerance, atol=0)
        torch.testing.assert_close(ours.std, theirs.std, rtol=tolerance, atol=0)
        with safetensors.safe_open(path, "pt") as a, safetensors.safe_open(other, "pt") as b:
            self.assertEqual(sorted(a.keys()), sorted(b.keys()))
            for key in ("format", "units", "fingerprint", "dead_units"):
                self.assertEqual(a.metadata()[key], b.metadata()[key])

    def test_live_module_equals_the_networks_of_the_program(self):
        for name, dtype, tolerance in (("float64", torch.float64, 1e-12), ("float32", torch.float32, 1e-4)):
            with self.subTest(name):
                theirs, ours, profiles = (self.folder / f"{each}.{name}.safetensors" for each in "bop")
                source = f"resnet8_fashion:{WEIGHTS}"
                self.run_program("fit", name, source, "--out", theirs)
                model = network(dtype)
                self.fit(model, dtype).save(ours)
                self.assertSameBaseline(ours, theirs, tolerance)

                # The program standardizes by our file, and we by the program's.
                self.run_program("profile", name, source, "--baseline", ours, "--out", profiles)
                found = safetensors.torch.load_file(profiles)
                baseline = culprit.Baseline.load(theirs)
                for first in range(0, COUNT, BATCH):
                    some = slice(first, first + BATCH)
                    batch = self.inputs[some].to(dtype), self.labels[some]
                    # Roundings are those of the largest terms, which cancel each other in a small gradient.
                    rounding = 8 * torch.finfo(dtype).eps * found["profile"][some].max().item()
                    torch.testing.assert_close(culprit.profile(model, *batch), found["profile"][some],
                                               rtol=tolerance, atol=max(1e-12, rounding))
                    torch.testing.assert_close(culprit.profile(model, *batch, baseline), found["z"][some],
                                               rtol=100 * tolerance, atol=100 * tolerance)

    def test_script_and_live_module_and_program_agree(self):
        model = network(torch.float32)
        script = torch.jit.trace(model, self.inputs[:2].float())
        script.save(self.folder / "net.pt")
        theirs, ours, live = (self.folder / f"{each}.safetensors" for each in ("theirs", "ours", "live"))
        self.run_program("fit", "float64", "net.pt", "--aggregate", "l2_norm", "--standardize", "robust", "--out",
                         theirs)
        profiler = culprit.Profiler("l2_norm", standardization="robust")
        self.fit(torch.jit.load(self.folder / "net.pt").double(), profiler=profiler).save(ours)
        self.fit(model.double(), profiler=profiler).save(live)
        self.assertSameBaseline(ours, theirs, 1e-12)
        self.assertSameBaseline(live, theirs, 1e-12)

    def test_input_saliency_equals_the_programs(self):
        model = network(torch.float64)
        baseline = self.fit(model)
        baseline.save(self.folder / "saliency.safetensors")
        self.run_program("explain", "float64", f"resnet8_fashion:{WEIGHTS}", "--baseline", "saliency.safetensors",
                         "--wrong", "4", "--out", "report")
        wrong = (model(self.inputs).argmax(1) != self.labels).nonzero().flatten().tolist()
        ours = culprit.input_saliency(model, self.inputs, self.labels, baseline)
        found = sorted((self.folder / "report").glob("*/input_saliency.npy"))
        self.assertEqual(len(found), 4)
        for each in found:
            number = int(re.search(r"(\d+)$", json.loads(each.with_name("profile.json").read_text())["path"])[1])
            self.assertIn(number, wrong)
            torch.testing.assert_close(ours[number], torch.from_numpy(numpy.load(each)).double(), rtol=1e-6,
                                       atol=1e-9 * float(ours[number].abs().max()))


unittest.main()
