"""Which hidden unit of one network does what a unit of another does: matched by what they say of the same examples.

Two restarts number their units independently. Before anything is said of "the same" unit of both, units are paired
one to one so that the sum of their correlations is as large as can be (the assignment problem, solved by SciPy).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.batches import call, chunks, each
from bayesprune.devices import fitting
from bayesprune.errors import SettingError
from bayesprune.sections.absent import Absent
from bayesprune.sections.value import KIND
from bayesprune.structure import Group, evaluating

MOST_VALUES = 20_000
"""Values of a unit (examples times positions) that are looked at, at most."""


@dataclass(frozen=True)
class Match:
    """The units of one group of two networks, one to one; as many pairs as the smaller one has units.

    Attributes:
        group: its name.
        one, other: original indices [M] of the paired units.
        correlation: Pearson's [M] over examples and positions; 0 where a unit is constant.
        sizes: units that the two networks have left.
    """

    group: str
    one: tuple[int, ...]
    other: tuple[int, ...]
    correlation: tuple[float, ...]
    sizes: tuple[int, int]

    @property
    def quality(self) -> float:
        """Mean correlation of the pairs."""
        return sum(self.correlation) / max(len(self.correlation), 1)


def match_units(
    networks: Sequence[nn.Module], groups: Sequence[Sequence[Group]], inputs: Any, batch_size: int = 1000
) -> list[Match]:
    """Match the units of two compact networks, group by group, by the values that their producing layers write.

    Args:
        networks: two.
        groups: of each, with the same names; only hidden units and filters are matched.
        inputs: of the same examples for both, normalised.
        batch_size: examples at a time.

    Raises:
        SettingError: the networks do not have the same groups.
    """
    found = [_hidden(network, own) for network, own in zip(networks, groups, strict=True)]
    if any(group.kind == KIND for own in groups for group in own):  # sections that only one of them has match nothing
        left = set.intersection(*({group.name for group in own if len(group.kept)} for own in found))
        found = [[group for group in own if group.name in left] for own in found]
    names = [[group.name for group in own] for own in found]
    if names[0] != names[1]:
        raise SettingError(f"the groups are {names[0]} and {names[1]}: only networks of one kind can be matched")
    values = [_written(network, own, inputs, batch_size) for network, own in zip(networks, found, strict=True)]
    return [_match(a, b, values[0][a.name], values[1][b.name]) for a, b in zip(found[0], found[1], strict=True)]


def _hidden(network: nn.Module, groups: Sequence[Group]) -> list[Group]:
    """Groups of units or filters: they bear the name of the first layer that writes them."""
    layers = {name for name, module in network.named_modules() if not isinstance(module, Absent)}
    return [group for group in groups if group.name in layers]


@torch.inference_mode()
def _written(network: nn.Module, groups: Sequence[Group], inputs: Any, batch_size: int) -> dict[str, Tensor]:
    """What every group's first layer writes: [units, values]; of many positions some, at even steps."""
    with _recording(network, {group.name for group in groups}) as record, evaluating(network):
        for part in chunks(inputs, batch_size):
            call(network, each(lambda tensor: fitting(network, tensor), part))
    found = {}
    for group in groups:
        values = torch.cat(record[group.name]).transpose(0, 1).flatten(1)
        found[group.name] = values[:, :: max(1, values.shape[1] // MOST_VALUES)]
    return found


@contextmanager
def _recording(network: nn.Module, layers: set[str]) -> Iterator[dict[str, list[Tensor]]]:
    """Keep what layers write, channels second."""
    record: dict[str, list[Tensor]] = {name: [] for name in layers}
    last = {name: isinstance(network.get_submodule(name), nn.Linear) for name in layers}

    def keep(name: str) -> Any:
        def hook(layer: nn.Module, given: Any, written: Tensor) -> None:
            record[name].append((written.movedim(-1, 1) if last[name] else written).float().cpu())

        return hook

    handles = [network.get_submodule(name).register_forward_hook(keep(name)) for name in layers]
    try:
        yield record
    finally:
        for handle in handles:
            handle.remove()


def _match(one: Group, other: Group, first: Tensor, second: Tensor) -> Match:
    """The assignment with the largest sum of correlations."""
    from scipy.optimize import linear_sum_assignment

    correlation = _standard(first) @ _standard(second).T
    rows, columns = linear_sum_assignment(correlation.numpy(), maximize=True)
    return Match(
        one.name,
        tuple(one.kept[torch.as_tensor(rows)].tolist()),
        tuple(other.kept[torch.as_tensor(columns)].tolist()),
        tuple(correlation[rows, columns].tolist()),
        (len(first), len(second)),
    )


def _standard(values: Tensor) -> Tensor:
    """Rows [units, values] with mean 0 and norm 1; constant rows are 0."""
    centred = values.double() - values.double().mean(1, keepdim=True)
    norm = centred.norm(dim=1, keepdim=True)
    return torch.where(norm > 1e-9 * values.double().norm(dim=1, keepdim=True), centred / norm.clamp_min(1e-300), 0.0)
