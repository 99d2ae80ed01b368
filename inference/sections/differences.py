"""The gradient of sections' gates: the network run with each section open and closed."""

from dataclasses import replace

import torch
from torch import Tensor

from bayesprune.errors import SettingError
from bayesprune.inference.estimators import GateEstimator
from bayesprune.inference.estimators.base import GateProblem, draw_sets, negative_log_likelihood, surrogate
from bayesprune.inference.objective import GatedObjective
from bayesprune.inference.sections.prefix import Prefix
from bayesprune.structure import Structure
from bayesprune.training import TrainState

AT_ONCE = 4
"""Sections whose difference is taken at a step, at most, where nothing else is asked for."""


class SectionDifferences:
    """Exact differences for the gates of sections; another estimator's gradient for those of units.

    For each example (where gates are global: for the batch) gates are drawn; then for one section after the other the
    gate is flipped for all examples, and `d_b = mean_n [l_n(z_b = 1) - l_n(z_b = 0)]`, which given the other gates is
    exact. Of more than `at_once` sections so many take their turn at every step, and their differences count
    S / at_once times: unbiased over a round. The layers before a section are not run again. Batch normalisation takes
    its running statistics (`GateProblem.apart`).

    Attributes:
        state: of the run; the objective sets it whenever the network has changed.

    Args:
        inner: for the gates of units, and the loss.
        at_once: sections a step; 0 for all.
        reuse: whether layers before a section say what they said; else all run again.
    """

    name = "section-differences"

    def __init__(self, inner: GateEstimator, at_once: int = AT_ONCE, *, reuse: bool = True) -> None:
        if at_once < 0:
            raise SettingError(f"sections_per_step must be >= 0, not {at_once}")
        self.inner, self.at_once, self.reuse = inner, at_once, reuse
        self.unbiased = inner.unbiased
        self.state: TrainState | None = None

    def loss(self, problem: GateProblem, theta: Tensor) -> Tensor:
        """Mean negative log-likelihood with both gradients attached."""
        assert self.state is not None
        gates = self.state.structure.section_gates.to(theta.device)
        units = theta.index_copy(0, gates, theta.detach()[gates])  # no gradient of the inner one's for sections
        loss: Tensor = self.inner.loss(problem, units)
        if not len(gates):
            return loss
        return loss + surrogate(theta, self.differences(problem, theta.detach()))

    @torch.no_grad()
    def differences(self, problem: GateProblem, theta: Tensor) -> Tensor:
        """The estimate [J], 0 for units."""
        assert self.state is not None
        structure = self.state.structure
        total = len(structure.sections)
        chosen = self.chosen(self.state)
        found, drawn = torch.zeros_like(theta), draw_sets(problem, theta)
        with problem.apart(), Prefix(self.state.network, structure.sections) as prefix:
            before = negative_log_likelihood(problem, drawn)
            for number in chosen:
                gate = int(structure.section_gates[number])
                flipped = drawn.clone()
                flipped[:, gate] = 1 - drawn[:, gate]
                prefix.change(structure.sections[number], reuse=self.reuse)
                after = negative_log_likelihood(problem, flipped)
                found[gate] = ((2 * drawn[:, gate] - 1) * (before - after)).mean() * (total / len(chosen))
        return found

    def chosen(self, state: TrainState) -> list[int]:
        """The sections whose turn it is, in their order."""
        total = len(state.structure.sections)
        count = min(self.at_once or total, total)
        return sorted((state.phase_step * count + place) % total for place in range(count))


class SectionObjective(GatedObjective):
    """`GatedObjective` whose estimator knows the sections of the network as it is.

    Attributes:
        units: whether units have gates that act; else only those of sections do.
    """

    units = True

    def attach(self, state: TrainState) -> None:
        """See `GatedObjective.attach`."""
        assert isinstance(self.estimator, SectionDifferences)
        self.estimator.state = state
        super().attach(state)

    def kind(self, state: TrainState) -> str:
        """Which sections are run: later ones cost less."""
        assert isinstance(self.estimator, SectionDifferences)
        return f"{super().kind(state)} {self.estimator.chosen(state)}"

    def acting(self, state: TrainState) -> Structure:
        """The structure whose gates act: of units that are all open none has to."""
        return state.structure if self.units else replace(state.structure, readers=())
