"""The exact diagonal of the Gauss-Newton matrix of the mean cross-entropy, from per-example gradients.

The Hessian of one example's cross-entropy by its logits is diag(p) - p p^T = sum_k s_k s_k^T with
s_k = sqrt(p_k) (e_k - p) for each class k. So the diagonal by the weights w_i is

    h_i = mean_n sum_k (d (s_k . f_n) / d w_i)^2

with the logits f_n of example n and s_k held constant: one backward pass a class for all examples together, which stops
at the layers' outputs; gradients by the weights are made there, for each example by itself.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap

from bayesprune.batches import call, chunks, count, head
from bayesprune.pruners.saliency.gradients import gradients
from bayesprune.pruners.saliency.linearity import first_bend
from bayesprune.structure import hooked, weights_of
from bayesprune.structure.layers import weight_of
from bayesprune.structure.matrices import COUNTED
from bayesprune.tasks import Likelihood
from bayesprune.tasks.likelihood import Categorical

CLASSES = Categorical()
"""The likelihood where none is named."""

_EXAMPLES = 256
_NUMBERS = 2**23
_PROBED = 8
_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class _Call:
    """One call of a layer with a weight.

    Attributes:
        layer: with its hooks.
        inputs: [B, ...], outside the graph.
        outputs: [B, ...], as the layer made them.
        extra: whether it was called with more than its input.
    """

    layer: nn.Module
    inputs: Tensor
    outputs: Tensor
    extra: bool

    @property
    def is_matrix(self) -> bool:
        """Whether the output is the input times the weight, and nothing else was done to either."""
        return type(self.layer) is nn.Linear and self.inputs.dim() == 2


Calls = Mapping[str, list[_Call]]


def gauss_newton_diagonal(
    network: nn.Module, inputs: Any, likelihood: Likelihood = CLASSES, importance: Tensor | None = None
) -> dict[str, Tensor]:
    """The diagonal by parameter name, shaped like the weights. It does not depend on labels.

    Args:
        network: in evaluation mode, every weight with gradients on; `obstacle` must have found nothing.
        inputs: of B examples.
        likelihood: of the targets, whose curvature does not depend on them.
        importance: of the examples [B], or of their targets [B, K]; None where all count alike.
    """
    weights = weights_of(network)
    every = chunks(inputs, _EXAMPLES)
    scales = [None] * len(every) if importance is None else list(importance.sqrt().split(_EXAMPLES))
    found = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for part, scale in zip(every, scales, strict=True):
        with _recorded(network, weights) as calls:
            logits = call(network, part)
        directions = likelihood.curvature(logits.detach())
        assert directions is not None  # `obstacle` has looked
        for direction in directions:
            direction = direction if scale is None else direction * _beside(scale, direction)
            for name, slopes in _slopes(logits, calls, direction).items():
                found[name] += _squares(weights[name], calls[name], slopes) / count(inputs)
    return found


def _beside(scale: Tensor, direction: Tensor) -> Tensor:
    """A number for each example, or for each output, where it multiplies a direction."""
    if scale.numel() == direction.numel():
        return scale.reshape(direction.shape)
    return scale.reshape(len(scale), *[1] * (direction.dim() - 1))


def obstacle(network: nn.Module, inputs: Any, likelihood: Likelihood = CLASSES) -> str | None:
    """Why `gauss_newton_diagonal` would not be the diagonal of the Hessian; None where it is.

    The logits must be piecewise linear in each weight; an example's logits must not depend on the other examples, nor
    may layers mix them up; and each weight must be used by the calls of its layers and nowhere else.

    Raises:
        NetworkError: gradients are not finite; names the layer.
    """
    weights, part = weights_of(network), head(inputs, _PROBED)
    with _recorded(network, weights) as calls:
        logits = call(network, part)
    if likelihood.curvature(logits.detach()) is None:
        return "the curvature of this task's loss has no short form"
    bend = first_bend(logits, weights.values())
    if bend is not None:
        return f"the network is not piecewise linear in its weights ({bend})"
    with _recorded(network, weights) as single:
        alone = call(network, head(part, 1))
    if not (_same_layout(calls, single, count(part)) and _close(alone, logits[:1])):
        return "the network does not treat every example by itself"
    if not _accounted_for(weights, calls, logits):
        return "the network uses a weight in another way than through its layer's input and output"
    return None


@contextmanager
def _recorded(network: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[Calls]:
    """Note every call of the layers that hold the weights."""
    calls: dict[str, list[_Call]] = {name: [] for name in weights}
    names = {id(weight): name for name, weight in weights.items()}

    def watch(name: str) -> Any:
        def hook(layer: nn.Module, given: tuple[Any, ...], named: dict[str, Any], outputs: Tensor) -> Tensor:
            first, *others = (*given, *named.values())
            calls[name].append(_Call(layer, first.detach(), outputs, bool(others)))
            return outputs.clone()  # what follows may change its copy in place

        return hook

    watching = (
        layer.register_forward_hook(watch(names[id(weight_of(layer))]), with_kwargs=True)
        for layer in network.modules()
        if isinstance(layer, COUNTED) and id(weight_of(layer)) in names
    )
    with hooked(watching):
        yield calls


def _slopes(logits: Tensor, calls: Calls, direction: Tensor) -> dict[str, list[Tensor]]:
    """Derivatives of sum(direction * logits) by the outputs of every call."""
    outputs = [call.outputs for made in calls.values() for call in made]
    if not outputs:
        return {}
    found = iter(
        torch.autograd.grad(logits, outputs, direction, retain_graph=True, allow_unused=True, materialize_grads=True)
    )
    return {name: [next(found) for _ in made] for name, made in calls.items() if made}


def _squares(weight: Tensor, calls: list[_Call], slopes: list[Tensor]) -> Tensor:
    """The squared gradient of each example, summed over examples and shaped like the weight."""
    if len(calls) == 1 and calls[0].is_matrix:
        return slopes[0].square().T @ calls[0].inputs.square()
    total, size = torch.zeros_like(weight), max(1, _NUMBERS // weight.numel())
    for first in range(0, len(slopes[0]), size):
        place = slice(first, first + size)
        each = [_each_gradient(weight, call, slope, place) for call, slope in zip(calls, slopes, strict=True)]
        total += torch.stack(each).sum(0).square().sum(0)
    return total


def _each_gradient(weight: Tensor, call: _Call, slope: Tensor, place: slice) -> Tensor:
    """The gradients [b, *weight.shape] of the examples at a place, each by itself."""

    def one(example: Tensor, its_slope: Tensor) -> Tensor:
        return _gradient(weight, call.layer, example[None], its_slope[None])

    found: Tensor = vmap(one)(call.inputs[place], slope[place])
    return found


def _gradient(weight: Tensor, layer: nn.Module, inputs: Tensor, slope: Tensor) -> Tensor:
    """The gradient of sum(slope * layer(inputs)) by the layer's weight."""
    pulled: Any = vjp(lambda candidate: functional_call(layer, {"weight": candidate}, (inputs,)), weight.detach())
    found: Tensor = pulled[1](slope)[0]
    return found


def _same_layout(many: Calls, single: Calls, examples: int) -> bool:
    """Whether every call has the examples along the first axis, whose number is all that differs between two runs."""
    for name, calls in many.items():
        if len(calls) != len(single[name]):
            return False
        for made, alone in zip(calls, single[name], strict=True):
            for some, one in ((made.inputs, alone.inputs), (made.outputs, alone.outputs)):
                if some.shape != (examples, *one.shape[1:]) or len(one) != 1:
                    return False
    return True


def _accounted_for(weights: Mapping[str, Tensor], calls: Calls, logits: Tensor) -> bool:
    """Whether the recorded calls give the gradient that autograd finds."""
    if any(call.extra for made in calls.values() for call in made):
        return False
    outputs = logits.shape[1] if logits.dim() > 1 else 1
    row = torch.linspace(1, 2, outputs, dtype=logits.dtype, device=logits.device)
    direction = (row if logits.dim() > 1 else row[0]).expand_as(logits)
    slopes = _slopes(logits, calls, direction)
    expected = gradients((logits * direction).sum(), weights)
    return all(
        _close(_whole_gradient(weight, calls[name], slopes.get(name, [])), expected[name])
        for name, weight in weights.items()
    )


def _whole_gradient(weight: Tensor, calls: list[_Call], slopes: list[Tensor]) -> Tensor:
    """The gradient of all examples together, made in the way that `_squares` makes it."""
    total = torch.zeros_like(weight)
    for made, slope in zip(calls, slopes, strict=True):
        plain = len(calls) == 1 and made.is_matrix
        total += slope.T @ made.inputs if plain else _gradient(weight, made.layer, made.inputs, slope)
    return total


def _close(found: Tensor, expected: Tensor) -> bool:
    """Whether two tensors agree but for rounding; what is not finite is refused elsewhere."""
    limit = float(expected.detach().nan_to_num().abs().max()) * _TOLERANCE
    return torch.allclose(found, expected, rtol=0.0, atol=limit, equal_nan=True)
