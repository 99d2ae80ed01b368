"""The one evaluation of every method's result."""

from dataclasses import asdict, dataclass

import torch
from torch import nn

from bayesprune.data import Data, Split
from bayesprune.evaluation.cost import cost
from bayesprune.evaluation.latency import latency_ms
from bayesprune.evaluation.metrics import Metrics, measure
from bayesprune.structure import evaluating


@dataclass(frozen=True)
class Evaluation:
    """Quality on the test split and cost.

    Attributes:
        accuracy: share of right answers.
        nll: mean negative log-likelihood in nats.
        brier: mean squared distance of the probabilities to the label.
        ece: expected calibration error, 15 bins.
        params, nonzero_weights, macs: of the stored network, one sample.
        latency_ms: median wall time of one sample on one thread.
    """

    accuracy: float
    nll: float
    brier: float
    ece: float
    params: int
    nonzero_weights: int
    macs: int
    latency_ms: float


@torch.inference_mode()
def predict(network: nn.Module, split: Split, batch_size: int = 1000) -> Metrics:
    """Metrics of a network on a split, in evaluation mode."""
    with evaluating(network):
        batches = [(network(inputs), labels) for inputs, labels in split.batches(batch_size)]
    return measure(torch.cat([logits for logits, _ in batches]), torch.cat([labels for _, labels in batches]))


def evaluate(network: nn.Module, data: Data) -> Evaluation:
    """Measure a network on the test split, and count and time it."""
    example = next(iter(data.test.batches(1)))[0]
    metrics, costs = predict(network, data.test), cost(network, example)
    return Evaluation(
        **asdict(metrics),
        params=costs.params,
        nonzero_weights=costs.nonzero_weights,
        macs=costs.macs,
        latency_ms=latency_ms(network, example),
    )
