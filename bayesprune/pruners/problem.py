"""What a score of weights or channels may look at."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.batches import call, head, join, parts
from bayesprune.batches import count as count_of
from bayesprune.data import Data
from bayesprune.errors import DataError, NetworkError
from bayesprune.structure import Structure, fixed_masks, weight_sizes, weights_of
from bayesprune.structure.matrices import matrices_of
from bayesprune.structure.modes import training
from bayesprune.tasks import Likelihood
from bayesprune.tasks.likelihood import Categorical
from bayesprune.training import TrainState

ALL = "all"
"""The choice of matrices that is no choice."""

Batch = tuple[Any, Any]
"""Inputs [B, ...] (or a tuple or dict of such) and targets."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A network at the moment of pruning, and the data.

    Random choices come from torch's global generator, which the training loop seeds.

    Attributes:
        network: pruned weights are zero already.
        structure: its groups.
        data: what it learns from.
        masks: 0 or 1 for every weight, by parameter name; empty where nothing was pruned yet.
        likelihood: of the targets.
        running: names of the layers that take part in a forward pass, whose weights can be pruned; None for all.
    """

    network: nn.Module
    structure: Structure
    data: Data
    masks: Mapping[str, Tensor]
    running: frozenset[str] | None = None
    likelihood: Likelihood = field(default_factory=Categorical)

    @classmethod
    def of(cls, state: TrainState, data: Data) -> "Problem":
        """The problem a training state poses."""
        return cls(state.network, state.structure, data, state.masks, state.running(), state.likelihood)

    def weights(self) -> dict[str, nn.Parameter]:
        """The weights (not biases) of the linear, convolution and recurrent layers that run, by parameter name.

        Raises:
            NetworkError: there is no such layer, or a weight is not finite.
        """
        found = weights_of(self.network, self.running)
        if not found:
            raise NetworkError(
                "the network runs no linear, convolution or recurrent layer, so there are no weights to prune"
            )
        check_finite("weights", found)
        return found

    def sizes(self, matrices: str = ALL) -> dict[str, int]:
        """How many weights there are to prune, by parameter name: entries outside of a layer's fixed mask are none.

        Args:
            matrices: "all", or which of the recurrent layers' alone.

        Raises:
            NetworkError: there are none.
        """
        weights = self.weights()
        if matrices != ALL:
            chosen = matrices_of(self.network, matrices)
            weights = {name: weight for name, weight in weights.items() if name in chosen}
            if not weights:
                raise NetworkError(
                    f"matrices={matrices!r} is for recurrent layers, and the network runs none: leave it out"
                )
        return weight_sizes(self.network, weights)

    def places(self) -> dict[str, Tensor]:
        """Where the layers with fixed masks have weights [bool], by parameter name."""
        return fixed_masks(self.network)

    def examples(self, count: int) -> Batch:
        """So many training examples, drawn without replacement; all of them where there are no more."""
        inputs, labels, found = [], [], 0
        for some, theirs in self.data.train.batches(count, seed=int(torch.randint(2**31, ()))):
            inputs.append(some)
            labels.append(theirs)
            found += count_of(some)
            if found >= count:  # a loader has batches of its own size
                break
        return head(join(inputs), count), head(join(labels), count)

    def labelled(self, count: int) -> Batch:
        """`examples` for a score that uses their labels.

        Raises:
            DataError: all of them have one class.
        """
        inputs, labels = self.examples(count)
        classes = parts(labels)[0].flatten()
        if self.data.task.has_classes and bool((classes == classes[0]).all()):
            raise DataError(
                f"all {len(classes)} examples of the scoring batch have class {int(classes[0])}, so a score that uses "
                "labels cannot tell weights apart: use a larger batch, or data with more than one class"
            )
        return inputs, labels

    def loss(self, network: nn.Module, batch: Batch, temperature: float = 1.0) -> Tensor:
        """Mean negative log-likelihood of a batch, with outputs divided by a temperature."""
        outputs = call(network, batch[0])
        return self.likelihood.loss(outputs if temperature == 1 else outputs / temperature, batch[1])

    @contextmanager
    def scoring(self) -> Iterator[nn.Module]:
        """The network in training mode with gradients on all its weights; buffers, gradients and flags are put back."""
        parameters = list(self.network.parameters())
        flags = [(parameter, parameter.requires_grad, parameter.grad) for parameter in parameters]
        buffers = [(buffer, buffer.clone()) for buffer in self.network.buffers()]
        for parameter in parameters:
            parameter.requires_grad_(True)
            parameter.grad = None
        try:
            with training(self.network):
                yield self.network
        finally:
            with torch.no_grad():
                for buffer, value in buffers:
                    buffer.copy_(value)
            for parameter, flag, gradient in flags:
                parameter.requires_grad_(flag)
                parameter.grad = gradient


WeightScore = Callable[[Problem], dict[str, Tensor]]
"""Scores shaped like the weights, by parameter name: the larger, the longer a weight stays."""

UnitScore = Callable[[Problem], Tensor]
"""Scores [J] of the structure's gates: the larger, the longer a channel stays."""


def check_finite(what: str, values: Mapping[str, Tensor]) -> None:
    """Refuse numbers that are none.

    Raises:
        NetworkError: names the first layer that has them.
    """
    for name, value in values.items():
        if not bool(torch.isfinite(value).all()):
            layer = name.removesuffix(".weight")
            raise NetworkError(
                f"the {what} of layer {layer!r} hold NaN or infinite values: train with a smaller learning rate, "
                "or check the scale of the inputs"
            )
