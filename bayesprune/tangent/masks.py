"""Which weights (or channels) a student keeps: by magnitude of its weights, alive or not."""

from collections.abc import Callable, Mapping
from math import floor

import torch
from torch import Tensor, nn

from bayesprune.budgets.limits import Limits
from bayesprune.errors import BudgetError, UnknownNameError
from bayesprune.pruners.allocation import Layers, class_blind, class_uniform, cut, explicit, kept_count
from bayesprune.pruners.budgeted import open_within
from bayesprune.pruners.problem import check_finite
from bayesprune.pruners.scores import l1_norms_of
from bayesprune.pruners.units import unit_preferences
from bayesprune.structure import Structure
from bayesprune.structure.copying import copied
from bayesprune.structure.spike import spike_outputs
from bayesprune.training import TrainState

Masks = dict[str, Tensor]
"""0 or 1 for every entry of a parameter, by its name."""

Choose = Callable[[Mapping[str, Tensor], float, int], Masks]
"""From the scores of all weights, a density, and what every layer keeps at least, to the masks of those that stay."""


def layerwise(scores: Mapping[str, Tensor], density: float, least: int = 0) -> Masks:
    """The same density in every layer; the total is exact."""
    return _cut(class_uniform(Layers(scores, scores)), density, least)


def globally(scores: Mapping[str, Tensor], density: float, least: int = 0) -> Masks:
    """One threshold over all layers; the total is exact."""
    return _cut(class_blind(Layers(scores, scores)), density, least)


def released(scores: Mapping[str, Tensor], density: float, least: int = 0) -> Masks:
    """Layer by layer, strictly above the entry at floor((1 - density) n) of n sorted ones.

    So it is in the code of Liu and Zenke (arXiv 2006.08228): each layer has one weight less than `layerwise` would
    give it, or up to two.

    Raises:
        BudgetError: a layer would be left with none.
    """
    masks = {}
    for name, score in scores.items():
        threshold = score.flatten().sort().values[min(floor((1 - density) * score.numel()), score.numel() - 1)]
        masks[name] = (score > threshold).to(score.dtype)
        if int(masks[name].sum()) < least:
            masks[name] = cut({name: score}, min(least, score.numel()))[name]
        if not bool(masks[name].any()):
            raise BudgetError(
                f"density {density:g} would leave layer {name.removesuffix('.weight')!r} with no weight: keep more"
            )
    return masks


CHOICES: dict[str, Choose] = {"layerwise": layerwise, "global": globally, "released": released}


def choice(chosen: str | Mapping[str, float]) -> Choose:
    """A choice by name, or the one that gives every layer its share.

    Raises:
        UnknownNameError: there is no such name.
        SettingError: a share is not above 0.
    """
    if isinstance(chosen, str):
        if chosen not in CHOICES:
            raise UnknownNameError("masks", chosen, CHOICES)
        return CHOICES[chosen]
    allocate = explicit(chosen)
    return lambda scores, density, least: _cut(allocate(Layers(scores, scores)), density, least)


def channels_within(state: TrainState, network: nn.Module, limits: Limits) -> Tensor:
    """Open gates, bool [J], of the channels with the largest L1 norms, the same share of every group.

    Raises:
        BudgetError: no network of this kind meets the budget.
        NetworkError: norms that are not finite.
    """
    scores = l1_norms_of(network, state.structure)
    return open_within(state, unit_preferences(state.structure, scores, class_uniform), limits)


def channel_masks(network: nn.Module, structure: Structure, open_gates: Tensor) -> Masks:
    """Masks of all weights and biases that closed gates [J] leave without a use."""
    ones = copied(network)
    with torch.no_grad():
        for parameter in ones.parameters():
            parameter.fill_(1.0)
    spiked = dict(spike_outputs(ones, structure, open_gates).named_parameters())
    return {name: mask.detach() for name, mask in spiked.items()}


def _cut(preferences: Mapping[str, Tensor], density: float, least: int) -> Masks:
    """The exact count of all layers together."""
    check_finite("scores", {name: each[each > float("-inf")] for name, each in preferences.items()})
    return cut(preferences, kept_count(density, sum(each.numel() for each in preferences.values())), least=least)
