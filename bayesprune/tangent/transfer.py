"""Transfer as the training loop sees it: what is done before, between and after its steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from bayesprune.budgets.limits import Limits
from bayesprune.data import Data
from bayesprune.pruners.controls import CONTROLS, fresh
from bayesprune.pruners.problem import Problem
from bayesprune.pruners.saliency import logit_snip
from bayesprune.pruners.scores import magnitude
from bayesprune.pruners.trimming import trim
from bayesprune.pruners.weights import alive
from bayesprune.structure import evaluating, weights_of
from bayesprune.structure.modes import train_mode
from bayesprune.tangent.capture import check_separate
from bayesprune.tangent.masks import Masks, channel_masks, channels_within, choice
from bayesprune.tangent.objective import Student, TangentTransfer
from bayesprune.tangent.options import TransferOptions
from bayesprune.training import TrainState
from bayesprune.training.initial import INITIAL

_SNIP_EXAMPLES = 128
_WATCHED, _GROUPS = 64, 4
"""Inputs whose distances are watched, and how many times as many: between groups of 64 they differ by half."""


@dataclass(frozen=True)
class Transfer:
    """What a run of tangent transfer does to its state.

    Attributes:
        options: of the run.
        data: that the transfer sees; its labels are not read.
        objective: of the transfer.
        steps: of the transfer.
        density: of the student's weights; None where channels are removed.
        limits: what the student may cost; None where weights are.
        within: masks of an earlier pruning, by parameter name: what they hold at 0 does not come back.
    """

    options: TransferOptions
    data: Data
    objective: TangentTransfer
    steps: int
    density: float | None
    limits: Limits | None
    within: Mapping[str, Tensor] = field(default_factory=dict)

    def begin(self, state: TrainState) -> None:
        """Draw the teacher's weights, remember them, and choose the student's first masks.

        Raises:
            BudgetError: a layer would be left with no weight, or no network meets the budget.
            NetworkError: the network mixes samples, as batch normalisation does while it learns.
        """
        INITIAL[self.options.initial](state.network)
        state.apply_masks()
        train_mode(state.network)
        check_separate(state.network, state.example)
        student = state.memory(Student)
        student.teacher = {name: value.detach().clone() for name, value in state.network.named_parameters()}
        student.masks = self.choose(state, first=True)
        student.distances = self.distances(state)

    def update(self, state: TrainState) -> None:
        """Every so many steps choose the masks anew, from all weights: a masked one may come back."""
        if state.phase_step % self.options.every == 0 and state.phase_step < self.steps - self.options.every:
            state.memory(Student).masks = self.choose(state)

    def choose(self, state: TrainState, *, first: bool = False) -> Masks:
        """The masks of the weights, or channels, that the student keeps now."""
        if self.limits is not None:
            open_gates = channels_within(state, state.network, self.limits)
            state.memory(Student).open_gates = open_gates
            return channel_masks(state.network, state.structure, open_gates)
        assert self.density is not None
        problem = Problem(state.network, state.structure, self.data, {}, state.running())
        by_slopes = first and self.options.first == "logit-snip"
        scores = logit_snip(problem, _SNIP_EXAMPLES) if by_slopes else magnitude(problem)
        chosen = choice(self.options.masks)(
            alive({name: score.cpu() for name, score in scores.items()}, self.within), self.density, self.options.least
        )
        return {name: mask.to(state.place.device) for name, mask in chosen.items()}

    def hand_over(self, state: TrainState) -> None:
        """Leave the student: its weights under its masks, or without the channels that it does not keep."""
        student, control = state.memory(Student), self.options.control
        state.forget(Student)
        if control == "fresh":
            fresh(state, self.options.initial)
        if student.open_gates is not None:
            state.shrink(student.open_gates)
            return
        state.masks = {name: student.masks[name] for name in weights_of(state.network, state.running())}
        if control not in (None, "fresh"):
            CONTROLS[control](state)
        state.apply_masks()
        if self.options.trim:
            trim(state)

    def describe(self, state: TrainState) -> dict[str, Any]:
        """Distances at the end of an epoch of the transfer, and those it began with."""
        start = state.memory(Student).distances
        if not start:
            return {}
        kernel, target = self.distances(state)
        return {
            "kernel_distance": kernel, "kernel_distance_at_start": start[0],
            "target_distance": target, "target_distance_at_start": start[1],
        }  # fmt: skip

    def distances(self, state: TrainState) -> list[float]:
        """Means of kernels' and of outputs' over the first groups of validation inputs (or else of training inputs)."""
        split = self.data.validation if len(self.data.validation) > 1 else self.data.train
        groups = [inputs for inputs, _ in islice(split.batches(_WATCHED), _GROUPS) if len(inputs) > 1]
        student = state.memory(Student)
        with torch.no_grad(), evaluating(state.network):
            found = [
                self.objective.distances(state.network, student.teacher, student.masks, inputs) for inputs in groups
            ]
        return [
            float(torch.stack(each).mean()) for each in zip(*((one.kernel, one.target) for one in found), strict=True)
        ]
