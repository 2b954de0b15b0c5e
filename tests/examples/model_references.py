# SPDX-License-Identifier: MIT
"""For each named architecture, its public PyTorch definition with random weights and what it answers to random input.

    model_references.py OUT_DIR NAME...

writes OUT_DIR/NAME.weights.safetensors (float16, to keep VGG-19 small and to test the conversion; its metadata lists
the parameters in the order of named_parameters) and OUT_DIR/NAME.answers.safetensors (input and logits, float32).
"""

import pathlib
import sys

import safetensors.torch
import torch
import torch.nn.functional as F
import torchvision
from torch import nn


def conv3x3(inputs, outputs, stride=1):
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)


class OptionA(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.margin = outputs // 4

    def forward(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.margin, self.margin))


class CifarBlock(nn.Module):
    """Two convolutions around option A (akamaster/pytorch_resnet_cifar10) or a 1x1 convolution (kuangliu/pytorch-cifar)."""

    def __init__(self, inputs, outputs, stride, option_a):
        super().__init__()
        self.conv1, self.bn1 = conv3x3(inputs, outputs, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv3x3(outputs, outputs), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride == 1 and inputs == outputs:
            return
        if option_a:
            self.shortcut = OptionA(outputs)
        else:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class CifarResNet(nn.Module):
    def __init__(self, blocks, widths, option_a, inputs=3):
        super().__init__()
        self.conv1, self.bn1 = conv3x3(inputs, widths[0]), nn.BatchNorm2d(widths[0])
        before = widths[0]
        for stage, width in enumerate(widths, 1):
            layers = []
            for block in range(blocks):
                layers.append(CifarBlock(before, width, 2 if block == 0 and stage > 1 else 1, option_a))
                before = width
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
        self.linear = nn.Linear(before, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        for name, stage in self.named_children():
            x = stage(x) if name.startswith("layer") else x
        return self.linear(F.avg_pool2d(x, x.shape[2:]).flatten(1))


def separable(inputs, outputs, stride):
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False), nn.BatchNorm2d(inputs), nn.LeakyReLU(0.1),
        nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.1))


class MobileNetV1(nn.Module):
    """Width 0.25, as the backbone of biubug6/Pytorch_Retinaface."""

    def __init__(self):
        super().__init__()
        self.stage1 = nn.Sequential(
            nn.Sequential(conv3x3(3, 8, 2), nn.BatchNorm2d(8), nn.LeakyReLU(0.1)),
            separable(8, 16, 1), separable(16, 32, 2), separable(32, 32, 1), separable(32, 64, 2), separable(64, 64, 1))
        self.stage2 = nn.Sequential(separable(64, 128, 2), *(separable(128, 128, 1) for _ in range(5)))
        self.stage3 = nn.Sequential(separable(128, 256, 2), separable(256, 256, 1))
        self.fc = nn.Linear(256, 1000)

    def forward(self, x):
        return self.fc(F.adaptive_avg_pool2d(self.stage3(self.stage2(self.stage1(x))), 1).flatten(1))


NARROW = (16, 32, 64)
# name -> (makes the module, extents of the input)
DEFINITIONS = {
    "resnet20": (lambda: CifarResNet(3, NARROW, True), (3, 32, 32)),
    "resnet32": (lambda: CifarResNet(5, NARROW, True), (3, 32, 32)),
    "resnet44": (lambda: CifarResNet(7, NARROW, True), (3, 32, 32)),
    "resnet56": (lambda: CifarResNet(9, NARROW, True), (3, 32, 32)),
    "resnet8_fashion": (lambda: CifarResNet(1, NARROW, True, inputs=1), (1, 28, 28)),
    "resnet18_cifar": (lambda: CifarResNet(2, (64, 128, 256, 512), False), (3, 32, 32)),
    "resnet18": (torchvision.models.resnet18, (3, 64, 64)),
    "resnet50": (torchvision.models.resnet50, (3, 64, 64)),
    "vgg19": (torchvision.models.vgg19, (3, 64, 64)),
    "vgg19_bn": (torchvision.models.vgg19_bn, (3, 64, 64)),
    "mobilenet_v1_025": (MobileNetV1, (3, 64, 64)),
}


def randomise(model, sample):
    """Every tensor random, and every layer alive: variance is kept from layer to layer, and the running statistics are
    those of a batch, so that neither a mean nor a variance is lost beside large activations."""
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            bound = (6 / module.weight[0].numel()) ** 0.5
            nn.init.uniform_(module.weight, -bound, bound)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            module.momentum = 1.0
        if getattr(module, "bias", None) is not None:
            nn.init.uniform_(module.bias, -0.2, 0.2)
    model.train()(sample)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.half())


@torch.no_grad()
def write_reference(folder, name):
    make, extents = DEFINITIONS[name]
    torch.manual_seed(20221128)
    model = make()
    randomise(model, torch.randn(8, *extents))
    model.eval()
    images = torch.randn(2, *extents)
    state = {key: value.half() if value.is_floating_point() else value for key, value in model.state_dict().items()}
    order = "\n".join(key for key, _ in model.named_parameters())
    safetensors.torch.save_file(state, folder / f"{name}.weights.safetensors", {"parameters": order})
    safetensors.torch.save_file({"input": images, "logits": model(images)}, folder / f"{name}.answers.safetensors")


def main(folder, *names):
    for name in names:
        write_reference(pathlib.Path(folder), name)


if __name__ == "__main__":
    main(*sys.argv[1:])
