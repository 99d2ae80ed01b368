"""Which layer of a network reads which units of which others, found by trying it.

Every layer is made to answer what it answered before, and the answer of one of them is changed: the layers whose input
changes read it directly, whatever lies between (activations, normalisation, pooling, flattening, sums, concatenations).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bayesprune.batches import Batch, call, formed_like, named_parts
from bayesprune.errors import GraphError
from bayesprune.structure.modes import evaluating
from bayesprune.structure.nesting import mapped, tensors_in

Flags = npt.NDArray[np.bool_]
INPUT = "input"
"""What the network's input is called among the layers; "input.NAME" where there are several."""

_CONVOLUTION = nn.modules.conv._ConvNd


@dataclass(frozen=True, eq=False)
class WiredLayer:
    """A layer with weights.

    Attributes:
        name: in the network; "network" for one that is a single layer.
        module: the layer.
        inputs: what it was given in each call of one pass.
        outputs: what it answered.
    """

    name: str
    module: nn.Module
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Any, ...]

    @property
    def units(self) -> int:
        """Units or channels that it writes."""
        return int(self._first.shape[self.unit_axis])

    @property
    def features(self) -> int:
        """Features or channels that it reads; 0 for tokens."""
        first = self.inputs[0]
        return 0 if first is None else int(first.shape[self.unit_axis])

    @property
    def unit_axis(self) -> int:
        """Of its inputs and outputs: channels of convolutions stand at 1, all others last."""
        return 1 if isinstance(self.module, _CONVOLUTION) else -1

    @property
    def _first(self) -> Tensor:
        return next(iter(tensors_in(self.outputs[0])))


class Wiring:
    """A network's layers, and what each of them reads.

    Args:
        network: any network; it is left as it was.
        example: inputs [B, ...] as the network takes them.

    Raises:
        GraphError: it has no layer with weights, or fails on the example.
    """

    def __init__(self, network: nn.Module, example: Batch) -> None:
        self.network, self.example = network, example
        modules = dict(_with_weights(network))
        if not modules:
            raise GraphError(
                "the network has no layer with weights, and so no graph: give one with linear or other layers"
            )
        seen: dict[str, list[tuple[Any, Any]]] = {name: [] for name in modules}

        def record(name: str, inner: Any) -> Any:
            def forward(*arguments: Any, **keywords: Any) -> Any:
                answer = inner(*arguments, **keywords)
                seen[name].append((_first_float([*arguments, *keywords.values()]), answer))
                return answer

            return forward

        inner = {name: module.forward for name, module in modules.items()}
        self._run({name: (module, record(name, inner[name])) for name, module in modules.items()}, example)
        self.layers = {
            name: WiredLayer(name, modules[name], *map(tuple, zip(*calls, strict=True)))
            for name, calls in seen.items() if calls and any(True for _ in tensors_in(calls[0][1]))
        }  # fmt: skip

    def readers(self, layer: str, unit: int | None = None) -> dict[str, Flags]:
        """The layers that read a layer directly, and which of their input features [F] it reaches.

        Args:
            layer: its name.
            unit: one of its units; None for all together.
        """
        return self._changed(self.example, layer, unit)

    def input_readers(self, part: str = "", element: int | None = None) -> dict[str, Flags]:
        """The layers that read the network's input directly; nothing for tokens.

        Args:
            part: name of one of several inputs.
            element: one entry of the flattened example (or one channel, for `input_units` of pictures that convolutions
                read); None for all together.
        """
        named = dict(named_parts(self.example))
        given = named[part]
        if not given.is_floating_point():
            return {}
        changed = given.clone()
        if element is None:
            changed = _raised(changed)
        else:
            by_channel = self.input_units(part) != given[0].numel()
            rows = changed if by_channel else changed.view(len(changed), -1)
            rows[:, element] = _raised(rows[:, element])
        named[part] = changed
        return self._changed(formed_like(self.example, named), None, None)

    def input_units(self, part: str = "") -> int:
        """Units of the input: channels where only convolutions read it, else all its entries; 0 for tokens."""
        given = named_parts(self.example)[part]
        if not given.is_floating_point():
            return 0
        readers = self.input_readers(part)
        pictures = given.dim() > 2 and all(isinstance(self.layers[n].module, _CONVOLUTION) for n in readers)
        return int(given.shape[1]) if pictures else given[0].numel()

    def _changed(self, example: Batch, changed: str | None, unit: int | None) -> dict[str, Flags]:
        """Which features of which layers differ from what they were, with one answer changed."""
        found: dict[str, Flags] = {}
        counts = dict.fromkeys(self.layers, 0)

        def replay(layer: WiredLayer) -> Any:
            def forward(*arguments: Any, **keywords: Any) -> Any:
                number = min(counts[layer.name], len(layer.outputs) - 1)
                counts[layer.name] += 1
                now, before = _first_float([*arguments, *keywords.values()]), layer.inputs[number]
                if now is not None and before is not None and now.shape == before.shape:
                    axes = tuple(axis for axis in range(now.dim()) if axis != layer.unit_axis % now.dim())
                    differs = (now != before).amax(axes) if axes else now != before
                    if bool(differs.any()):
                        flags = differs.cpu().numpy()
                        found[layer.name] = found[layer.name] | flags if layer.name in found else flags
                answer = layer.outputs[number]
                return _with_change(answer, layer, unit) if layer.name == changed else answer

            return forward

        self._run({name: (layer.module, replay(layer)) for name, layer in self.layers.items()}, example)
        return found

    def _run(self, forwards: Mapping[str, tuple[nn.Module, Any]], example: Batch) -> None:
        """One pass in evaluation mode with other layers' `forward`."""
        with _replaced(forwards), evaluating(self.network), torch.no_grad():
            try:
                call(self.network, example)
            except (RuntimeError, ValueError, TypeError, IndexError) as error:
                shown = " ".join(str(error).split())
                raise GraphError(f"the network fails on the example ({type(error).__name__}: {shown})") from error


@contextmanager
def _replaced(forwards: Mapping[str, tuple[nn.Module, Any]]) -> Iterator[None]:
    """Other `forward`s for a while."""
    own = {name: module.__dict__.get("forward") for name, (module, _) in forwards.items()}
    try:
        for module, forward in forwards.values():
            module.__dict__["forward"] = forward
        yield
    finally:
        for name, (module, _) in forwards.items():
            module.__dict__.pop("forward", None)
            if own[name] is not None:
                module.__dict__["forward"] = own[name]


def _with_weights(network: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The outermost modules that hold a matrix of their own."""
    if any(one is not None and one.dim() > 1 for one in network._parameters.values()):
        yield name or "network", network
        return
    for child, module in network.named_children():
        yield from _with_weights(module, f"{name}.{child}" if name else child)


def _first_float(values: Any) -> Tensor | None:
    """The first tensor of floats with more than one axis."""
    return next((one for one in tensors_in(values) if one.is_floating_point() and one.dim() > 1), None)


def _with_change(answer: Any, layer: WiredLayer, unit: int | None) -> Any:
    """An answer with one unit raised; tensors that do not have the units on their axis are raised as a whole."""

    def change(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        axis = layer.unit_axis
        if unit is None or tensor.dim() < 2 or tensor.shape[axis] != layer.units:
            return _raised(tensor)
        raised = tensor.clone()
        place = raised.select(axis, unit)
        place.copy_(_raised(place))
        return raised

    return mapped(answer, change)


def _raised(tensor: Tensor) -> Tensor:
    """Larger than all that was there, so that rectifiers and maxima let it through, each entry by another amount."""
    size = float(tensor.abs().max()) if tensor.numel() else 0.0
    steps = torch.linspace(1.0, 2.0, tensor.numel(), dtype=tensor.dtype, device=tensor.device)
    return tensor.abs() + (1.0 + size) * steps.view(tensor.shape)
