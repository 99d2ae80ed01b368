"""What a network is worth and what it costs: predictive metrics, latency, parameters and MACs."""

from bayesprune.evaluation.latency import latency_ms
from bayesprune.evaluation.metrics import (
    Metrics,
    accuracy,
    brier,
    expected_calibration_error,
    measure,
    negative_log_likelihood,
)

__all__ = [
    "Metrics",
    "accuracy",
    "brier",
    "expected_calibration_error",
    "latency_ms",
    "measure",
    "negative_log_likelihood",
]


def __dir__() -> list[str]:
    return sorted(__all__)
