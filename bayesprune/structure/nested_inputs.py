"""Keeping torch's encoders from nesting their inputs while hooks are on the layers inside of them."""

from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle


def without_nesting(network: nn.Module) -> list[RemovableHandle]:
    """Hooks by which no `nn.TransformerEncoder` in a network nests its inputs; none where there is no such encoder.

    With padding masks an encoder in evaluation mode hands nested tensors to its layers, which only their fast path
    takes, and torch leaves that path where hooks are. Without nesting the padded positions of the output are not 0.
    """
    encoders = [module for module in network.modules() if isinstance(module, nn.TransformerEncoder)]
    if not any(encoder.use_nested_tensor for encoder in encoders):
        return []
    former: list[list[bool]] = []

    def begin(*_: Any) -> None:
        former.append([encoder.use_nested_tensor for encoder in encoders])
        for encoder in encoders:
            encoder.use_nested_tensor = False

    def end(*_: Any) -> None:
        for encoder, nests in zip(encoders, former.pop() if former else (), strict=False):
            encoder.use_nested_tensor = nests

    return [
        network.register_forward_pre_hook(begin),
        network.register_forward_hook(end, prepend=True, always_call=True),
    ]
