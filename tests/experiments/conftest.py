"""Finished runs made up by rule, stored and read back as real ones are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bayesprune.store.runs import RunFolder, RunRecord
from bayesprune.store.schema import FLAT_METRICS, upgraded
from bayesprune.tasks import TASKS

SIZES = {"inputs": 16, "fc1": 8, "fc2": 6}
EPOCHS, STEPS, CLASSES = 6, 35, 10
MakeRun = Callable[..., RunRecord]


def trace_of(sizes: dict[str, int], seed: int, epochs: int = EPOCHS) -> Tensor:
    """Inclusion probabilities that start at 0.5 and drift to 0 or 1; some do not get there."""
    generator = np.random.default_rng(seed)
    drift = generator.normal(-0.05, 1.3, sum(sizes.values())) / epochs
    noise = 0.04 * generator.normal(size=(epochs, len(drift))).cumsum(0)
    path = 0.5 + drift * np.arange(1, epochs + 1)[:, None] + noise
    reached = np.sign(np.where(abs(path - 0.5) >= 0.5, path - 0.5, 0)).cumsum(0)  # stays at 0 or 1 once there
    path = np.where(reached < 0, 0.0, np.where(reached > 0, 1.0, path.clip(0.0, 1.0)))
    return torch.tensor(path, dtype=torch.float32)


def posterior_of(sizes: dict[str, int], seed: int, epochs: int = EPOCHS) -> dict[str, Tensor]:
    """The tensors of posterior.safetensors."""
    trace = trace_of(sizes, seed, epochs)
    return {
        "inclusion_probability": trace[-1].clone(),
        "decided": (trace[-1] > 0.5).to(torch.uint8),
        "trace": trace,
        "steps": STEPS * torch.arange(1, epochs + 1),
    }


def layers_of(kept: dict[str, int], sizes: dict[str, int]) -> list[dict[str, Any]]:
    """Linear layers between the groups, and one to the classes."""
    names = [name for name in sizes if name != "inputs"]
    now = [*kept.values(), CLASSES] if "inputs" in sizes else [4, *kept.values(), CLASSES]
    dense = [*sizes.values(), CLASSES] if "inputs" in sizes else [4, *sizes.values(), CLASSES]
    layers = []
    for place, name in enumerate([*names, "out"]):
        row: dict[str, Any] = {"name": name, "kind": "Linear"}
        for prefix, widths in (("", now), ("dense_", dense)):
            inputs, outputs = widths[place], widths[place + 1]
            row |= {
                f"{prefix}inputs": inputs, f"{prefix}outputs": outputs,
                f"{prefix}macs": inputs * outputs, f"{prefix}params": (inputs + 1) * outputs,
            }  # fmt: skip
        layers.append(row)
    return layers


def history_of(kept_macs: int, dense_macs: int, epochs: int, pace: float) -> list[dict[str, Any]]:
    """Epochs that get cheaper until the last size is reached half-way."""
    entries = []
    for epoch in range(1, epochs + 1):
        share = max(kept_macs / dense_macs, 1.0 - 2.0 * epoch / epochs)
        entries.append({
            "epoch": epoch, "phase": "structure", "step": STEPS * epoch, "seconds": pace * (0.2 + share),
            "macs": 3e3 * dense_macs * share, "dense_macs": 3e3 * dense_macs, "loss": 1.0 / epoch,
            "validation_accuracy": 0.9, "validation_nll": 0.3, "params": 100,
            "network_macs": round(dense_macs * share), "undecided": 3, "alive": {},
        })  # fmt: skip
    return entries


def with_task(task: str, former: dict[str, Any]) -> dict[str, Any]:
    """The document of a run of another task: its metrics are those that are given by key, else like an NLL."""
    plain = {name: value for name, value in former["result"].items() if name not in FLAT_METRICS}
    given, metrics = former["result"], TASKS[task].metrics
    values = {metric.key: given.get(metric.key, given["nll"]) for metric in metrics}
    entries = {metric.key: {"value": values[metric.key]} | metric.to_json() for metric in metrics}
    flat = {name: values[name] for name in FLAT_METRICS if name in values}
    rest = {name: value for name, value in plain.items() if name not in values}
    result = rest | flat | {"task": task, "metrics": entries}
    return {"schema": 2, "task": {"name": task, "outputs": 1}, "result": result}


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Makes a finished run: stores it in a folder of its own and reads it back.

    Without `task` it is one of classification as version 0.1.0 wrote it.
    """

    def make(
        method: str = "parsimonious",
        seed: int = 0,
        *,
        bayesian: bool | None = None,
        sizes: dict[str, int] | None = None,
        input_shape: tuple[int, ...] = (1, 4, 4),
        network: str = "lenet300",
        data: str = "mnist5k",
        epochs: int = EPOCHS,
        settings: dict[str, Any] | None = None,
        ends: list[int] | None = None,
        task: str | None = None,
        **result: Any,
    ) -> RunRecord:
        sizes = SIZES if sizes is None else sizes
        posterior = posterior_of(sizes, seed, epochs)
        if ends is not None:  # 0 open, closed 1 by its price, 2 at the end, 3 for the budget
            posterior["reason"] = torch.tensor(ends, dtype=torch.uint8)
            posterior["decided"] = (posterior["reason"] == 0).to(torch.uint8)
        prunes = method != "dense"
        decided = posterior["decided"].bool() if prunes else torch.ones(sum(sizes.values()), dtype=torch.bool)
        parts = decided.split(list(sizes.values()))
        kept = {name: part.nonzero().flatten().tolist() for name, part in zip(sizes, parts, strict=True)}
        layers = layers_of({name: len(indices) for name, indices in kept.items()}, sizes)
        macs, dense = (sum(layer[key] for layer in layers) for key in ("macs", "dense_macs"))
        params = sum(layer["params"] for layer in layers)
        generator = np.random.default_rng([seed, len(method)])
        row = {
            "method": method, "seed": seed, "accuracy": 0.93 + 0.02 * generator.random(),
            "nll": 0.2 + 0.05 * generator.random(), "ece": 0.02 * generator.random(), "brier": 0.1,
            "params": params, "nonzero_weights": params - 3, "macs": macs, "latency_ms": 0.02 + 0.01 * seed,
            "density": 0.1, "architecture": {name: len(indices) for name, indices in kept.items()},
            "undecided_gates": 0, "decided_at_end": 0, "train_seconds": 10.0 + 3.0 * generator.random(),
            "train_macs_ratio": macs / dense,
        }  # fmt: skip
        bayesian = method == "parsimonious" if bayesian is None else bayesian
        if bayesian:
            theta = posterior["inclusion_probability"]
            row["decided_at_end"] = int(((theta > 0) & (theta < 1)).sum())
        document = {"schema": 1, "classes": CLASSES, "result": row | result}
        today = upgraded(document if task is None else with_task(task, document))
        record = RunRecord(
            settings={"method": method, "network": network, "data": data, "seed": seed, "epochs": epochs}
            | (settings or {}),
            result=today["result"],
            groups=[{"name": name, "size": size, "kept": kept[name]} for name, size in sizes.items()],
            layers=layers,
            input_shape=input_shape,
            classes=CLASSES,
            task=today["task"],
            data={"name": data, "split_sizes": {"train": 3500, "validation": 500, "test": 1000}},
            versions={"python": "3.11", "bayesprune": "0.1.0", "torch": "2.13.0"},
            history=history_of(macs, dense, epochs, 0.5 + 0.05 * seed),
        )
        folder = RunFolder(tmp_path / "runs" / record.id)
        folder.write_record(record, {"weight": torch.zeros(1)}, posterior if bayesian else None)
        return folder.read_record()

    return make
