"""The expected form of run.json and of a run's posterior."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayesprune.errors import StoreError
from bayesprune.store.checks import (
    Check,
    Fault,
    anything,
    integer,
    list_of,
    number,
    record,
    table_of,
    text,
)

if TYPE_CHECKING:
    from torch import Tensor

SCHEMA, FORMER = 2, 1
"""The schema that is written, and the one of version 0.1.0, which is read as well."""

FLAT_METRICS = ("accuracy", "nll", "ece", "brier")
"""Metrics that stand in a result by themselves, too, where the task has them."""

_RESULT = record(
    {
        "method": text,
        "seed": integer(),
        "params": integer(),
        "nonzero_weights": integer(),
        "macs": integer(),
        "latency_ms": number(0, nullable=True),
        "density": number(0, 1),
        "architecture": table_of(integer()),
        "undecided_gates": integer(nullable=True),
        "decided_at_end": integer(nullable=True),
        "train_seconds": number(0),
        "train_macs_ratio": number(0, nullable=True),
    },
    optional={
        "accuracy": number(0, 1, nullable=True),
        "nll": number(nullable=True),
        "ece": number(0, 1, nullable=True),
        "brier": number(0, 2, nullable=True),
        "dense_params": integer(),
        "members": integer(2),
        "draws": integer(1),
        "task": text,
        "metrics": table_of(record({"value": number(nullable=True), "better": text})),
        "recalls": list_of(number(0, 1, nullable=True)),
    },
)
_LAYER = record(
    {"name": text, "kind": text}
    | {prefix + what: integer() for prefix in ("", "dense_") for what in ("params", "macs", "inputs", "outputs")}
)
_GROUP = record({"name": text, "size": integer(1), "kept": list_of(integer())}, optional={"counted": list_of(text)})
_SPLITS = record({name: integer() for name in ("train", "validation", "test")})


def _group(value: Any, key: str) -> None:
    """A group whose kept indices rise and lie below its size."""
    _GROUP(value, key)
    bounds = [-1, *value["kept"], value["size"]]
    if any(after <= before for before, after in zip(bounds, bounds[1:], strict=False)):
        raise Fault(f"{key}.kept", f"rising indices below {value['size']}", value["kept"])


def _schema(value: Any, key: str) -> None:
    if value not in (SCHEMA, FORMER) or isinstance(value, bool):
        raise Fault(key, f"{SCHEMA} or {FORMER}, the schemas that this version reads", value)


RUN_DOCUMENT: Check = record(
    {
        "schema": _schema,
        "id": text,
        "settings": table_of(anything),
        "result": _RESULT,
        "groups": list_of(_group),
        "layers": list_of(_LAYER),
        "input_shape": list_of(integer(1), minimum=1),
        "classes": integer(1),
        "data": record({"name": text, "split_sizes": _SPLITS}),
        "versions": record({"bayesprune": text, "python": text, "torch": text}),
    },
    optional={
        "checksums": table_of(text),
        "whole": table_of(text),
        "collapsed": list_of(table_of(anything)),
        "task": table_of(anything),
    },
)


_FORMER_METRICS = {
    "accuracy": ("accuracy", "share of right answers", "%", "higher"),
    "nll": ("NLL", "mean negative log-likelihood of an example", "nats", "lower"),
    "ece": ("ECE", "expected calibration error, 15 bins", "", "lower"),
    "brier": ("Brier", "mean squared distance of the probabilities to the label", "", "lower"),
}


def upgraded(document: dict[str, Any]) -> dict[str, Any]:
    """A run.json of either schema as one of today's: version 0.1.0 knew classification only.

    Raises:
        Fault: it lacks the metrics of its schema.
    """
    result = document["result"]
    if document["schema"] == SCHEMA:
        for name, owner in (("task", document), ("task", result), ("metrics", result)):
            if not owner.get(name):
                raise Fault(name, "there", owner.get(name))
        for name in FLAT_METRICS:
            if name in result["metrics"] and name not in result:
                raise Fault(f"result.{name}", "there, as it is among the metrics", None)
            if name in result["metrics"] and result[name] != result["metrics"][name]["value"]:
                raise Fault(f"result.{name}", f"{result['metrics'][name]['value']}, as among the metrics", result[name])
        return document
    for name in FLAT_METRICS:
        if name not in result:
            raise Fault(f"result.{name}", "a number", None)
    metrics = {
        name: {"value": result[name], "label": label, "meaning": meaning, "unit": unit, "better": better}
        for name, (label, meaning, unit, better) in _FORMER_METRICS.items()
    }
    task = {"name": "classification", "outputs": document["classes"]}
    return document | {"task": task, "result": result | {"task": task["name"], "metrics": metrics}}


def check_posterior(tensors: Mapping[str, "Tensor"], gates: int, file: str | Path) -> None:
    """Check names, types, shapes and ranges of the posterior of a run with `gates` gates.

    Raises:
        StoreError: something does not fit; the message names the file and the tensor.
    """
    epochs = tensors["steps"].numel() if "steps" in tensors else 0
    expected = {
        "steps": ("torch.int64", (epochs,)),
        "inclusion_probability": ("torch.float32", (gates,)),
        "decided": ("torch.uint8", (gates,)),
        "trace": ("torch.float32", (epochs, gates)),
    }
    if "reason" in tensors:  # runs of version 0.1.0 have none
        expected["reason"] = ("torch.uint8", (gates,))
    if "price" in tensors:  # only where prices say what an open gate must be worth
        expected["price"] = ("torch.float32", (gates,))
    if "last_rise" in tensors:
        expected["last_rise"] = ("torch.float32", (gates,))
    largest = {"steps": None, "reason": 4, "price": float("inf"), "last_rise": None}
    for name, (kind, shape) in expected.items():
        tensor = tensors.get(name)
        if tensor is None or str(tensor.dtype) != kind or tuple(tensor.shape) != shape:
            found = "missing" if tensor is None else f"{tensor.dtype} {list(tensor.shape)}"
            raise StoreError(
                f"{file}: tensor {name!r} must be {kind} {list(shape)}, not {found}; "
                "the file is incomplete or belongs to another run"
            )
        most = largest.get(name, 1)
        if most is not None and not bool(((tensor >= 0) & (tensor <= most)).all()):
            raise StoreError(f"{file}: tensor {name!r} must lie between 0 and {most}; the file was changed")
