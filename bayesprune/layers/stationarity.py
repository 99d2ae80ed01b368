"""Whether an inactive layer stays so: the smallest strength that keeps its negative part at 0."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.batches import call, count
from bayesprune.devices import device_of, random_apart, widened
from bayesprune.layers.find import Candidate, Layers
from bayesprune.layers.linear import factors_of
from bayesprune.structure.modes import evaluating

Batches = Iterable[tuple[Any, Any]]


def least_strengths(
    network: nn.Module,
    layers: Layers,
    batches: Batches,
    loss: Callable[[Any, Any], Tensor],
    *,
    lam: float = 0.0,
) -> dict[str, float]:
    """Of each candidate the smallest r_j at which no negative entry would grow from where it is 0.

    With G the gradient of the loss with respect to [W_j b_j] and Z its entries that are 0, the negative part stays 0
    if and only if

        || max(G - lam, 0) on Z ||_F <= r_j

    where lam (the l1 penalty) counts for weights and not for biases: an entry of Z moves below 0 where the loss falls
    by that by more than both penalties rise. Weight decay has no gradient at 0. Entries that are negative already are
    looked at as if they were 0, so that the number is a bound only where the layer is inactive.

    Args:
        network: in evaluation mode while it is asked.
        layers: by `find_layers`; those behind a batch normalisation are left out.
        batches: all training data, as (inputs, targets).
        loss: mean loss of outputs and targets.
        lam: strength of the l1 penalty.

    Returns:
        By layer; without those behind a batch normalisation, and chains.
    """
    plain = [
        one for one in layers.candidates if not one.norm and len(factors_of(network.get_submodule(one.layer))) == 1
    ]
    found = mean_gradients(network, plain, batches, loss)
    least = {}
    for one in plain:
        layer, total = network.get_submodule(one.layer), 0.0
        for name, gradient in found[one.layer].items():
            inside = layer.get_parameter(name).detach() <= 0
            pull = (gradient - (lam if name == "weight" else 0.0)).clamp(min=0)
            total += float(pull[inside].square().sum())
        least[one.layer] = total**0.5
    return least


def mean_gradients(
    network: nn.Module, layers: Iterable[Candidate], batches: Batches, loss: Callable[[Any, Any], Tensor]
) -> dict[str, dict[str, Tensor]]:
    """The gradient of the mean loss over all batches, by layer and tensor, in float64."""
    tensors = {
        (one.layer, name): parameter
        for one in layers
        for name, parameter in network.get_submodule(one.layer).named_parameters()
    }
    sums = {key: torch.zeros_like(tensor, dtype=torch.float64) for key, tensor in tensors.items()}
    examples = 0
    if not tensors:
        return {}
    with evaluating(network), random_apart(device_of(network)), torch.enable_grad():
        for inputs, targets in batches:
            value = loss(widened(call(network, inputs)), targets)
            gradients = torch.autograd.grad(value, list(tensors.values()), allow_unused=True)
            size = count(inputs)
            for key, gradient in zip(tensors, gradients, strict=True):
                if gradient is not None:
                    sums[key] += size * gradient.double()
            examples += size
    found: dict[str, dict[str, Tensor]] = {}
    for (layer, name), total in sums.items():
        found.setdefault(layer, {})[name] = total / max(1, examples)
    return found
