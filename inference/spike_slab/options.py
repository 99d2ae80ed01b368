"""The settings of SS-IG: spike-and-slab nodes with fixed prior inclusion probabilities."""

from dataclasses import dataclass
from math import exp, log1p

from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.run.settings import LEAST_SLAB, Options, check_integer, check_number, check_type

LEARNING_RATE = 1e-3
"""Of Adam, constant: that of the public code on MNIST."""

SMALL_DEVIATION = log1p(exp(-6))
"""Standard deviation at the start, 0.0025: softplus(-6), that of the public code."""

USUAL_DEVIATION = 0.05
"""That of networks whose gates learn from the first step on: with 0.0025 each weight costs up to six nats then."""

QUIET, END = "quiet", "end"
REMOVALS = (QUIET, END)
"""When closed nodes are removed: during training those that have been closed for long, or all at the end."""


@dataclass(frozen=True)
class SpikeSlabOptions(Options):
    """The settings of spike-and-slab nodes with fixed prior inclusion probabilities.

    Attributes:
        inclusion: prior probability that a node is open; by default that of the paper's code for each layer, from its
            widths and the number of examples, and 1e-4 in networks with convolutions.
        slab: standard deviation of the weights' prior; the paper's is 1 on MNIST and 0.2 on CIFAR-10.
        deviation: standard deviation of every weight at the start; by default 0.05, and where means are first the
            paper's, softplus(-6) = 0.0025, through which a network of any width can learn.
        start: inclusion probability of every node at the start.
        temperature: of the relaxed gates.
        gate_learning_rate, deviation_learning_rate: of the logits and of the logarithms of the deviations; by default
            70 over the steps of the pruning phase, but between 1e-3 and 0.05 (published: 70,800 steps at 1e-3).
        means_first: whether the means learn alone until the loss has fallen and is level, then the deviations beside
            them, and only then the gates; by default in networks with convolutions. Else all learn once the loss has
            left that of a guess, and where false is given from the first step, as in the paper.
        prune_share: share of the epochs in which gates learn; the rest trains the compact network of the means.
        input_gates: whether inputs and flattened features have a spike, too; the paper gives them none.
        removal: "quiet" removes a node during training once its inclusion probability has been below `closed_below` for
            `quiet_steps` steps; "end" removes all at the end only.
        closed_below: inclusion probability below which a node counts as practically closed.
        quiet_steps: see `removal`.
        shrink_every: steps between removals.
        fixed_learning_rate, fixed_decay: learning rate and weight decay of the phase at fixed structure.
    """

    inclusion: float | None = None
    slab: float = 0.2
    deviation: float | None = None
    start: float = 0.99
    temperature: float = 0.5
    gate_learning_rate: float | None = None
    deviation_learning_rate: float | None = None
    means_first: bool | None = None
    prune_share: float = 1.0
    input_gates: bool = False
    removal: str = QUIET
    closed_below: float = 0.02
    quiet_steps: int = 500
    shrink_every: int = 100
    fixed_learning_rate: float | None = None
    fixed_decay: float | None = None

    def __post_init__(self) -> None:
        for name in ("slab", "start", "temperature", "prune_share", "closed_below"):
            check_type(name, getattr(self, name), int | float, "a number")
        for name in ("inclusion", "start", "closed_below"):
            check_number(name, getattr(self, name), 0.0)
            if getattr(self, name) is not None and not getattr(self, name) < 1:
                raise SettingError(f"{name} must lie strictly between 0 and 1, not {getattr(self, name)}")
        check_number("slab", self.slab, LEAST_SLAB, low_allowed=True)
        for name in ("deviation", "temperature", "gate_learning_rate", "deviation_learning_rate"):
            check_number(name, getattr(self, name), 0.0)
        check_number("prune_share", self.prune_share, 0.0, 1.0)
        if self.means_first is not None:
            check_type("means_first", self.means_first, bool, "true or false")
        check_type("input_gates", self.input_gates, bool, "true or false")
        check_type("removal", self.removal, str, "'quiet' or 'end'")
        if self.removal not in REMOVALS:
            raise UnknownNameError("removal", self.removal, REMOVALS)
        check_integer("quiet_steps", self.quiet_steps, 1)
        check_integer("shrink_every", self.shrink_every, 1)
        check_number("fixed_learning_rate", self.fixed_learning_rate, 0.0)
        check_number("fixed_decay", self.fixed_decay, 0.0, low_allowed=True)
