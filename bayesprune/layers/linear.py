"""Linear maps that follow one another: in factors, or multiplied to one matrix or one kernel where that is exact."""

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.errors import NetworkError

CONVOLUTIONS: dict[type[nn.Module], int] = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}
"""Kinds of convolution, with their number of axes."""

POOLS: dict[type[nn.Module], int] = {nn.AvgPool1d: 1, nn.AvgPool2d: 2, nn.AvgPool3d: 3}
"""Kinds of average pooling, likewise."""

_PLAIN = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class LinearChain(nn.Sequential):
    """Linear maps one after the other, with no activation between them: one linear map in factors."""


class Passed(nn.Identity):
    """The identity in place of a layer that went into a later one.

    In training it hands on a copy: an activation that works in place stands behind it, and the values before it are
    still needed for the gradient.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - as the base class names it
        """What comes in [B, ...]."""
        return input.clone() if input.requires_grad else input


class Nothing(nn.Module):
    """Says 0 in the shape of its input: what is left of a residual branch that went into the layer behind it."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Zeros [B, ...] of inputs [B, ...]."""
        return torch.zeros_like(inputs)


def factors_of(module: nn.Module) -> list[nn.Module]:
    """The linear maps that a module is made of, the first one first."""
    return list(module.children()) if isinstance(module, LinearChain) else [module]


def is_matrix(module: nn.Module) -> bool:
    """Whether it is a plain linear layer, a plain convolution, or a chain of such."""
    return type(module) in (nn.Linear, LinearChain, *CONVOLUTIONS)


def numbers(value: Any, axes: int) -> tuple[int, ...]:
    """A setting of a convolution or pooling, one number an axis."""
    return tuple(value) if isinstance(value, tuple | list) else (int(value),) * axes


def padding_of(layer: nn.Module) -> tuple[int, ...] | None:
    """Zeros on either side, one number an axis; None where both sides differ or other values are padded with."""
    assert isinstance(layer, _PLAIN)
    both = layer._reversed_padding_repeated_twice
    before, after = tuple(reversed(both[1::2])), tuple(reversed(both[::2]))
    plain = layer.padding_mode == "zeros" or not any(both)
    return before if before == after and plain else None


def size_after(layer: nn.Module, size: Sequence[int]) -> tuple[int, ...]:
    """The sides of the map that a factor makes of one with sides `size`; () for a linear layer."""
    if isinstance(layer, nn.Linear):
        return ()
    kernel, stride, padding, dilation = _geometry(layer)
    return tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(size, kernel, stride, padding or (0,) * len(kernel), dilation, strict=True)
    )


def cost_of(layer: nn.Module, size: Sequence[int]) -> tuple[int, int]:
    """Multiply-accumulates of a factor for one sample (of a linear layer for one position), and its parameters."""
    if not hasattr(layer, "weight"):
        return 0, 0
    weight = layer.get_parameter("weight")
    bias = 0 if layer.bias is None else layer.get_parameter("bias").numel()
    return weight.numel() * prod(size_after(layer, size)), weight.numel() + bias


def why_not_one(inner: nn.Module, outer: nn.Module, size: Sequence[int]) -> str:
    """Why two factors are not one linear or convolution layer; empty where they are, to rounding.

    Two linear layers always are. For convolutions the zeros that the outer one pads with must be what the inner one
    would compute there: then the inner one has no bias and reads no part of the map from outside its border. With
    sides n, kernel k, dilation d, stride s, padding p of the inner one, and m the sides of what it makes, this is
    d (k - 1) < s + p on the low side and m s - p > n - 1 on the high side. Without outer padding nothing is asked for.

    Args:
        inner: the first of both.
        outer: the second.
        size: sides of the map that the inner one reads.
    """
    if isinstance(inner, nn.Linear) or isinstance(outer, nn.Linear):
        return "" if isinstance(inner, nn.Linear) and isinstance(outer, nn.Linear) else "they are of different kinds"
    for layer in (inner, outer):
        if getattr(layer, "groups", 1) != 1:
            return "one of them has groups of channels"
        if type(layer) in CONVOLUTIONS and padding_of(layer) is None:
            return "one of them pads its sides unequally, or with other values than 0"
    kernel, stride, padding, dilation = _geometry(inner)
    outer_padding = _geometry(outer)[2]
    assert padding is not None and outer_padding is not None
    if any(outer_padding):
        bias = getattr(inner, "bias", None)
        if bias is not None and bool(bias.detach().any()):
            return "the second pads with 0, where the first would write its bias"
        made = size_after(inner, size)
        for n, m, k, s, p, d, added in zip(size, made, kernel, stride, padding, dilation, outer_padding, strict=True):
            if added and (d * (k - 1) >= s + p or m * s - p <= n - 1):
                return "the second pads with 0, where the first would still read the map's border"
    return ""


@torch.no_grad()
def composed(inner: nn.Module, outer: nn.Module) -> nn.Module:
    """Two factors as one layer; `why_not_one` says where that is exact. Sums are taken in float64.

    A linear layer: weight W2 W1 and bias W2 b1 + b2. A convolution: the kernels' convolution, with the inner kernel
    spread by the outer one's taps; strides s1 s2, padding p1 + s1 p2.
    """
    if isinstance(inner, nn.Linear) and isinstance(outer, nn.Linear):
        weight = outer.weight.double() @ inner.weight.double()
        return _linear(inner, weight, _moved_bias(inner, outer, outer.weight.double()))
    axes = CONVOLUTIONS.get(type(inner)) or POOLS[type(inner)]
    channels = outer.in_channels if isinstance(outer, _PLAIN) else _written(inner)
    first, second = (_kernel(layer, channels) for layer in (inner, outer))
    (k1, s1, p1, d1), (k2, s2, p2, d2) = _geometry(inner), _geometry(outer)
    assert p1 is not None and p2 is not None
    sides = [(b - 1) * e * s + (a - 1) * d + 1 for a, b, s, d, e in zip(k1, k2, s1, d1, d2, strict=True)]
    merged = first.new_zeros(second.shape[0], first.shape[1], *sides)
    for taps2 in _taps(k2):
        for taps1 in _taps(k1):
            places = zip(taps1, taps2, d1, d2, s1, strict=True)
            at: Any = (slice(None), slice(None), *(b * e * s + a * d for a, b, d, e, s in places))
            outer_tap: Any = (slice(None), slice(None), *taps2)
            inner_tap: Any = (slice(None), slice(None), *taps1)
            merged[at] += second[outer_tap] @ first[inner_tap]
    return _convolution(
        inner if type(inner) in CONVOLUTIONS else outer, merged, _moved_bias(inner, outer, second.flatten(2).sum(2)),
        axes, [a * b for a, b in zip(s1, s2, strict=True)], [a + s * b for a, s, b in zip(p1, s1, p2, strict=True)],
    )  # fmt: skip


@torch.no_grad()
def folded(layer: nn.Module, norm: nn.Module | None, *, skip: bool = False) -> nn.Module:
    """A copy of a layer with the batch normalisation behind it and the skip around both folded in.

    With s = gamma / sqrt(variance + eps): weight s W (plus the identity for a skip), bias beta + s (b - mean).

    Raises:
        NetworkError: a skip around a layer that writes other channels or places than it reads.
    """
    weight, bias = effective(layer, norm, skip=skip)
    if isinstance(layer, nn.Linear):
        return _linear(layer, weight, bias)
    _, stride, padding, dilation = _geometry(layer)
    axes = CONVOLUTIONS[type(layer)]
    copy = _convolution(layer, weight, bias, axes, stride, padding or (0,) * axes, dilation)
    assert isinstance(layer, _PLAIN)
    if padding is not None and layer.groups == 1:
        return copy
    kind: Any = type(layer)
    again: nn.Module = kind(
        layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, layer.dilation,
        layer.groups, bias is not None, layer.padding_mode, device=layer.weight.device, dtype=layer.weight.dtype,
    )  # fmt: skip
    again.load_state_dict(copy.state_dict())
    return again.train(layer.training)


def effective(layer: nn.Module, norm: nn.Module | None = None, *, skip: bool = False) -> tuple[Tensor, Tensor | None]:
    """Weight [O, I, ...] and bias [O] of a layer in float64, with what `folded` folds in; the bias may be None."""
    weight = layer.get_parameter("weight").detach().double()
    bias = None if layer.bias is None else layer.get_parameter("bias").detach().double()
    if norm is not None:
        scale, shift = scale_of(norm), shift_of(norm)
        weight = weight * scale.reshape(-1, *[1] * (weight.dim() - 1))
        bias = shift if bias is None else shift + scale * bias
    return (weight + identity_like(layer), bias) if skip else (weight, bias)


def scale_of(norm: nn.Module) -> Tensor:
    """gamma / sqrt(variance + eps) [C] of a batch normalisation, in float64."""
    assert isinstance(norm, NORMS) and norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    return scale if norm.weight is None else scale * norm.weight.detach().double()


def shift_of(norm: nn.Module) -> Tensor:
    """beta - scale * mean [C] of a batch normalisation, in float64."""
    assert isinstance(norm, NORMS) and norm.running_mean is not None
    shift = -scale_of(norm) * norm.running_mean.double()
    return shift if norm.bias is None else shift + norm.bias.detach().double()


def why_no_skip(layer: nn.Module) -> str:
    """Why a layer has no identity of its own shape; empty where it has one."""
    if isinstance(layer, nn.Linear):
        return "" if layer.in_features == layer.out_features else "it writes other features than it reads"
    if type(layer) not in CONVOLUTIONS:
        return "it is in several factors"
    kernel, stride, padding, dilation = _geometry(layer)
    same = padding is not None and all(
        k % 2 == 1 and 2 * p == d * (k - 1) for k, p, d in zip(kernel, padding, dilation, strict=True)
    )
    plain = layer.groups == 1 and layer.in_channels == layer.out_channels and set(stride) == {1}
    return "" if same and plain else "it writes other channels or places than it reads"


def identity_like(layer: nn.Module) -> Tensor:
    """The weight that makes a layer of this shape pass on what it reads, in float64.

    Raises:
        NetworkError: there is none.
    """
    reason = why_no_skip(layer)
    if reason:
        raise NetworkError(f"a skip cannot become part of a layer: {reason}")
    weight = layer.get_parameter("weight")
    found = torch.zeros_like(weight, dtype=torch.float64)
    diagonal = torch.arange(weight.shape[0])
    middle = [side // 2 for side in weight.shape[2:]]
    found[(diagonal, diagonal, *(torch.full_like(diagonal, place) for place in middle))] = 1.0
    return found


def _geometry(layer: nn.Module) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...] | None, tuple[int, ...]]:
    """Kernel, stride, padding and dilation."""
    if type(layer) in POOLS:
        axes = POOLS[type(layer)]
        kernel, stride = numbers(layer.kernel_size, axes), numbers(layer.stride, axes)
        return kernel, stride, numbers(layer.padding, axes), (1,) * axes
    assert isinstance(layer, _PLAIN)
    kernel, stride, dilation = (tuple(one) for one in (layer.kernel_size, layer.stride, layer.dilation))
    return kernel, stride, padding_of(layer), dilation


def _taps(kernel: Sequence[int]) -> Iterator[tuple[int, ...]]:
    return product(*map(range, kernel))


def _written(layer: nn.Module) -> int:
    """Channels that a convolution writes."""
    assert isinstance(layer, _PLAIN)
    return layer.out_channels


def _kernel(layer: nn.Module, channels: int) -> Tensor:
    """The kernel of a convolution, or of average pooling over so many channels, in float64."""
    if type(layer) in CONVOLUTIONS:
        return layer.get_parameter("weight").double()
    kernel = _geometry(layer)[0]
    eye = torch.eye(channels, dtype=torch.float64).reshape(channels, channels, *[1] * len(kernel))
    return eye.expand(channels, channels, *kernel) / prod(kernel)


def _moved_bias(inner: nn.Module, outer: nn.Module, matrix: Tensor) -> Tensor | None:
    """W2 b1 + b2 [O] for the outer layer's matrix W2 [O, C]; None where neither has a bias."""
    first, second = (getattr(layer, "bias", None) for layer in (inner, outer))
    moved = None if first is None else matrix @ first.double()
    if second is None:
        return moved
    own: Tensor = second.detach().double()
    return own if moved is None else own + moved


def _linear(like: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A linear layer with these weights, of another one's type, place and mode."""
    own = like.get_parameter("weight")
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device=own.device, dtype=own.dtype)
    _fill(made, weight, bias, like)
    return made


def _convolution(
    like: nn.Module,
    weight: Tensor,
    bias: Tensor | None,
    axes: int,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int] | None = None,
) -> nn.Module:
    """A convolution with this kernel, of another one's type, place and mode."""
    kind: Any = next(kind for kind, number in CONVOLUTIONS.items() if number == axes)
    own = like.get_parameter("weight")
    made: nn.Module = kind(
        weight.shape[1], weight.shape[0], tuple(weight.shape[2:]), tuple(stride), tuple(padding),
        tuple(dilation or (1,) * axes), bias=bias is not None, device=own.device, dtype=own.dtype,
    )  # fmt: skip
    _fill(made, weight, bias, like)
    return made


def _fill(made: Any, weight: Tensor, bias: Tensor | None, like: nn.Module) -> None:
    """Give a new layer these weights."""
    own = like.get_parameter("weight")
    made.weight = nn.Parameter(weight.detach().to(own).clone())
    if bias is not None:
        made.bias = nn.Parameter(bias.detach().to(own).clone())
    made.train(like.training)
