"""Bypasses for networks without skips: a stack of layers becomes a section x -> skip(x) + F(x)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.pooling import _AvgPoolNd, _MaxPoolNd

from bayesprune.batches import Batch, call
from bayesprune.errors import NetworkError, SettingError, UnknownNameError, UnsupportedLayerError
from bayesprune.sections.find import find_sections
from bayesprune.structure.copying import copied
from bayesprune.structure.kinds.convolution import CONVOLUTION, TRANSPOSED
from bayesprune.structure.layers import NORM
from bayesprune.structure.modes import evaluating, hooked
from bayesprune.structure.passes import look

_POOLS = {3: nn.AvgPool1d, 4: nn.AvgPool2d, 5: nn.AvgPool3d}
_CONVOLUTIONS = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
CHEAP = 0.5
"""A bypass is made without being asked for where it has less than this share of its stack's parameters."""

_SIMPLE = (NORM, nn.LayerNorm, nn.GroupNorm, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid,
           nn.PReLU, nn.Hardswish, _DropoutNd)  # fmt: skip
"""Layers that belong to the stack of the linear layer or convolution before them."""


class Bypassed(nn.Module):
    """skip(x) + branch(x): a section, whose branch can be deleted.

    Attributes:
        branch: the stack of layers as it was.
        skip: identity where widths and sizes agree; else average pooling as the branch's convolutions step, and a
            convolution of size 1, or a linear layer, where widths differ.
    """

    section_branch = "branch"  # says which of the two is the skip, however many layers it has

    def __init__(self, branch: nn.Module, skip: nn.Module) -> None:
        super().__init__()
        self.branch, self.skip = branch, skip

    def forward(self, features: Tensor) -> Tensor:
        """What the branch says, added to what goes by it."""
        outputs: Tensor = self.skip(features) + self.branch(features)
        return outputs


def with_bypasses(network: nn.Module, example: Batch, sections: Sequence[str] | None = None) -> nn.Module:
    """A copy of a network some of whose layers are bypassed, so that methods can delete them.

    By default these are the linear layers and convolutions, in an `nn.Sequential` each with the normalisation,
    activation and dropout behind it, whose bypass has less than half of their parameters: layers of equal widths, and
    convolutions with large kernels. The last one, which says the network's outputs, stays as it is, and so do layers
    of sections that the network has already.

    Args:
        network: such as `LeNet5` or a VGG; it is left as it is. Weights of bypasses are drawn by torch's generator.
        example: inputs [B, ...], or a tuple or dict of such.
        sections: names of the modules to bypass; by default as above. A layer of an `nn.Sequential` stands for its
            stack.

    Returns:
        The network with a `Bypassed` in the place of each: sections by these names.

    Raises:
        UnknownNameError: a name is not there.
        UnsupportedLayerError: the skip of a section cannot be made; it names the section and the reason.
        NetworkError: nothing can be bypassed.
    """
    copy = copied(network)
    look(copied(copy), example)  # refuses what the network cannot take
    shapes = _shapes(copy, example)
    if sections is None:
        inside = {layer for one in find_sections(copy, example).sections for layer in one.layers}
        names = [name for name in _stacks(copy) if name in shapes][:-1]
        names = [name for name in names if name not in inside]
        made = 0
        for name in names:
            stack = _stack(copy, name)
            try:
                skip = _skip(name, stack, shapes[name][0], shapes[stack[-1][0]][1])
            except UnsupportedLayerError:
                continue
            if _params(skip) < CHEAP * sum(_params(layer) for _, layer in stack):
                _bypass(copy, stack, skip)
                made += 1
        if not made:
            raise NetworkError(
                "no layer has a bypass with less than half of the layer's parameters: name the sections to bypass, "
                f"such as sections={names[-1:] or ['fc2']}"
            )
        return copy
    known = {name for name, _ in copy.named_modules() if name}
    if isinstance(sections, str):
        raise SettingError(f"sections must be a list of names, such as [{sections!r}]")
    for name in sections:
        if name not in known:
            raise UnknownNameError("section", name, known)
        stack = _stack(copy, name)
        ends = (name, stack[-1][0])
        if any(end not in shapes for end in ends):
            raise UnsupportedLayerError(
                f"section {name!r} cannot have a bypass: it does not run once a pass from one tensor to one tensor"
            )
        _bypass(copy, stack, _skip(name, stack, shapes[name][0], shapes[ends[1]][1]))
    return copy


def _shapes(network: nn.Module, example: Batch) -> dict[str, tuple[torch.Size, torch.Size]]:
    """Shapes of inputs and outputs of every module that runs once, from one tensor to one."""
    found: dict[str, list[tuple[torch.Size, torch.Size] | None]] = {}

    def watch(name: str) -> Any:
        def hook(_: nn.Module, given: Any, said: Any) -> None:
            plain = len(given) == 1 and isinstance(given[0], Tensor) and isinstance(said, Tensor)
            found.setdefault(name, []).append((given[0].shape, said.shape) if plain else None)

        return hook

    handles = (module.register_forward_hook(watch(name)) for name, module in network.named_modules() if name)
    with hooked(handles), evaluating(network), torch.no_grad():
        call(network, example)
    return {name: shapes[0] for name, shapes in found.items() if len(shapes) == 1 and shapes[0] is not None}


def _stacks(network: nn.Module) -> list[str]:
    """The first layers of all stacks, in the order of the modules."""
    return [name for name, module in network.named_modules() if name and _is_weighted(module)]


def _is_weighted(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or (isinstance(layer, CONVOLUTION) and not isinstance(layer, TRANSPOSED))


def _stack(network: nn.Module, name: str) -> list[tuple[str, nn.Module]]:
    """A module and the simple layers that follow it in a sequential one."""
    parent, _, leaf = name.rpartition(".")
    holder, stack = network.get_submodule(parent), [(name, network.get_submodule(name))]
    if isinstance(holder, nn.Sequential) and _is_weighted(stack[0][1]):
        children = list(holder.named_children())
        place = [child for child, _ in children].index(leaf)
        for child, layer in children[place + 1 :]:
            if not isinstance(layer, _SIMPLE):
                break
            stack.append((f"{parent}.{child}" if parent else child, layer))
    return stack


def _bypass(network: nn.Module, stack: Sequence[tuple[str, nn.Module]], skip: nn.Module) -> None:
    """Put a bypassed stack where its first layer is; the others give way to identities."""
    (name, first), others = stack[0], stack[1:]
    branch = first if not others else nn.Sequential(*(layer for _, layer in stack))
    placed = Bypassed(branch, skip)
    placed.train(first.training)
    for where, module in [(name, placed), *((other, nn.Identity()) for other, _ in others)]:
        parent, _, leaf = where.rpartition(".")
        setattr(network.get_submodule(parent), leaf, module)


def _skip(name: str, stack: Sequence[tuple[str, nn.Module]], inputs: torch.Size, outputs: torch.Size) -> nn.Module:
    """What goes by a stack.

    Raises:
        UnsupportedLayerError: naming the section and the reason.
    """

    def refuse(reason: str) -> UnsupportedLayerError:
        return UnsupportedLayerError(f"section {name!r} cannot have a bypass: {reason}; leave it out of `sections`")

    if inputs == outputs:
        return nn.Identity()
    layers = [one for _, top in stack for one in top.modules() if not any(True for _ in one.children())]
    like = next((p for layer in layers for p in layer.parameters()), None)
    if len(inputs) != len(outputs):
        raise refuse(f"it turns inputs of {len(inputs)} axes into {len(outputs)}")
    if inputs[:-1] == outputs[:-1] and any(isinstance(layer, nn.Linear) for layer in layers):
        return _like(nn.Linear(inputs[-1], outputs[-1], bias=False), like)
    if len(inputs) not in _POOLS:
        raise refuse(f"no layer turns inputs of shape {tuple(inputs[1:])} into {tuple(outputs[1:])}")
    parts: list[nn.Module] = []
    if inputs[2:] != outputs[2:]:
        for layer in layers:
            step = _step(layer)
            if step == "refused":
                raise refuse(f"its {type(layer).__name__} has dilation, or padding of another kind than zeros")
            if isinstance(step, tuple):
                parts.append(_POOLS[len(inputs)](*step))
    if inputs[1] != outputs[1]:
        parts.append(_like(_CONVOLUTIONS[len(inputs)](inputs[1], outputs[1], 1, bias=False), like))
    skip = parts[0] if len(parts) == 1 else nn.Sequential(*parts)
    try:
        with torch.no_grad():
            said = skip(torch.zeros(inputs, dtype=None if like is None else like.dtype)).shape
    except RuntimeError as error:
        raise refuse(" ".join(str(error).split())) from error
    if said != outputs:
        raise refuse(f"pooling gives {tuple(said[1:])} where the section says {tuple(outputs[1:])}")
    return skip


def _like(layer: nn.Module, parameter: nn.Parameter | None) -> nn.Module:
    return layer if parameter is None else layer.to(parameter.device, parameter.dtype)


def _step(layer: Any) -> tuple[Any, Any, Any] | str | None:
    """Kernel, stride and padding by which a layer changes the size of maps; None where it leaves it."""
    if isinstance(layer, CONVOLUTION):
        if layer.padding == "same" or (layer.stride == (1,) * len(layer.stride) and _keeps(layer)):
            return None
        if isinstance(layer, TRANSPOSED) or any(one != 1 for one in layer.dilation) or layer.padding_mode != "zeros":
            return "refused"
        padding = (0,) * len(layer.stride) if isinstance(layer.padding, str) else layer.padding
        if any(2 * p > k for p, k in zip(padding, layer.kernel_size, strict=True)):
            return "refused"
        return layer.kernel_size, layer.stride, padding
    if isinstance(layer, (_AvgPoolNd, _MaxPoolNd)):
        dilated = getattr(layer, "dilation", 1) not in (1, (1, 1), (1,), (1, 1, 1))
        return "refused" if dilated or layer.ceil_mode else (layer.kernel_size, layer.stride, layer.padding)
    return None


def _keeps(layer: Any) -> bool:
    """Whether a convolution of stride 1 gives maps of the size that it gets."""
    sizes = zip(layer.kernel_size, layer.padding, layer.dilation, strict=True)
    return not isinstance(layer.padding, str) and all(2 * p == d * (k - 1) for k, p, d in sizes)


def _params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
