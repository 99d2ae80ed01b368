"""Guides that multiply channels by random numbers of a law; the weights beside them are a point, or Gaussian."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.inference.guides import GateGuide, GaussianWeightGuide
from bayesprune.inference.multipliers.law import MultiplierLaw
from bayesprune.inference.objective import guide_of
from bayesprune.inference.relaxed import spiked_gates
from bayesprune.models.gated import GatedModel
from bayesprune.structure import Structure
from bayesprune.structure.multipliers import normalised_gates, refuse_norms
from bayesprune.training import TrainState

MakeLaw = Callable[[int], MultiplierLaw]
"""Makes the law of J multipliers."""

DRAWN_FOR = ("example", "batch")
"""Multipliers are drawn for each example, or once for a mini-batch."""


class MultiplierGuide(GateGuide):
    """Random multipliers of a law on all channels but those without noise; weights are a point.

    What other guides call the inclusion probability is here the law's score [J] in [0, 1].

    Attributes:
        law: of the multipliers.
        quiet: for how many steps the rule has said that a gate's channel may go [J].
        spike: 1 for channels with a multiplier [J], 0 for those that have none and stay: inputs and flattened features
            without `input_gates`.
        decided: 1 once all channels that are left stay, their multipliers part of the weights.

    Args:
        model: of the network.
        make_law: from the number of gates to their law.
        input_gates: whether inputs and flattened features have multipliers.
        draws: "example" or "batch"; always the latter where gates are global (`Structure.per_example`).

    Raises:
        UnsupportedLayerError: layers normalise over all channels that could have multipliers.
    """

    decided: Tensor

    def __init__(
        self, model: GatedModel, make_law: MakeLaw, *, input_gates: bool = False, draws: str = "example"
    ) -> None:
        super().__init__(model)
        self.begin(model.structure, make_law, input_gates, draws)

    def begin(self, structure: Structure, make_law: MakeLaw, input_gates: bool, draws: str) -> None:
        """Make the law and what goes with it."""
        if draws not in DRAWN_FOR:
            raise UnknownNameError("draws", draws, DRAWN_FOR)
        spiked = spiked_gates(structure, input_gates) & ~normalised_gates(structure)
        if not bool(spiked.any()):
            refuse_norms(structure)
        self.multipliers_for = draws if structure.per_example else "batch"
        self.law = make_law(structure.gate_count)
        self.spike = nn.Parameter(spiked.float(), requires_grad=False)
        self.quiet = nn.Parameter(torch.zeros_like(self.spike), requires_grad=False)
        self.register_buffer("decided", torch.zeros(()))

    def _begin(self, theta: Tensor) -> None:
        """There is no inclusion probability to learn."""

    @property
    def theta(self) -> Tensor:  # type: ignore[override]  # what is learnt here is the law; the score is only read
        """The law's scores [J]; 1 where there is no multiplier or all is decided."""
        if bool(self.decided):
            return torch.ones_like(self.spike)
        return torch.where(self.spike > 0, self.score(), 1.0)

    def score(self) -> Tensor:
        """The law's scores [J], also of channels that have no multiplier."""
        return self.law.score()

    @property
    def stays(self) -> Tensor:
        """Which channels the rule keeps now: bool [J]."""
        return self.theta > self.law.keep_above

    def draw(self, count: int) -> Tensor:
        """Multipliers [count, J], or [J] for the whole batch; 1 where there are none."""
        rows, gates = (count,) if self.multipliers_for == "example" else (), self.spike.numel()
        spiked = self.spike.nonzero().flatten()
        if len(spiked) == gates:
            return self.law.draw(torch.Size((*rows, gates)))
        drawn = self.law.draw(torch.Size((*rows, len(spiked))), spiked)  # no time for those that have none
        return self.spike.new_ones(*rows, gates).index_copy(-1, spiked, drawn)

    def fixed(self) -> Tensor:
        """Multipliers at test time [J], also of channels that the rule would let go."""
        return torch.where((self.spike > 0) & (self.decided == 0), self.law.fixed(), 1.0)

    def penalty(self) -> Tensor:
        """Of all multipliers together, in nats."""
        return torch.where(self.spike > 0, self.law.penalty(), 0.0).sum() + self.law.shared_penalty()

    def weight_masks(self) -> dict[str, Tensor]:
        """Masks of single weights at the end of pruning, by the parameter's name; none unless weights have a rule."""
        return {}

    def gate_parameters(self) -> list[nn.Parameter]:
        """What is cut along when channels are removed."""
        return [*self.law.gate_parameters(), self.quiet, self.spike]

    def open_all(self) -> None:
        """What is left stays for good."""
        self.decided.fill_(1.0)

    def forward(self, inputs: Any, labels: Any = None) -> Any:
        """Refuse: these multipliers are no sites of a Pyro program.

        Raises:
            SettingError: always.
        """
        raise SettingError(
            "multipliers of a law are drawn by the training loop, and no Pyro program samples them: train by "
            "bayesprune.prune, or take GateGuide or GaussianWeightGuide for pyro.infer.SVI"
        )


class GaussianMultiplierGuide(MultiplierGuide, GaussianWeightGuide):
    """The same with Gaussian weights: `w ~ N(mean, deviation^2)`, drawn for each example in linear layers.

    With a unit slab this is q(w | z) = N(z mean, z^2 deviation^2) against p(w | z) = N(0, z^2), multiplier z: the
    divergence of the weights does not depend on z (Louizos, Ullrich and Welling, arXiv 1705.08665, section 3.1).

    Args:
        model: with `weight_sites=True` and a `GaussianSlab` as weight prior.
        make_law, input_gates, draws: see `MultiplierGuide`.
        deviation: of every weight at the start.
    """

    def __init__(
        self,
        model: GatedModel,
        make_law: MakeLaw,
        *,
        input_gates: bool = False,
        draws: str = "example",
        deviation: float = 0.01,
    ) -> None:
        GaussianWeightGuide.__init__(self, model, deviation=deviation, draws="example")
        self.begin(model.structure, make_law, input_gates, draws)


def multiplier_guide(state: TrainState) -> MultiplierGuide:
    """The guide among the state's modules."""
    guide = guide_of(state)
    assert isinstance(guide, MultiplierGuide)
    return guide
