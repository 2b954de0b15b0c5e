# SPDX-License-Identifier: MIT
"""The functions of the package: tensors in, tensors out, on the library's policies."""

import contextlib
from typing import Any, Callable, Iterable, Iterator, NamedTuple, Optional, Sequence, Union

import torch

from culprit import _library
from culprit._inline import Aggregation
from culprit._library import Baseline, Units
from culprit._view import view


class Filter(NamedTuple):
    """A unit with its place in a ranking."""

    layer: str  #: name of the parameter
    channel: int  #: unit within the layer
    value: float  #: of the profile
    unit: int  #: index in the profile


#: A unit by its number in a profile, or by layer (with or without ".weight") and channel; a Filter is one too.
FilterLike = Union[int, torch.Tensor, Sequence[Any]]

#: outputs [B, ...] float64, targets -> losses [B], differentiable by autograd.
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Profiler:
    """How gradients become profiles. Without arguments: the paper's way.

    Args:
        aggregation: "mean_abs", "mean", "l2_norm", "max_abs", "median_abs", "parameter_wise", "tensor_mean", or one
            that culprit.aggregation compiled.
        standardization: "z_score", "mean_ratio", "identity", or "robust", which needs a baseline fitted with it.
        loss: "cross_entropy" with the label; "predicted", with the class that the model says; a class, as its number;
            or a function of outputs [B, ...] in float64 and targets that gives one loss for each sample, [B].
        units: "filters" (of 4-D parameters), "neurons" (rows of 2-D ones), "weights" (both, and filters of 3 and 5
            dimensions), or "heads:N" (queries, keys and values of each head, of attentions that have N).
        layers: the only ones to compute: "up-to:NAME", "after:NAME", "FIRST-LAST", or a pattern of names.
        engine: "batched", or "loop", one sample at a time.
        workers: threads that each take a part of a batch; above 1 for models that may run in several at a time.
    """

    def __init__(self, aggregation: Union[str, Aggregation] = "mean_abs", *, standardization: str = "z_score",
                 loss: Union[str, int, Loss] = "cross_entropy", units: str = "filters", layers: str = "",
                 engine: str = "batched", workers: int = 1) -> None:
        settings = _library.Settings(standardization, _loss(loss), units, layers, engine, workers)
        self._method = (aggregation.make(settings) if isinstance(aggregation, Aggregation)
                        else _library.Method(aggregation, settings))


def fit(model: torch.nn.Module, loader: Iterable[Any], *, profiler: Optional[Profiler] = None,
        preprocessing: str = "", skip_non_finite: bool = False, progress: bool = True) -> Baseline:
    """Mean and deviation of every unit over a hold-out set: what is usual.

    Args:
        loader: batches that begin with inputs [B, ...] and labels [B] int64, such as a DataLoader's. Inputs are moved to
            the model's device.
        preprocessing: text that says how the inputs were made, kept in the baseline.
        skip_non_finite: leaves out samples with NaN or infinity in their gradients, instead of raising for the first.
        progress: shows a bar where tqdm is installed.
    """
    batches = iter(_with_bar(loader) if progress else loader)

    def next_batch() -> Optional[tuple[torch.Tensor, torch.Tensor]]:
        batch = next(batches, None)
        if batch is None:
            return None
        if not isinstance(batch, (list, tuple)) or [isinstance(each, torch.Tensor) for each in batch[:2]] != [True] * 2:
            raise ValueError("loader: expected batches that begin with two tensors, inputs and labels, "
                             f"came {type(batch).__name__}")
        return batch[0], batch[1]

    with view(model) as seen:
        return _method(profiler).fit(seen, next_batch, preprocessing, skip_non_finite)


def profile(model: torch.nn.Module, inputs: torch.Tensor, labels: torch.Tensor, baseline: Optional[Baseline] = None, *,
            profiler: Optional[Profiler] = None) -> torch.Tensor:
    """The profile of each sample of a batch: one number for each of the model's units.

    Args:
        inputs: [B, ...] as the model takes them, on its device.
        labels: [B] int64 classes, or what the loss takes.
        baseline: of this model by the same profiler; one of more layers serves too.

    Returns:
        [B, K] on the CPU: with a baseline standardized, float64; else raw, float64 for a float64 model and float32 for
        others. Unit k is the k-th of culprit.units.
    """
    with view(model) as seen:
        return _method(profiler).profile(seen, inputs, labels, baseline)


def input_saliency(model: torch.nn.Module, inputs: torch.Tensor, labels: torch.Tensor, baseline: Baseline, *,
                   profiler: Optional[Profiler] = None, filters: Union[int, Iterable[FilterLike]] = 10,
                   distance: str = "cosine", boost: float = 100.0, noise_iters: int = 0, noise_std: float = 0.0,
                   seed: int = 0) -> torch.Tensor:
    """Which pixels drive the culprits: the signed gradient G of the paper's equation 4 for each sample.

    Args:
        inputs: [B, C, H, W], or what the model takes, floating-point, on its device.
        labels: [B] int64 classes, or what the loss takes.
        filters: the units to boost: the most salient, as their number, or these for every sample.
        distance: "cosine" or "euclidean".
        boost: factor of the boosted units.
        noise_iters, noise_std, seed: to average over noisy inputs.

    Returns:
        as inputs, dtype and device too.
    """
    method = _method(profiler)
    with view(model) as seen:
        chosen = filters if isinstance(filters, int) else _numbers(filters, method.units(seen))
        return method.input_saliency(seen, inputs, labels, baseline, chosen, distance, boost, noise_iters, noise_std,
                                     seed)


@contextlib.contextmanager
def prune(model: torch.nn.Module, filters: Iterable[FilterLike], inputs: torch.Tensor, *,
          profiler: Optional[Profiler] = None) -> Iterator[torch.nn.Module]:
    """Switches units off for a scope; at its end every tensor of the model is as it was, bit for bit.

    Weight and bias of each become 0, and its channel of the batch norm that reads the layer's output directly.

    Args:
        filters: units by number, or by layer and channel.
        inputs: [B, ...], any that the model takes: a pass with the first tells which biases and batch norms those are.
    """
    method = _method(profiler)
    with view(model) as seen:
        pruned = _library.Pruned(method, seen, _numbers(filters, method.units(seen)), inputs)
    try:
        yield model
    finally:
        pruned.restore()


def mask(model: torch.nn.Module, filters: Iterable[FilterLike], *,
         profiler: Optional[Profiler] = None) -> dict[str, torch.Tensor]:
    """The units as boolean tensors by parameter name, for tools that unlearn or prune.

    Returns:
        for each parameter that holds units a bool tensor of its shape, on its device: true in the filters' weights.
    """
    table = units(model, profiler=profiler)
    parameters = dict(model.named_parameters())
    masks = {layer.name: torch.zeros(layer.shape, dtype=torch.bool, device=parameters[layer.name].device)
             for layer in table.layers}
    for number in _numbers(filters, table):
        name, channel = table.place(number)
        layer = next(layer for layer in table.layers if layer.name == name)
        masks[name].view(layer.count, layer.size)[channel] = True
    return masks


def units(model: torch.nn.Module, *, profiler: Optional[Profiler] = None) -> Units:
    """The model's units in the order of a profile, by layer and channel."""
    with view(model) as seen:
        return _method(profiler).units(seen)


def top(profile: torch.Tensor, units: Units, count: int = 10) -> list[Filter]:
    """The most salient units of one sample: by value descending, ties by number ascending.

    Args:
        profile: [K]
    """
    return [Filter(*each) for each in units.top(profile, count)]


def neighbors(profiles: torch.Tensor, query: torch.Tensor, k: int = 10, *, distance: str = "cosine",
              leave_out: Sequence[int] = ()) -> tuple[torch.Tensor, torch.Tensor]:
    """The profiles nearest to a query, exactly, the nearest first: samples with the same culprits.

    Args:
        profiles: [N, K] float64, float32 or bfloat16
        query: [K], or [Q, K] for many, of the same dtypes
        distance: "cosine", "euclidean" or "spearman"
        leave_out: for each query a row that is no neighbour, such as its own

    Returns:
        indices int64 and distances float64, [k] or [Q, k]; where there are fewer, -1 and infinity follow.
    """
    many = query.dim() == 2
    indices, distances = _library.neighbors(profiles, query if many else query.unsqueeze(0), k, distance,
                                            list(leave_out))
    return (indices, distances) if many else (indices[0], distances[0])


def _method(profiler: Optional[Profiler]) -> _library.Method:
    return (profiler or Profiler())._method


def _loss(loss: Union[str, int, Loss]) -> _library.Loss:
    if isinstance(loss, (str, int)):
        return _library.Loss(loss)
    name = getattr(loss, "__qualname__", None)
    return _library.Loss(loss, f"{loss.__module__}.{name}" if name else repr(loss))


def _numbers(filters: Iterable[FilterLike], table: Units) -> list[int]:
    return [table.index(each[0], each[1]) if isinstance(each, Sequence) else int(each) for each in filters]


def _with_bar(loader: Iterable[Any]) -> Iterable[Any]:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return loader
    return tqdm(loader, desc="culprit.fit", unit="batch")
