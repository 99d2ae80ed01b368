"""How what is kept is spread over the layers.

An allocation turns scores into preferences that can be compared over layers; then one cut through all of them keeps
exactly as many as asked. Rules that give a layer its share of weights prefer by position: the r-th best of a layer with
n weights and claim q stands at r / (n q), so that a cut keeps n q t of each layer, with one t for all, and a layer
whose share would exceed 1 is kept whole while the others make up for it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import prod

import torch
from torch import Tensor

from bayesprune.errors import BudgetError, SettingError, UnknownNameError


@dataclass(frozen=True, eq=False)
class Layers:
    """What an allocation sees.

    Attributes:
        scores: by layer, any shape; -inf where a weight was pruned before.
        values: the weights (or what stands for them) themselves, shaped like the scores; pruned ones are 0.
        shapes: of the tensors of which the scores are a part, where a layer has fixed masks.
    """

    scores: Mapping[str, Tensor]
    values: Mapping[str, Tensor]
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


Allocation = Callable[[Layers], dict[str, Tensor]]
"""From scores to preferences, shaped like them: the larger, the longer a weight stays; -inf where it is gone."""


def class_blind(layers: Layers) -> dict[str, Tensor]:
    """One threshold over all layers (See et al., arXiv 1606.09274)."""
    return dict(layers.scores)


def class_distributed(layers: Layers) -> dict[str, Tensor]:
    """In each layer a threshold in proportion to its standard deviation (See et al., arXiv 1606.09274).

    The deviation is that of all the layer's weights, pruned ones included as zeros.
    """
    return {
        name: score / layers.values[name].std(correction=0).clamp_min(1e-12) for name, score in layers.scores.items()
    }


def by_share(layers: Layers, claims: Mapping[str, float]) -> dict[str, Tensor]:
    """Each layer keeps a share of its weights in proportion to its claim."""
    return {name: _positions(score) / -claims[name] for name, score in layers.scores.items()}


def class_uniform(layers: Layers) -> dict[str, Tensor]:
    """The same share of every layer (See et al., arXiv 1606.09274)."""
    return by_share(layers, dict.fromkeys(layers.scores, 1.0))


def erdos_renyi(layers: Layers, *, kernel: bool = False) -> dict[str, Tensor]:
    """Shares in proportion to (inputs + outputs) / (inputs x outputs) of a layer (SET, arXiv 1707.04780).

    Args:
        layers: with scores shaped like weights [outputs, inputs, ...].
        kernel: count the kernel's dimensions as well (RigL, arXiv 1911.11134).
    """
    claims = {}
    for name, score in layers.scores.items():
        whole = layers.shapes.get(name, tuple(score.shape))
        shape = whole if kernel else whole[:2]
        claims[name] = sum(shape) / (score.numel() if name in layers.shapes else prod(shape))
    return by_share(layers, claims)


def explicit(shares: Mapping[str, float]) -> Allocation:
    """Shares in proportion to given ones; with densities that have the asked total, exactly these.

    Args:
        shares: by layer, with or without ".weight".

    Raises:
        SettingError: a share is not above 0, or there are layers of other names.
    """
    for name, share in shares.items():
        if not 0 < share < float("inf"):
            raise SettingError(f"the share of layer {name!r} must be a finite number > 0, not {share}")

    def allocate(layers: Layers) -> dict[str, Tensor]:
        names = {name.removesuffix(".weight"): name for name in layers.scores}
        given = {name.removesuffix(".weight"): share for name, share in shares.items()}
        for name in given:
            if name not in names:
                raise UnknownNameError("layer", name, names)
        if missing := sorted(names.keys() - given.keys()):
            raise SettingError(f"give shares for all layers: {', '.join(missing)} has none")
        return by_share(layers, {names[name]: share for name, share in given.items()})

    return allocate


ALLOCATIONS: dict[str, Allocation] = {
    "class-blind": class_blind,
    "class-uniform": class_uniform,
    "class-distributed": class_distributed,
    "erdos-renyi": erdos_renyi,
    "erdos-renyi-kernel": partial(erdos_renyi, kernel=True),
}


def allocation(chosen: str | Mapping[str, float]) -> Allocation:
    """An allocation by name, or the one with given shares.

    Raises:
        UnknownNameError: there is no such name.
    """
    if not isinstance(chosen, str):
        return explicit(chosen)
    if chosen not in ALLOCATIONS:
        raise UnknownNameError("allocation", chosen, ALLOCATIONS)
    return ALLOCATIONS[chosen]


def cut(preferences: Mapping[str, Tensor], count: int, *, least: int = 0) -> dict[str, Tensor]:
    """Keep the `count` entries with the largest preferences; of equal ones those that come first.

    Args:
        preferences: by layer, -inf where nothing can be kept.
        count: entries to keep in all.
        least: entries every layer keeps at least, as far as it has so many.

    Returns:
        Masks of 0 and 1, shaped like the preferences.

    Raises:
        BudgetError: there are not so many entries to keep, or a layer would be left with none.
    """
    flat = torch.cat([preference.flatten() for preference in preferences.values()])
    sizes = [preference.numel() for preference in preferences.values()]
    if least:
        flat = torch.cat([raised(part, least) for part in flat.split(sizes)])
    available = int((flat > float("-inf")).sum())
    required = int((flat == float("inf")).sum())
    if not max(required, 1) <= count <= available:
        raise BudgetError(
            f"{count:,} weights cannot be kept: {available:,} of {flat.numel():,} are left, and at least "
            f"{max(required, 1):,} must stay: give a density from {max(required, 1) / flat.numel():.8g} to "
            f"{available / flat.numel():.8g}"
        )
    parts = _top(flat, count).split(sizes)
    masks = {name: part.view_as(p) for (name, p), part in zip(preferences.items(), parts, strict=True)}
    for name, mask in masks.items():
        if not bool(mask.any()):
            raise BudgetError(
                f"keeping {count:,} of {flat.numel():,} weights would leave layer {name.removesuffix('.weight')!r} "
                "with none: keep more, set least=1, or choose another allocation"
            )
    return masks


def raised(preferences: Tensor, least: int) -> Tensor:
    """Preferences [n] with those of the `least` best entries raised to inf, as far as there are so many."""
    changed = preferences.clone()
    best = preferences.argsort(descending=True, stable=True)[:least]
    changed[best[preferences[best] > float("-inf")]] = float("inf")
    return changed


def kept_count(density: float, total: int) -> int:
    """How many of `total` weights a density keeps, rounded to the nearest.

    Raises:
        BudgetError: the density lies outside (0, 1] or would keep nothing.
    """
    if not 0 < density <= 1:
        raise BudgetError(f"density must be > 0 and <= 1, not {density}")
    count = round(density * total)
    if count < 1:
        raise BudgetError(f"density {density:g} of {total:,} weights keeps none: give at least {1 / total:.2g}")
    return count


def _top(values: Tensor, count: int) -> Tensor:
    """1 at the `count` largest entries of a flat tensor, of equal ones at those that come first; 0 elsewhere."""
    threshold = values.kthvalue(len(values) - count + 1).values
    mask = (values > threshold).float()
    equal = (values == threshold).nonzero().flatten()
    mask[equal[: count - int(mask.count_nonzero())]] = 1.0
    return mask


def _positions(scores: Tensor) -> Tensor:
    """(r - 1/2) / n of each entry, r = 1 for the highest of n scores; inf where a score is -inf.

    In float64: 2^24 weights of a layer have no different positions in float32.
    """
    flat = scores.flatten()
    order = flat.argsort(descending=True, stable=True)
    positions = torch.empty(len(flat), dtype=torch.float64)
    positions[order] = (torch.arange(len(flat), dtype=torch.float64) + 0.5) / max(len(flat), 1)
    positions[flat == float("-inf")] = float("inf")
    return positions.view_as(scores)
