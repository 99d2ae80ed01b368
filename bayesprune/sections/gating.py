"""Multiplying the branches of sections by gates, through forward hooks."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from bayesprune.errors import UnsupportedLayerError
from bayesprune.sections.value import Section

Gate = Callable[[], Tensor | None]
"""The gate of a section, [] or [B]; None while no gates are applied."""


def hook_sections(network: nn.Module, sections: Sequence[Section], gate_of: Callable[[int], Gate]) -> list[Any]:
    """Hooks on the branches' ends; `gate_of` makes what says the gate of the section with a number."""
    return [
        network.get_submodule(point).register_forward_hook(_multiply(section.name, gate_of(number)))
        for number, section in enumerate(sections)
        for point in section.points
    ]


def _multiply(name: str, gate_of: Gate) -> Callable[[nn.Module, Any, Any], Any]:
    def hook(_: nn.Module, __: Any, outputs: Any) -> Any:
        gate = gate_of()
        if gate is None:
            return None
        if isinstance(outputs, tuple):
            return (_times(name, outputs[0], gate), *outputs[1:])
        return _times(name, outputs, gate)

    return hook


def _times(name: str, outputs: Tensor, gate: Tensor) -> Tensor:
    """Outputs [B, ...] times a gate for all, or one for each example."""
    gate = gate.to(outputs.dtype)
    if gate.dim() == 0:
        return outputs * gate
    if len(outputs) != len(gate):
        raise UnsupportedLayerError(
            f"section {name!r} says {len(outputs)} rows for {len(gate)} examples, so that no example can have a gate "
            "of its own: keep one of its layers"
        )
    return outputs * gate.reshape(-1, *[1] * (outputs.dim() - 1))


@contextmanager
def closed_sections(network: nn.Module, sections: Sequence[Section]) -> Iterator[None]:
    """Let the branches of sections say zeros for a while."""

    def silence(_: nn.Module, __: Any, outputs: Any) -> Any:
        return (outputs[0] * 0, *outputs[1:]) if isinstance(outputs, tuple) else outputs * 0

    handles: list[RemovableHandle] = [
        network.get_submodule(point).register_forward_hook(silence) for one in sections for point in one.points
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
