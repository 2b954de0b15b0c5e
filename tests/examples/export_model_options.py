# SPDX-License-Identifier: MIT
"""Tests of examples/export.py: its options, its errors, and that nothing half-written is left."""

import contextlib
import importlib.util
import io
import os
import pathlib
import sys
import tempfile
import unittest

if not importlib.util.find_spec("torchvision"):
    print("SKIPPED: needs Python with torchvision")
    sys.exit()

import safetensors.torch
import torch
import torchvision

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "examples"))
import export

SMALL = "mobilenet_v3_small"
SIDE = ["--input-size", "32"]


class ExportTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_export(self, *arguments):
        """Exit status and what was written to standard error."""
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            try:
                status = export.main([str(argument) for argument in arguments])
            except SystemExit as stopped:
                status = stopped.code
        return status, errors.getvalue()

    def exported(self, *arguments):
        path = self.folder / "model.pt"
        self.assertEqual(self.run_export(*arguments, *SIDE)[0], 0)
        return torch.jit.load(path)

    def refused(self, *arguments):
        """The error of a run that must fail and leave the folder as it was."""
        before = sorted(self.folder.iterdir())
        status, error = self.run_export(*arguments)
        self.assertEqual(status, 1)
        self.assertTrue(error.startswith("export.py: "), error)
        self.assertEqual(error.count("\n"), 1, error)
        self.assertEqual(sorted(self.folder.iterdir()), before)
        return error

    def test_random_weights_follow_the_seed(self):
        def first(seed):
            return next(self.exported(SMALL, self.folder / "model.pt", "--seed", seed).parameters())

        self.assertTrue(torch.equal(first(1), first(1)))
        self.assertFalse(torch.equal(first(1), first(2)))

    def test_a_file_of_weights_is_used_by_trace_and_script(self):
        model = torchvision.models.get_model(SMALL).eval()
        weights = self.folder / "weights.safetensors"
        safetensors.torch.save_file(model.state_dict(), weights)
        pickled = self.folder / "weights.pth"
        torch.save({"state_dict": {"module." + key: value for key, value in model.state_dict().items()}}, pickled)
        images = torch.randn(5, 3, 40, 40)
        with torch.no_grad():
            expected = model(images)
            for options in (["--weights", weights], ["--weights", pickled], ["--weights", weights, "--script"]):
                exported = self.exported(SMALL, self.folder / "model.pt", *options)
                torch.testing.assert_close(exported(images), expected)
                names = [name for name, _ in exported.named_parameters()]
                self.assertEqual(names, [name for name, _ in model.named_parameters()])

    @unittest.skipUnless(importlib.util.find_spec("timm"), "needs timm")
    def test_timm_models(self):
        exported = self.exported("timm:test_resnet", self.folder / "model.pt")
        self.assertEqual(exported(torch.zeros(1, 3, 32, 32)).shape, (1, 1000))

    def test_a_file_is_readable_as_any_new_file(self):
        self.exported(SMALL, self.folder / "model.pt")
        (self.folder / "other").touch()
        self.assertEqual(os.stat(self.folder / "model.pt").st_mode, os.stat(self.folder / "other").st_mode)

    def test_unknown_model(self):
        self.assertIn("resnet51", self.refused("resnet51", self.folder / "model.pt"))
        self.assertIn("tf:resnet50", self.refused("tf:resnet50", self.folder / "model.pt"))

    def test_wrong_weights(self):
        empty = self.folder / "weights.safetensors"
        empty.touch()
        self.assertIn(str(empty), self.refused(SMALL, self.folder / "model.pt", "--weights", empty))
        safetensors.torch.save_file({"stranger": torch.zeros(1)}, empty)
        self.assertIn("stranger", self.refused(SMALL, self.folder / "model.pt", "--weights", empty))

    def test_no_folder_to_write_to(self):
        self.assertIn("missing", self.refused(SMALL, self.folder / "missing" / "model.pt", *SIDE))

    def test_wrong_usage(self):
        self.assertEqual(self.run_export(SMALL)[0], 2)
        self.assertEqual(self.run_export(SMALL, self.folder / "model.pt", "--input-size", "0")[0], 2)

    def test_a_failed_write_leaves_the_old_file(self):
        path = self.folder / "model.pt"
        path.write_text("old")

        class Broken:
            def save(self, *_):
                raise RuntimeError

        with self.assertRaises(Exception):
            export.save_atomically(Broken(), path)
        self.assertEqual(path.read_text(), "old")
        self.assertEqual(list(self.folder.iterdir()), [path])

    def test_a_model_that_a_trace_cannot_hold_is_refused(self):
        class Fixed(torch.nn.Module):
            def forward(self, x):
                return x.flatten(1)[:, :4] + int(x.shape[0])

        with self.assertRaises(export.ExportError):
            export.to_torchscript(Fixed(), 8, False)


if __name__ == "__main__":
    unittest.main(warnings="ignore")  # TorchScript is deprecated, and all there is
