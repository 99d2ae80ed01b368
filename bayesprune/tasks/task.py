"""What a network is to learn: the form of its targets, their likelihood, and the metrics by which it is judged."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bayesprune.errors import DataError, NetworkError
from bayesprune.tasks.likelihood import Likelihood, check_logits_finite, rows

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Metric:
    """One number by which networks are compared.

    Attributes:
        key: in results, such as "rmse".
        label: in tables and sentences, such as "RMSE".
        meaning: one phrase.
        unit: "%", "nats", ... ; "" for none. Values of "%" are shares in [0, 1].
        higher_is_better: its direction.
    """

    key: str
    label: str
    meaning: str
    unit: str = ""
    higher_is_better: bool = True

    def better(self, one: float, other: float) -> float:
        """By how much `one` is better than `other`: negative where it is worse."""
        return one - other if self.higher_is_better else other - one

    def to_json(self) -> dict[str, Any]:
        """As in run.json."""
        better = "higher" if self.higher_is_better else "lower"
        return {"label": self.label, "meaning": self.meaning, "unit": self.unit, "better": better}

    @classmethod
    def from_json(cls, key: str, document: Mapping[str, Any]) -> "Metric":
        """What `to_json` wrote."""
        said = {name: str(document.get(name, "")) for name in ("label", "meaning", "unit", "better")}
        return cls(key, said["label"] or key, said["meaning"], said["unit"], said["better"] != "lower")

    def show(self, value: float | None, decimals: int | None = None) -> str:
        """A value with its unit: "97.35 %", "53.2"."""
        if value is None:
            return "-"
        if self.unit == "%":
            return f"{100 * value:.{2 if decimals is None else decimals}f} %"
        if 0 < abs(value) < 0.01:
            return f"{value:.3g}"
        return f"{value:.3f}" if abs(value) < 100 else f"{value:,.1f}"


NLL = Metric("nll", "NLL", "mean negative log-likelihood of an example", "nats", higher_is_better=False)

Values = dict[str, float | None]
"""Metrics by key; None where one is not defined, as R2 of constant targets."""


@dataclass(frozen=True)
class Task(ABC):
    """What a network is to learn.

    Attributes:
        outputs: numbers that the network says of an example (or of a position): classes, tags, ...
    """

    outputs: int

    name: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]
    has_classes: ClassVar[bool] = False
    """Whether each example has one class, so that splits are stratified by it."""

    @property
    def metric(self) -> Metric:
        """By which networks are compared first."""
        return self.metrics[0]

    @classmethod
    @abstractmethod
    def fitted(cls, targets: Array, where: str, outputs: int | None = None) -> "Task":
        """The task that training targets pose.

        Args:
            targets: [N] or [N, ...], numbers.
            where: what is read, for messages.
            outputs: where the user gives their number.

        Raises:
            DataError: the targets do not fit the task.
        """

    @property
    def unfitted(self) -> bool:
        """Whether `refitted` takes something from the training targets."""
        return False

    def refitted(self, targets: Array, where: str) -> "Task":
        """The same task with what it takes from the training targets, where that is still to be taken."""
        return self

    def class_numbers(self, targets: Tensor) -> Tensor | None:
        """The class of every target (int64), where targets are classes."""
        return None

    @abstractmethod
    def targets(self, values: Array, where: str) -> Tensor:
        """Targets as training takes them.

        Raises:
            DataError: they do not fit; names the value, its place and the cure.
        """

    def check_columns(self, values: Array, where: str) -> None:
        """Refuse targets [N, K] with another number of columns than the training split's.

        Raises:
            DataError: names both numbers.
        """
        if values.shape[1] != self.outputs:
            raise DataError(
                f"the targets of {where} have {values.shape[1]} columns, those of the training split {self.outputs}"
            )

    @abstractmethod
    def likelihood(self) -> Likelihood:
        """A fresh likelihood of the targets."""

    @abstractmethod
    def measured(self, outputs: Tensor, targets: Tensor, likelihood: Likelihood) -> Values:
        """All metrics; outputs and targets lie on the CPU."""

    def collected(self, outputs: Tensor, targets: Tensor, likelihood: Likelihood) -> Any:
        """What is kept of a batch for `measure`, where it lies."""
        return outputs.detach(), targets.detach()

    def measure(self, collected: Sequence[Any], likelihood: Likelihood) -> Values:
        """All metrics of the batches that were collected.

        Raises:
            NetworkError: an output is NaN or infinite.
        """
        outputs, targets = (torch.cat([one[place] for one in collected]).cpu() for place in (0, 1))
        check_logits_finite(outputs)
        return self.measured(outputs, targets, likelihood)

    def answers(self, outputs: Tensor) -> Tensor:
        """What the outputs answer, in the form and unit of the user's targets."""
        return outputs

    def probabilities(self, outputs: Tensor) -> Tensor | None:
        """Probabilities of classes or tags; None for a task that has none."""
        return None

    def averaged(self, several: Tensor) -> Tensor:
        """Outputs [B, ...] that say the mean of what R networks predict [R, B, ...]."""
        return several.mean(0)

    def guess(self) -> float | None:
        """The negative log-likelihood of a network that always guesses; None where it is not known."""
        return None

    def scale_of_guess(self) -> float:
        """Nats by which negative log-likelihoods differ notably from that of a guess."""
        return self.guess() or 1.0

    def check_outputs(self, outputs: Any, count: int, example_shape: Any, when: str, name: str) -> None:
        """Refuse outputs of another form.

        Args:
            outputs: of the network for `count` examples.
            count: of examples.
            example_shape: of one example's targets.
            when: for the message, such as " in training mode".
            name: of the data.

        Raises:
            NetworkError: says what came and what is needed.
        """
        wanted = self.output_shape(count, example_shape)
        if isinstance(outputs, Tensor) and self.fits(outputs, wanted):
            return
        shape = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise NetworkError(
            f"the network's outputs{when} for a batch of {count} are {shape}; {self.meaning_of_outputs} {wanted} are "
            f"needed for {self.described()} of {name}: {self.cure(outputs, wanted)}"
        )

    def cure(self, outputs: Any, wanted: list[int]) -> str:
        """What helps against outputs of another form."""
        return "let forward return them alone, or name one of several by output="

    meaning_of_outputs: ClassVar[str] = "numbers"

    def described(self) -> str:
        """What the outputs are needed for, in a message."""
        return f"the task {self.name!r}"

    def output_shape(self, count: int, example_shape: Any) -> list[int]:
        """Shape that outputs of so many examples must have."""
        return [count, self.outputs]

    def fits(self, outputs: Tensor, wanted: list[int]) -> bool:
        """Whether outputs have the shape that is wanted; one output may also come without its axis."""
        return outputs.is_floating_point() and list(rows(outputs).shape) == wanted

    def to_json(self) -> dict[str, Any]:
        """As in run.json; `bayesprune.tasks.from_json` reads it."""
        return {"name": self.name, "outputs": self.outputs}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Task":
        """What `to_json` wrote."""
        return cls(int(document["outputs"]))


def numbers(values: Array, where: str) -> npt.NDArray[np.float64]:
    """Targets as finite float64.

    Raises:
        DataError: names the first that is not finite.
    """
    wide = np.asarray(values, dtype=np.float64)
    wrong = ~np.isfinite(wide)
    if wrong.any():
        place = [int(index[0]) for index in np.nonzero(wrong)]
        raise DataError(
            f"{int(wrong.sum()):,} targets of {where} are NaN or infinite; the first is that of example {place[0]}: "
            "remove or replace such examples"
        )
    return wide


def as_columns(values: Array, where: str) -> Array:
    """Targets [N] or [N, K] as [N, K].

    Raises:
        DataError: they have another number of axes.
    """
    if values.ndim == 1:
        return values[:, None]
    if values.ndim != 2 or values.shape[1] < 1:
        raise DataError(f"the targets of {where} have shape {list(values.shape)}: [N] or [N, outputs] is needed")
    return values
