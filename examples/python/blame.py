# SPDX-License-Identifier: MIT
"""The paper's case: a photograph that ResNet-50 takes for something else, and the filters that are to blame.

    python examples/python/blame.py FOLDER [WEIGHTS.pth]

FOLDER has a sub-folder of pictures for each of ImageNet's 1,000 classes, in their order. Without WEIGHTS torchvision
downloads its own.
"""

import sys

import torch
import torchvision

import culprit

# %% A model, and a hold-out set that tells what is usual for it
kind = torchvision.models.ResNet50_Weights.DEFAULT
model = torchvision.models.resnet50(weights=None if sys.argv[2:] else kind)
if sys.argv[2:]:
    model.load_state_dict(torch.load(sys.argv[2], weights_only=True))
model.eval()
pictures = torchvision.datasets.ImageFolder(sys.argv[1], transform=kind.transforms())
loader = torch.utils.data.DataLoader(pictures, batch_size=16)
baseline = culprit.fit(model, loader)

# %% The first picture that it is wrong about
for inputs, labels in loader:
    with torch.no_grad():
        predicted = model(inputs).argmax(1)
    if (predicted != labels).any():
        break
else:
    sys.exit("it is right about every picture")
wrong = int((predicted != labels).int().argmax())
image, label = inputs[wrong:wrong + 1], labels[wrong:wrong + 1]
names = kind.meta["categories"]
print(f"a {names[int(label)]} is taken for a {names[int(predicted[wrong])]}; to blame:")

# %% The filters whose gradients are the most unusual
z = culprit.profile(model, image, label, baseline)
worst = culprit.top(z[0], baseline.units, count=10)
for layer, channel, value, unit in worst:
    print(f"  {layer}:{channel}  z = {value:.2f}")

# %% The pixels that drive them, and the model without them
pixels = culprit.input_saliency(model, image, label, baseline)[0].abs().amax(0)
print(f"most salient pixel: {divmod(int(pixels.argmax()), pixels.shape[1])}")
with torch.no_grad(), culprit.prune(model, worst, image):
    print(f"probability of {names[int(label)]} without them: {float(model(image).softmax(1)[0, label]):.3g}")
