"""Numbers to predict: regression with Gaussian noise, and counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import e, isfinite, log, pi
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from bayesprune.errors import DataError, SettingError
from bayesprune.evaluation.measures import counts, numbers
from bayesprune.tasks.likelihood import Gaussian, Likelihood, Poisson, rows
from bayesprune.tasks.task import NLL, Array, Metric, Task, Values, as_columns
from bayesprune.tasks.task import numbers as finite

RMSE = Metric("rmse", "RMSE", "root of the mean squared error", "unit of the targets", higher_is_better=False)
MAE = Metric("mae", "MAE", "mean absolute error", "unit of the targets", higher_is_better=False)
LEVEL = 0.9
"""Of the interval whose coverage is measured."""


@dataclass(frozen=True)
class Regression(Task):
    """One or several numbers an example, with normal noise.

    Networks say targets in standard deviations from the mean of the training split: (target - mean) / std.

    Attributes:
        mean, std: of the training targets, one for each output; () for those of the data that it is used with.
        noise: standard deviations of the noise in the unit of the targets, one for each output or one number for all;
            None to learn them.
        given: whether mean and std were chosen, and not taken from targets.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    noise: Any = None
    given: bool = field(default=True, compare=False)

    name = "regression"
    metrics = (
        RMSE,
        MAE,
        Metric("r2", "R2", "share of the variance that is explained"),
        NLL,
        Metric("coverage", "coverage", "share of targets inside the 90 % interval (0.9 is right)", "%"),
    )

    def __post_init__(self) -> None:
        self._check_scale()
        if not self.mean or not self.std:
            object.__setattr__(self, "given", False)
        if isinstance(self.noise, int | float):
            object.__setattr__(self, "noise", (float(self.noise),))
        if self.noise is not None:
            if len(self.noise) == 1:
                object.__setattr__(self, "noise", tuple(self.noise) * self.outputs)
            if len(self.noise) != self.outputs or not all(0 < each < float("inf") for each in self.noise):
                raise SettingError(f"noise {self.noise}: give one finite number > 0, or one for each output")

    def _check_scale(self) -> None:
        """Refuse means and deviations that cannot be used.

        Raises:
            SettingError: naming them.
        """
        if bool(self.mean) != bool(self.std):
            raise SettingError(f"mean={self.mean} and std={self.std}: give both, or neither")
        fits = len(self.mean) == len(self.std) in (0, self.outputs)
        if not (fits and all(map(isfinite, self.mean)) and all(0 < each < float("inf") for each in self.std)):
            raise SettingError(
                f"mean={self.mean} and std={self.std}: give {self.outputs} finite numbers each, deviations above 0"
            )

    @property
    def unfitted(self) -> bool:
        """See `Task.unfitted`."""
        return not self.given

    def refitted(self, targets: Array, where: str) -> Task:
        """Mean and deviation of these targets, unless they were given; the noise stays."""
        if self.given:
            return self
        found = type(self).fitted(targets, where)
        if found.outputs != self.outputs:
            raise DataError(f"the targets of {where} have {found.outputs} columns, and the task {self.outputs} outputs")
        return replace(found, noise=self.noise)

    @classmethod
    def fitted(cls, targets: Array, where: str, outputs: int | None = None) -> Self:
        """See `Task.fitted`."""
        values = finite(as_columns(targets, where), where)
        mean, std = values.mean(0), values.std(0)
        rounding = np.abs(values).max(0) * np.finfo(np.float64).eps * 8
        if bool((std <= rounding).all()):
            raise DataError(f"all targets of {where} are {values[0].tolist()}: there is nothing to learn")
        std = np.where(std > rounding, std, 1.0)
        if not np.isfinite(std).all():
            raise DataError(f"the targets of {where} are too large to be squared: scale them down")
        return cls(values.shape[1], tuple(map(float, mean)), tuple(map(float, std)), given=False)

    def targets(self, values: Array, where: str) -> Tensor:
        """See `Task.targets`: float32 [N, K], standardised."""
        found = finite(as_columns(values, where), where)
        self.check_columns(found, where)
        return torch.from_numpy(((found - np.array(self.mean)) / np.array(self.std)).astype(np.float32))

    def likelihood(self) -> Likelihood:
        """See `Task.likelihood`."""
        if self.noise is None:
            return Gaussian(self.outputs)
        return Gaussian(self.outputs, tuple(n / s for n, s in zip(self.noise, self.std, strict=True)))

    def answers(self, outputs: Tensor) -> Tensor:
        """Numbers [N, K] in the unit of the targets; [N] for one output."""
        found = self._in_unit(rows(outputs)).to(outputs.dtype)
        return found[:, 0] if self.outputs == 1 else found

    def _in_unit(self, values: Tensor) -> Tensor:
        return values.double().cpu() * torch.tensor(self.std).double() + torch.tensor(self.mean).double()

    def measured(self, outputs: Tensor, targets: Tensor, likelihood: Likelihood) -> Values:
        """See `Task.measured`."""
        assert isinstance(likelihood, Gaussian)
        predicted, truth = self._in_unit(rows(outputs)), self._in_unit(targets)
        deviations = likelihood.deviation().detach().cpu().double() * torch.tensor(self.std).double()
        return {
            "rmse": numbers.rmse(predicted, truth),
            "mae": numbers.mae(predicted, truth),
            "r2": numbers.r2(predicted, truth),
            "nll": numbers.gaussian_nll(predicted, deviations, truth),
            "coverage": numbers.interval_coverage(predicted, deviations, truth, LEVEL),
        }

    def guess(self) -> float | None:
        """Of the mean and deviation of the training targets."""
        return sum(0.5 * log(2 * pi * e) + log(std) for std in self.std)

    def scale_of_guess(self) -> float:
        """See `Task.scale_of_guess`: the unit of the targets does not matter."""
        return self.outputs * 0.5 * log(2 * pi * e)

    def to_json(self) -> dict[str, Any]:
        """See `Task.to_json`."""
        noise = None if self.noise is None else list(self.noise)
        return super().to_json() | {"mean": list(self.mean), "std": list(self.std), "noise": noise}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Task":
        """See `Task.from_document`."""
        noise = document.get("noise")
        mean, std = (tuple(map(float, document[name])) for name in ("mean", "std"))
        task = cls(int(document["outputs"]), mean, std, None if noise is None else tuple(map(float, noise)))
        if not all(map(isfinite, (*mean, *std))) or len(mean) != task.outputs or len(std) != task.outputs:
            raise ValueError("mean and std")
        return task


@dataclass(frozen=True)
class Counts(Task):
    """One or several counts an example, each Poisson; outputs are the logarithms of their rates."""

    name = "counts"
    metrics = (
        Metric("deviance", "deviance", "mean Poisson deviance", "nats", higher_is_better=False),
        Metric("d2", "D2", "share of the deviance that is explained"),
        MAE,
        RMSE,
        NLL,
    )
    meaning_of_outputs: ClassVar[str] = "log rates"

    @classmethod
    def fitted(cls, targets: Array, where: str, outputs: int | None = None) -> Self:
        """See `Task.fitted`."""
        values = cls._whole(targets, where)
        if not values.any():
            raise DataError(f"all counts of {where} are 0: there is nothing to learn")
        return cls(values.shape[1])

    def targets(self, values: Array, where: str) -> Tensor:
        """See `Task.targets`: float32 [N, K]."""
        found = self._whole(values, where)
        self.check_columns(found, where)
        return torch.from_numpy(found.astype(np.float32))

    @staticmethod
    def _whole(values: Array, where: str) -> Any:
        found = finite(as_columns(values, where), where)
        wrong = (found < 0) | (found != np.floor(found)) | (found > 2**24)
        if wrong.any():
            row, column = (int(index[0]) for index in np.nonzero(wrong))
            raise DataError(
                f"the count of example {row} of {where} is {found[row, column]:g}; counts are whole numbers from 0 to "
                '2^24 (other numbers: task="regression")'
            )
        return found

    def likelihood(self) -> Likelihood:
        """See `Task.likelihood`."""
        return Poisson()

    def averaged(self, several: Tensor) -> Tensor:
        """Logarithms of the mean rates."""
        return several.logsumexp(0) - log(len(several))

    def answers(self, outputs: Tensor) -> Tensor:
        """Expected counts [N, K]; [N] for one output."""
        rates = rows(outputs).exp()
        return rates[:, 0] if self.outputs == 1 else rates

    def measured(self, outputs: Tensor, targets: Tensor, likelihood: Likelihood) -> Values:
        """See `Task.measured`."""
        logs, truth = rows(outputs).double(), targets.double()
        return {
            "deviance": counts.poisson_deviance(logs, truth),
            "d2": counts.d2_poisson(logs, truth),
            "mae": numbers.mae(logs.exp(), truth),
            "rmse": numbers.rmse(logs.exp(), truth),
            "nll": counts.poisson_nll(logs, truth),
        }
