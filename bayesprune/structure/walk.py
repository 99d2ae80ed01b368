"""A bound on torch-pruning's walk through its graph, which does not end on some slices and reshapes."""

from typing import Any

import torch_pruning
from torch import nn

VISITS = 20
"""How often a dependency may be followed for one layer's channels, on average over all dependencies."""

LEAST_STEPS = 2_000
"""Steps that a small network's walk may have in any case."""

REPEATS = 4
"""How many times the widest layer's features may be handed on at once."""


class _WithoutEndError(Exception):
    """The walk has had its steps, or the features that it hands on become more and more."""


class _Bound:
    """Stands last among the mappings of every dependency, and so sees every step of a walk."""

    def __init__(self, steps: int, features: int) -> None:
        self.steps, self.features, self.taken = steps, features, 0

    def __call__(self, indices: list[Any]) -> list[Any]:
        """Hand the features on, or break the walk off."""
        self.taken += 1
        if self.taken > self.steps or len(indices) > self.features:
            raise _WithoutEndError
        return indices


def bounded(graph: Any) -> list[nn.Module]:
    """Bound the walk from each layer; the list returned gets the layers whose walk was broken off.

    The group of such a layer is empty.
    """
    endless: list[nn.Module] = []
    dependencies = [dependency for node in graph.module2node.values() for dependency in node.dependencies]
    widest = max((size for weight in graph.model.parameters() for size in weight.shape[:2]), default=1)
    bound = _Bound(LEAST_STEPS + VISITS * len(dependencies), REPEATS * widest)
    for dependency in dependencies:
        dependency.index_mapping.append(bound)
    walk = graph.get_pruning_group

    def get_pruning_group(module: nn.Module, *arguments: Any) -> Any:
        bound.taken = 0
        try:
            return walk(module, *arguments)
        except _WithoutEndError:
            endless.append(module)
            return torch_pruning.dependency.Group()

    graph.get_pruning_group = get_pruning_group
    return endless
