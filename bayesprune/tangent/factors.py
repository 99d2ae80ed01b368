"""A layer's part of a tangent kernel, from what it read and from the gradients of the logits at what it gave."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, unfold

from bayesprune.tangent.capture import Call, plain_layers


@dataclass(frozen=True, eq=False)
class Use:
    """One use of a layer: the gradients of all logits in its weight and bias, as sums of outer products.

    d f_k(x_b) / d w[g, o, c] = sum_l outgoing[b, k, g, o, l] incoming[b, g, c, l], and for the bias
    d f_k(x_b) / d b[g, o] = sum_l outgoing[b, k, g, o, l], for G groups of channels and L positions.

    Attributes:
        outgoing: gradients at the layer's outputs [B, K, G, O, L].
        incoming: what each output was made from [B, G, C, L].
    """

    outgoing: Tensor
    incoming: Tensor

    @property
    def is_product(self) -> bool:
        """Whether there is one outer product a sample, so that the Jacobian need not be formed."""
        return self.outgoing.shape[-1] == 1

    def jacobian(self, tensor: str, kept: Tensor | None = None) -> Tensor:
        """Of the "weight" or the "bias": [B, K, P], entries in its order, or those at `kept` places only."""
        if tensor == "weight" and kept is not None and self.is_product:
            return self._of_some(kept)
        whole = self.outgoing.sum(-1).flatten(2) if tensor == "bias" else self._of_weight()
        return whole if kept is None else whole.index_select(2, kept)

    def _of_some(self, kept: Tensor) -> Tensor:
        """Products of pairs of entries, without all the others."""
        columns, rows = self.incoming.shape[2], self.outgoing.shape[3]
        row, column = kept // columns, kept % columns
        reads = self.incoming.flatten(1).index_select(1, row // rows * columns + column)
        return self.outgoing.flatten(2).index_select(2, row) * reads[:, None]

    def _of_weight(self) -> Tensor:
        """Of all entries."""
        samples, logits, groups, channels, _ = self.outgoing.shape
        together = self.outgoing.transpose(1, 2).flatten(2, 3) @ self.incoming.transpose(-1, -2)
        return together.view(samples, groups, logits, channels, -1).transpose(1, 2).flatten(2)


@dataclass(frozen=True, eq=False)
class Part:
    """The part of the kernel that belongs to some parameters of layers.

    Attributes:
        names: of the parameters, "weight" or "bias" by the name of each.
        uses: of the layers that have them.
    """

    names: Mapping[str, str]
    uses: Sequence[Use]

    def kernel(self, count: int, keep: Mapping[str, Tensor]) -> Tensor:
        """Between the first `count` samples and the others: [N, M, K, K]; entries with 0 in `keep` are left out."""
        if "weight" in self.names.values() and self.are_products and not self.names.keys() & keep.keys():
            constant = float("bias" in self.names.values())
            return _sum([_products(one, two, constant, count) for one in self.uses for two in self.uses])
        return _sum([self._contracted(name, tensor, count, keep) for name, tensor in self.names.items()])

    @property
    def are_products(self) -> bool:
        """Whether no use needs its Jacobian."""
        return all(use.is_product for use in self.uses)

    def _contracted(self, name: str, tensor: str, count: int, keep: Mapping[str, Tensor]) -> Tensor:
        """From the Jacobian of one parameter."""
        kept = _places(keep[name]) if name in keep else None
        jacobian = _sum([use.jacobian(tensor, kept) for use in self.uses])
        return _pairs(jacobian, jacobian, count)


def _places(mask: Tensor) -> Tensor:
    """Where a mask is not 0; remembered with it, since an accelerator must be waited for to know."""
    version, places = getattr(mask, "_places", (None, None))
    if version != mask._version or places is None:
        places = mask.flatten().nonzero().flatten()
        mask._places = (mask._version, places)  # type: ignore[attr-defined]  # an attribute of our own
    return places


def layer_parts(network: nn.Module, calls: Sequence[Call], gradients: Sequence[Tensor], samples: int) -> list[Part]:
    """The parts of all layers that were called, from the gradients [B, K, ...] at what each call gave.

    A parameter that several layers share, or a layer that is called several times, makes one part. Parameters that
    layers of other kinds use as well, or layers that are called with anything but one row a sample, are in none.
    """
    names = _factorised_names(network, calls, samples)
    uses: dict[int, Use] = {}
    found: dict[str, tuple[str, list[int]]] = {}
    for number, (call, slopes) in enumerate(zip(calls, gradients, strict=True)):
        for tensor, parameter in call.layer._parameters.items():
            if id(parameter) in names:
                uses[number] = use_of(call, slopes) if number not in uses else uses[number]
                found.setdefault(names[id(parameter)], (tensor, []))[1].append(number)
    together: dict[tuple[int, ...], dict[str, str]] = {}
    for name, (tensor, numbers) in found.items():
        together.setdefault(tuple(numbers), {})[name] = tensor
    return [Part(tensors, [uses[number] for number in numbers]) for numbers, tensors in together.items()]


def _factorised_names(network: nn.Module, calls: Sequence[Call], samples: int) -> dict[int, str]:
    """Names, by the parameter's id, of the parameters that nothing uses but plain layers with one row a sample."""
    plain = set(plain_layers(network).values()) - {call.layer for call in calls if len(call.outputs) != samples}
    others = {id(p) for module in network.modules() if module not in plain for p in module._parameters.values()}
    return {id(p): name for name, p in network.named_parameters() if id(p) not in others}


def use_of(call: Call, gradients: Tensor) -> Use:
    """A call's factors, from the gradients [B, K, ...] at what it gave."""
    layer, inputs, (samples, logits) = call.layer, call.inputs, gradients.shape[:2]
    if isinstance(layer, nn.Linear):
        outgoing = gradients.reshape(samples, logits, 1, -1, gradients.shape[-1]).transpose(-1, -2)
        return Use(outgoing, inputs.reshape(samples, 1, -1, inputs.shape[-1]).transpose(-1, -2))
    assert isinstance(layer, nn.Conv1d | nn.Conv2d)
    outgoing = gradients.reshape(samples, logits, layer.groups, layer.out_channels // layer.groups, -1)
    patches = _patches(layer, inputs)
    return Use(outgoing, patches.view(samples, layer.groups, -1, patches.shape[-1]))


def _patches(layer: nn.Conv1d | nn.Conv2d, inputs: Tensor) -> Tensor:
    """What each output position reads [B, inputs x kernel, L]."""
    around = layer._reversed_padding_repeated_twice
    inputs = pad(inputs, around) if layer.padding_mode == "zeros" else pad(inputs, around, mode=layer.padding_mode)
    if isinstance(layer, nn.Conv1d):
        inputs = inputs.unsqueeze(2)
    kernel, dilation, stride = (_two(each) for each in (layer.kernel_size, layer.dilation, layer.stride))
    return unfold(inputs, kernel, dilation=dilation, stride=stride)


def _two(setting: tuple[int, ...]) -> tuple[int, int]:
    """A setting of a convolution for height and width; one-dimensional ones have height 1."""
    return (1, setting[0]) if len(setting) == 1 else (setting[0], setting[1])


def _products(one: Use, two: Use, constant: float, count: int) -> Tensor:
    """Of outer products: (incoming . incoming + constant) (outgoing . outgoing), group by group; the bias reads 1."""
    first, second = _halves(one.incoming, count)[0], _halves(two.incoming, count)[1]
    alike = torch.einsum("ngc,mgc->gnm", first.squeeze(-1), second.squeeze(-1)) + constant
    outgoing = zip(one.outgoing.squeeze(-1).unbind(2), two.outgoing.squeeze(-1).unbind(2), strict=True)
    return _sum(
        [_pairs(*both, count) * each[:, :, None, None] for both, each in zip(outgoing, alike.unbind(), strict=True)]
    )


def _pairs(one: Tensor, two: Tensor, count: int) -> Tensor:
    """Inner products of vectors [B, K, F] of the first samples with those of the others: [N, M, K, K]."""
    first, second = _halves(one, count)[0], _halves(two, count)[1]
    flat = first.flatten(0, 1) @ second.flatten(0, 1).T
    return flat.view(*first.shape[:2], *second.shape[:2]).transpose(1, 2)


def _halves(tensor: Tensor, count: int) -> Sequence[Tensor]:
    """The first `count` samples and the others; to put two together again is cheaper than to fill up two slices."""
    halves: Sequence[Tensor] = tensor.split([count, len(tensor) - count])
    return halves


def _sum(parts: Iterable[Tensor]) -> Tensor:
    """Of one or more tensors of one shape."""
    first, *others = parts
    for other in others:
        first = first + other
    return first
