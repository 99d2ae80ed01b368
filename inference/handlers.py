"""Effect handlers between the Pyro model and the gate estimators."""

from typing import Any

from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from bayesprune.training.draws import draw_open


class FoundSiteError(Exception):
    """A program has a site that nobody expected there."""


class Lookout(Messenger):
    """Looks whether anything is sampled, or any factor said, where nothing should be.

    Raises:
        FoundSiteError: something is.
    """

    def _pyro_sample(self, message: Any) -> None:
        if not (message["infer"].get("_deterministic") or site_is_subsample(message)):
            raise FoundSiteError(message["name"])


class GateHandler(Messenger):
    """Runs a gated model with given gates, and takes down what it says of the labels.

    The gates may be global [J] or one set for each example [B, J]; which of the two is the estimator's business. The
    sites "pi" and "z" are given their values and not scored here: the gate prior's closed form scores them once,
    however many examples there are.

    Raises:
        FoundSiteError: the model has other sites than `GatedModel` says.
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
        elif name.startswith("scale.") or message["infer"].get("_deterministic") or site_is_subsample(message):
            return  # scales are part of the weights, whose values are given
        elif name != "y" or not message["is_observed"]:
            raise FoundSiteError(name)
        else:
            self.predicted, self.labels = message["fn"], message["value"]
            self.scale = message["scale"]
            message["done"] = True


def draw_gates(theta: Tensor, count: int) -> Tensor:
    """Draw `count` independent sets of gates [count, J] with inclusion probabilities theta [J], where theta lies."""
    return draw_open(theta, count)
