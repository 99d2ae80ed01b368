"""Prior inclusion probabilities of a network's gates."""

import torch
from torch import Tensor

from bayesprune.models.priors.inclusion import layer_inclusion
from bayesprune.structure import Structure
from bayesprune.structure.matrices import COUNTED
from bayesprune.training import TrainState
from bayesprune.training.network_kinds import network_kind

CONVOLUTIONAL = 1e-4
"""Prior inclusion probability in networks with convolutions: the constant of the public code on CIFAR-10."""

ALWAYS = 1 - 2.0**-20
"""Prior inclusion probability of gates without a spike: as good as certain, at 1e-6 nats."""


def prior_inclusion(state: TrainState, examples: int, inclusion: float | None, input_gates: bool) -> Tensor:
    """Prior inclusion probability of every gate, [J] in the initial numbering.

    Where it is not given, that of the layer which writes a group of nodes (`layer_inclusion`), `CONVOLUTIONAL` in
    networks with convolutions, and 1/size for inputs and flattened features; `ALWAYS` for gates without a spike.
    """
    structure, found = state.structure, torch.empty(state.structure.initial_gate_count)
    by_layer = {} if inclusion is not None else _by_layer(state, structure, examples)
    for group, place in zip(structure.groups, structure.initial_slices().values(), strict=True):
        if group.kind != "channels":
            usual = min(ALWAYS, 1 / (group.size + 1))
            found[place] = ALWAYS if not input_gates else usual if inclusion is None else inclusion
        else:
            written = next((by_layer[name] for name in group.producers if name in by_layer), CONVOLUTIONAL)
            found[place] = min(ALWAYS, written if inclusion is None else inclusion)
    return found


def _by_layer(state: TrainState, structure: Structure, examples: int) -> dict[str, float]:
    """The formula's probabilities for all linear layers that write nodes; none for networks with convolutions."""
    if network_kind(state.network) != "perceptron":
        return {}
    shapes = {
        name: layer.weight.shape
        for name, layer in state.network.named_modules()
        if isinstance(layer, COUNTED) and name in state.running()
    }
    hidden = [name for name in shapes if any(name in group.producers for group in structure.groups)]
    others = [name for name in shapes if name not in hidden][-1:]  # the output layer
    chain = [shapes[name] for name in (*hidden, *others)]
    found = layer_inclusion([shape[1] for shape in chain], [shape[0] for shape in chain], examples)
    return dict(zip(hidden, found + [found[-1]] * len(hidden), strict=False)) if found else {}
