# SPDX-License-Identifier: MIT
"""What the library sees of a live module: its own tensors by name, and a forward that calls it."""

import contextlib
import sys
import threading
from typing import Any, Iterator

import torch

from culprit import _library


@contextlib.contextmanager
def view(model: torch.nn.Module) -> Iterator[_library.ModelView]:
    """The model's view, for a scope in which its operators are called one by one."""
    if isinstance(model, torch.jit.ScriptModule):
        yield _library.ModelView(model._c)
        return
    if not isinstance(model, torch.nn.Module):
        raise ValueError(f"model: expected a torch.nn.Module, came {type(model).__name__}")
    model = getattr(model, "_orig_mod", model)  # what torch.compile was given

    def forward(inputs: torch.Tensor) -> torch.Tensor:
        with torch.jit.optimized_execution(False):  # for parts that are scripts; a flag of this thread
            return _first_tensor(model(inputs))

    training = [name for name, module in model.named_modules() if module.training]
    with _unfused:
        yield _library.ModelView(list(model.named_parameters()), list(model.named_buffers()), training, forward)


class _Unfused:
    """For a scope: what torch.compile made runs as it was written, and attention operator by operator, for a fused
    kernel hides the parameters it takes.

    torch's switches are the process's, so the first thread to enter turns them and the last to leave turns them back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._switches = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside > 1:
                return
            self._switches.callback(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
            torch.backends.mha.set_fastpath_enabled(False)
            if "torch._dynamo" in sys.modules:
                self._switches.enter_context(torch.compiler.set_stance("force_eager"))

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._switches.close()


_unfused = _Unfused()


def _first_tensor(outputs: Any) -> torch.Tensor:
    """Classifiers may return auxiliary outputs behind the logits."""
    first = outputs
    while isinstance(first, (tuple, list)) and first:
        first = first[0]
    if isinstance(first, torch.Tensor):
        return first
    raise ValueError("output of the model: expected a tensor, or a tuple that begins with one, "
                     f"came {type(outputs).__name__}")
