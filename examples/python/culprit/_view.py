# SPDX-License-Identifier: MIT
"""What the library sees of a live module: its own tensors by name, and a forward that calls it."""

import contextlib
import sys
from typing import Any

import torch

from culprit import _library


def view(model: torch.nn.Module) -> _library.ModelView:
    """The model's view; the model must live as long as it."""
    if isinstance(model, torch.jit.ScriptModule):
        return _library.ModelView(model._c)
    if not isinstance(model, torch.nn.Module):
        raise ValueError(f"model: expected a torch.nn.Module, came {type(model).__name__}")
    model = getattr(model, "_orig_mod", model)  # what torch.compile was given

    def forward(inputs: torch.Tensor) -> torch.Tensor:
        with contextlib.ExitStack() as stack:
            for scope in _operator_by_operator():
                stack.enter_context(scope)
            return _first_tensor(model(inputs))

    training = [name for name, module in model.named_modules() if module.training]
    return _library.ModelView(list(model.named_parameters()), list(model.named_buffers()), training, forward)


def device_of(model: torch.nn.Module) -> torch.device:
    """Where the model's first tensor is."""
    for tensor in model.parameters():
        return tensor.device
    return torch.device("cpu")


def _operator_by_operator() -> list[contextlib.AbstractContextManager[Any]]:
    """Fused kernels would hide the parameters that they take."""
    scopes: list[contextlib.AbstractContextManager[Any]] = [torch.jit.optimized_execution(False)]
    if "torch._dynamo" in sys.modules:
        scopes.append(torch.compiler.set_stance("force_eager"))
    return scopes


def _first_tensor(outputs: Any) -> torch.Tensor:
    """Classifiers may return auxiliary outputs behind the logits."""
    first = outputs
    while isinstance(first, (tuple, list)) and first:
        first = first[0]
    if isinstance(first, torch.Tensor):
        return first
    raise ValueError("output of the model: expected a tensor, or a tuple that begins with one, "
                     f"came {type(outputs).__name__}")
