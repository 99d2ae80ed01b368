"""What is written of a result: the row of the result table, and run.json."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from bayesprune.run.draw_average import DrawAverage
from bayesprune.run.ensemble import Ensemble
from bayesprune.run.method import GatePosterior, Reason
from bayesprune.run.reading_records import COUNTS, POSTERIOR, learnt_of
from bayesprune.store.runs import RunRecord, library_versions
from bayesprune.store.schema import FLAT_METRICS
from bayesprune.structure import OTHER, Group, LayerCost, fed_outputs
from bayesprune.structure.matrices import multiplied
from bayesprune.structure.selectors import plain_name

AVERAGES = frozenset({"members", "draws"})
"""Keys of `averaged`."""

if TYPE_CHECKING:
    from bayesprune.run.pruned import Pruned


def result_of(pruned: "Pruned") -> dict[str, Any]:
    """The row of the result table: what `--json` prints for a run."""
    evaluation, posterior = pruned.evaluation, pruned.posterior
    return {
        "method": pruned.settings.method,
        "seed": pruned.settings.seed,
        **{name: evaluation.metrics[name] for name in FLAT_METRICS if name in evaluation.metrics},
        "task": pruned.task_document["name"],
        "metrics": {
            metric.key: {"value": evaluation.metrics[metric.key]} | metric.to_json() for metric in pruned.metrics
        },
        **({"recalls": list(evaluation.recalls)} if evaluation.recalls else {}),
        "params": evaluation.params,
        "dense_params": pruned.dense_params,
        "nonzero_weights": evaluation.nonzero_weights,
        "macs": evaluation.macs,
        "unattributed_macs": sum(layer.macs for layer in pruned.layers if layer.name == OTHER),
        "latency_ms": evaluation.latency_ms,
        "density": evaluation.nonzero_weights / max(pruned.dense_weights, 1),
        "architecture": {group.name: len(group.kept) for group in pruned.groups},
        "undecided_gates": 0 if posterior is None else int((posterior.decided > 1).sum()),
        "decided_at_end": 0 if posterior is None else posterior.decided_at_end,
        "closed_by_price": 0 if posterior is None else posterior.count(Reason.CLOSED_BY_PRICE),
        "cut_for_budget": 0 if posterior is None else posterior.count(Reason.CUT_FOR_BUDGET),
        "reopened": 0 if posterior is None else posterior.reopened,
        "train_seconds": pruned.seconds,
        "train_macs_ratio": pruned.macs_ratio,
        **averaged(pruned.network),
        **({"measured_before_change": True} if pruned.measured_before_change else {}),
        **({"warnings": list(pruned.warnings)} if pruned.warnings else {}),
    }


def averaged(network: nn.Module) -> dict[str, int]:
    """How many predictions a network averages: `members` of an ensemble, or `draws` of one network's gates."""
    if isinstance(network, Ensemble):
        return {"members": len(network.networks)}
    return {"draws": len(network.gates)} if isinstance(network, DrawAverage) else {}


def record_of(pruned: "Pruned") -> RunRecord:
    """What is written to run.json."""
    dense = {layer.name: layer for layer in pruned.dense_layers}
    rows = [_layer_row(layer, dense) | alive(pruned.network, layer) for layer in pruned.layers]
    rows += _gone(pruned, {row["name"] for row in rows})
    return RunRecord(
        settings=dict(pruned.identity),
        result=result_of(pruned),
        groups=[_group_row(group) for group in pruned.groups],
        layers=rows,
        whole=dict(pruned.whole),
        collapsed=pruned.collapsed,
        input_shape=next(iter(pruned.inputs.shapes.values())),
        classes=pruned.classes,
        task={**pruned.task_document} | learnt_of(pruned.likelihood),
        data=pruned.data_summary,
        versions=library_versions(),
        history=pruned.history,
        tensors=posterior_tensors(pruned.posterior),
    )


def _group_row(group: Group) -> dict[str, Any]:
    """A group; the attributes that follow its size are there where it has some."""
    row = {"name": group.name, "size": group.size, "kept": group.kept.tolist()}
    return row | {"counted": list(group.counted)} if group.counted else row


def alive(network: nn.Module, layer: LayerCost) -> dict[str, int]:
    """Non-zero weights of a layer, and how many of its outputs have one."""
    if layer.name == OTHER:
        return {"nonzero_weights": 0, "fed_outputs": 0}
    module = network.get_submodule(layer.name)
    weights = sum(int(getattr(module, tensor).count_nonzero()) for tensor in multiplied(module))
    return {"nonzero_weights": weights, "fed_outputs": fed_outputs(module)}


def _layer_row(layer: LayerCost, dense: Mapping[str, LayerCost]) -> dict[str, Any]:
    """One layer of run.json, under the name that it has in the dense network."""
    name = dense_name(layer.name, dense)
    now = {count: getattr(layer, count) for count in COUNTS}
    before = {f"dense_{count}": getattr(dense[name], count) if name in dense else 0 for count in COUNTS}
    return {"name": name, "kind": layer.kind} | now | before


def _gone(pruned: "Pruned", there: set[str]) -> list[dict[str, Any]]:
    """Rows of the layers that went into others, or with their section: they cost nothing now."""
    none = dict.fromkeys(COUNTS, 0) | {"nonzero_weights": 0, "fed_outputs": 0}
    return [
        {"name": layer.name, "kind": layer.kind} | none | {f"dense_{count}": getattr(layer, count) for count in COUNTS}
        for layer in pruned.dense_layers
        if layer.name not in there
    ]


def dense_name(name: str, dense: Mapping[str, object]) -> str:
    """The name of a layer in the dense network."""
    return name if name in dense else plain_name(name)


def posterior_tensors(posterior: GatePosterior | None) -> dict[str, Tensor] | None:
    """The tensors of posterior.safetensors."""
    if posterior is None:
        return None
    found = {name: getattr(posterior, name) for name in POSTERIOR}
    return {name: tensor for name, tensor in found.items() if tensor is not None}
