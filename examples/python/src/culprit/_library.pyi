# SPDX-License-Identifier: MIT
import os
from typing import Callable, Optional, Sequence, Union, overload

import torch

version: str

class Layer:
    """A parameter that holds units."""
    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> list[int]: ...
    @property
    def first(self) -> int:
        """number of its first unit"""
    @property
    def count(self) -> int:
        """of units"""
    @property
    def size(self) -> int:
        """parameters in each unit"""
    @property
    def batch_norm(self) -> str:
        """module whose batch norm reads the output directly; empty: none, or not a baseline's table"""
    @property
    def uses(self) -> int:
        """how often a forward pass uses it; -1: not a baseline's table"""

class Units:
    """The units of a model in the order of a profile."""
    @property
    def layers(self) -> list[Layer]: ...
    def __len__(self) -> int: ...
    def place(self, unit: int) -> tuple[str, int]:
        """layer and channel"""
    def index(self, layer: str, channel: int) -> int:
        """number of a unit; the layer with or without ".weight\""""
    def table(self) -> dict[str, list[Union[str, int]]]:
        """columns layer, channel and size, for pandas.DataFrame"""
    def top(self, profile: torch.Tensor, count: int) -> list[tuple[str, int, float, int]]: ...

class Baseline:
    """Mean and deviation of every unit over a hold-out set, in the program culprit's file format."""
    @staticmethod
    def load(path: Union[str, os.PathLike[str]]) -> Baseline: ...
    def save(self, path: Union[str, os.PathLike[str]]) -> None: ...
    def merged(self, other: Baseline) -> Baseline:
        """with the samples of another one of the same model"""
    @property
    def mean(self) -> torch.Tensor:
        """[K] float64, the baseline's own memory: not to be written to"""
    @property
    def std(self) -> torch.Tensor:
        """[K] float64, unbiased, the baseline's own memory: not to be written to"""
    @property
    def count(self) -> int:
        """of samples"""
    @property
    def skipped(self) -> int:
        """samples left out"""
    @property
    def dead(self) -> list[int]:
        """units that no sample moved"""
    @property
    def units(self) -> Units: ...
    @property
    def aggregation(self) -> str: ...
    @property
    def loss(self) -> str: ...
    @property
    def preprocessing(self) -> str: ...

class Loss:
    @overload
    def __init__(self, name_or_class: Union[str, int]) -> None: ...
    @overload
    def __init__(self, function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], text: str) -> None: ...

class Settings:
    def __init__(self, standardization: str, loss: Loss, units: str, layers: str, engine: str,
                 workers: int) -> None: ...

class ModelView:
    @overload
    def __init__(self, script: torch._C.ScriptModule) -> None: ...
    @overload
    def __init__(self, parameters: Sequence[tuple[str, torch.Tensor]], buffers: Sequence[tuple[str, torch.Tensor]],
                 training: Sequence[str], forward: Callable[[torch.Tensor], torch.Tensor]) -> None: ...

class Method:
    def __init__(self, aggregation: str, settings: Settings) -> None: ...
    def units(self, model: ModelView) -> Units: ...
    def fit(self, model: ModelView, next_batch: Callable[[], Optional[tuple[torch.Tensor, torch.Tensor]]],
            preprocessing: str, skip_non_finite: bool) -> Baseline: ...
    def profile(self, model: ModelView, inputs: torch.Tensor, labels: torch.Tensor,
                baseline: Optional[Baseline]) -> torch.Tensor: ...
    def input_saliency(self, model: ModelView, inputs: torch.Tensor, labels: torch.Tensor, baseline: Baseline,
                       filters: Union[int, list[int]], distance: str, boost: float, noise_iters: int,
                       noise_std: float, seed: int) -> torch.Tensor: ...

class Pruned:
    def __init__(self, method: Method, model: ModelView, units: list[int], inputs: torch.Tensor) -> None: ...
    def restore(self) -> None: ...

def neighbors(profiles: torch.Tensor, queries: torch.Tensor, k: int, distance: str,
              leave_out: list[int]) -> tuple[torch.Tensor, torch.Tensor]: ...
