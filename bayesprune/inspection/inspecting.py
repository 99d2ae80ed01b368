"""Looking at every layer of a network: which channels can go, with what, and why others cannot."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from bayesprune.batches import Batch, is_batch, parts, whole_shape
from bayesprune.errors import InputShapeError, NetworkError, SettingError, UnsupportedLayerError, a_kind
from bayesprune.inspection.values import InspectedLayer, Inspection
from bayesprune.pruners.budgeted import smallest_gates
from bayesprune.structure import OTHER, LayerCost, Structure, find
from bayesprune.structure.copying import copied
from bayesprune.structure.layers import NORM, trouble
from bayesprune.structure.members import UNGATED
from bayesprune.structure.selectors import plain_name
from bayesprune.training import TrainState

INPUTS = ("auto", "all", "none")
"""Which input features have gates, see `bayesprune.structure.find`."""

NOT_FOLLOWED = "its channels belong to no group"
"""Of a layer of which the structure says nothing else."""


def inspect(
    network: nn.Module,
    example: Batch,
    *,
    keep: Sequence[str] = (),
    inputs: str = "auto",
    flatten_inputs: bool = False,
    name: str | None = None,
) -> Inspection:
    """Say of every layer whether channels can be removed, tied with what, or why it stays whole; and what it costs.

    Where a run would refuse the network, the table is that of the network with what `advised` names kept as well.

    Args:
        network: any module; it is left as it is.
        example: a batch [B, ...] of inputs, or a tuple or dict of such.
        keep: layers whose outputs stay whole, as for `prune`.
        inputs: gates on input features, as for `prune`.
        flatten_inputs: gates on flattened features as well.
        name: of the network; by default its class.

    Raises:
        NetworkError: it cannot be copied, run or traced, or takes other inputs.
        InputShapeError: the batch is empty.
        SettingError: `keep` names a layer that is not there, or `inputs` is none of the three.
    """
    if not isinstance(network, nn.Module):
        raise NetworkError(f"network is {a_kind(network)}: give a torch.nn.Module, or a name beside data")
    keep = (keep,) if isinstance(keep, str) else keep
    if not isinstance(keep, Iterable) or not all(isinstance(name, str) for name in keep):
        raise SettingError(f"keep must be a list of names of layers, not {keep!r}")
    keep = tuple(keep)
    if inputs not in INPUTS:
        raise SettingError(f"inputs must be {', '.join(INPUTS[:-1])} or {INPUTS[-1]}, not {inputs!r}")
    if is_batch(example) and 0 in {len(part) for part in parts(example) if part.dim()}:
        raise InputShapeError(f"the example {whole_shape(example)} holds no example: give a batch of one or more")
    structure, refused, advised = _found(network, example, keep, inputs, flatten_inputs=flatten_inputs)
    state = TrainState(copied(network), structure, example)
    layers = _layers(state, dict(structure.whole), advised, refused)
    macs, params = state.expected_cost()(smallest_gates(state).double())
    return Inspection(
        name or type(network).__name__, layers, {group.name: len(group.kept) for group in structure.groups},
        state.network_macs(), state.params(), round(float(macs)), round(float(params)), keep, advised, refused,
    )  # fmt: skip


def _found(
    network: nn.Module, example: Batch, keep: tuple[str, ...], inputs: str, *, flatten_inputs: bool
) -> tuple[Structure, tuple[str, ...], tuple[str, ...]]:
    """The structure, why the network is refused as it is, and what `keep` must name for it not to be."""

    def look(kept: tuple[str, ...]) -> Structure:
        return find(network, example, keep=kept, inputs=inputs, flatten_inputs=flatten_inputs)  # type: ignore[arg-type]  # find checks the name

    try:
        return look(keep), (), ()
    except UnsupportedLayerError as refusal:
        if not refusal.keep:
            raise
        reasons = str(refusal).partition(": leave such channels whole")[0].split("; ")
        return look(refusal.keep), tuple(reasons), refusal.keep


def _layers(
    state: TrainState, whole: Mapping[str, str], advised: Sequence[str], refused: Sequence[str]
) -> tuple[InspectedLayer, ...]:
    """Every layer that is counted, stays whole or writes gated channels, in the order of the network's modules."""
    structure, costs = state.structure, {cost.name: cost for cost in state.layers()}
    writes, reads = _written(structure), _read(structure)
    modules = dict(state.network.named_modules())
    names = [name for name in modules if name in {*costs, *whole} or (name in writes and not _passes(modules[name]))]
    groups = _gate_groups(structure)
    writers: dict[str, list[str]] = {}
    for name in names:
        for group in _names(groups, writes.get(name)):
            writers.setdefault(group, []).append(name)
    found = []
    for name in names:
        cost = costs.get(name) or _uncounted(name, modules[name])
        gates = writes.get(name, torch.zeros(0, dtype=torch.long))
        own = _names(groups, gates)
        tied = tuple(dict.fromkeys(other for group in own for other in writers[group] if other != name))
        removable = int((gates != UNGATED).sum())
        said = whole.get(name) or trouble(modules[name], frozenset()) or NOT_FOLLOWED
        why = "" if removable else _reason(name, said, advised, refused)
        kinds = tuple(dict.fromkeys(group for part in reads.get(name, ()) for group in _names(groups, part)))
        outputs = max(cost.outputs, len(gates))
        found.append(
            InspectedLayer(
                name, cost.kind, cost.inputs, outputs, cost.params, cost.macs, removable, own[0] if own else "", tied,
                kinds, why,
            )
        )  # fmt: skip
    if OTHER in costs:
        rest = costs[OTHER]
        why = "multiplied by no linear or convolution layer that is called"
        found.append(InspectedLayer(OTHER, rest.kind, 0, 0, rest.params, rest.macs, 0, "", (), (), why))
    return tuple(found)


def _reason(name: str, said: str, advised: Sequence[str], refused: Sequence[str]) -> str:
    """Why a layer stays whole; of one that only the advice keeps, the sentence of the refusal that names it."""
    if name not in advised:
        return said
    return next((sentence for sentence in refused if repr(name) in sentence), f"refused: {'; '.join(refused)}")


def _written(structure: Structure) -> dict[str, Tensor]:
    """The gates of every layer's outputs, by its name."""
    found: dict[str, Tensor] = {}
    for axis in structure.axes:
        if axis.layer not in found or axis.tensor == "weight":
            found[axis.layer] = axis.gates
    return found


def _read(structure: Structure) -> dict[str, list[Tensor]]:
    """The gates of what every layer reads, by its name."""
    found: dict[str, list[Tensor]] = {}
    for reader in structure.readers:
        parts = [reader.arriving[reader.selected], *([] if reader.selection is None else [reader.selection])]
        found.setdefault(reader.layer, []).extend(parts)
    return found


def _gate_groups(structure: Structure) -> list[str]:
    """The group of every gate [J]."""
    return [group.name for group in structure.groups for _ in range(len(group.kept))]


def _names(groups: Sequence[str], gates: Tensor | None) -> list[str]:
    """The groups of some gates, each once."""
    return [] if gates is None else list(dict.fromkeys(groups[gate] for gate in gates.unique().tolist() if gate >= 0))


def _passes(module: nn.Module) -> bool:
    """Whether a layer passes channels on that others write."""
    return isinstance(module, NORM)


def _uncounted(name: str, module: nn.Module) -> LayerCost:
    """The cost of a layer that multiplies nothing when the network is evaluated."""
    params = sum(parameter.numel() for parameter in module.parameters(recurse=False) if not is_lazy(parameter))

    def size(*names: str) -> int:
        return next((value for value in (getattr(module, one, None) for one in names) if isinstance(value, int)), 0)

    inputs = size("in_features", "in_channels", "num_embeddings")
    outputs = size("out_features", "out_channels", "embedding_dim")
    return LayerCost(plain_name(name), type(module).__name__, inputs, outputs, params, 0, 0)
