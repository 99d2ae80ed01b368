"""Deleting a section's branch: its layers give way to stand-ins without parameters that say zeros."""

from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.pooling import _AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd, _AvgPoolNd, _MaxPoolNd
from torch.optim import Optimizer

from bayesprune.sections.value import KIND, Section
from bayesprune.structure.groups import Structure
from bayesprune.structure.kinds.base import LayerKind, register
from bayesprune.structure.kinds.convolution import CONVOLUTION, TRANSPOSED
from bayesprune.structure.members import Axis
from bayesprune.structure.selectors import Selected

_ALIKE = (
    nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.PReLU, nn.LocalResponseNorm,
)  # fmt: skip
"""Layers with parameters whose outputs have the shape of their inputs."""

PASSING = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Hardswish, nn.Hardtanh,
    nn.Identity, nn.Flatten, nn.Upsample, nn.PixelShuffle, _DropoutNd, _AvgPoolNd, _MaxPoolNd, _AdaptiveAvgPoolNd,
    _AdaptiveMaxPoolNd,
)  # fmt: skip
"""Layers without parameters that say zeros of zeros."""


class Absent(nn.Module):
    """Says zeros of the shape that a layer would have said; it has no parameters and multiplies nothing.

    Attributes:
        width: features or channels of the zeros; None for those of the input.
        windows: kernel, stride, padding and dilation of a convolution, for each axis of its maps; empty for a linear
            layer and where the shape stays.
        pair: whether the layer said a pair whose second part may be None, as attention does.
    """

    def __init__(self, width: int | None, windows: Sequence[tuple[int, int, int, int]] = (), *, pair: bool = False):
        super().__init__()
        self.width, self.windows, self.pair = width, tuple(windows), pair

    @classmethod
    def of(cls, layer: nn.Module) -> "Absent":
        """What stands for a layer of a kind that `can_be_absent` knows."""
        if isinstance(layer, nn.Linear):
            return cls(layer.out_features)
        if isinstance(layer, CONVOLUTION):
            return cls(int(layer.out_channels), _windows(layer))
        return cls(None, pair=isinstance(layer, nn.MultiheadAttention))

    def forward(self, features: Tensor, *_: Any, **__: Any) -> Any:
        """Zeros."""
        shape = list(features.shape)
        if self.windows:
            axes = len(self.windows)
            sizes = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, (k, s, p, d) in zip(shape[-axes:], self.windows)]  # noqa: B905
            shape[-axes:] = sizes
            shape[-axes - 1] = self.width if self.width is not None else shape[-axes - 1]
        elif self.width is not None:
            shape[-1] = self.width
        zeros = features.new_zeros(shape)
        return (zeros, None) if self.pair else zeros

    def extra_repr(self) -> str:
        """Say how wide."""
        return "" if self.width is None else f"{self.width} channels"


def _width(layer: nn.Module) -> int:
    width = layer.width
    return width if isinstance(width, int) else 0


def _resize(layer: nn.Module, channels: int | None) -> None:
    if channels is not None and layer.width is not None:
        layer.width = channels  # type: ignore[assignment]  # Module knows tensors and modules only


register(LayerKind((Absent,), lambda _: {"": 0}, width=_width, resize=_resize))


def can_be_absent(layer: nn.Module) -> bool:
    """Whether zeros of the right shape can stand for a layer's outputs; a layer without parameters stays as it is."""
    if not any(True for _ in (*layer.parameters(), *layer.buffers())):
        return True
    if isinstance(layer, TRANSPOSED):
        return False
    return isinstance(layer, (nn.Linear, nn.MultiheadAttention, *_ALIKE)) or _is_plain(layer)


def _is_plain(layer: nn.Module) -> bool:
    """Whether it is a convolution the shape of whose outputs follows from four numbers an axis."""
    return isinstance(layer, CONVOLUTION) and not isinstance(layer, TRANSPOSED)


def _windows(layer: Any) -> list[tuple[int, int, int, int]]:
    """Kernel, stride, padding (of both sides together, halved) and dilation for each axis of the maps."""
    sizes = list(zip(layer.kernel_size, layer.stride, layer.dilation, strict=True))
    if layer.padding == "same":
        return [(1, 1, 0, 1) for _ in sizes]
    padding = [0] * len(sizes) if layer.padding == "valid" else list(layer.padding)
    return [(k, s, p, d) for (k, s, d), p in zip(sizes, padding, strict=True)]


def without_closed(
    network: nn.Module,
    structure: Structure,
    open_gates: Tensor,
    optimizers: Iterable[Optimizer],
    by_name: Sequence[MutableMapping[str, Any]],
) -> Structure:
    """Delete the branches of closed sections, in place.

    Their parameters go out of the network, out of optimizers with their moments, and what is named after them out of
    `by_name`. The numbering of the gates stays; nothing reads or writes those inside any more.

    Args:
        network: what the structure was found in.
        structure: as it is now.
        open_gates: bool [J].
        optimizers: whose groups and states lose the parameters.
        by_name: masks and the like, by the names of parameters.

    Returns:
        The structure without the axes and readers of what is gone.
    """
    places = structure.slices()
    closed = [one for one in structure.sections if not bool(open_gates[places[one.name].start])]
    if not closed:
        return structure
    former = {id(parameter): name for name, parameter in network.named_parameters()}
    for section in closed:
        _delete(network, section)
    left = {id(parameter) for parameter in network.parameters()}
    gone = {name for key, name in former.items() if key not in left}
    drop_from(optimizers, {key for key in former if key not in left})
    for named in by_name:
        for name in gone & named.keys():
            del named[name]
    return _shortened(network, structure, closed, open_gates)


def drop_from(optimizers: Iterable[Optimizer], gone: set[int]) -> None:
    """Let optimizers forget the parameters with these ids."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in [one for one in group["params"] if id(one) in gone]:
                optimizer.state.pop(parameter, None)
            group["params"] = [one for one in group["params"] if id(one) not in gone]


def _delete(network: nn.Module, section: Section) -> None:
    """Put stand-ins in the places of a section's layers."""
    for name in section.layers:
        try:
            layer = network.get_submodule(name)
        except AttributeError:
            continue  # its selector went with it
        is_point = name in section.points and not isinstance(layer, PASSING)
        if any(True for _ in (*layer.parameters(), *layer.buffers())) or is_point:
            passes = isinstance(layer, _ALIKE) and not is_point
            stand_in: nn.Module = nn.Identity() if passes else Absent.of(layer)
            stand_in.train(layer.training)
            _put(network, name, stand_in)
    for name in section.parameters:
        owner, _, tensor = name.rpartition(".")
        module = network.get_submodule(owner)
        if module._parameters.pop(tensor, None) is not None:
            device = next((p.device for p in network.parameters()), torch.device("cpu"))
            module.register_buffer(tensor, torch.zeros((), device=device), persistent=False)


def _put(network: nn.Module, name: str, stand_in: nn.Module) -> None:
    """Replace a module, and the selector before it where there is one."""
    parent, _, leaf = name.rpartition(".")
    if isinstance(network.get_submodule(parent), Selected) and leaf == "layer":
        parent, _, leaf = parent.rpartition(".")
    setattr(network.get_submodule(parent), leaf, stand_in)


def _shortened(network: nn.Module, structure: Structure, closed: Sequence[Section], open_gates: Tensor) -> Structure:
    """The structure after branches were deleted; a stand-in goes on writing the channels of groups that stay."""
    padded = torch.cat([open_gates, open_gates.new_ones(1)])
    names = {one.name for one in closed}
    inside = {group.name for group in structure.groups if group.kind == KIND and group.name in names}
    modules = dict(network.named_modules())
    axes = []
    for axis in structure.axes:
        if not any(one.holds(axis.layer, axis.tensor) for one in closed):
            axes.append(axis)
            continue
        layer = axis.layer if axis.layer in modules else axis.layer.rpartition(".")[0]
        if isinstance(modules.get(layer), Absent) and bool(padded[axis.gates].any()):
            axes.append(Axis(layer, "", axis.axis, axis.gates))
    readers = [reader for reader in structure.readers if not any(one.holds(reader.layer) for one in closed)]
    norms = tuple(norm for norm in structure.norms if not any(one.holds(norm.layer) for one in closed))
    spread = frozenset(name for name in structure.spread if not any(one.holds(name) for one in closed))
    sections = tuple(one for one in structure.sections if one.name not in inside)
    once = {(axis.layer, axis.tensor, tuple(axis.gates.tolist())): axis for axis in axes}
    return replace(
        structure, axes=tuple(once.values()), readers=tuple(readers), norms=norms, spread=spread, sections=sections
    )
