"""What one forward pass says of a network's linear and convolution layers: what they read, and what they give."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bayesprune.errors import NetworkError
from bayesprune.structure import hooked

FACTORISED = (nn.Linear, nn.Conv1d, nn.Conv2d)
"""Layers whose part of the kernel is computed from what they read and from the gradients of what they give."""


@dataclass(frozen=True, eq=False)
class Call:
    """One use of a layer in a forward pass.

    Attributes:
        name: of the layer.
        layer: itself.
        inputs: what it read [B, ...].
        outputs: what it gave [B, ...], before anything else.
    """

    name: str
    layer: nn.Module
    inputs: Tensor
    outputs: Tensor


def plain_layers(network: nn.Module) -> dict[str, nn.Module]:
    """By name the layers that do just what their kind does, with weights that are parameters."""
    return {
        name: module
        for name, module in network.named_modules()
        if type(module) in FACTORISED and "weight" in module._parameters and not module._forward_hooks
    }


def forward(
    network: nn.Module, parameters: Mapping[str, Tensor], inputs: Tensor, layers: Mapping[str, nn.Module]
) -> tuple[Tensor, list[Call]]:
    """The outputs [B, K] with these parameters, and the calls of these layers in their order, as far as they matter.

    Raises:
        NetworkError: the outputs are not [B, K].
    """
    calls: list[Call] = []
    with _recording(layers, calls, copied=False):
        outputs = functional_call(network, dict(parameters), (inputs,))
    if any(tensor._version for call in calls for tensor in (call.inputs, call.outputs) if tensor is not inputs):
        # What a layer read or gave was written over (ReLU in place): keep copies apart from what goes on.
        calls.clear()
        with _recording(layers, calls, copied=True):
            outputs = functional_call(network, dict(parameters), (inputs,))
    _check_outputs(outputs, len(inputs))
    return outputs, [call for call in calls if call.outputs.requires_grad]


def _recording(layers: Mapping[str, nn.Module], calls: list[Call], *, copied: bool) -> AbstractContextManager[None]:
    """Layers tell their calls meanwhile."""

    def hook(name: str, layer: nn.Module, given: tuple[Any, ...], named: dict[str, Any], outputs: Tensor) -> Any:
        inputs = given[0] if given else named["input"]
        calls.append(Call(name, layer, inputs.clone() if copied else inputs, outputs))
        return outputs.clone() if copied else None

    return hooked(layer.register_forward_hook(partial(hook, name), with_kwargs=True) for name, layer in layers.items())


def check_separate(network: nn.Module, inputs: Tensor) -> None:
    """Refuse networks that mix samples: no kernel of a pair of samples could be told from the others'.

    Args:
        network: in the mode in which its kernel is wanted.
        inputs: at least 2 samples [B, ...].

    Raises:
        NetworkError: batch normalisation in training mode, or any other layer through which the outputs of one
            sample depend on another; names the first batch normalisation. Or the outputs are not [B, K].
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and (module.training or module.running_mean is None):
            raise NetworkError(
                f"layer {name!r} ({type(module).__name__}) normalises over the batch, which mixes samples, so a pair "
                "of samples has no tangent kernel: put it in evaluation mode, or use a network without it"
            )
    if len(inputs) < 2 or not inputs.is_floating_point():
        return
    few = inputs[:2].detach().clone().requires_grad_(True)
    with torch.enable_grad():
        outputs = network(few.clone())  # a network may write over its inputs
        _check_outputs(outputs, len(few))
        slopes = [
            torch.autograd.grad(output.square().sum(), few, retain_graph=True, materialize_grads=True)[0]
            for output in outputs
            if output.requires_grad
        ]
    if any(bool((slope[1 - number].abs() > 0).any()) for number, slope in enumerate(slopes)):
        raise NetworkError(
            "the outputs of one sample depend on the other samples of its batch, so a pair of samples has no tangent "
            "kernel: take out the layer that mixes samples"
        )


def _check_outputs(outputs: Tensor, samples: int) -> None:
    """Refuse outputs that are not [samples, logits].

    Raises:
        NetworkError: gives their shape.
    """
    if outputs.dim() != 2 or len(outputs) != samples:
        raise NetworkError(
            f"a tangent kernel needs outputs [samples, logits], the network gives {list(outputs.shape)} for "
            f"{samples} samples"
        )
