#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One job of benchmarks/peers/run.py in Python: raw profiles, or a training step, by one of METHODS.

    profiles.py NETWORK WEIGHTS INPUTS METHOD PROFILES DEVICE

Files, and what is read and said line by line, as in benchmarks/peers/job.cpp; a method that does not accept the network says
"refused" with the first line of the reason. None of them forms a gradient of a parameter that is not a convolution's, but for
the training step.
"""

import sys
import time

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import cross_entropy, pad, relu


def conv_norm(inside, outside, kernel, stride=1, groups=1):
    return nn.Conv2d(inside, outside, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(outside)


class CifarBlock(nn.Module):
    def __init__(self, inside, outside, stride):
        super().__init__()
        self.stride, self.new = stride, outside - inside
        self.conv1, self.bn1 = conv_norm(inside, outside, 3, stride)
        self.conv2, self.bn2 = conv_norm(outside, outside, 3)

    def forward(self, x):
        y = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        if self.new or self.stride != 1:
            x = pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.new // 2, self.new - self.new // 2))
        return relu(y + x)


class CifarResNet(nn.Module):
    """examples/models/cifar_resnet.hpp"""

    def __init__(self, blocks):
        super().__init__()
        self.conv1, self.bn1 = conv_norm(3, 16, 3)
        for stage, (inside, outside) in enumerate([(16, 16), (16, 32), (32, 64)], 1):
            first = CifarBlock(inside, outside, 1 if stage == 1 else 2)
            rest = [CifarBlock(outside, outside, 1) for _ in range(blocks - 1)]
            self.add_module(f"layer{stage}", nn.Sequential(first, *rest))
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


class Chain(nn.Sequential):
    """Convolutions, each with its batch norm and a leaky ReLU, named by their places in Sequentials of three."""

    def __init__(self, *layers):
        super().__init__()
        for i, (convolution, norm) in enumerate(layers):
            self.add_module(str(3 * i), convolution)
            self.add_module(str(3 * i + 1), norm)
            self.add_module(str(3 * i + 2), nn.LeakyReLU(0.1))


class MobileNetV1Quarter(nn.Module):
    """examples/models/mobilenet.hpp"""

    def __init__(self):
        super().__init__()

        def blocks(*extents):
            return [Chain(conv_norm(i, i, 3, s, i), conv_norm(i, o, 1)) for i, o, s in extents]

        self.stage1 = nn.Sequential(
            Chain(conv_norm(3, 8, 3, 2)), *blocks((8, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1))
        )
        self.stage2 = nn.Sequential(*blocks((64, 128, 2), *[(128, 128, 1)] * 5))
        self.stage3 = nn.Sequential(*blocks((128, 256, 2), (256, 256, 1)))
        self.fc = nn.Linear(256, 1000)

    def forward(self, x):
        return self.fc(self.stage3(self.stage2(self.stage1(x))).mean((2, 3)))


def resnet50():
    """torchvision's, without its operations in place: BackPACK's hooks forbid them, and the C++ network has none."""
    from torchvision.models import resnet

    class Bottleneck(resnet.Bottleneck):
        def forward(self, x):
            y = self.bn3(self.conv3(relu(self.bn2(self.conv2(relu(self.bn1(self.conv1(x))))))))
            return relu(y + (x if self.downsample is None else self.downsample(x)))

    model = resnet.ResNet(Bottleneck, [3, 4, 6, 3])
    model.relu.inplace = False
    return model


NETWORKS = {  # the network and one input's shape
    "resnet20": (lambda: CifarResNet(3), (3, 32, 32)),
    "resnet56": (lambda: CifarResNet(9), (3, 32, 32)),
    "resnet50": (resnet50, (3, 224, 224)),
    "mobilenet_v1_025": (MobileNetV1Quarter, (3, 224, 224)),
}


def make(network):
    return NETWORKS[network][0]().eval()


def filters(model):
    """The parameters that hold units, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.dim() == 4}


def write_network(network, batch, weights, inputs):
    """Seeded weights and inputs. The batch norms have the statistics of these inputs, as a trained network has those of its
    data: with others, signals grow or vanish with depth."""
    torch.manual_seed(1)
    model = make(network)
    images = torch.randn(batch, *NETWORKS[network][1])
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    with torch.no_grad():
        classes = model.train()(images).shape[1]
    save_file(model.state_dict(), weights)
    save_file({"inputs": images, "labels": torch.randint(classes, (batch,))}, inputs)


def mean_abs(gradients):
    """Gradients [B, filters, ...] of each layer to profiles [B, units]."""
    return torch.cat([gradient.abs().flatten(2).mean(2) for gradient in gradients], 1).detach()


def freeze_others(model):
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.dim() == 4)
    return list(filters(model).values())


def training_step(model, inputs, labels):
    def run():
        model.zero_grad()
        cross_entropy(model(inputs), labels).backward()

    return run


def one_by_one(create_graph):
    def prepare(model, inputs, labels):
        parameters = freeze_others(model)

        def run():
            rows = []
            for i in range(len(inputs)):
                loss = cross_entropy(model(inputs[i : i + 1]), labels[i : i + 1])
                gradients = torch.autograd.grad(loss, parameters, create_graph=create_graph)
                rows.append(mean_abs([gradient[None] for gradient in gradients]))
            return torch.cat(rows)

        return run

    return prepare


def input_saliency(model, inputs, labels):
    """As the method was published, by double backward, image by image; mean 0 and deviation 1, on which the time does not depend."""
    parameters = freeze_others(model)

    def run():
        for image, label in zip(inputs.split(1), labels.split(1)):
            image = image.clone().requires_grad_(True)
            loss = cross_entropy(model(image), label)
            gradients = torch.autograd.grad(loss, parameters, create_graph=True)
            profile = torch.cat([gradient.abs().flatten(1).mean(1) for gradient in gradients])
            boosted = profile.detach().clone()
            boosted[boosted.topk(10).indices] *= 100
            distance = 1 - torch.nn.functional.cosine_similarity(profile, boosted, dim=0)
            torch.autograd.grad(distance, image)

    return run


def vmap_grad(model, inputs, labels):
    parameters = {name: parameter.detach() for name, parameter in filters(model).items()}
    others = {name: tensor for name, tensor in model.state_dict().items() if name not in parameters}

    def loss(parameters, image, label):
        return cross_entropy(torch.func.functional_call(model, (parameters, others), (image[None],)), label[None])

    gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
    return lambda: mean_abs(gradients(parameters, inputs, labels).values())


def opacus(model, inputs, labels):
    from opacus import GradSampleModule

    parameters = freeze_others(model)
    for module in model.modules():  # in eval mode its hooks record nothing; to a convolution the mode means nothing
        if isinstance(module, nn.Conv2d):
            module.train()
    model = GradSampleModule(model, loss_reduction="sum")

    def run():
        model.zero_grad()
        cross_entropy(model(inputs), labels, reduction="sum").backward()
        return mean_abs([parameter.grad_sample for parameter in parameters])

    return run


def backpack(model, inputs, labels):
    from backpack import backpack, extend
    from backpack.extensions import BatchGrad

    parameters = freeze_others(model)
    model = extend(model)
    loss = extend(nn.CrossEntropyLoss(reduction="sum"))

    def run():
        model.zero_grad()
        with backpack(BatchGrad()):
            loss(model(inputs), labels).backward()
        return mean_abs([parameter.grad_batch for parameter in parameters])

    return run


METHODS = {
    "training_step": training_step,
    "autograd_grad": one_by_one(False),
    "create_graph": one_by_one(True),
    "input_saliency_published": input_saliency,
    "vmap_grad": vmap_grad,
    "opacus": opacus,
    "backpack": backpack,
}


def peak_memory(device):
    if device != "cpu":
        return torch.cuda.max_memory_allocated(device) // 1024
    with open("/proc/self/status") as status:
        return next(line.split()[1] for line in status if line.startswith("VmHWM:"))


def main(network, weights, inputs, method, profiles, device):
    data = {name: tensor.to(device) for name, tensor in load_file(inputs).items()}

    def prepare(dtype):
        model = make(network)
        model.load_state_dict(load_file(weights))
        return METHODS[method](model.to(device, dtype), data["inputs"].to(dtype), data["labels"])

    def finished(repetition):
        result = repetition()
        if device != "cpu":
            torch.cuda.synchronize(device)
        return result

    try:
        repetition = prepare(torch.float32)
        last = finished(repetition)
    except Exception as error:  # whatever a library throws at a network that it does not accept
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        print("refused", reason, flush=True)
        raise
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() != "run":
            break
        last, times = finished(repetition), []
        while not times or sum(times) < 1:
            start = time.perf_counter()
            last = finished(repetition)
            times.append(time.perf_counter() - start)
        print(1000 * sorted(times)[len(times) // 2], flush=True)
    peak = peak_memory(device)
    if last is not None:
        exact = prepare(torch.float64)()
        save_file({"profiles": last.cpu().contiguous(), "float64": exact.cpu().contiguous()}, profiles)
    print(peak, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
