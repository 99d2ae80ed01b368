"""Effect handlers between the Pyro model and the gate estimators."""

from typing import Any

from pyro.poutine.messenger import Messenger
from torch import Tensor

from bayesprune.training.draws import draw_open


class GateHandler(Messenger):
    """Runs a gated model with given gates, and takes down what it says of the labels.

    The gates may be global [J] or one set for each example [B, J]; which of the two is the estimator's business. The
    sites "pi" and "z" are given their values and not scored here: the gate prior's closed form scores them once,
    however many examples there are.
    """

    def __init__(self, gates: Tensor, weights: dict[str, Tensor] | None = None) -> None:
        super().__init__()
        self._gates, self._weights = gates, weights or {}
        self.predicted: Any = None
        self.labels: Tensor | None = None
        self.scale: Tensor | float = 1.0
        self.weight_log_prob: Tensor | None = None

    def _pyro_sample(self, message: Any) -> None:
        name = message["name"]
        if name in ("z", "pi"):  # pi only parametrises z, whose value is given
            message["value"], message["done"] = self._gates, True
        elif name == "weights":
            self.weight_log_prob = message["fn"].log_factor
            message["done"] = True
        elif name.startswith("w."):
            message["value"], message["done"] = self._weights[name[2:]], True
        elif message["is_observed"]:
            self.predicted, self.labels = message["fn"], message["value"]
            self.scale = message["scale"]
            message["done"] = True


def draw_gates(theta: Tensor, count: int) -> Tensor:
    """Draw `count` independent sets of gates [count, J] with inclusion probabilities theta [J], where theta lies."""
    return draw_open(theta, count)
