"""Following the labels of a network's channels in all its modes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from bayesprune.batches import Batch, is_batch
from bayesprune.structure.labels.modules import rule_of_layer
from bayesprune.structure.labels.operators import rule_of_operator
from bayesprune.structure.labels.trace import Trace
from bayesprune.structure.labels.universe import Cause
from bayesprune.structure.nesting import tensors_in
from bayesprune.structure.passes import Passes, look

OUTPUTS = "its channels are outputs of the network"
"""Why most last layers stay whole."""


def follow(network: nn.Module, example: Batch) -> tuple[Trace, Passes]:
    """Run a network in every mode, and see which channels go together.

    Args:
        network: a copy.
        example: inputs [B, ...].

    Raises:
        InputShapeError: it cannot take the example.
        NetworkError: something in it cannot be followed.
    """
    trace = Trace(network, rule_of_operator, example if is_batch(example) else ())

    def watched(run: Callable[[], Any]) -> Any:
        trace.begin()
        outputs = _followed(trace, run)
        for tensor in tensors_in(outputs):
            trace.universe.pin(trace.of(tensor), Cause(OUTPUTS))
        return outputs

    with torch.no_grad(), trace.layers_hooked(network, rule_of_layer):
        passes = look(network, example, watched)
    for layer, table in trace.record.tables:
        rows = trace.record.rows(layer, table)
        if rows is not None:
            trace.universe.pin(rows, Cause(f"are rows of a table that {layer!r} looks up by index"))
    _tie_elements(trace)
    _watch_witnesses(trace)
    return trace, passes


def _tie_elements(trace: Trace) -> None:
    """Let channels of a layer go together with elements of its weight that other code uses by themselves."""
    for own, labels in trace.record.elements.values():
        for axis, channels in trace.record.axes(own):
            along = channels.reshape([-1 if place == axis else 1 for place in range(labels.dim())])
            used = trace.universe.used(labels)
            elements = trace.universe.canonical(labels).where(used, torch.zeros_like(labels))
            said = Cause(f"are combined with elements of {own.name!r}, which are used by themselves", own.layer)
            trace.universe.unite(elements, torch.where(used, along, torch.zeros_like(labels)), said)


def _watch_witnesses(trace: Trace) -> None:
    """Pin what has a part in values that something uses."""
    universe, record = trace.universe, trace.record
    read = [universe.canonical(one.labels) for one in record.reads.values()]
    read += [universe.canonical(labels) for _, labels in record.elements.values()]
    used = torch.cat([part.flatten() for part in read]) if read else torch.zeros(0, dtype=torch.int32)
    for witness, others, cause in record.witnesses:
        if universe.is_used(int(witness)) or bool(torch.isin(universe.canonical(witness), used)):
            universe.pin(others, cause)


def _followed(trace: Trace, run: Callable[[], Any]) -> Any:
    with trace:
        return run()
