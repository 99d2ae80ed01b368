"""Whether a network notices data of another kind: by how sure it is of its answers."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bayesprune.batches import Batch, call, chunks, each
from bayesprune.data import Data, Split
from bayesprune.data.given import as_data, raw_pair
from bayesprune.devices import CPU, fitting, widened
from bayesprune.errors import DataError, SettingError, StoreError, a_kind
from bayesprune.evaluation.measures.separation import Separation, separation
from bayesprune.run.raw_inputs import clear_refusal, prepared_inputs
from bayesprune.structure import evaluating
from bayesprune.tasks import Binary, Classification
from bayesprune.tasks.likelihood import check_logits_finite
from bayesprune.training.heads import saying

if TYPE_CHECKING:
    from bayesprune.run.pruned import Pruned

BATCH = 1000
"""Examples at a time."""


@dataclass(frozen=True)
class OutOfDistribution:
    """How well own and other examples are told apart.

    Attributes:
        entropy: by the entropy of the predicted probabilities, which is to be higher for other examples.
        max_probability: by the highest probability, which is to be lower for them.
        own_entropy, other_entropy: means, nats.
        own_examples, other_examples: how many there are.
    """

    entropy: Separation
    max_probability: Separation
    own_entropy: float
    other_entropy: float
    own_examples: int
    other_examples: int

    @property
    def auroc(self) -> float:
        """That of the entropy."""
        return self.entropy.auroc

    def __str__(self) -> str:
        return (
            f"AUROC of the entropy {self.entropy}, of the highest probability {self.max_probability}; mean entropy "
            f"{self.own_entropy:.3f} nats of {self.own_examples:,} own and {self.other_entropy:.3f} of "
            f"{self.other_examples:,} other examples"
        )


def out_of_distribution(
    pruned: "Pruned", other: Any, data: Any = None, *, network: nn.Module | None = None
) -> OutOfDistribution:
    """Show other data to a network, and see whether it is less sure of them than of its own.

    Args:
        pruned: the result of a run.
        other: `Data` or their name, of which the test split is shown; a pair (inputs, targets) or a DataLoader; or raw
            inputs alone. Whatever was done to the inputs of such `Data` is undone, and what was done to the training
            inputs of the run is done in its place.
        data: own data, as for `Pruned.evaluate`; None for the test split of those of the run.
        network: asked in place of `pruned.network`, such as `pruned.ensemble()`; it takes the same inputs and says the
            same outputs.

    Raises:
        SettingError: the task has no probabilities of one class an example, or `network` is none.
        DataError: the data are none, or their inputs are of another form than those of the run.
        StoreError: a loaded network without own data.
    """
    task = pruned.task
    if not isinstance(task, Classification | Binary):
        raise SettingError(
            f"the task {pruned.task_document['name']!r} has no probabilities of one class for each example, so that "
            "there is no entropy to tell other data by: this is for classification and binary"
        )
    if network is not None and not isinstance(network, nn.Module):
        raise SettingError(
            f"network is {a_kind(network)}: give a torch.nn.Module that takes the same inputs, such as "
            "pruned.ensemble(), or leave it out"
        )
    data = pruned._data if data is None else data
    if data is None:
        raise StoreError("a loaded network does not bring its data along: give out_of_distribution(other, data)")
    split = pruned.raw_split(data)
    own = (as_data(data, task.name).test if split is None else split).batches(BATCH)
    asked = pruned.network if network is None else network
    logs = [
        torch.cat(list(_log_probabilities(pruned, asked, batches)))
        for batches in ((inputs for inputs, _ in own), _others(pruned, other))
    ]
    entropies = [-(one.exp() * one).nan_to_num(0.0).sum(1) for one in logs]
    highest = [one.max(1).values for one in logs]
    return OutOfDistribution(
        separation(*entropies),
        separation(-highest[0], -highest[1]),
        own_entropy=float(entropies[0].mean()),
        other_entropy=float(entropies[1].mean()),
        own_examples=len(entropies[0]),
        other_examples=len(entropies[1]),
    )


@torch.no_grad()
def _log_probabilities(pruned: "Pruned", network: nn.Module, batches: Iterator[Batch]) -> Iterator[Tensor]:
    """Of the classes of each example [B, K], in float64 on the CPU."""
    place = partial(fitting, network)
    with saying(network, pruned.settings.output), evaluating(network), clear_refusal():
        for inputs in batches:
            outputs = widened(call(network, each(place, inputs))).to(CPU).double()
            check_logits_finite(outputs)
            if isinstance(pruned.task, Binary):
                column = outputs.reshape(-1, 1)
                outputs = torch.cat([torch.zeros_like(column), column], 1)
            yield outputs.log_softmax(1)


def _others(pruned: "Pruned", other: Any) -> Iterator[Batch]:
    """Other inputs as the network takes its own."""
    if isinstance(other, Data | str):
        found = as_data(other)
        for inputs, _ in _test(found).batches(BATCH):
            yield prepared_inputs(found.normalisation.undo(inputs), pruned.inputs, pruned.normalisation)
        return
    pair = raw_pair(other)
    raw = other if pair is None else pair[0]
    if isinstance(raw, nn.Module) or callable(raw) or raw is None:
        raise DataError(
            f"the other data are {a_kind(other)}: give bayesprune.load_data(NAME) or its name, a pair "
            "(inputs, targets), or raw inputs"
        )
    yield from chunks(prepared_inputs(raw, pruned.inputs, pruned.normalisation), BATCH)


def _test(data: Data) -> Split:
    """The examples to show.

    Raises:
        DataError: there are none.
    """
    if not len(data.test):
        raise DataError(f"the data {data.name!r} have no test examples to show")
    return data.test
