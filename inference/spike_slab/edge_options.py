"""The settings of spike-and-slab weights."""

from dataclasses import dataclass

from bayesprune.errors import SettingError
from bayesprune.run.settings import LEAST_SLAB, Options, check_number, check_type


@dataclass(frozen=True)
class EdgeOptions(Options):
    """The settings of spike-and-slab weights.

    Attributes:
        inclusion: prior probability that a weight or bias is there; by default that of the public code, from the sizes
            of network and data.
        slab: standard deviation of the weights' prior; the public codes have 1.3 and 1.
        deviation: standard deviation of every weight at the start; the public codes' is softplus(-6) = 0.0025.
        start: inclusion probability of every weight at the start.
        temperature: of the relaxed gates.
        gate_learning_rate, deviation_learning_rate: of the logits and of the logarithms of the deviations; by default
            70 over the steps of the pruning phase, but between 1e-3 and 0.05.
        ramp_share: share of the steps in which gates learn over which their divergence, and that of the weights, rises
            from 0 to its full weight; 0 for none, as in the public codes.
        prune_share: share of the epochs in which gates learn; the rest trains the means that are kept, under the masks.
        trim: remove units, channels and inputs that no weight reads or feeds any more once the masks are final.
        fixed_learning_rate, fixed_decay: learning rate and weight decay of the phase under masks.
    """

    inclusion: float | None = None
    slab: float = 0.2
    deviation: float = 0.05
    start: float = 0.99
    temperature: float = 0.5
    gate_learning_rate: float | None = None
    deviation_learning_rate: float | None = None
    ramp_share: float = 0.5
    prune_share: float = 1.0
    trim: bool = False
    fixed_learning_rate: float | None = None
    fixed_decay: float | None = None

    def __post_init__(self) -> None:
        for name in ("slab", "deviation", "start", "temperature", "ramp_share", "prune_share"):
            check_type(name, getattr(self, name), int | float, "a number")
        for name in ("inclusion", "start"):
            check_number(name, getattr(self, name), 0.0)
            if getattr(self, name) is not None and not getattr(self, name) < 1:
                raise SettingError(f"{name} must lie strictly between 0 and 1, not {getattr(self, name)}")
        check_number("slab", self.slab, LEAST_SLAB, low_allowed=True)
        for name in ("deviation", "temperature", "gate_learning_rate", "deviation_learning_rate"):
            check_number(name, getattr(self, name), 0.0)
        check_number("ramp_share", self.ramp_share, 0.0, 1.0, low_allowed=True)
        check_number("prune_share", self.prune_share, 0.0, 1.0)
        check_type("trim", self.trim, bool, "true or false")
        check_number("fixed_learning_rate", self.fixed_learning_rate, 0.0)
        check_number("fixed_decay", self.fixed_decay, 0.0, low_allowed=True)
