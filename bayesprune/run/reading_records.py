"""What a record on disk says of inputs, task, likelihood and metrics."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.batches import each
from bayesprune.data import InputSpec
from bayesprune.data.inputs import normalisation_from_json
from bayesprune.devices import fitting
from bayesprune.errors import StoreError
from bayesprune.evaluation.evaluate import Evaluation
from bayesprune.run.method import GatePosterior, Reason
from bayesprune.run.networks import NetworkSpec
from bayesprune.run.settings import RunSettings
from bayesprune.store.runs import RunRecord
from bayesprune.structure import Group, LayerCost, layer_costs
from bayesprune.tasks import Likelihood, Metric, Task, from_json

COUNTS = ("inputs", "outputs", "params", "macs", "weights")
POSTERIOR = ("inclusion_probability", "decided", "trace", "steps", "reason", "price", "last_rise")

_COSTS = ("params", "nonzero_weights", "macs", "latency_ms")


def inputs_of(record: RunRecord) -> InputSpec:
    """The form of the network's inputs; records of version 0.1.0 are of one tensor of floats.

    Raises:
        StoreError: it is damaged.
    """
    document = record.data.get("inputs")
    if document is None:
        return InputSpec("tensor", {"": tuple(record.input_shape)}, {"": "float32"})
    try:
        spec = InputSpec.from_json(document)
        if next(iter(spec.shapes.values())) != tuple(record.input_shape):
            raise ValueError("input_shape")
        return spec
    except ValueError as error:
        raise StoreError(f"key data.inputs is {document!r}, which describes no inputs; the file was changed") from error


def task_of(record: RunRecord) -> Task | None:
    """What was learnt; None for a task of the user's own.

    Raises:
        StoreError: it is damaged.
    """
    try:
        return from_json(record.task)
    except ValueError as error:
        raise StoreError(f"key task is {record.task!r}, which describes no task; the file was changed") from error


def learnt_of(likelihood: Likelihood | None) -> dict[str, Any]:
    """What a likelihood has learnt, as JSON."""
    learnt = {} if likelihood is None else {name: value.tolist() for name, value in likelihood.named_parameters()}
    return {"learnt": learnt} if learnt else {}


def likelihood_of(task: Task | None, record: RunRecord) -> Likelihood | None:
    """The likelihood of a task with what the record says that it has learnt.

    Raises:
        StoreError: that does not fit.
    """
    if task is None:
        return None
    likelihood, learnt = task.likelihood(), record.task.get("learnt", {})
    try:
        with torch.no_grad():
            for name, parameter in likelihood.named_parameters():
                parameter.copy_(torch.tensor(learnt[name], dtype=parameter.dtype).reshape(parameter.shape))
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise StoreError(f"key task.learnt is {learnt!r}, which does not fit the task; the file was changed") from error
    return likelihood


def evaluation_of(result: Mapping[str, Any]) -> Evaluation:
    """What a record says of the network's quality and cost."""
    metrics = {key: one["value"] for key, one in result["metrics"].items()}
    costs = {name: result[name] for name in _COSTS}
    return Evaluation(metrics, **costs, recalls=tuple(result.get("recalls", ())))


def fields_of(record: RunRecord, network: nn.Module) -> dict[str, Any]:
    """The fields of a `Pruned` that was read from disk.

    Raises:
        StoreError: (or LookupError, TypeError, ValueError) the parts of the record do not fit together.
    """
    settings = RunSettings.from_json(record.settings)
    factory, _ = record.settings["factory"], record.settings["data_fingerprint"]  # both must be there
    result, tensors = record.result, record.posterior
    task = task_of(record)
    dense = tuple(
        LayerCost(row["name"], row["kind"], **{name: row.get(f"dense_{name}", 0) for name in COUNTS}, positions=0)
        for row in record.layers
    )
    return dict(  # noqa: C408 - keywords read better than twenty quoted names
        network=network,
        groups=tuple(map(_group_of, record.groups)),
        posterior=None if tensors is None else _posterior_of(tensors),
        evaluation=evaluation_of(result),
        history=record.history,
        layers=layer_costs(network, each(partial(fitting, network), inputs_of(record).zeros())),
        dense_layers=dense,
        settings=settings,
        spec=None if factory is None else NetworkSpec(factory["name"], factory["arguments"]),
        inputs=inputs_of(record),
        task=task,
        task_document=record.task,
        metrics=tuple(Metric.from_json(key, one) for key, one in result["metrics"].items()),
        likelihood=likelihood_of(task, record),
        data_summary=record.data,
        macs_ratio=result["train_macs_ratio"],
        seconds=result["train_seconds"],
        whole=record.whole,
        collapsed=record.collapsed,
        measured_before_change=bool(result.get("measured_before_change", False)),
        dense_weights=round(result["nonzero_weights"] / result["density"]) if result["density"] else 1,
        normalisation=normalisation_from_json(record.data.get("normalisation")),
        dense_params=result.get("dense_params", sum(layer.params for layer in dense)),
        identity=record.settings,
        warnings=tuple(result.get("warnings", ())),
        masks=_fitting(record.masks, network),
    )


def _group_of(row: Mapping[str, Any]) -> Group:
    """A group, without the layers that write and read it."""
    kept = torch.tensor(row["kept"], dtype=torch.long)
    return Group(row["name"], row["size"], kept, (), (), counted=tuple(row.get("counted", ())))


def _posterior_of(tensors: Mapping[str, Tensor]) -> GatePosterior:
    """The posterior of a record; runs of version 0.1.0 did not say why gates are closed, or what they cost."""
    theta, decided = tensors["inclusion_probability"], tensors["decided"]
    closed = torch.where(theta > 0, int(Reason.CLOSED_AT_END), int(Reason.CLOSED_BY_PRICE))
    reason = tensors.get("reason", torch.where(decided > 0, int(Reason.OPEN), closed).to(torch.uint8))
    known = tensors.get("price"), tensors.get("last_rise")
    return GatePosterior(theta, decided, tensors["trace"], tensors["steps"], reason, *known)


def _fitting(masks: Mapping[str, Tensor], network: nn.Module) -> Mapping[str, Tensor]:
    """Masks from a file, once they are known to be this network's.

    Raises:
        StoreError: one is not.
    """
    parameters = dict(network.named_parameters())
    for name, mask in masks.items():
        if name not in parameters or parameters[name].shape != mask.shape or mask.dtype != torch.bool:
            raise StoreError(
                f"the mask {name!r} {list(mask.shape)} fits no weight of the network; was the run changed?"
            )
    return masks
