"""Draws of the weights of a small network by NUTS (Hoffman and Gelman, 2014), its gates summed out exactly.

The potential is U(w) = -ln p(w) - ln sum_z p(z) p(data | z, w): all 2^J settings of the gates are looked at in every
gradient, so that the sampler sees weights only, and no gate is relaxed.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from math import log
from math import pi as PI
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bayesprune.batches import arguments_of, count, each, join, repeated
from bayesprune.devices import random_apart
from bayesprune.errors import PruningWarning, SettingError
from bayesprune.inference.references.exact import passing, said_under
from bayesprune.inference.references.exact_gates import settings_of
from bayesprune.inference.references.log_priors import log_prior_of
from bayesprune.inference.references.nuts_draws import FEWEST, NutsDraws
from bayesprune.models.priors.weights import slab_parameters
from bayesprune.run.flipping import Flipping
from bayesprune.run.settings import LEAST_SLAB, check_integer, check_number
from bayesprune.structure import Gating, Structure, evaluating
from bayesprune.tasks import Likelihood
from bayesprune.training import Progress
from bayesprune.training.heads import picked

if TYPE_CHECKING:
    from bayesprune.run.pruned import Pruned

LARGEST = 8
"""More gates than this are refused: every gradient looks at all 2^J settings of them."""

SLAB = 1.0
"""Standard deviation of the weights' prior where neither the call nor the run's options give one."""

Weights = Mapping[str, Tensor]


class SummedOut:
    """A network's log posterior as a function of its weights, with its gates summed out.

    Use it as a context: the gates act on the network inside.

    Args:
        network: in float64 and evaluation mode; its linear and convolution layers' weights are what is drawn.
        structure: its groups.
        likelihood: of the targets; what it has learnt is held.
        inputs, targets: examples.
        settings: of the gates that are summed over [S, J], 0 or 1.
        log_prior: of each setting [S], normalised.
        slab: standard deviation of the weights' normal prior.
        scale: how many examples each of them stands for.
        output: which of several outputs counts.
    """

    def __init__(
        self,
        network: nn.Module,
        structure: Structure,
        likelihood: Likelihood,
        inputs: Any,
        targets: Any,
        settings: Tensor,
        log_prior: Tensor,
        slab: float,
        scale: float = 1.0,
        output: str = "",
    ) -> None:
        self._network, self._structure, self._likelihood, self._output = network, structure, likelihood, output
        self._examples, self._inputs = count(inputs), inputs
        self._targets, self._settings = repeated(targets, len(settings)), settings.double()
        self._log_prior, self._slab, self._scale = log_prior.double(), slab, scale
        self._gating: Gating | None = None

    def __enter__(self) -> "SummedOut":
        self._gating = Gating(self._network, self._structure)
        return self

    def __exit__(self, *error: object) -> None:
        if self._gating is not None:
            self._gating.remove()
            self._gating = None

    def log_joint(self, weights: Weights) -> Tensor:
        """Log prior of each setting plus log-likelihood of all examples under it [S]; differentiable."""
        assert self._gating is not None  # inside of the context

        def ask(inputs: Any) -> Any:
            return functional_call(self._network, dict(weights), *arguments_of(self._network, inputs))

        outputs = said_under(ask, self._gating, self._structure, self._settings, self._inputs)
        losses = self._likelihood.negative_log(picked(outputs, self._output), self._targets)
        nats = losses.reshape(-1, self._examples).sum(1)
        return self._log_prior - self._scale * nats

    def potential(self, weights: Weights) -> Tensor:
        """Minus the log density of the weights (scalar), up to the data's log probability; differentiable."""
        squares = torch.stack([weight.square().sum() for weight in weights.values()]).sum()
        numbers = sum(weight.numel() for weight in weights.values())
        own = squares / (2 * self._slab**2) + numbers * (log(self._slab) + 0.5 * log(2 * PI))
        return own - self.log_joint(weights).logsumexp(0)


def draw_weights(
    potential: Callable[[Weights], Tensor],
    starts: Sequence[Weights],
    draws: int,
    *,
    warm_up: int,
    seed: int = 0,
    deepest: int = 8,
    progress: Callable[[Progress], None] | None = None,
) -> tuple[list[list[dict[str, Tensor]]], list[int], list[float]]:
    """Chains of draws by Pyro's NUTS, one after the other.

    Ctrl-C ends them early, once every chain that has begun has draws: as many of each as the shortest has.

    Args:
        potential: minus the log density of weights by name.
        starts: of the chains.
        draws: kept a chain.
        warm_up: steps before them, in which step size and mass matrix are adapted.
        seed: of the draws.
        deepest: of the doubling of a trajectory: at most 2^deepest steps of the integrator.
        progress: called after every step; its loss is the potential.

    Returns:
        Draws of each chain, its divergences after the warm-up, and the share of draws in which it moved.
    """
    from pyro.infer import NUTS

    chains: list[list[dict[str, Tensor]]] = []
    divergences, moved = [], []
    total = len(starts) * (warm_up + draws)
    with random_apart(torch.device("cpu"), seed):
        try:
            for number, start in enumerate(starts):
                kernel: Any = NUTS(potential_fn=potential, max_tree_depth=deepest)
                kernel.initial_params = {name: weight.clone() for name, weight in start.items()}
                kernel.setup(warm_up)
                now = kernel.initial_params
                own: list[dict[str, Tensor]] = []
                for step in range(warm_up + draws):
                    now = kernel.sample(now)
                    if step >= warm_up:
                        if not own:
                            chains.append(own)
                            divergences.append(0)
                            moved.append(0.0)
                        own.append({name: weight.detach().clone() for name, weight in now.items()})
                        said = kernel.diagnostics()
                        divergences[-1], moved[-1] = len(said["divergences"]), float(said["acceptance rate"])
                    if progress is not None:
                        done = number * (warm_up + draws) + step + 1
                        progress(Progress("nuts", done, total, float(potential(now).detach())))
                kernel.cleanup()
        except KeyboardInterrupt:
            if not chains:
                raise
            least = min(len(own) for own in chains)
            said = f"interrupted: {len(chains)} of {len(starts)} chains of {least:,} of {draws:,} draws are there"
            warnings.warn(said, PruningWarning, stacklevel=2)
            chains = [own[:least] for own in chains]
    return chains, divergences, moved


def nuts(
    pruned: "Pruned",
    data: Any = None,
    *,
    draws: int = 500,
    chains: int = 4,
    warm_up: int | None = None,
    examples: int | None = None,
    pi: str = "map",
    price: float | None = None,
    slab: float | None = None,
    seed: int = 0,
    deepest: int = 8,
    progress: Callable[[Progress], None] | None = None,
) -> NutsDraws:
    """Draw the weights of a small network, w ~ N(0, slab^2), from their posterior with all gates summed out.

    What a likelihood has learnt, such as the noise of a regression, is held as it is, and so is all that is no weight
    or bias of a linear or convolution layer. The first chain starts at the network's weights, the others at draws of
    the prior of half its deviation.

    Args:
        pruned: the result of a run, with at most 8 gates left.
        data: as for `Pruned.evidence`.
        draws: kept a chain, at least 4.
        chains: see above.
        warm_up: steps before; None for half of `draws`.
        examples: training examples, drawn at random, whose log-likelihood is scaled up to all N; None for all.
        pi: "map" or "marginal"; see there.
        price: as in `bayesprune.inference.references.log_priors.log_prior_of`.
        slab: standard deviation of the weights' prior; None for that of the run's options, or 1.
        seed: of the choice of examples, the starts and the draws.
        deepest: at most 2^deepest steps of the integrator a draw.
        progress: called after every step.

    Raises:
        SettingError: there are too many gates, a setting cannot be used, the run has no prices and none is given, or as
            for `Pruned.evidence`.
        StoreError: a loaded network without data.
        DataError: the data are none, or do not fit the run.
    """
    check_integer("draws", draws, FEWEST)
    check_integer("chains", chains, 1)
    check_integer("warm_up", 0 if warm_up is None else warm_up, 0)
    check_integer("deepest", deepest, 1, 15)
    check_number("slab", slab, LEAST_SLAB, low_allowed=True)
    prior = log_prior_of(pruned, price, pi)
    flipping, structure = Flipping.of(pruned, data, examples, seed, fast=False), pruned.structure
    gates = structure.gate_count
    if gates > LARGEST:
        raise SettingError(
            f"{gates} gates are left, and every gradient would look at 2^{gates} networks: at most {LARGEST} are "
            "summed out; draw gates at fixed weights with gibbs(), or close more of them"
        )
    scale = float(slab or pruned.settings.options.get("slab", SLAB))
    settings = settings_of(torch.arange(2**gates), gates)
    settings = settings[passing(structure, settings > 0)]
    log_prior = prior.of(settings).log_softmax(0)
    network = deepcopy(flipping.network).to("cpu", torch.float64)
    network.requires_grad_(False)
    inputs, targets = (join(list(parts)) for parts in zip(*flipping.batches(), strict=True))
    likelihood = deepcopy(flipping.likelihood).to("cpu", torch.float64).requires_grad_(False)
    inputs = each(lambda part: part.cpu().double() if part.is_floating_point() else part.cpu(), inputs)
    targets = each(lambda part: part.cpu().double() if part.is_floating_point() else part.cpu(), targets)
    model = SummedOut(
        network, structure, likelihood, inputs, targets, settings, log_prior, scale,
        flipping.size / flipping.examples, flipping.output,
    )  # fmt: skip
    steps = draws // 2 if warm_up is None else warm_up
    with evaluating(network), model:
        starts = _starts(network, chains, scale, seed)
        found, divergences, moved = draw_weights(
            model.potential, starts, draws, warm_up=steps, seed=seed, deepest=deepest, progress=progress
        )
        with torch.no_grad():
            joint = torch.stack([torch.stack([model.log_joint(one) for one in own]) for own in found])
    weights = {name: torch.stack([torch.stack([one[name] for one in own]) for own in found]) for name in starts[0]}
    names = tuple(group.name for group in structure.groups for _ in range(len(group.kept)))
    return NutsDraws(
        weights, settings, joint.softmax(-1), joint.logsumexp(-1), names,
        torch.cat([group.kept for group in structure.groups]), prior.log_odds, scale, tuple(divergences),
        tuple(moved), flipping.examples, flipping.size,
    )  # fmt: skip


def _starts(network: nn.Module, chains: int, slab: float, seed: int) -> list[dict[str, Tensor]]:
    """The network's weights, then draws of half the prior's deviation."""
    own = {name: weight.detach().clone() for name, weight in slab_parameters(network).items()}
    random = torch.Generator().manual_seed(seed)

    def drawn() -> dict[str, Tensor]:
        return {
            name: 0.5 * slab * torch.randn(weight.shape, generator=random, dtype=torch.float64)
            for name, weight in own.items()
        }

    return [own, *(drawn() for _ in range(chains - 1))]
