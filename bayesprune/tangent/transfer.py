"""Transfer as the training loop sees it: what is done before, between and after its steps."""

from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from bayesprune.data import Data
from bayesprune.pruners.controls import CONTROLS, fresh
from bayesprune.pruners.problem import Problem
from bayesprune.pruners.saliency import logit_snip
from bayesprune.pruners.scores import magnitude
from bayesprune.pruners.trimming import trim
from bayesprune.run.budget import Budget
from bayesprune.structure import evaluating, weights_of
from bayesprune.tangent.capture import check_separate
from bayesprune.tangent.masks import Masks, channel_masks, channels_within, choice
from bayesprune.tangent.objective import MASKS, TEACHER, TangentTransfer
from bayesprune.tangent.options import TransferOptions
from bayesprune.training import TrainState
from bayesprune.training.initial import INITIAL

DISTANCES, OPEN = "tangent distances at the start", "tangent open gates"
"""Where a state's values hold the distances of kernels and outputs before the first step, and the gates of the
channels that the student keeps."""

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
        budget: what the student may cost; None where weights are.
    """

    options: TransferOptions
    data: Data
    objective: TangentTransfer
    steps: int
    density: float | None
    budget: Budget | None

    def begin(self, state: TrainState) -> None:
        """Draw the teacher's weights, remember them, and choose the student's first masks.

        Raises:
            BudgetError: a layer would be left with no weight, or no network meets the budget.
            NetworkError: the network mixes samples, as batch normalisation does while it learns.
        """
        INITIAL[self.options.initial](state.network)
        state.network.train()
        check_separate(state.network, state.example)
        state.values[TEACHER] = {name: value.detach().clone() for name, value in state.network.named_parameters()}
        state.values[MASKS] = self.choose(state, first=True)
        state.values[DISTANCES] = self.distances(state)

    def update(self, state: TrainState) -> None:
        """Every so many steps choose the masks anew, from all weights: a masked one may come back."""
        if state.phase_step % self.options.every == 0 and state.phase_step < self.steps - self.options.every:
            state.values[MASKS] = self.choose(state)

    def choose(self, state: TrainState, *, first: bool = False) -> Masks:
        """The masks of the weights, or channels, that the student keeps now."""
        if self.budget is not None:
            state.values[OPEN] = channels_within(state, state.network, self.budget)
            return channel_masks(state.network, state.structure, state.values[OPEN])
        assert self.density is not None
        problem = Problem(state.network, state.structure, self.data, {}, state.running())
        by_slopes = first and self.options.first == "logit-snip"
        scores = logit_snip(problem, _SNIP_EXAMPLES) if by_slopes else magnitude(problem)
        return choice(self.options.masks)(scores, self.density, self.options.least)

    def hand_over(self, state: TrainState) -> None:
        """Leave the student: its weights under its masks, or without the channels that it does not keep."""
        masks, control = state.values.pop(MASKS), self.options.control
        for name in (TEACHER, DISTANCES):
            state.values.pop(name)
        if control == "fresh":
            fresh(state, self.options.initial)
        if self.budget is not None:
            state.shrink(state.values.pop(OPEN))
            return
        state.masks = {name: masks[name] for name in weights_of(state.network, state.running())}
        if control not in (None, "fresh"):
            CONTROLS[control](state)
        state.apply_masks()
        if self.options.trim:
            trim(state)

    def describe(self, state: TrainState) -> dict[str, Any]:
        """Distances at the end of an epoch of the transfer, and those it began with."""
        if MASKS not in state.values:
            return {}
        kernel, target = self.distances(state)
        start = state.values[DISTANCES]
        return {
            "kernel_distance": kernel, "kernel_distance_at_start": start[0],
            "target_distance": target, "target_distance_at_start": start[1],
        }  # fmt: skip

    def distances(self, state: TrainState) -> list[float]:
        """Means of kernels' and of outputs' over the first groups of validation inputs (or else of training inputs)."""
        split = self.data.validation if len(self.data.validation) > 1 else self.data.train
        groups = [inputs for inputs, _ in islice(split.batches(_WATCHED), _GROUPS) if len(inputs) > 1]
        teacher, masks = state.values[TEACHER], state.values[MASKS]
        with torch.no_grad(), evaluating(state.network):
            found = [self.objective.distances(state.network, teacher, masks, inputs) for inputs in groups]
        return [
            float(torch.stack(each).mean()) for each in zip(*((one.kernel, one.target) for one in found), strict=True)
        ]
