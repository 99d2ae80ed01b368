"""One plain module from raw inputs to outputs: normalisation, network, and the unit of the targets."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.batches import Batch, call, formed_like, named_parts
from bayesprune.data.inputs import AnyNormalisation
from bayesprune.data.normalisation import IDENTITY, Normalisation
from bayesprune.structure import evaluating
from bayesprune.structure.layers import CONVOLUTION, TRANSPOSED
from bayesprune.structure.modes import hooked
from bayesprune.structure.selectors import Selected
from bayesprune.tasks import Regression, Task
from bayesprune.training.heads import picked

LARGEST_SHIFT = 30.0
"""A mean of more deviations is not folded into weights: float32 would lose digits of the differences."""

_TOLERANCE = 1e-5
"""Between what folded weights say and what they said before, relative to the largest output."""


class Standardise(nn.Module):
    """(inputs - mean) / std, as `Normalisation.apply` computes it; uint8 is brought to [0, 1] first.

    Args:
        normalisation: of one input tensor.
    """

    def __init__(self, normalisation: Normalisation) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.pixels = normalisation.dtype == "uint8"
        self.register_buffer("mean", torch.tensor(normalisation.mean, dtype=torch.float64))
        self.register_buffer("std", torch.tensor(normalisation.std, dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        """Raw inputs [N, C, ...] of any real type to float32."""
        shape = (1, -1, *[1] * (inputs.dim() - 2)) if inputs.dim() > 1 else (-1,)
        if self.pixels:
            inputs = inputs / 255
            return (inputs - self.mean.float().reshape(shape)) / self.std.float().reshape(shape)
        return ((inputs.double() - self.mean.reshape(shape)) / self.std.reshape(shape)).float()


class InUnits(nn.Module):
    """Outputs in standard deviations brought to the unit of the targets: outputs * std + mean."""

    def __init__(self, task: Regression) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(task.mean))
        self.register_buffer("std", torch.tensor(task.std))

    def forward(self, outputs: Tensor) -> Tensor:
        """[N, K] or [N]."""
        return outputs * self.std.to(outputs.dtype) + self.mean.to(outputs.dtype)


class Pipeline(nn.Module):
    """From raw inputs to outputs: logits, log rates, or numbers in the unit of the targets.

    Attributes:
        prepare: what is done to each input tensor, by name; empty where it is part of the first layer's weights.
        network: the pruned network, or a copy whose first layer takes raw inputs.
        finish: the unit of the targets, for regression.

    Args:
        network: takes prepared inputs.
        prepare: by name of the input tensor ("" for one alone).
        finish: applied to the output that counts.
        output: its name where the network says several.
    """

    def __init__(self, network: nn.Module, prepare: dict[str, nn.Module], finish: nn.Module, output: str) -> None:
        super().__init__()
        self.prepare = nn.ModuleDict({f"input_{name}": module for name, module in prepare.items()})
        self.network, self.finish, self.output = network, finish, output

    def forward(self, *inputs: Any, **named: Tensor) -> Tensor:
        """Raw inputs as the network takes its own: one tensor, several, or named ones."""
        given: Any = named or (inputs[0] if len(inputs) == 1 else inputs)
        ready = {name: self._prepared(name, part) for name, part in named_parts(given).items()}
        said: Tensor = self.finish(picked(call(self.network, formed_like(given, ready)), self.output))
        return said

    def _prepared(self, name: str, part: Tensor) -> Tensor:
        key = f"input_{name}"
        if key in self.prepare:
            prepared: Tensor = self.prepare[key](part)
            return prepared
        return part.float() if part.is_floating_point() else part


def make_pipeline(
    network: nn.Module, normalisation: AnyNormalisation, task: Task | None, output: str, example: Batch
) -> Pipeline:
    """The pipeline of a network, its normalisation folded into the first layer where that is exact.

    Args:
        network: pruned; it is copied, in float32.
        normalisation: of raw inputs.
        task: what it was trained for.
        output: that counts.
        example: raw inputs [B, ...], on which folding is checked.
    """
    network = _in_float32(network)
    copy = deepcopy(network).eval()
    parts = {"": normalisation} if isinstance(normalisation, Normalisation) else dict(normalisation.by_name)
    prepare: dict[str, nn.Module] = {
        name: Standardise(one) for name, one in parts.items() if one != IDENTITY or one.dtype == "uint8"
    }
    finish = InUnits(task) if isinstance(task, Regression) else nn.Identity()
    plain = Pipeline(copy, prepare, finish, output).eval()
    if not (isinstance(normalisation, Normalisation) and prepare and isinstance(example, Tensor)):
        return plain
    folded = _folded(network, normalisation, example)
    if folded is None:
        return plain
    short = Pipeline(folded, {}, finish, output).eval()
    return short if _agree(short, plain, example) else plain


def _in_float32(network: nn.Module) -> nn.Module:
    """The network, or a copy of one in float64."""
    wide = any(parameter.dtype == torch.float64 for parameter in network.parameters())
    return deepcopy(network).float() if wide else network


@torch.no_grad()
def _folded(network: nn.Module, normalisation: Normalisation, example: Tensor) -> nn.Module | None:
    """A copy whose first layers take raw inputs; None where they cannot."""
    scale = 255.0 if normalisation.dtype == "uint8" else 1.0
    mean, std = (torch.tensor(each, dtype=torch.float64) * scale for each in (normalisation.mean, normalisation.std))
    if normalisation.dtype == "uint8" or bool((mean.abs() > LARGEST_SHIFT * std).any()):
        return None  # uint8 must become floats anyway
    copy = deepcopy(network).eval()
    shape = (-1, *[1] * (example.dim() - 2))
    whole = [each.reshape(shape).expand(example.shape[1:]) if example.dim() > 1 else each for each in (mean, std)]
    readers = _readers(copy, normalisation.apply(example))
    for layer, kept in readers:
        if not _fold(layer, kept, *whole):
            return None
    return copy if readers else None


def _readers(network: nn.Module, inputs: Tensor) -> list[tuple[nn.Module, Tensor | None]]:
    """The layers that get the inputs themselves, maybe reshaped, and which of their features each selects."""
    found: dict[nn.Module, Tensor | None] = {}

    def watch(module: nn.Module) -> Any:
        def hook(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            given = arguments[0] if arguments else None
            if isinstance(given, Tensor) and given.data_ptr() == inputs.data_ptr() and given.numel() == inputs.numel():
                layer, kept = (module[1], module.select.kept) if isinstance(module, Selected) else (module, None)
                found[layer] = kept

        return module.register_forward_pre_hook(hook)

    layers = [module for module in network.modules() if isinstance(module, (Selected, nn.Linear, CONVOLUTION))]
    with hooked(map(watch, layers)), evaluating(network):
        network(inputs)
    return list(found.items())


def _fold(layer: nn.Module, kept: Tensor | None, mean: Tensor, std: Tensor) -> bool:
    """Let a linear layer, or a convolution without padding, take raw inputs; False where that is not possible."""
    if isinstance(layer, nn.Linear):
        mean, std = (each.flatten() if each.numel() >= layer.in_features else each for each in (mean, std))
    elif _is_plain_convolution(layer):
        mean, std = (each.flatten(1)[:, 0] for each in (mean, std))
    else:
        return False
    if kept is not None:
        mean, std = mean[kept], std[kept]
    weight = layer.get_parameter("weight")
    if len(mean) != weight.shape[1]:
        return False
    spread = weight.double() / std.reshape(1, -1, *[1] * (weight.dim() - 2))
    shift = -(spread.flatten(2).sum(2) if weight.dim() > 2 else spread) @ mean
    former = 0.0 if layer.bias is None else layer.get_parameter("bias").double()
    layer.weight = nn.Parameter(spread.to(weight.dtype))
    layer.register_parameter("bias", nn.Parameter((former + shift).to(weight.dtype)))
    return True


def _is_plain_convolution(layer: nn.Module) -> bool:
    """Whether a convolution reads nothing but its inputs: padding would not be shifted with them."""
    if not isinstance(layer, CONVOLUTION) or isinstance(layer, TRANSPOSED):
        return False
    return bool(layer.groups == 1) and not any(layer._reversed_padding_repeated_twice)


@torch.no_grad()
def _agree(folded: nn.Module, plain: nn.Module, example: Tensor) -> bool:
    """Whether two pipelines say the same but for rounding."""
    try:
        one, other = folded(example.float()), plain(example)
    except RuntimeError:
        return False
    return bool((one - other).abs().max() <= _TOLERANCE * other.abs().max().clamp_min(1e-6))
