"""Deep ensembles: several dense networks, trained one after the other in one run, that predict their mean."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from bayesprune.data import Data
from bayesprune.devices import random_apart
from bayesprune.pruners.options import TrainOptions
from bayesprune.pruners.reading import normal_of, options_of
from bayesprune.pruners.trainings import stages_of
from bayesprune.run.ensemble import Ensemble
from bayesprune.run.method import Plan
from bayesprune.run.settings import RunSettings, check_integer
from bayesprune.structure.copying import copied
from bayesprune.training import Phase, Start, TrainState
from bayesprune.training.heads import Heads
from bayesprune.training.state import LIKELIHOOD

MEMBERS = "members"
"""Name, among the state's modules, of the networks that are trained already or still to be trained."""


@dataclass(frozen=True)
class EnsembleOptions(TrainOptions):
    """Settings of deep ensembles.

    Attributes:
        members: dense networks, at least 2; each is trained for the run's epochs.
    """

    members: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("members", self.members, 2)


class DeepEnsemble:
    """Dense networks with initial weights and an order of examples of their own, whose mean is predicted.

    The first member is the network that method `dense` trains with the same settings. A name, class or function draws
    new weights for every other one. Of a module all members start from the weights that it has, as restarts do: then
    only the order of the examples and the noise differ.

    Source: Lakshminarayanan, Pritzel and Blundell (2017), "Simple and Scalable Predictive Uncertainty Estimation using
    Deep Ensembles" (without its adversarial training).
    """

    name, summary = "ensemble", "deep ensemble: several dense networks from different seeds, mean of their predictions"
    takes: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    options = EnsembleOptions

    def normal(self, settings: RunSettings) -> RunSettings:
        """See `Method.normal`."""
        return normal_of(self.options, settings, at_start=True, dense=True)

    def plan(self, state: TrainState, data: Data, settings: RunSettings) -> Plan:
        """The phases of `dense` for each member; the others wait among the state's modules meanwhile."""
        own = options_of(EnsembleOptions, settings, at_start=True)
        stages = stages_of(settings, own, state, data)
        state.modules[MEMBERS] = nn.ModuleList(_beginnings(state, own.members, settings.seed))
        phases = [phase for member in range(own.members) for phase in _of_member(member, stages.dense())]
        return Plan(phases, stages.describe(), dense=stages.dense_objective(), finish=_assembled(settings.output))


def member_seed(seed: int, member: int) -> int:
    """The seed of a member's initial weights; that of the first is the run's own."""
    return seed if member == 0 else (seed * 1_000_003 + 15_485_863 * member) % 2**32


def _beginnings(state: TrainState, members: int, seed: int) -> list[nn.Module]:
    """All members before training; the first is a copy of the state's network."""
    made = [_stored(state.network) for _ in range(members)]
    if state.fresh is not None:
        for member in range(1, members):
            with random_apart(state.place.device):
                made[member].load_state_dict(state.fresh(member_seed(seed, member)).state_dict())
    return made


def _stored(network: nn.Module) -> nn.Module:
    """A copy that is not trained and listens to nothing."""
    copy = copied(network)
    Heads.remove(copy)
    return copy


def _of_member(member: int, phases: Sequence[Phase]) -> list[Phase]:
    """Phases of dense training as those of a member."""
    first, *others = (replace(phase, name=f"member {member + 1} {phase.name}") for phase in phases)
    return [replace(first, start=_begin(member)), *others]


def _begin(member: int) -> Start:
    """Put the member before away, and go on with this one."""

    @torch.no_grad()
    def begin(state: TrainState) -> None:
        if member == 0:
            return
        waiting = state.modules[MEMBERS]
        assert isinstance(waiting, nn.ModuleList)
        waiting[member - 1].load_state_dict(state.network.state_dict())
        state.network.load_state_dict(waiting[member].state_dict())
        state.apply_masks()
        if LIKELIHOOD in state.modules:
            state.likelihood.load_state_dict(state.task.likelihood().state_dict())

    return begin


def _assembled(output: str) -> Callable[[TrainState], None]:
    """Make all members the state's one network, of which nothing was removed."""

    def assemble(state: TrainState) -> None:
        members = state.modules.pop(MEMBERS)
        assert isinstance(members, nn.ModuleList)
        members[len(members) - 1].load_state_dict(state.network.state_dict())
        masks = {
            f"networks.{member}.{name}": mask for member in range(len(members)) for name, mask in state.masks.items()
        }
        state.dense_macs /= len(members)  # dense training of as many epochs is that of one member
        state.become(Ensemble(list(members), state.task, output), masks)

    return assemble
