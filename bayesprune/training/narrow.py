"""Training a compact network on the features that it reads, instead of selecting them anew from every batch."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bayesprune.data import Split, TensorSplit
from bayesprune.devices import device_of, random_apart
from bayesprune.structure.modes import evaluating
from bayesprune.structure.selectors import SelectChannels, Selected
from bayesprune.training.objectives import NegativeLogLikelihood
from bayesprune.training.phase import Phase
from bayesprune.training.state import TrainState

WORTH = 0.5
"""Largest share of the features for which a copy of the training data is made."""


class Narrow:
    """A phase's training examples with the selected features only, for as long as the network keeps its shape.

    It is for networks that begin with a `SelectChannels` over their flattened inputs, and for phases in which nothing
    but the loss looks at the network between steps. All numbers are the same to the last bit: the network is tried on
    an example both ways. Outside of `examples` the network takes its full inputs.
    """

    def __init__(self, state: TrainState, phase: Phase, full: Split) -> None:
        self._full, self._narrow = full, full
        self._select: SelectChannels | None = None
        plain = type(phase.objective) is NegativeLogLikelihood and not phase.updates
        if not (plain and type(full) is TensorSplit and isinstance(full.inputs, Tensor)):
            return
        for select in _first(state.network, full.inputs[0].numel()):
            if _agrees(state.network, select, state.example):
                self._select, self._narrow = (
                    select,
                    TensorSplit(_selected(select, full.inputs), full.labels, full.weights),
                )

    @contextmanager
    def examples(self) -> Iterator[Split]:
        """The examples to train on; while this is entered the network takes them."""
        if self._select is None:
            yield self._full
        else:
            with _passing(self._select):
                yield self._narrow


def _first(network: nn.Module, features: int) -> list[SelectChannels]:
    """The one selector over the inputs; none where it is not worth a copy, or where there are several selectors."""
    found = [module.select for module in network.modules() if isinstance(module, Selected)]
    if len(found) != 1 or found[0].axis != -1 or found[0].kept.numel() > WORTH * features:
        return []
    return found if int(found[0].kept.max()) < features else []


def _selected(select: SelectChannels, inputs: Tensor) -> Tensor:
    """The features [B, K] that a selector passes of inputs [B, ...]."""
    selected: Tensor = inputs.flatten(1).index_select(1, select.kept.to(inputs.device))
    return selected


@contextmanager
def _passing(select: SelectChannels) -> Iterator[None]:
    """For a while a selector passes on all that it gets."""
    select.__dict__["forward"] = _same
    try:
        yield
    finally:
        del select.__dict__["forward"]


def _same(features: Tensor) -> Tensor:
    return features


@torch.no_grad()
def _agrees(network: nn.Module, select: SelectChannels, example: Tensor) -> bool:
    """Whether the network makes the same of an example's selected features as of all of them."""
    with evaluating(network), random_apart(device_of(network)):
        outputs = network(example)
        try:
            with _passing(select):
                others = network(_selected(select, example))
        except (RuntimeError, ValueError, IndexError, TypeError):  # it asks for its inputs' own shape
            return False
    return torch.equal(outputs, others)
