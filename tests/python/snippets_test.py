# SPDX-License-Identifier: MIT
"""The code of docs/python.md and of README.md, as it stands there."""

import os
import tempfile
import unittest

from package import TestCase, batches, samples, small_net, state

import pandas
import torch
import torch.nn.utils.prune

import culprit


class Snippets(TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(folder.name)
        self.model, (self.inputs, self.labels) = small_net(), samples()
        self.loader = batches(self.inputs, self.labels)

    def test_first_steps(self):
        model, loader, inputs, labels = self.model, self.loader, self.inputs, self.labels
        before = state(model)
        # [blame]
        baseline = culprit.fit(model, loader)
        z = culprit.profile(model, inputs, labels, baseline)
        worst = culprit.top(z[0], baseline.units, count=10)
        pixels = culprit.input_saliency(model, inputs, labels, baseline)
        with culprit.prune(model, worst, inputs):
            outputs = model(inputs)
        # [/blame]
        self.assertEqual(([len(worst), z.shape, pixels.shape]), [10, (12, 14), inputs.shape])
        self.assertFalse(torch.equal(outputs, model(inputs)))
        self.assertSameState(before, state(model))

        # [files]
        baseline.save("baseline.safetensors")  # for `culprit profile --baseline` too
        baseline = culprit.Baseline.load("baseline.safetensors")
        # [/files]
        self.assertTrue(torch.equal(culprit.profile(model, inputs, labels, baseline), z))

        # [neighbors]
        indices, distances = culprit.neighbors(z, z[0], k=5)
        # [/neighbors]
        self.assertEqual((int(indices[0]), indices.shape, distances.dtype), (0, (5,), torch.float64))

        # [mask]
        masks = culprit.mask(model, worst)  # {"first.weight": bool [6, 1, 3, 3], ...}, true in these filters
        module = model.get_submodule("first")
        torch.nn.utils.prune.custom_from_mask(module, "weight", ~masks["first.weight"])
        # [/mask]
        chosen = {each.channel for each in worst if each.layer == "first.weight"}
        self.assertTrue(chosen)
        self.assertEqual({i for i in range(6) if bool((module.weight[i] == 0).all())}, chosen)

    def test_settings(self):
        model, loader, inputs, labels = self.model, self.loader, self.inputs, self.labels
        # [settings]
        profiler = culprit.Profiler("l2_norm", standardization="robust", layers="second*", loss="predicted")
        baseline = culprit.fit(model, loader, profiler=profiler)
        z = culprit.profile(model, inputs, labels, baseline, profiler=profiler)
        # [/settings]
        self.assertEqual((z.shape, baseline.aggregation), ((12, 8), "l2_norm"))

        # [loss]
        def error(outputs, targets):  # float64 [B, ...] and what the loader gives -> [B]
            return (outputs.gather(1, targets[:, None])[:, 0] - 1).square()

        regression = culprit.Profiler(loss=error)
        # [/loss]
        self.assertEqual(culprit.profile(model, inputs, labels, profiler=regression).shape, (12, 14))

    def test_tables(self):
        model, inputs, labels = self.model, self.inputs, self.labels
        z = culprit.profile(model, inputs, labels)
        # [tables]
        values = z.numpy()  # the same memory
        frame = pandas.DataFrame(culprit.units(model).table()).assign(z=values[0])  # layer, channel, size, z
        # [/tables]
        self.assertEqual(frame.loc[9, "layer"], "second.weight")


unittest.main()
