"""The settings of tangent transfer."""

from collections.abc import Mapping
from dataclasses import dataclass

from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.pruners.controls import CONTROLS
from bayesprune.pruners.options import TrainOptions
from bayesprune.run.settings import check_integer, check_number, check_type
from bayesprune.tangent.masks import choice
from bayesprune.training.initial import INITIAL

KERNELS = ("released", "projected")
FIRST = ("magnitude", "logit-snip")


@dataclass(frozen=True)
class TransferOptions(TrainOptions):
    """Settings of tangent transfer; defaults are those of its authors' code where nothing else is said.

    Attributes:
        steps: of the transfer; None stands for 2,000, with convolutions for 300 (the code takes 18,720).
        transfer_batch: examples a step; the kernels are those between its halves.
        transfer_rate: Adam's learning rate, constant.
        kernel_weight: of the kernels' distance against the outputs'.
        transfer_decay: of the weights' sum of squares, divided by the density; None stands for 1e-4, with convolutions
            for 1e-5.
        every: steps from one choice of masks to the next; none in the last ones.
        kernel: "released" sums the student's kernel over all coordinates, "projected" over the weights it keeps.
        masks: "layerwise", "global", or "released": layer-wise with the code's own rounding; or a share for each layer.
        least: weights that every layer keeps at least; with 0 a layer that would lose all of them is an error.
        first: what the first masks are chosen by: "magnitude" or "logit-snip".
        initial: the teacher's weights: "glorot" (drawn anew), or the network's "own".
        control: after the transfer: "shuffle", "shuffle-inputs" or "fresh", see `bayesprune.pruners.controls`.
        trim: with masks, remove units, channels and inputs that nothing reads any more after the transfer.
        transfer_data: the name of other data to transfer on; None for the run's own. Its labels are not read.
    """

    steps: int | None = None
    transfer_batch: int = 64
    transfer_rate: float = 5e-4
    kernel_weight: float = 1e-3
    transfer_decay: float | None = None
    every: int = 100
    kernel: str = "released"
    masks: str | Mapping[str, float] = "layerwise"
    least: int = 0
    first: str = "magnitude"
    initial: str = "glorot"
    control: str | None = None
    trim: bool = False
    transfer_data: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.training not in ("recipe", "adam"):
            raise SettingError(f"tangent transfer takes training='recipe' or training='adam', not {self.training!r}")
        check_integer("steps", 1 if self.steps is None else self.steps, 1)
        check_integer("transfer_batch", self.transfer_batch, 2)
        check_integer("every", self.every, 1)
        check_integer("least", self.least, 0)
        check_number("transfer_rate", self.transfer_rate, 0.0)
        check_number("kernel_weight", self.kernel_weight, 0.0, low_allowed=True)
        check_number("transfer_decay", self.transfer_decay, 0.0, low_allowed=True)
        check_type("trim", self.trim, bool, "true or false")
        check_type("transfer_data", self.transfer_data, str | None, "the name of a data set")
        check_type("masks", self.masks, str | Mapping, "a name, or a table of shares by layer")
        choice(self.masks)
        names = (("kernel", KERNELS), ("first", FIRST), ("initial", INITIAL))
        for name, known in names:
            if getattr(self, name) not in known:
                raise UnknownNameError(name, str(getattr(self, name)), known)
        if self.control is not None and self.control not in CONTROLS:
            raise UnknownNameError("control", str(self.control), CONTROLS)
