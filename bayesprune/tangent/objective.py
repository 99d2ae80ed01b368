"""What a student learns in tangent transfer: the outputs and the tangent kernel of its dense teacher, without labels.

    loss = w mean((Theta_student - Theta_teacher)^2) + mean((f_student - f_teacher)^2) + (d / density) |m * theta|^2

(Liu and Zenke, arXiv 2006.08228, as in their code). The kernels are those between the two halves of a batch; the means
are over all entries; the last sum is over the weights that masks m keep, without biases.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bayesprune.devices import number
from bayesprune.errors import DataError
from bayesprune.run.settings import check_number
from bayesprune.structure import weights_of
from bayesprune.tangent.kernels import kernel_and_outputs
from bayesprune.training import Memory, TrainState


@dataclass
class Student(Memory):
    """What a run of the transfer remembers until it leaves the student.

    Attributes:
        teacher: the teacher's parameters by name.
        masks: of the student.
        distances: of kernels and of outputs before the first step.
        open_gates: of the channels that the student keeps, where it loses whole channels.
    """

    on_device = True
    teacher: dict[str, Tensor] = field(default_factory=dict)
    masks: dict[str, Tensor] = field(default_factory=dict)
    distances: list[float] = field(default_factory=list)
    open_gates: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Distances:
    """How far a student is from its teacher.

    Attributes:
        kernel: mean squared difference of the kernels' entries.
        target: mean squared difference of the outputs.
        norm: sum of the squares of the student's weights.
    """

    kernel: Tensor
    target: Tensor
    norm: Tensor


class TangentTransfer:
    """The loss of the student m * theta, differentiated in all of theta; masked weights get no gradient.

    Args:
        density: of the student's weights.
        kernel_weight: w.
        decay: d.
        projected: sum the student's kernel over the weights that it keeps only; else, as in the authors' code,
            over all coordinates of m * theta.
    """

    needs_labels = False

    def __init__(self, density: float, kernel_weight: float = 1e-3, decay: float = 1e-4, projected: bool = False):
        check_number("density", density, 0.0, 1.0)
        check_number("kernel_weight", kernel_weight, 0.0, low_allowed=True)
        check_number("decay", decay, 0.0, low_allowed=True)
        self.density, self.kernel_weight, self.decay, self.projected = density, kernel_weight, decay, projected
        self.parts: Mapping[str, float | Tensor] = {}

    def attach(self, state: TrainState) -> None:
        """Nothing to prepare."""

    def detach(self) -> None:
        """Nothing to take off."""

    def loss(self, state: TrainState, inputs: Tensor, labels: Tensor | None) -> Tensor:
        """The loss of one batch; labels are never looked at.

        Raises:
            DataError: the batch has less than 2 examples.
            NetworkError: a kernel is not finite.
        """
        student = state.memory(Student)
        found = self.distances(state.network, student.teacher, student.masks, inputs)
        named = {"kernel distance": found.kernel, "target distance": found.target}
        self.parts = {name: number(distance.detach()) for name, distance in named.items()}
        return self.weighed(found)

    def weighed(self, found: Distances) -> Tensor:
        """The sum of the three terms."""
        return self.kernel_weight * found.kernel + found.target + self.decay / self.density * found.norm

    def distances(
        self, network: nn.Module, teacher: Mapping[str, Tensor], masks: Mapping[str, Tensor], inputs: Tensor
    ) -> Distances:
        """Of the student that a network is under masks, on inputs [B, ...], the halves of which make the kernels.

        Raises:
            DataError: there are less than 2 inputs.
            NetworkError: a kernel is not finite.
        """
        if len(inputs) < 2:
            raise DataError(
                f"a batch of {len(inputs)} example has no two halves to take a tangent kernel between: choose a batch "
                "size that leaves at least 2 to the last batch"
            )
        first, second = inputs[: len(inputs) // 2], inputs[len(inputs) // 2 :]
        with torch.no_grad():
            wanted, targets = kernel_and_outputs(network, first, second, parameters=teacher)
        student = masked(network, masks)
        keep = masks if self.projected else None
        kernel, outputs = kernel_and_outputs(network, first, second, parameters=student, keep=keep)
        squares = torch.stack([student[name].square().sum() for name in weights_of(network)])
        return Distances((kernel - wanted).square().mean(), (outputs - targets).square().mean(), squares.sum())

    def kind(self, state: TrainState) -> str:
        """All steps do the same."""
        return "transfer"


def masked(network: nn.Module, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The student's parameters, m * theta."""
    return {
        name: parameter * masks[name] if name in masks else parameter for name, parameter in network.named_parameters()
    }
