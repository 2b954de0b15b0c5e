# SPDX-License-Identifier: MIT
"""Finds the filters of a torch.nn.Module that are to blame for a mistake.

    baseline = culprit.fit(model, loader)                       # what is usual, over a hold-out set
    z = culprit.profile(model, inputs, labels, baseline)        # how unusual each filter's gradients are, [B, K]
    worst = culprit.top(z[0], baseline.units)                   # the filters to blame, by layer and channel
    pixels = culprit.input_saliency(model, inputs, labels, baseline)
    with culprit.prune(model, worst, inputs):                   # the model without them
        outputs = model(inputs)

The model is any live torch.nn.Module or torch.jit.ScriptModule in eval mode whose first argument is the batch. It comes
back as it was, also when something is raised. What is wrong with an argument is a ValueError of one sentence: where,
what was expected, what came.
"""

import torch  # whose libraries culprit._library is linked to

from culprit import _library
from culprit._inline import Aggregation, aggregation
from culprit._library import Baseline, Layer, Units
from culprit._methods import Filter, Profiler, fit, input_saliency, mask, neighbors, profile, prune, top, units

__version__: str = _library.version
__all__ = [
    "Aggregation", "Baseline", "Filter", "Layer", "Profiler", "Units", "aggregation", "fit", "input_saliency", "mask",
    "neighbors", "profile", "prune", "top", "units",
]
