"""A small finished run, as the store keeps it."""

from typing import Any

import pytest
import torch
from torch import Tensor

from bayesprune.store.runs import RunRecord, library_versions
from bayesprune.store.schema import upgraded


@pytest.fixture
def entry() -> dict[str, Any]:
    return {
        "epoch": 1, "phase": "structure", "step": 55, "seconds": 0.5, "macs": 1.5e9, "dense_macs": 2e9,
        "loss": 1.25, "validation_accuracy": 0.875, "validation_nll": 0.4, "params": 1000,
        "network_macs": 900, "undecided": 3, "alive": {"inputs": 4, "fc1": 2},
    }  # fmt: skip


@pytest.fixture
def record() -> RunRecord:
    result = {
            "method": "parsimonious", "seed": 0, "accuracy": 0.95, "nll": 0.2, "ece": 0.01, "brier": 0.08,
            "params": 900, "nonzero_weights": 880, "macs": 850, "latency_ms": 0.1, "density": 0.05,
            "architecture": {"inputs": 2, "fc1": 1}, "undecided_gates": 0, "decided_at_end": 1,
            "train_seconds": 12.5, "train_macs_ratio": 0.4,
        }  # fmt: skip
    today = upgraded({"schema": 1, "classes": 10, "result": result})
    return RunRecord(
        settings={"network": "lenet300", "data": "mnist5k", "seed": 0, "price": 1.5, "keep": ["fc3"]},
        result=today["result"],
        groups=[{"name": "inputs", "size": 4, "kept": [0, 3]}, {"name": "fc1", "size": 2, "kept": [1]}],
        layers=[{
            "name": "fc1", "kind": "Linear", "params": 3, "macs": 2, "inputs": 2, "outputs": 1,
            "dense_params": 10, "dense_macs": 8, "dense_inputs": 4, "dense_outputs": 2,
        }],
        input_shape=(1, 2, 2),
        classes=10,
        task=today["task"],
        data={"name": "mnist5k", "split_sizes": {"train": 3500, "validation": 500, "test": 1000}},
        versions=library_versions(),
    )  # fmt: skip


@pytest.fixture
def network() -> dict[str, Tensor]:
    return {"fc1.weight": torch.tensor([[1.0, -2.0]]), "fc1.bias": torch.tensor([0.5])}


@pytest.fixture
def posterior() -> dict[str, Tensor]:
    trace = torch.tensor([[0.5, 0.5, 0.5, 0.5, 0.5, 0.5], [1.0, 0.25, 0.0, 0.75, 0.0, 1.0]])
    return {
        "inclusion_probability": trace[-1].clone(),
        "decided": torch.tensor([1, 0, 0, 1, 0, 1], dtype=torch.uint8),
        "trace": trace,
        "steps": torch.tensor([55, 110]),
    }
