# SPDX-License-Identifier: MIT
"""Aggregations compiled from text, beside the package's own extension: inline_test.py FOLDER_FOR_EXTENSIONS"""

import os
import pathlib
import subprocess
import sys
import unittest

EXTENSIONS = pathlib.Path(sys.argv.pop())
os.environ["TORCH_EXTENSIONS_DIR"] = str(EXTENSIONS)

from package import TestCase, batches, samples, small_net, state

import torch

import culprit

# [source]
SOURCE = """
    struct Excess {  // by how much the gradients exceed a threshold on average
      static constexpr std::string_view name = "excess";
      double threshold = 1e-3;

      double map(double g) const { return std::max(std::abs(g) - threshold, 0.0); }
      double combine(double a, double b) const { return a + b; }
      double finish(double sum, Index size) const { return sum / double(size); }
      double derivative(double g, double /*result*/, Index size) const {  // for input saliency
        return std::abs(g) > threshold ? std::copysign(1.0 / double(size), g) : 0.0;
      }
      std::string description() const { return "excess over " + std::to_string(threshold); }
    };
"""
# [/source]
WITHOUT_COMBINE = SOURCE.replace("double combine(double a, double b) const { return a + b; }", "")


class Inline(TestCase):
    def test_serves_as_those_of_the_library_do(self):
        model, (inputs, labels) = small_net(), samples()
        loader = batches(inputs, labels)
        before = state(model)
        absolute = culprit.profile(model, inputs, labels)  # by the package's own extension, first
        # [use]
        excess = culprit.aggregation(SOURCE, "Excess{.threshold = 0.0}")
        profiler = culprit.Profiler(excess)
        baseline = culprit.fit(model, loader, profiler=profiler)
        # [/use]
        # Without a threshold it is the mean of absolute values, whoever observes the operators.
        for _ in range(2):
            torch.testing.assert_close(culprit.profile(model, inputs, labels, profiler=profiler), absolute, rtol=1e-12,
                                       atol=1e-16)
            torch.testing.assert_close(culprit.profile(model, inputs, labels), absolute, rtol=0, atol=0)
        self.assertEqual(baseline.aggregation, "excess over 0.000000")
        usual = culprit.fit(model, batches(inputs, labels), progress=False)
        torch.testing.assert_close(
            culprit.input_saliency(model, inputs, labels, baseline, profiler=profiler),
            culprit.input_saliency(model, inputs, labels, usual), rtol=1e-8, atol=1e-12)
        with self.assertRaisesRegex(ValueError, "aggregation mean_abs against excess over|"
                                                "aggregation excess over 0.000000 against mean_abs"):
            culprit.profile(model, inputs, labels, baseline)
        # Errors of the other extension are ours, too.
        self.assertSays("label of sample 0 of the batch: expected 0 to 9, came 10",
                        lambda: culprit.profile(model, inputs[:1], torch.tensor([10]), profiler=profiler))
        self.assertSameState(before, state(model))

    def test_says_what_a_struct_lacks(self):
        self.assertSays("aggregation: expected the source of a struct in C++, came text without one",
                        lambda: culprit.aggregation("int x;"))
        sentence = r"^aggregation: expected C\+\+ that compiles, came: culprit: an aggregation"
        with self.assertRaisesRegex(ValueError, sentence):
            culprit.aggregation(WITHOUT_COMBINE)

    def test_is_found_again_by_another_process_that_begins_with_it(self):
        culprit.aggregation(SOURCE, "Excess{.threshold = 0.0}")
        files = {each: each.stat().st_mtime_ns for each in EXTENSIONS.rglob("*.so")}
        self.assertTrue(files)
        subprocess.run([sys.executable, "-c", f"""
import culprit, torch
from package import samples, small_net
model, (inputs, labels) = small_net(), samples()
profiler = culprit.Profiler(culprit.aggregation({SOURCE!r}, "Excess{{.threshold = 0.0}}"))
inline = culprit.profile(model, inputs, labels, profiler=profiler)
torch.testing.assert_close(inline, culprit.profile(model, inputs, labels), rtol=1e-12, atol=1e-16)
"""], check=True, cwd=pathlib.Path(__file__).parent)
        self.assertEqual(files, {each: each.stat().st_mtime_ns for each in EXTENSIONS.rglob("*.so")})


unittest.main()
