"""How many channels or weights each layer keeps where every layer is given its share."""

from collections.abc import Mapping
from math import floor

from torch import Tensor

from bayesprune.errors import BudgetError, UnknownNameError
from bayesprune.pruners.allocation import cut, kept_count
from bayesprune.structure import Structure
from bayesprune.structure.selectors import plain_name

COSTS = ("macs", "params", "latency")
"""What budgets of a whole network are about."""


def channel_goals(structure: Structure, shares: Mapping[str, float]) -> dict[str, int]:
    """How many channels the named groups keep at most: a share rounded down, and at least one.

    Args:
        structure: the groups at the start.
        shares: by a group's name, or by a layer that writes its channels.

    Raises:
        UnknownNameError: a name is neither.
        BudgetError: two layers of one group have different shares, or a layer keeps all its channels.
    """
    of = {plain_name(layer): group for group in structure.groups for layer in (*group.producers, group.name)}
    goals: dict[str, int] = {}
    for name, share in shares.items():
        if name not in of and name in structure.whole:
            raise BudgetError(
                f"layer {name!r} keeps all its channels ({structure.whole[name]}): leave it out of the budget"
            )
        if name not in of:
            raise UnknownNameError("cost, or layer with channels to remove,", name, [*of, *COSTS])
        group = of[name]
        goal = max(1, floor(share * group.size + 1e-9))
        if goals.setdefault(group.name, goal) != goal:
            tied = ", ".join(group.producers)
            raise BudgetError(f"layers {tied} lose their channels together: give them one share, not {dict(shares)}")
    return goals


def weight_goals(sizes: Mapping[str, int], shares: Mapping[str, float]) -> dict[str, int]:
    """How many of their weights the named layers keep, by parameter name: a share rounded to the nearest.

    Raises:
        UnknownNameError: there is no such layer.
        BudgetError: a layer would keep none.
    """
    of = {plain_name(name.removesuffix(".weight")): name for name in sizes}
    goals = {}
    for layer, share in shares.items():
        name = layer.removesuffix(".weight")
        if name not in of:
            raise UnknownNameError("layer with weights", name, of)
        try:
            goals[of[name]] = kept_count(share, sizes[of[name]])
        except BudgetError as error:
            raise BudgetError(f"layer {name!r}: {error}") from error
    return goals


def on_the_way(sizes: Mapping[str, int], goals: Mapping[str, int], left: int) -> dict[str, int]:
    """How many each layer keeps when about `left` are to be left of all with a goal: all go down together.

    Args:
        sizes: at the start.
        goals: at the end.
        left: from their sum down to that of the goals.
    """
    total, goal = sum(sizes[name] for name in goals), sum(goals.values())
    part = 1.0 if total == goal else (total - left) / (total - goal)
    return {name: sizes[name] - floor(part * (sizes[name] - least) + 1e-9) for name, least in goals.items()}


def cut_each(scores: Mapping[str, Tensor], counts: Mapping[str, int]) -> dict[str, Tensor]:
    """Masks of the weights with the largest scores, so many in each layer; all that is alive where there is no count.

    Raises:
        BudgetError: a layer has fewer weights left than it is to keep.
    """
    alive = {name: int((score > float("-inf")).sum()) for name, score in scores.items()}
    return {name: cut({name: score}, counts.get(name, alive[name]))[name] for name, score in scores.items()}
