"""The settings that all relatives of gates share, and each one's own."""

from collections.abc import Mapping
from dataclasses import dataclass

from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.inference.multipliers.guide import DRAWN_FOR
from bayesprune.inference.multipliers.log_normal import MANTISSA, ReducedNoise
from bayesprune.run.settings import LEAST_SLAB, Options, check_integer, check_number, check_type

QUIET, END = "quiet", "end"
REMOVALS = (QUIET, END)
"""When channels go that the rule lets go: during training once it has for long, or all at the end."""

MOST_NATS = 100.0
"""A threshold of more removes nothing, or everything."""


@dataclass(frozen=True)
class MultiplierOptions(Options):
    """The settings of random multipliers on channels.

    Attributes:
        prune_share: share of the epochs in which multipliers learn; the rest trains the compact network.
        gate_learning_rate: of the law's parameters, by Adam; by default 70 over the steps of the pruning phase, but
            between 1e-3 and 0.05.
        warm_up: share of the pruning phase over which the penalty rises from 0.
        input_gates: whether inputs and flattened features have multipliers, too.
        draws: of the multipliers: "example" for each example, or "batch" for each mini-batch.
        removal: "quiet" removes a channel during training once the rule has let it go for `quiet_steps` steps in a
            row; "end" removes all at the end only.
        quiet_steps: see `removal`.
        shrink_every: steps between removals.
        slab: standard deviation of the weights' Gaussian prior, from which the weight decay comes.
        fixed_learning_rate, fixed_decay: learning rate and weight decay of the phase at fixed structure.
    """

    prune_share: float = 0.75
    gate_learning_rate: float | None = None
    warm_up: float = 0.0
    input_gates: bool = False
    draws: str = "example"
    removal: str = QUIET
    quiet_steps: int = 200
    shrink_every: int = 100
    slab: float = 0.5
    fixed_learning_rate: float | None = None
    fixed_decay: float | None = None

    def __post_init__(self) -> None:
        for name in ("prune_share", "warm_up", "slab"):
            check_type(name, getattr(self, name), int | float, "a number")
        check_number("prune_share", self.prune_share, 0.0, 1.0)
        check_number("warm_up", self.warm_up, 0.0, 1.0, low_allowed=True)
        for name in ("gate_learning_rate", "fixed_learning_rate"):
            check_number(name, getattr(self, name), 0.0)
        check_type("input_gates", self.input_gates, bool, "true or false")
        for name, known in (("draws", DRAWN_FOR), ("removal", REMOVALS)):
            check_type(name, getattr(self, name), str, " or ".join(map(repr, known)))
            if getattr(self, name) not in known:
                raise UnknownNameError(name, getattr(self, name), known)
        check_integer("quiet_steps", self.quiet_steps, 1)
        check_integer("shrink_every", self.shrink_every, 1)
        check_number("slab", self.slab, LEAST_SLAB, low_allowed=True)
        check_number("fixed_decay", self.fixed_decay, 0.0, low_allowed=True)

    def check_positive(self, *names: str) -> None:
        """Refuse what is no finite number > 0.

        Raises:
            SettingError: naming the option and its value.
        """
        for name in names:
            check_type(name, getattr(self, name), int | float, "a number")
            check_number(name, getattr(self, name), 0.0)

    def check_by_group(self, name: str) -> None:
        """Refuse what is neither a finite number > 0 nor a table of such numbers.

        Raises:
            SettingError: naming the option, the group and the value.
        """
        value = getattr(self, name)
        for group, number in value.items() if isinstance(value, Mapping) else [(None, value)]:
            called = name if group is None else f"{name} of {group!r}"
            check_type(
                called, number, int | float, "a number" if group else "a number, or a table with one for each group"
            )
            check_number(called, number, 0.0)

    def check_threshold(self) -> None:
        """Refuse a threshold of logarithms that is no finite number of an exponential's range.

        Raises:
            SettingError: naming the threshold.
        """
        threshold = getattr(self, "threshold", None)
        check_type("threshold", threshold, int | float, "a number")
        check_number("threshold", threshold, -MOST_NATS, MOST_NATS, low_allowed=True)


@dataclass(frozen=True)
class L0Options(MultiplierOptions):
    """The settings of L0 regularisation by hard concrete gates.

    Attributes:
        weight: nats that a weight costs (lambda of the paper: 0.1 on MNIST), or a table with those of every group:
            `{"conv1": 10, "conv2": 0.5, "fc1.inputs": 0.1, "fc1": 10}` on LeNet-5.
        temperature: of the hard concrete law, inside (0, 1).
        start, input_start: probability of a gate at the start, of channels and of inputs.
        input_gates: whether inputs and flattened features have gates, too, as published.
        draws: of the gates: "batch" for each mini-batch, as published, or "example".
    """

    weight: float | Mapping[str, float] = 0.1
    temperature: float = 2 / 3
    start: float = 0.5
    input_start: float = 0.8
    input_gates: bool = True
    draws: str = "batch"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_by_group("weight")
        self.check_positive("temperature", "start", "input_start")
        for name in ("temperature", "start", "input_start"):
            if not getattr(self, name) < 1:
                raise SettingError(f"{name} must lie strictly between 0 and 1, not {getattr(self, name)}")


@dataclass(frozen=True)
class SbpOptions(MultiplierOptions):
    """The settings of structured Bayesian pruning.

    Attributes:
        threshold: of the signal-to-noise ratio: channels at or below it go.
    """

    threshold: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("threshold")


@dataclass(frozen=True)
class BmrsOptions(MultiplierOptions):
    """The settings of structured pruning by Bayesian model reduction.

    Attributes:
        reduced: the prior that a channel is tried under: "normal" (BMRS_N) or "uniform" (BMRS_U).
        bits: of "uniform": multipliers below 2^-bits count as closed; 8 by default, and the fewer, the more goes.
        threshold: of the change of log evidence, in nats: channels at or above it go; by default what the public code
            amounts to, -0.919 (-ln(2 pi) / 2) for "normal" and 0 for "uniform".
    """

    reduced: str = "normal"
    bits: int | None = None
    threshold: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_type("reduced", self.reduced, str, "'normal' or 'uniform'")
        if self.reduced not in ReducedNoise.kinds:
            raise UnknownNameError("reduced", self.reduced, ReducedNoise.kinds)
        check_number("threshold", self.threshold, -MOST_NATS, MOST_NATS, low_allowed=True)
        if self.bits is not None:
            check_integer("bits", self.bits, 0, MANTISSA - 1)
            if self.reduced != "uniform":
                raise SettingError(
                    f"bits={self.bits} does nothing here, since reduced={self.reduced!r} has no bits: leave it out, or "
                    "give reduced='uniform'"
                )


@dataclass(frozen=True)
class VibOptions(MultiplierOptions):
    """The settings of the variational information bottleneck.

    Attributes:
        weight: nats that a nat of information costs: N times the `kl_fac` of the public code; or a table with those of
            every group.
        threshold: of log(variance / mean^2): channels at or above it go.
        input_gates: whether inputs and flattened features have multipliers, too, as published on MNIST.
    """

    weight: float | Mapping[str, float] = 1.0
    threshold: float = 0.0
    input_gates: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_by_group("weight")
        self.check_threshold()


@dataclass(frozen=True)
class CompressionOptions(MultiplierOptions):
    """The settings of Bayesian compression.

    Attributes:
        input_gates: whether inputs and flattened features have multipliers, too, as published.
        slab: standard deviation of the weights' prior given a multiplier of 1; published is 1.
        deviation: standard deviation of every weight at the start; exp(-4.5) is published.
        deviation_learning_rate: of the logarithms of the deviations; by default that of the law's parameters.
        warm_up: share of the pruning phase over which the penalties of multipliers and weights rise from 0.
    """

    warm_up: float = 0.5
    input_gates: bool = True
    slab: float = 1.0
    deviation: float = 0.011
    deviation_learning_rate: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("deviation")
        check_number("deviation_learning_rate", self.deviation_learning_rate, 0.0)


@dataclass(frozen=True)
class JeffreysOptions(CompressionOptions):
    """The settings of Bayesian compression with Jeffreys' prior.

    Attributes:
        threshold: of log(variance / mean^2): channels at or above it go. Published thresholds are read off a
            histogram of each layer, -2.8, -3 and -5 for LeNet-300-100.
    """

    threshold: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_threshold()


@dataclass(frozen=True)
class HorseshoeOptions(CompressionOptions):
    """The settings of Bayesian compression with the group horseshoe.

    Attributes:
        global_scale: of the half-Cauchy prior of each layer's scale.
        threshold: of the negative logarithm of a multiplier's mode: channels at or above it go.
    """

    global_scale: float = 1e-5
    threshold: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("global_scale")
        self.check_threshold()


@dataclass(frozen=True)
class SparseDropoutOptions(MultiplierOptions):
    """The settings of sparse variational dropout.

    Attributes:
        threshold: of log alpha, alpha being a weight's variance over its squared mean: weights at or above it go.
        warm_up: share of the pruning phase over which the penalty rises from 0.
        input_gates: whether inputs and flattened features that nothing reads any more are removed, too.
        deviation: standard deviation of every weight at the start; exp(-5) is published.
        deviation_learning_rate: of the logarithms of the deviations; by default 70 over the steps of the pruning phase,
            but between 1e-3 and 0.05.
        slab: standard deviation of the prior that the weight decay at fixed structure comes from; while weights have
            noise, theirs is the log-uniform prior.
    """

    threshold: float = 3.0
    warm_up: float = 0.25
    input_gates: bool = True
    deviation: float = 0.0067
    deviation_learning_rate: float | None = None
    slab: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("deviation")
        check_number("deviation_learning_rate", self.deviation_learning_rate, 0.0)
        self.check_threshold()
        for name in ("gate_learning_rate", "draws"):
            if getattr(self, name) != getattr(MultiplierOptions, name):
                raise SettingError(
                    f"{name}={getattr(self, name)!r} does nothing here, since sparse-vd has no multipliers of "
                    "channels: leave it out"
                )
