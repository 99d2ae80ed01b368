"""The training examples of a run, and what they lose when gates of its network are closed."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bayesprune.batches import call, chunks, count, each, head, named_parts, repeated
from bayesprune.data import Split
from bayesprune.data.given import as_data, raw_pair
from bayesprune.devices import device_of, fitting, widened
from bayesprune.errors import DataError, SettingError, StoreError
from bayesprune.run.raw_inputs import clear_refusal
from bayesprune.run.settings import check_integer
from bayesprune.structure import Gating, Structure, evaluating
from bayesprune.structure.replay import Replay
from bayesprune.tasks import Likelihood
from bayesprune.training.heads import picked, saying

if TYPE_CHECKING:
    from bayesprune.run.pruned import Pruned

BATCH, ROWS, NUMBERS = 500, 4_000, 2**25
"""Examples that are run at a time, and with the gates flipped side by side, at most; of so many numbers in all."""


@dataclass(frozen=True, eq=False)
class Flipping:
    """A network, its gates and the examples to flip them on.

    Attributes:
        network: in evaluation mode while it runs; it stays as it is.
        structure: its groups.
        likelihood: of the targets, with what it has learnt.
        split: the examples.
        output: which of several outputs counts; "" for the first.
        size: training examples N that the examples stand for.
        examples: how many are used.
        seed: by which they are drawn; None for the order in which they lie.
        replay: from the gated layer on; None where only whole passes are exact.
    """

    network: nn.Module
    structure: Structure
    likelihood: Likelihood
    split: Split
    output: str
    size: int
    examples: int
    seed: int | None
    replay: Replay | None

    @classmethod
    def of(
        cls, pruned: "Pruned", data: Any, examples: int | None, seed: int, *, fast: bool = True, most: int | None = None
    ) -> "Flipping":
        """That of a run; arguments and errors as in `bayesprune.run.evidence.measure`.

        Args:
            pruned: the result of a run.
            data: for its training split; None for those of the run.
            examples: to use; None for all, or `most` of them.
            seed: of their choice.
            fast: replay from the gated layer on where that is exact.
            most: examples that are used where no number is asked for; None for all.
        """
        structure = pruned.structure
        if structure.gate_count == 0:
            raise SettingError("the network has no gates: no channel of it can be removed, so no unit has evidence")
        split, likelihood = _examples(pruned, data)
        check_integer("seed", seed, 0)
        if examples is not None:
            check_integer("examples", examples, 2)
            if examples > len(split):
                raise SettingError(
                    f"examples={examples:,} is more than the data have: give at most {len(split):,}, or leave it out"
                )
        elif most is not None and most < len(split):
            examples = most
        network = pruned.network
        some = each(partial(fitting, network), next(iter(split.batches(2)))[0])
        return cls(
            network,
            structure,
            likelihood.to(device_of(network)),
            split,
            pruned.settings.output,
            int(pruned.data_summary["split_sizes"]["train"]),
            len(split) if examples is None else examples,
            None if examples in (None, len(split)) else seed,
            Replay.of(network, structure, some) if fast else None,
        )

    @property
    def gates(self) -> int:
        """J."""
        return self.structure.gate_count

    @property
    def replayed(self) -> bool:
        """Whether flips are run from the gated layer on."""
        return self.replay is not None

    def batches(self, size: int = BATCH) -> Iterator[tuple[Any, Any]]:
        """The examples, at most so many at a time, where the network lies."""
        left, fits, device = self.examples, partial(fitting, self.network), device_of(self.network)
        for inputs, targets in self.split.batches(size, seed=self.seed):
            inputs, targets = head(inputs, left), head(targets, left)
            for some, theirs in zip(chunks(inputs, size), chunks(targets, size), strict=True):
                yield each(fits, some), each(lambda part: part.to(device), theirs)
            left -= count(inputs)
            if left <= 0:
                return

    @torch.no_grad()
    def rises(self) -> Iterator[tuple[list[int], Tensor]]:
        """Gates and by how much closing each alone raises the loss of some examples: K and float64 [K, B]."""
        with clear_refusal():
            yield from self._by_replay(self.replay) if self.replay is not None else self._by_whole_passes()

    def losses(self, outputs: Any, targets: Any) -> Tensor:
        """Negative log-likelihood [B] of what the network says, in float64."""
        return self.likelihood.negative_log(widened(picked(outputs, self.output)), targets).double()

    def _by_replay(self, replay: Replay) -> Iterator[tuple[list[int], Tensor]]:
        with replay.ready():
            replay.run(next(self.batches(2))[0])
            most = max(1, NUMBERS // max(1, replay.numbers()))
            for inputs, targets in self.batches(min(BATCH, most)):
                before, at_once = self.losses(replay.run(inputs), targets), max(1, min(ROWS, most) // count(inputs))
                for alike in replay.alike(range(self.gates)):
                    for first in range(0, len(alike), at_once):
                        gates = alike[first : first + at_once]
                        after = self.losses(replay.flipped(gates), repeated(targets, len(gates)))
                        yield gates, (after.reshape(len(gates), -1) - before).cpu()

    def _by_whole_passes(self) -> Iterator[tuple[list[int], Tensor]]:
        with ExitStack() as stack:
            gating = Gating(self.network, self.structure)
            stack.callback(gating.remove)
            stack.enter_context(saying(self.network, self.output))
            stack.enter_context(evaluating(self.network))
            for inputs, targets in self.batches():
                before = self.losses(call(self.network, inputs), targets)
                gates = torch.ones(self.gates, device=device_of(self.network))
                for gate in range(self.gates):
                    gates[gate] = 0
                    with gating.applied(gates):
                        after = self.losses(call(self.network, inputs), targets)
                    gates[gate] = 1
                    yield [gate], (after - before)[None].cpu()


def _examples(pruned: "Pruned", data: Any) -> tuple[Split, Likelihood]:
    """The examples that are asked for, and the likelihood of their targets."""
    given = pruned._data if data is None else data
    if given is None:
        raise StoreError("a loaded network does not bring its data along: give data as the first argument")
    likelihood = pruned.likelihood
    split = pruned.raw_split(given)
    if split is not None and likelihood is not None:
        return split, likelihood
    if likelihood is None and raw_pair(given) is not None:
        raise SettingError(
            "the run has no likelihood: it is of a task of your own and was loaded from disk; give Data made with "
            "task=OwnTask(...)"
        )
    found = as_data(given, None if pruned.task is None else pruned.task.name)
    if likelihood is None and found.task.name != pruned.task_document["name"]:
        raise SettingError(
            f"the run has no likelihood: its task {pruned.task_document['name']!r} was loaded from disk, and the data "
            f"are of the task {found.task.name!r}; give Data made with task=OwnTask(...)"
        )
    wanted = {name: tuple(shape) for name, shape in pruned.inputs.shapes.items()}
    example = next(iter(found.train.batches(1)))[0]
    shapes = {name: tuple(part.shape[1:]) for name, part in named_parts(example).items()}
    if shapes != wanted:
        raise DataError(
            f"the inputs of {found.name} have the shape {found.inputs.shape}, those of the run {pruned.inputs.shape}: "
            "give the data that the run was trained on"
        )
    return found.train, found.task.likelihood() if likelihood is None else likelihood
