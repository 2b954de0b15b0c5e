# SPDX-License-Identifier: MIT
"""What is refused, in which words, and what warns."""

import unittest
import warnings

from package import SmallNet, TestCase, batches, reference, samples, small_net, state

import torch

import culprit


class Errors(TestCase):
    def test_say_what_where_and_what_came(self):
        model, (inputs, labels) = small_net(), samples()
        other = small_net()
        with torch.no_grad():
            other.first.weight[0] += 1
        baseline = culprit.fit(model, batches(inputs, labels), progress=False)
        before = state(model)
        for sentence, call in (
                ("model: expected a torch.nn.Module, came function", lambda: culprit.units(lambda x: x)),
                ("model: expected eval mode (call model.eval()), came training mode",
                 lambda: culprit.units(SmallNet())),
                ("label of sample 1 of the batch: expected 0 to 9, came 10",
                 lambda: culprit.profile(model, inputs[:2], torch.tensor([1, 10]))),
                ("targets: expected 12, one for each sample, came [3]",
                 lambda: culprit.profile(model, inputs, labels[:3])),
                ("baseline: expected one fitted to this model, units and preprocessing, "
                 "came other values in first.weight",
                 lambda: culprit.profile(other, inputs, labels, baseline)),
                ("baseline: expected quantiles, which a fit by the same standardization collects, came none",
                 lambda: culprit.profile(model, inputs, labels, baseline,
                                         profiler=culprit.Profiler(standardization="robust"))),
                ("policy: expected one of z_score, mean_ratio, identity, robust, came 'mean'",
                 lambda: culprit.Profiler(standardization="mean")),
                ("loss: expected cross_entropy, predicted, a class or a function, came 'mse'",
                 lambda: culprit.Profiler(loss="mse")),
                ("hold-out set: expected at least one sample, came none",
                 lambda: culprit.fit(model, [], progress=False)),
                ("loader: expected batches that begin with two tensors, inputs and labels, came Tensor",
                 lambda: culprit.fit(model, [inputs], progress=False)),
                ("first.weight: expected a channel below 6, came 6", lambda: culprit.mask(model, [("first", 6)])),
                ("third: expected the name of a layer with units, came an unknown name",
                 lambda: culprit.mask(model, [("third", 0)])),
                ("unit: expected an index below 14, came 14", lambda: culprit.prune(model, [14], inputs).__enter__()),
                ("query: expected 14 units, as the profiles have, came 13",
                 lambda: culprit.neighbors(torch.zeros(3, 14), torch.zeros(13))),
                ("/nowhere/b.safetensors: expected a file that can be read, came No such file or directory",
                 lambda: culprit.Baseline.load("/nowhere/b.safetensors")),
        ):
            with self.subTest(sentence):
                self.assertSays(sentence, call)
        self.assertSameState(before, state(model))

    def test_of_torch_are_its_own(self):
        model, (inputs, labels) = small_net(), samples()
        with self.assertRaisesRegex(RuntimeError, "expected input.* to have 1 channels"):
            culprit.profile(model, inputs.expand(-1, 3, -1, -1), labels)

    def test_a_model_without_batched_rule_warns(self):
        class Unknown(SmallNet):
            def forward(self, x):
                return super().forward(x) + self.first.weight.sum()

        model, (inputs, labels) = Unknown().double().eval(), samples()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            came = culprit.profile(model, inputs, labels)
        self.assertTrue(any("no batched rule for aten::sum" in str(each.message) for each in caught))
        torch.testing.assert_close(came, reference(model, inputs, labels), rtol=1e-8, atol=1e-13)


unittest.main()
