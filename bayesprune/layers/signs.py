"""Negative parts of layers: what is penalised, and what a layer needs to be without to be linear."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from bayesprune.layers.find import Candidate, Layers
from bayesprune.layers.linear import effective, factors_of, identity_like, scale_of, shift_of

ROUNDING = 1e-6
"""Of a folded batch normalisation: values below 0 by so much, relative to the largest of their layer, count as 0."""


@torch.no_grad()
def signed_values(network: nn.Module, one: Candidate, *, with_skip: bool = True) -> list[Tensor]:
    """All that must not be negative: weights and biases of a layer in float64, normalisation and skip folded in."""
    module = network.get_submodule(one.layer)
    norm = network.get_submodule(one.norm) if one.norm else None
    found: list[Tensor] = []
    for factor in factors_of(module):
        if hasattr(factor, "weight"):  # average pooling has none
            own = norm if factor is module else None
            found += [part for part in effective(factor, own, skip=one.skip and with_skip) if part is not None]
    return found


def negative_norm(values: Iterable[Tensor]) -> float:
    """Square root of the sum of squares of all that is below 0."""
    total = sum(float(part.clamp(max=0).square().sum()) for part in values)
    return float(total**0.5)


def least_value(network: nn.Module, one: Candidate) -> float:
    """The least weight or bias of a layer; the rounding of a folded normalisation counts as 0."""
    values = signed_values(network, one)
    least = min(float(part.min()) for part in values)
    if one.norm and -ROUNDING * max(float(part.abs().max()) for part in values) <= least < 0:
        return 0.0
    return least


def inactive(network: nn.Module, layers: Layers, tol: float = 0.0) -> tuple[Candidate, ...]:
    """The candidates with no weight and no bias below -tol."""
    return tuple(one for one in layers.candidates if least_value(network, one) >= -tol)


def active_layers(network: nn.Module, layers: Layers, tol: float = 0.0) -> tuple[str, ...]:
    """The hidden matrices whose activation acts: all but the last one and the inactive ones.

    Their number is the depth that the network has in effect (Hebiri and Lederer); the first matrix always counts.
    """
    gone = {one.layer for one in inactive(network, layers, tol)}
    return tuple(name for name in layers.hidden if name not in gone)


def negative_norms(network: nn.Module, layers: Layers) -> dict[str, float]:
    """What the regulariser sees of each candidate: the norm of its negative part, skips not counted."""
    return {one.layer: negative_norm(signed_values(network, one, with_skip=False)) for one in layers.candidates}


def penalty(network: nn.Module, layers: Layers, strengths: Mapping[str, float]) -> float:
    """Sum over the candidates of r_j || neg([W_j b_j]) ||_F (Hebiri and Lederer, arXiv 2006.15604)."""
    return sum(strengths[name] * norm for name, norm in negative_norms(network, layers).items())


def strengths_of(network: nn.Module, layers: Layers, strength: float) -> dict[str, float]:
    """r_j = r sqrt(weights of layer j): for a matrix r sqrt(p_j p_(j-1)), by candidate."""
    found = {}
    for one in layers.candidates:
        weights = [f.get_parameter("weight").numel() for f in factors_of(network.get_submodule(one.layer))
                   if hasattr(f, "weight")]  # fmt: skip
        found[one.layer] = strength * sum(weights) ** 0.5
    return found


@torch.no_grad()
def clamp(network: nn.Module, one: Candidate) -> None:
    """Set all that is negative in a layer to 0; of a folded normalisation the shift takes up the bias."""
    module = network.get_submodule(one.layer)
    norm = network.get_submodule(one.norm) if one.norm else None
    for factor in factors_of(module):
        if not hasattr(factor, "weight"):
            continue
        own = norm if factor is module else None
        weight, bias = effective(factor, own)
        above = weight.clamp(min=0) if not one.skip else torch.maximum(weight, -identity_like(factor))
        write_effective(factor, own, above, None if bias is None else bias.clamp(min=0))


@torch.no_grad()
def write_effective(layer: nn.Module, norm: nn.Module | None, weight: Tensor, bias: Tensor | None) -> None:
    """Give a layer the weights that `effective` shall find; behind a normalisation with gamma = 0 weights stay."""
    own = layer.get_parameter("weight")
    if norm is None:
        own.copy_(weight)
        if bias is not None:
            layer.get_parameter("bias").copy_(bias)
        return
    scale = scale_of(norm)
    inverse = torch.where(scale == 0, torch.zeros_like(scale), 1 / scale.where(scale != 0, torch.ones_like(scale)))
    shape = (-1, *[1] * (own.dim() - 1))
    own.copy_(torch.where((scale == 0).reshape(shape), own.double(), weight * inverse.reshape(shape)))
    if bias is not None and norm.bias is not None:
        inner = 0.0 if layer.bias is None else scale * layer.get_parameter("bias").double()
        rest = shift_of(norm) - norm.get_parameter("bias").double() + inner
        norm.get_parameter("bias").copy_(bias - rest)
