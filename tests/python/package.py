# SPDX-License-Identifier: MIT
"""What the tests of the package share. They run where python/build has installed it, and say so where it has not."""

import pathlib
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/examples"))

try:
    import culprit  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "culprit":
        raise
    print("SKIPPED: needs the package that the test python/build installs")
    sys.exit(0)

import torch

torch.set_num_threads(1)


class SmallNet(torch.nn.Module):
    """[B, 1, H, W] -> [B, 10]; one convolution with a bias and no batch norm, one with a batch norm and no bias."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(1, 6, 3)
        self.second = torch.nn.Conv2d(6, 8, 3, stride=2, bias=False)
        self.norm = torch.nn.BatchNorm2d(8)
        self.head = torch.nn.Linear(8, 10)

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.second(torch.relu(self.first(x))))).mean((2, 3)))


def small_net(dtype=torch.float64):
    torch.manual_seed(2022)
    model = SmallNet().to(dtype)
    model.norm.running_mean.uniform_(-0.2, 0.2)
    model.norm.running_var.uniform_(0.5, 1.5)
    torch.nn.init.uniform_(model.norm.bias, -0.5, 0.5)
    return model.eval()


def samples(count=12, dtype=torch.float64):
    generator = torch.Generator().manual_seed(7)
    return torch.randn(count, 1, 12, 12, generator=generator, dtype=dtype), torch.arange(count) * 7 % 10


def batches(inputs, labels, size=5):
    return list(zip(inputs.split(size), labels.split(size)))


def reference(model, inputs, labels):
    """Raw profiles by autograd in Python, one sample at a time."""
    rows = []
    weights = [parameter for parameter in model.parameters() if parameter.dim() == 4]
    for x, y in zip(inputs, labels):
        loss = torch.nn.functional.cross_entropy(model(x[None]), y[None])
        gradients = torch.autograd.grad(loss, weights)
        rows.append(torch.cat([gradient.abs().mean((1, 2, 3)) for gradient in gradients]))
    return torch.stack(rows)


def state(model):
    """What must be the same afterwards."""
    return ({name: tensor.clone() for name, tensor in model.state_dict().items()},
            [parameter.requires_grad for parameter in model.parameters()],
            [module.training for module in model.modules()],
            [parameter.grad for parameter in model.parameters()])


class TestCase(unittest.TestCase):
    def assertSameState(self, before, after):
        self.assertEqual(before[0].keys(), after[0].keys())
        for name, tensor in before[0].items():
            self.assertTrue(torch.equal(tensor, after[0][name]), name)
        self.assertEqual(before[1:], after[1:])

    def assertSays(self, sentence, call):
        """A ValueError of exactly this sentence."""
        with self.assertRaises(ValueError) as caught:
            call()
        self.assertEqual(str(caught.exception), sentence)
