# SPDX-License-Identifier: MIT
"""Live modules of every kind; what comes back, and how they are after it."""

import concurrent.futures
import pathlib
import sys
import tempfile
import threading
import time
import unittest

from package import SmallNet, TestCase, batches, reference, samples, small_net, state

import torch
import torchvision

import culprit
from culprit._view import view


class Profiles(TestCase):
    def test_are_those_of_autograd(self):
        model, (inputs, labels) = small_net(), samples()
        torch.testing.assert_close(culprit.profile(model, inputs, labels), reference(model, inputs, labels),
                                   rtol=1e-10, atol=1e-14)

    def test_standardize_by_mean_and_deviation(self):
        model, (inputs, labels) = small_net(), samples()
        baseline = culprit.fit(model, batches(inputs, labels), progress=False)
        raw = culprit.profile(model, inputs, labels)
        torch.testing.assert_close(baseline.mean, raw.mean(0), rtol=1e-12, atol=0)
        torch.testing.assert_close(baseline.std, raw.std(0), rtol=1e-10, atol=0)
        z = culprit.profile(model, inputs, labels, baseline)
        torch.testing.assert_close(z, (raw - baseline.mean) / baseline.std, rtol=1e-10, atol=1e-12)
        self.assertEqual((z.dtype, z.shape), (torch.float64, (12, 14)))
        self.assertEqual((baseline.count, baseline.skipped, baseline.dead), (12, 0, []))

    def test_workers_and_engines_agree(self):
        model, (inputs, labels) = small_net(), samples()
        expected = culprit.profile(model, inputs, labels)
        for options in ({"workers": 3}, {"engine": "loop"}):
            came = culprit.profile(model, inputs, labels, profiler=culprit.Profiler(**options))
            torch.testing.assert_close(came, expected, rtol=1e-12, atol=1e-16)

    def test_of_scripts_hooks_tuples_and_compiled_modules(self):
        class Pair(SmallNet):
            def forward(self, x):
                return super().forward(x), x

        def hiding(graph, inputs):
            """A compiler whose kernels would hide the parameters that they take."""
            raise AssertionError

        model, (inputs, labels) = small_net(), samples()
        expected = culprit.profile(model, inputs, labels)
        pair = Pair().double().eval()
        pair.load_state_dict(model.state_dict())
        mixed = torch.nn.Sequential(torch.nn.Identity(), torch.jit.script(small_net()))
        for _ in range(3):
            mixed(inputs)  # its graph is optimised by now
        compiled = torch.nn.Sequential(small_net()).eval()
        compiled[0].compile(backend=hiding)
        with self.assertRaises(torch._dynamo.exc.BackendCompilerFailed):
            compiled(inputs)
        seen = []
        hooked = small_net()
        hooked.second.register_forward_hook(lambda module, arguments, output: seen.append(output.shape))
        for other in (torch.jit.script(model), torch.jit.trace(model, inputs[:2]), pair, mixed.eval(), hooked,
                      torch.compile(model, backend=hiding), compiled, torch.nn.DataParallel(model).eval()):
            came = culprit.profile(other, inputs, labels)
            torch.testing.assert_close(came, expected, rtol=1e-12, atol=1e-16)
        self.assertIn((12, 8, 4, 4), seen)

    def test_of_other_losses(self):
        model, (inputs, labels) = small_net(), samples()

        def cross_entropy(outputs, targets):
            self.assertEqual(outputs.dtype, torch.float64)
            return torch.nn.functional.cross_entropy(outputs, targets, reduction="none")

        expected = culprit.profile(model, inputs, labels)
        baseline = culprit.fit(model, batches(inputs, labels), progress=False)
        saliency = culprit.input_saliency(model, inputs, labels, baseline)
        own = culprit.Profiler(loss=cross_entropy)
        own_baseline = culprit.fit(model, batches(inputs, labels), profiler=own, progress=False)
        torch.testing.assert_close(culprit.profile(model, inputs, labels, profiler=own), expected, rtol=1e-9,
                                   atol=1e-14)
        torch.testing.assert_close(culprit.input_saliency(model, inputs, labels, own_baseline, profiler=own), saliency,
                                   rtol=1e-6, atol=1e-12)
        predicted = model(inputs).argmax(1)
        by_model = culprit.profile(model, inputs, labels, profiler=culprit.Profiler(loss="predicted"))
        torch.testing.assert_close(by_model, culprit.profile(model, inputs, predicted), rtol=1e-12, atol=1e-16)
        third = culprit.profile(model, inputs, labels, profiler=culprit.Profiler(loss=3))
        torch.testing.assert_close(third, culprit.profile(model, inputs, torch.full_like(labels, 3)), rtol=1e-12,
                                   atol=1e-16)
        self.assertIn("cross_entropy", own_baseline.loss)
        with self.assertRaisesRegex(ValueError, "^baseline: expected one fitted to this model, .* came loss "):
            culprit.profile(model, inputs, labels, baseline, profiler=own)

    def test_of_some_layers_and_of_neurons(self):
        model, (inputs, labels) = small_net(), samples()
        raw = culprit.profile(model, inputs, labels)
        second = culprit.Profiler(layers="second*")
        torch.testing.assert_close(culprit.profile(model, inputs, labels, profiler=second), raw[:, 6:], rtol=1e-12,
                                   atol=1e-16)
        table = culprit.units(model, profiler=culprit.Profiler(units="neurons"))
        self.assertEqual([(layer.name, layer.count, layer.size) for layer in table.layers], [("head.weight", 10, 8)])

    def test_of_attention_heads_of_a_live_transformer(self):
        torch.manual_seed(0)
        model = torchvision.models.VisionTransformer(16, 8, num_layers=2, num_heads=4, hidden_dim=24, mlp_dim=48,
                                                     num_classes=5).double().eval()
        for zero in (model.heads.head.weight, *(layer.self_attention.in_proj_bias for layer in model.encoder.layers)):
            torch.nn.init.normal_(zero)  # as it is made
        inputs, labels = torch.randn(3, 3, 16, 16, dtype=torch.float64), torch.tensor([1, 4, 0])
        heads = culprit.Profiler(units="heads:4")
        self.assertEqual([layer.count for layer in culprit.units(model, profiler=heads).layers], [12, 12])
        came = culprit.profile(model, inputs, labels, profiler=heads)
        expected = []
        for x, y in zip(inputs, labels):
            loss = torch.nn.functional.cross_entropy(model(x[None]), y[None])
            weights = [layer.self_attention.in_proj_weight for layer in model.encoder.layers]
            expected.append(torch.cat([gradient.abs().view(12, -1).mean(1)
                                       for gradient in torch.autograd.grad(loss, weights)]))
        torch.testing.assert_close(came, torch.stack(expected), rtol=1e-10, atol=1e-14)
        enabled = torch.backends.mha.get_fastpath_enabled()
        before = state(model)
        with torch.no_grad(), culprit.prune(model, [5], inputs, profiler=heads):
            pruned = model.encoder.layers[0].self_attention
            self.assertEqual(float(pruned.in_proj_weight[30:36].abs().max() + pruned.in_proj_bias[30:36].abs().max()), 0)
        self.assertSameState(before, state(model))
        self.assertEqual(torch.backends.mha.get_fastpath_enabled(), enabled)
        with self.assertRaisesRegex(ValueError, "^units: expected filters, neurons, weights, or heads:N"):
            culprit.Profiler(units="heads:none")

    def test_input_saliency_is_the_gradient_of_the_distance(self):
        model, (inputs, labels) = small_net(), samples(4)
        baseline = culprit.fit(model, batches(*samples()), progress=False)
        z = culprit.profile(model, inputs, labels, baseline)
        boosted = z.clone()
        for row, best in zip(boosted, z.topk(3).indices):
            row[best] *= 100
        came = culprit.input_saliency(model, inputs, labels, baseline, filters=3)
        self.assertEqual((came.shape, came.dtype), (inputs.shape, inputs.dtype))
        step = 1e-5
        for place in ((0, 3, 4), (0, 7, 7)):
            moved = inputs.clone(), inputs.clone()
            moved[0][(slice(None), *place)] += step
            moved[1][(slice(None), *place)] -= step
            ends = [1 - torch.cosine_similarity(culprit.profile(model, each, labels, baseline), boosted)
                    for each in moved]
            torch.testing.assert_close(came[(slice(None), *place)], (ends[0] - ends[1]) / (2 * step), rtol=1e-4,
                                       atol=1e-8)


class Restored(TestCase):
    def test_after_every_call(self):
        model, (inputs, labels) = small_net(), samples()
        model.first.weight.requires_grad_(False)
        before = state(model)
        baseline = culprit.fit(model, batches(inputs, labels), progress=False)
        with torch.no_grad():
            z = culprit.profile(model, inputs, labels, baseline)
        with torch.inference_mode():
            torch.testing.assert_close(culprit.profile(model, inputs, labels, baseline), z, rtol=0, atol=0)
        culprit.input_saliency(model, inputs, labels, baseline)
        with culprit.prune(model, [0, 13], inputs):
            pass
        self.assertSameState(before, state(model))

    def test_after_exceptions_in_forward(self):
        class Broken(SmallNet):
            failure = None

            def forward(self, x):
                x = self.first(x)
                if self.failure:
                    raise self.failure
                return self.head(torch.relu(self.norm(self.second(x))).mean((2, 3)))

        torch.manual_seed(1)
        model, (inputs, labels) = Broken().double().eval(), samples()
        baseline = culprit.fit(model, batches(inputs, labels), progress=False)
        before = state(model)
        for failure in (KeyboardInterrupt(), ZeroDivisionError("in forward")):
            for workers in (1, 3):
                profiler = culprit.Profiler(workers=workers)
                for call in (lambda: culprit.profile(model, inputs, labels, profiler=profiler),
                             lambda: culprit.input_saliency(model, inputs, labels, baseline, profiler=profiler),
                             lambda: culprit.fit(model, batches(inputs, labels), profiler=profiler, progress=False),
                             lambda: culprit.prune(model, [1], inputs).__enter__()):
                    model.failure = failure
                    with self.assertRaises(type(failure)) as caught:
                        call()
                    self.assertIs(caught.exception, failure)
                    model.failure = None
                    self.assertSameState(before, state(model))

    def test_after_an_interrupted_loader(self):
        model, (inputs, labels) = small_net(), samples()
        before = state(model)

        def loader():
            yield inputs, labels
            raise KeyboardInterrupt

        with self.assertRaises(KeyboardInterrupt):
            culprit.fit(model, loader(), progress=False)
        self.assertSameState(before, state(model))


class Interpreter(TestCase):
    def test_others_go_on_meanwhile(self):
        script, (inputs, labels) = torch.jit.script(small_net()), samples()
        steps, done = [0], threading.Event()

        def count():
            while not done.is_set():
                steps[0] += 1
                time.sleep(0)  # gives the lock to who waits for it

        interval = sys.getswitchinterval()
        self.addCleanup(sys.setswitchinterval, interval)
        sys.setswitchinterval(60)  # nobody takes it from who holds it
        thread = threading.Thread(target=count)
        thread.start()
        try:
            with view(script) as seen:
                method = culprit.Profiler()._method
                before = steps[0]
                for _ in range(10_000):  # the other thread needs a processor as well
                    method.profile(seen, inputs, labels, None)
                    if steps[0] > before:
                        break
                self.assertGreater(steps[0], before)
        finally:
            done.set()
            thread.join()

    def test_threads_have_a_model_each(self):
        inputs, labels = samples()
        expected = culprit.profile(small_net(), inputs, labels)
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            models = [small_net() for _ in range(3)]
            for came in pool.map(lambda model: culprit.profile(model, inputs, labels), models):
                torch.testing.assert_close(came, expected, rtol=0, atol=0)


class Filters(TestCase):
    def test_prune_is_a_model_without_them(self):
        model, (inputs, labels) = small_net(), samples()
        expected = small_net()
        with torch.no_grad():
            for tensor in (expected.first.weight, expected.first.bias):
                tensor[2] = 0
            for tensor in (expected.second.weight, expected.norm.weight, expected.norm.bias):
                tensor[5] = 0
        before = state(model)
        outputs = model(inputs)
        try:
            with culprit.prune(model, [("first", 2), ("second.weight", 5)], inputs) as same:
                self.assertIs(same, model)
                torch.testing.assert_close(model(inputs), expected(inputs), rtol=0, atol=0)
                self.assertFalse(torch.equal(model(inputs), outputs))
                raise ZeroDivisionError
        except ZeroDivisionError as failure:  # which keeps the scope's frame alive
            self.assertSameState(before, state(model))
            self.assertTrue(torch.equal(model(inputs), outputs))
            del failure
        else:
            self.fail("the exception was lost")

    def test_by_number_name_and_rank(self):
        model, (inputs, labels) = small_net(), samples()
        table = culprit.units(model)
        self.assertEqual(len(table), 14)
        self.assertEqual(table.place(9), ("second.weight", 3))
        self.assertEqual((table.index("second", 3), table.index("second.weight", 3)), (9, 9))
        columns = table.table()
        self.assertEqual((columns["layer"][9], columns["channel"][9], columns["size"][9]), ("second.weight", 3, 54))
        raw = culprit.profile(model, inputs, labels)
        best = culprit.top(raw[0], table, 3)
        self.assertEqual([each.unit for each in best], raw[0].topk(3).indices.tolist())
        self.assertEqual([each.value for each in best], raw[0].topk(3).values.tolist())
        masks = culprit.mask(model, [*best, torch.tensor(9), 0])
        flat = torch.cat([masks[layer.name].flatten(1).any(1) for layer in table.layers])
        self.assertEqual(flat.nonzero().flatten().tolist(), sorted({*(each.unit for each in best), 9, 0}))
        for name, mask in masks.items():
            parameter = model.get_parameter(name)
            self.assertEqual((mask.shape, mask.dtype), (parameter.shape, torch.bool))
            self.assertTrue(torch.equal(mask.flatten(1).all(1), mask.flatten(1).any(1)))

    def test_neighbors(self):
        generator = torch.Generator().manual_seed(5)
        profiles = torch.randn(50, 14, generator=generator, dtype=torch.float64)
        for dtype in (torch.float64, torch.float32, torch.bfloat16):
            rows = profiles.to(dtype)
            indices, distances = culprit.neighbors(rows, rows[3], 4)
            expected = (1 - torch.cosine_similarity(rows.double(), rows[3:4].double())).sort()
            self.assertEqual(indices.tolist(), expected.indices[:4].tolist())
            torch.testing.assert_close(distances, expected.values[:4], rtol=1e-12, atol=1e-15)
        indices, distances = culprit.neighbors(profiles, profiles[:2], 50, distance="euclidean", leave_out=[0, 1])
        self.assertEqual((indices.shape, indices[0, -1].item(), distances[1, -1].item()), ((2, 50), -1, float("inf")))
        self.assertNotIn(0, indices[0].tolist())


class Baselines(TestCase):
    def test_are_files_and_merge(self):
        model, (inputs, labels) = small_net(), samples()
        whole = culprit.fit(model, batches(inputs, labels), progress=False, preprocessing="none")
        parts = [culprit.fit(model, [(inputs[some], labels[some])], progress=False, preprocessing="none")
                 for some in (slice(0, 7), slice(7, 12))]
        merged = parts[0].merged(parts[1])
        torch.testing.assert_close(merged.std, whole.std, rtol=1e-12, atol=0)
        self.assertEqual((parts[0].count, merged.count), (7, 12))
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "b.safetensors"
            whole.save(path)
            again = culprit.Baseline.load(str(path))
        self.assertTrue(torch.equal(again.mean, whole.mean) and torch.equal(again.std, whole.std))
        self.assertEqual((again.preprocessing, again.aggregation, again.loss), ("none", "mean_abs", "cross_entropy"))
        self.assertEqual([(each.name, each.uses, each.batch_norm) for each in again.units.layers],
                         [("first.weight", 1, ""), ("second.weight", 1, "norm")])
        mean = again.mean
        self.assertEqual(mean.data_ptr(), again.mean.data_ptr())  # the baseline's own memory, no copy
        kept = mean.clone()
        del again
        self.assertTrue(torch.equal(mean, kept))


unittest.main()
