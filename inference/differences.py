"""Exact differences of the objective between networks that differ in one gate, at fixed weights."""

from dataclasses import dataclass

import torch
from torch import Tensor

from bayesprune.budgets.limits import Limits
from bayesprune.inference.objective import GATES, gate_optimizer, guide_of
from bayesprune.inference.visited import Objective, Sample
from bayesprune.models.prices import Price
from bayesprune.pruners.filling import filled
from bayesprune.structure import Gating
from bayesprune.training import TrainState

EFFORT, LEAST_MACS = 0.02, 50e9
"""Differences may cost so large a share of the multiply-accumulates of training so far, or at least so many."""

FEWEST = 250
"""Examples on which a difference is taken at least."""

SWEEPS = 2
"""Times that doubtful gates are looked at, at most; less when nothing changes any more."""

SURE = 3.0
"""An open gate is not doubtful that is worth more than so many prices by the averaged gradient."""


@dataclass(eq=False)
class Choice:
    """Open gates [J] (bool), and those that were cut for a budget."""

    open: Tensor

    def __post_init__(self) -> None:
        self.cut = torch.zeros_like(self.open)


class ExactDifferences:
    """Exact differences of the objective between networks that differ in one gate, at fixed weights.

    Leave it as a context: it has hooks on the network. It looks at no more than one flip for two steps of training.

    Args:
        state: of the run.
        sample: training examples; as many of the first are used as the effort allows.
        price: of what is open.
        free: whether open gates cost nothing in the objective, since a budget bounds them.
    """

    def __init__(self, state: TrainState, sample: Sample, price: Price, *, free: bool = False) -> None:
        self.state, self.price, self.free = state, price, free
        self.theta, self.cost = guide_of(state).theta.detach().cpu(), state.expected_cost()
        allowed = max(EFFORT * (state.macs + state.epoch_macs), LEAST_MACS) / max(state.network_macs(), 1)
        gates = max(1, len(self.theta))
        count = min(len(sample), max(FEWEST, round(allowed / (1.5 * gates))))
        self.sample = sample.first(count)
        self.left = max(1, min(round(allowed / count), state.step // 2))
        self._gating = Gating(state.network, state.structure)

    def __enter__(self) -> "ExactDifferences":
        return self

    def __exit__(self, *_: object) -> None:
        self._gating.remove()

    def threshold(self) -> Tensor:
        """Gates that are open because theta > 1/2, and those that have to be."""
        return self.state.structure.protect(self.theta > 0.5, self.theta)

    def objective(self, open_gates: Tensor) -> Objective:
        """The objective with these gates open."""
        gates = open_gates.to(self.theta.dtype)
        price = 0.0 if self.free else self.price.total(self.state.structure, self.cost, gates)
        losses = self.sample.gated_losses(self.state, self._gating, gates.to(self.state.place.device))
        return Objective(losses, price, self.sample.size)

    def improve(self, chosen: Choice, limits: Limits | None) -> None:
        """Close or open single gates, the most doubtful first, while that lowers the objective."""
        present = self.objective(chosen.open)
        for _ in range(SWEEPS):
            changed = False
            for gate in self._doubtful():
                if self.left <= 0:
                    return
                trial = self._flipped(chosen.open, gate, limits)
                if trial is None:
                    continue
                self.left -= 1
                other = self.objective(trial)
                rise, error = other.above(present)
                if rise < -error:
                    chosen.open, present, changed = trial, other, True
            if not changed:
                return

    def fit(self, chosen: Choice, limits: Limits) -> None:
        """Close the gates that are worth least for the cost they save until the budgets are met."""
        for gate in self._least_worth(chosen.open, limits):
            if limits.meets(self.state, chosen.open.double()):
                return
            trial = self._flipped(chosen.open, gate, None)
            if trial is not None and not bool(trial[gate]):
                chosen.open, chosen.cut[gate] = trial, True

    def fill(self, chosen: Choice, limits: Limits) -> None:
        """Open undecided gates, the most probable first, while the budgets allow it: there they cost nothing."""
        undecided = (~chosen.open & ~chosen.cut & (self.theta > 0)).nonzero().flatten()
        for gate in undecided[self.theta[undecided].argsort(descending=True, stable=True)].tolist():
            trial = chosen.open.clone()
            trial[gate] = True
            if limits.meets(self.state, trial.double()):
                chosen.open = trial

    def fill_up(self, chosen: Choice, limits: Limits, round_to: int) -> None:
        """Open the closed gates that are worth most until no more than a small share of a budget is free."""
        opened = filled(self.state, limits, chosen.open, self.rises() + self.theta, round_to)
        chosen.open, chosen.cut = opened, chosen.cut & ~opened

    def _flipped(self, open_gates: Tensor, gate: int, limits: Limits | None) -> Tensor | None:
        """The gates with one flipped; None where that empties a layer or breaks the budget."""
        trial = open_gates.clone()
        trial[gate] = ~trial[gate]
        if bool(trial[gate]):
            fits = limits is None or limits.meets(self.state, trial.double())
            return trial if fits else None
        return trial if torch.equal(self.state.structure.protect(trial, self.theta), trial) else None

    def _doubtful(self) -> list[int]:
        """Gates from the most doubtful to the surest; without those that are surely worth their price."""
        margin = self.margin()
        return [gate for gate in margin.abs().argsort().tolist() if margin[gate] > 1 - SURE]

    def margin(self) -> Tensor:
        """By how many prices each gate [J] is worth less than its price: by the averaged gradient, else by theta."""
        if GATES not in self.state.optimizers:
            return 0.5 - self.theta
        return 1 - self.rises() / self.price.log_gamma(self.state.structure, self.cost, self.theta).cpu().clamp_min(
            1e-12
        )

    def _least_worth(self, open_gates: Tensor, limits: Limits) -> list[int]:
        """Open gates from the first to cut to the last: the least rise of the loss for the cost it saves.

        Where there are too many gates for exact differences their averaged gradients stand for them.
        """
        gates = [
            gate
            for gate in open_gates.nonzero().flatten().tolist()
            if self._flipped(open_gates, gate, None) is not None
        ]
        rises = self._exact_rises(open_gates, gates) if len(gates) <= self.left else self.rises().tolist()
        hardest = int(limits.shares(self.state, open_gates.double()).argmax())
        saved = limits.slopes(self.state, open_gates)[hardest].tolist()
        return sorted(gates, key=lambda gate: rises[gate] / max(saved[gate], 1e-12))

    def _exact_rises(self, open_gates: Tensor, gates: list[int]) -> dict[int, float]:
        """By how much closing each gate alone raises the loss, in nats."""
        whole, found = self.objective(open_gates).losses, {}
        for gate in gates:
            trial = open_gates.clone()
            trial[gate] = False
            found[gate] = self.sample.size * float((self.objective(trial).losses - whole).mean())
        self.left -= len(gates)
        return found

    def rises(self) -> Tensor:
        """What closing each gate [J] does to the loss by the averaged gradient, in nats; else by theta."""
        if GATES not in self.state.optimizers:
            return self.theta
        return -gate_optimizer(self.state).average(guide_of(self.state).theta).cpu() * self.sample.size
