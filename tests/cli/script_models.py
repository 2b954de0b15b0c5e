# SPDX-License-Identifier: MIT
"""Writes the TorchScript files of the command line's tests into a folder: script_models.py FOLDER"""

import pathlib
import sys

import torch


class Network(torch.nn.Module):
    """[B, 1, H, W] -> [B, 10]"""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4)
        self.head = torch.nn.Linear(4, 10)

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


class Pooling(torch.nn.Module):
    def forward(self, x):
        return torch.nn.functional.adaptive_avg_pool2d(x, (2, 5)).flatten(1)


class Neurons(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(784, 10)

    def forward(self, x):
        return self.head(x.flatten(1))


class Maps(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 10, 3)

    def forward(self, x):
        return self.conv(x)


class Transformer(torch.nn.Module):
    """A vision transformer of 16 patches and a class token."""

    def __init__(self):
        super().__init__()
        self.patches = torch.nn.Conv2d(1, 12, 7, 7)
        self.token = torch.nn.Parameter(torch.randn(1, 1, 12))
        self.places = torch.nn.Parameter(torch.randn(1, 17, 12))
        layer = torch.nn.TransformerEncoderLayer(12, 3, 24, batch_first=True)
        self.encoder = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = torch.nn.Linear(12, 10)

    def forward(self, x):
        patches = self.patches(x).flatten(2).transpose(1, 2)
        words = torch.cat([self.token.expand(x.shape[0], -1, -1), patches], 1)
        return self.head(self.encoder(words + self.places)[:, 0])


class Dividing(Network):
    """Ends the process: TorchScript's remainder by zero is the processor's."""

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)).mean((2, 3))) * (7 % (x.size(0) - x.size(0)))


class Hoarding(Network):
    """Takes memory without end, and writes to none of it."""

    def forward(self, x):
        hoard = [x]
        while len(hoard) > 0:
            hoard.append(torch.empty([1 << 28]))
        return self.head(torch.relu(self.conv(x)).mean((2, 3)))


class Endless(Network):
    def forward(self, x):
        while x.dim() == 4:
            x = torch.relu(x)
        return self.head(torch.relu(self.conv(x)).mean((2, 3)))


def main():
    folder = pathlib.Path(sys.argv[1])
    torch.manual_seed(2022)
    good = Network().eval()
    hollow = Network().eval()
    with torch.no_grad():
        hollow.conv.weight[2, 0, 1, 1] = float("nan")
    models = {
        "good": good,
        "training": Network(),
        "hollow": hollow,
        "pooling": Pooling().eval(),
        "neurons": Neurons().eval(),
        "maps": Maps().eval(),
        "dividing": Dividing().eval(),
        "hoarding": Hoarding().eval(),
        "endless": Endless().eval(),
    }
    for name, model in models.items():
        torch.jit.script(model).save(folder / f"{name}.pt")
    torch.backends.mha.set_fastpath_enabled(False)  # as examples/export.py does
    torch.jit.trace(Transformer().eval(), torch.randn(2, 1, 28, 28)).save(folder / "transformer.pt")
    torch.save(good.state_dict(), folder / "state.pt")


main()
