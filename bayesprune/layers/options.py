"""The settings of layer sparsity."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.pruners.options import TrainOptions
from bayesprune.run.settings import check_integer, check_number, check_type
from bayesprune.training.initial import INITIAL

LARGEST_LAM = 1e3


@dataclass(frozen=True)
class LayerOptions(TrainOptions):
    """Settings of layer sparsity.

    `prune_share` (0.6 here by default) is the share of the epochs of the fit, and the others are the refit, whose
    `fixed_learning_rate` is 2e-3 by default; that of the fit is 6e-3.

    Attributes:
        strength: r of r_j = r sqrt(weights of layer j), the price in nats an example of the norm of a layer's negative
            part; the larger, the more layers go. 0 leaves the regulariser out.
        lam: of the l1 penalty on the weights of all matrices, in nats an example.
        warm_up: share of the fit's steps over which r_j rises from 0.
        memory: steps over which a layer's large gradients keep its steps short (`LayerAdam`), 0 or from 1 on; the
            larger, the more slowly training goes, and the less it errs while layers become linear. 0 is for none.
        tol: weights and biases from -tol to 0 count as 0 when layers are looked at; 0 is exact.
        eps: a layer goes too where at most this share of its values before the activation is negative on the
            calibration data; the function changes by that. None looks at signs only.
        calibration: training examples that `eps` looks at; also how many of the validation split measure the change.
        initial: weights at the start: the network's "own"; "he" (N(0, 2 / inputs), biases 0) or "glorot" for ones drawn
            anew; "auto" is "he" where the run makes the network and draws its weights, and "own" where they are given.
        keep_zeros: whether weights that are 0 after the collapse stay so in the refit, as masks.
    """

    strength: float = 1e-3
    lam: float = 4e-4
    warm_up: float = 0.3
    memory: float = 0.0
    tol: float = 0.0
    eps: float | None = None
    calibration: int = 1000
    initial: str = "auto"
    keep_zeros: bool = False
    usual: ClassVar[Mapping[str, Any]] = {"prune_share": 0.6, "fixed_learning_rate": 2e-3}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("strength", self.strength, 0.0, low_allowed=True)
        check_number("lam", self.lam, 0.0, LARGEST_LAM, low_allowed=True)
        check_number("warm_up", self.warm_up, 0.0, 1.0, low_allowed=True)
        check_number("memory", self.memory, 0.0, low_allowed=True)
        if 0 < self.memory < 1:
            raise SettingError(f"memory must be 0, or 1 step or more, not {self.memory:g}: give 0 for none, or 200")
        check_number("tol", self.tol, 0.0, low_allowed=True)
        check_number("eps", self.eps, 0.0, 1.0, low_allowed=True)
        check_integer("calibration", self.calibration, 1)
        check_type("keep_zeros", self.keep_zeros, bool, "true or false")
        if self.initial not in (*INITIAL, "auto"):
            raise UnknownNameError("initial weights", str(self.initial), [*INITIAL, "auto"])
        if self.training != "recipe":
            raise SettingError(
                f"layer-sparsity makes proximal steps of its own, so training={self.training!r} has no use: leave it "
                "out"
            )
        if self.prune_share == 0:
            raise SettingError(
                "layers become linear in the fit, and prune_share=0 leaves it no epoch: give more than 0"
            )
        if self.strength == 0 and self.warm_up != type(self).__dataclass_fields__["warm_up"].default:
            raise SettingError(
                f"warm_up={self.warm_up:g} does nothing here, since strength=0 has nothing to raise: leave it out"
            )

    def decay_of(self, examples: int) -> float:
        """Weight decay 1 / (N slab^2) of the fit."""
        return 1 / (examples * self.slab**2)
