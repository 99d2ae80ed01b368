"""Everything that a run is at a step, as one object that can be saved and resumed from."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn
from torch.optim import Optimizer

from bayesprune.batches import Batch, call, each
from bayesprune.devices import Place, device_of, widened
from bayesprune.errors import NetworkError
from bayesprune.layers.collapse import Steps, replay
from bayesprune.structure import (
    OTHER,
    ExpectedCost,
    LayerCost,
    MacCounter,
    Structure,
    compact,
    fixed_masks,
    idle_layers,
    layer_costs,
    replace_data,
    weight_sizes,
    weights_of,
)
from bayesprune.structure.copying import copied
from bayesprune.structure.held import Held
from bayesprune.structure.matrices import COUNTED
from bayesprune.tasks import Classification, Task
from bayesprune.training.heads import Heads
from bayesprune.training.masks import apply_masks
from bayesprune.training.memory import Memory
from bayesprune.training.progress import Progress

Kind = TypeVar("Kind", bound=Memory)

LIKELIHOOD = "likelihood"
"""Name of a likelihood that learns among the state's modules."""

_LOG = logging.getLogger(__name__)


@runtime_checkable
class GateShaped(Protocol):
    """A module with parameters of one entry a gate: they are cut along when the network shrinks."""

    def gate_parameters(self) -> list[nn.Parameter]:
        """Parameters of shape [J]."""
        ...


@runtime_checkable
class WeightShaped(Protocol):
    """A module with parameters that have the shapes of the network's own: they are cut along when it shrinks."""

    def weight_parameters(self, network: nn.Module) -> dict[str, nn.Parameter]:
        """Such parameters, by the present name of the network's parameter whose shape they have."""
        ...


@dataclass
class TrainState:
    """One run at one step.

    Attributes:
        network: in its present shape.
        structure: its groups, with the original indices of what is left; without any where the network cannot be
            taken apart. Who removes channels asks `need_structure`.
        example: inputs [B, ...], or a tuple or dict of such, for counting costs.
        task: what is learnt.
        likelihood: of the targets, with what it learns on the way.
        heads: which of several outputs counts, and what auxiliary ones said; None where the network says one.
        place: where all of it lies; `move` brings it elsewhere. The structure stays on the CPU: it decides.
        refusal: why no channel of the network can be removed; None where some can.
        collapsed: the layers that went into the ones behind them, as steps that can be done again.
        find_structure: finds the groups of a network in which layers have gone; None where nothing is to be known of
            them.
        modules: parameters outside the network, such as a guide, by name; `state_dict` is saved.
        masks: by parameter name, multiplied into the weights after every step.
        optimizers: of the present phase; "network" is the first.
        memories: what methods remember, by the name of its kind; `memory` reads it.
        identity: what run this is, as plain values; a checkpoint of another one is refused.
        history: one record an epoch.
        phase, phase_step: which phase, and its steps done; `phase_started` once its `start` has run.
        step: steps done in all.
        epoch, epoch_step: passes over the training data begun before this one, and steps done in this one.
        seconds, macs, dense_macs: training time and multiply-accumulates of all finished epochs, and what dense
            training would have cost with as many labelled examples.
        epoch_loss, epoch_seconds, epoch_macs, epoch_dense_macs: sums over this epoch so far.
        learning_rate: of the step being made.
        make_optimizers: makes the present phase's optimizers anew; the loop sets it.
        fresh: makes the dense network anew, with the initial weights of a seed; None where only its user could.
        tell: is told how far things are that take long and are no steps; None where nobody watches.
    """

    network: nn.Module
    structure: Structure
    example: Batch
    task: Task = field(default_factory=lambda: Classification(1))
    modules: dict[str, nn.Module] = field(default_factory=dict)
    masks: dict[str, Tensor] = field(default_factory=dict)
    optimizers: dict[str, Optimizer] = field(default_factory=dict)
    memories: dict[str, Memory] = field(default_factory=dict)
    identity: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    phase: int = 0
    phase_step: int = 0
    phase_started: bool = False
    step: int = 0
    epoch: int = 0
    epoch_step: int = 0
    seconds: float = 0.0
    macs: float = 0.0
    dense_macs: float = 0.0
    epoch_loss: float = 0.0
    epoch_seconds: float = 0.0
    epoch_macs: float = 0.0
    epoch_dense_macs: float = 0.0
    learning_rate: float = 0.0
    make_optimizers: Callable[[], None] | None = None
    fresh: Callable[[int], nn.Module] | None = None
    tell: Callable[[Progress], None] | None = None
    refusal: NetworkError | None = None
    collapsed: Steps = field(default_factory=list)
    find_structure: Callable[[nn.Module], Structure] | None = None
    heads: Heads | None = None
    place: Place = field(default_factory=Place)
    shape_version: int = 0
    _costs: tuple[int, tuple[LayerCost, ...]] | None = None
    _expected: tuple[int, ExpectedCost] | None = None
    _initial: tuple[nn.Module, Structure] | None = None
    _held: tuple[Structure, Held] | None = None

    def __post_init__(self) -> None:
        self.likelihood = self.task.likelihood()
        if any(True for _ in self.likelihood.parameters()):
            self.modules[LIKELIHOOD] = self.likelihood
        self._measure_initial()

    def _measure_initial(self) -> None:
        """Take down what the network costs before anything of it is removed."""
        self.initial_layers = self.layers()
        self.initial_macs = self.network_macs()
        self.initial_params = self.params()
        self.initial_weights = self.weights()

    def move(self, place: Place) -> None:
        """Bring network, modules, masks and example to a place, before there are optimizers."""
        self.place = place
        for module in (self.network, self.likelihood, *self.modules.values()):
            place.settle(module)
        self.masks = {name: place.bring(mask) for name, mask in self.masks.items()}
        self.example = each(place.bring, self.example)
        if self._initial is not None:
            place.settle(self._initial[0])

    def remember_initial(self) -> None:
        """Keep a copy of the network as it is now, so that `reshape` can make it larger again."""
        self._initial = (copied(self.network), self.structure)

    def reshape(self, kept: dict[str, list[int]]) -> None:
        """Give the network exactly these channels; its weights, optimizers and masks are to be filled in.

        Raises:
            SettingError: the channels are not among those of the network, or a group would be emptied.
        """
        if kept == self.structure.kept():
            return
        if self._initial is not None:
            self.network, self.structure = copied(self._initial[0]), self._initial[1]
        if self.heads is not None:
            self.heads = Heads.of(self.network)  # the copy's hook has heads of its own
        self.masks = {}
        self.structure = compact(self.network, self.structure, self.structure.open_from_kept(kept))
        self.shape_version += 1

    def become(self, network: nn.Module, masks: dict[str, Tensor]) -> None:
        """Take another network in place of the trained one, once training is over: nothing of it can be removed.

        Args:
            network: such as an average of several.
            masks: by the names that its parameters have.
        """
        self.network, self.structure, self.masks, self.heads = network, Structure((), (), ()), masks, None
        self.shape_version += 1
        self._measure_initial()

    def without_layers(self, steps: Steps, *, again: bool = False) -> None:
        """Take note that layers have gone; the groups are found anew, and optimizers are to be made by who calls.

        Args:
            steps: what was done to the network (`bayesprune.layers.collapse`).
            again: do it now, to a network of the same kind whose weights are still to be filled in.

        Raises:
            NetworkError: the steps do not fit the network.
        """
        if not steps:
            return
        if again:
            replay(self.network, steps)
        self.collapsed = [*self.collapsed, *steps]
        self.structure = Structure((), (), ()) if self.find_structure is None else self.find_structure(self.network)
        shapes = {name: parameter.shape for name, parameter in self.network.named_parameters()}
        self.masks = {name: mask for name, mask in self.masks.items() if shapes.get(name) == mask.shape}
        self.shape_version += 1

    def need_structure(self) -> Structure:
        """The structure, for a method that removes channels.

        Raises:
            NetworkError: (mostly its subclass UnsupportedLayerError) the network's channels cannot be removed.
        """
        if self.refusal is not None:
            raise self.refusal
        return self.structure

    def shrink(self, open_gates: Tensor) -> Tensor:
        """Remove closed gates' channels, with optimizer state, masks and parameters shaped like gates or weights.

        Gates that have no use once these are closed go along (`Structure.consistent`).

        Args:
            open_gates: bool [J].

        Returns:
            The positions [K], among the former gates, of those that stay.

        Raises:
            SettingError: a group would be emptied.
        """
        open_gates = self.structure.consistent(open_gates.cpu())
        positions = open_gates.nonzero().flatten()
        own = positions.to(device_of(self.network))
        self.structure = compact(
            self.network,
            self.structure,
            open_gates,
            optimizers=self.optimizers.values(),
            masks=self.masks,
            alike=self._weight_shaped(),
        )
        for module in self.modules.values():
            for parameter in module.gate_parameters() if isinstance(module, GateShaped) else ():
                replace_data(parameter, parameter.data[own])
                for optimizer in self.optimizers.values():
                    memory = optimizer.state.get(parameter, {})
                    for key, value in memory.items():
                        if isinstance(value, Tensor) and value.shape == open_gates.shape:
                            memory[key] = value[own]
        self.shape_version += 1
        _LOG.debug("step %d: %d of %d gates left", self.step, len(positions), len(open_gates))
        return positions

    def _weight_shaped(self) -> dict[str, list[nn.Parameter]]:
        """The modules' parameters that have the shape of one of the network's, by the latter's name."""
        found: dict[str, list[nn.Parameter]] = {}
        for module in self.modules.values():
            for name, own in module.weight_parameters(self.network).items() if isinstance(module, WeightShaped) else ():
                found.setdefault(name, []).append(own)
        return found

    def memory(self, kind: type[Kind]) -> Kind:
        """The one memory of this kind (a dataclass derived from `Memory`), made at the first use."""
        found = self.memories.setdefault(kind.__name__, kind())
        assert isinstance(found, kind)
        return found

    def forget(self, kind: type[Memory]) -> None:
        """Drop the memory of this kind."""
        self.memories.pop(kind.__name__, None)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Add what runs inside to the epoch's multiply-accumulates: for passes that are not part of a step's loss.

        Looking at a network (validation) is not training and stays outside.
        """
        with MacCounter() as counter:
            yield
        self.epoch_macs += counter.macs

    def macs_ratio(self) -> float | None:
        """All multiply-accumulates of training over those of dense training; None where nothing was trained."""
        dense = self.dense_macs + self.epoch_dense_macs
        return (self.macs + self.epoch_macs) / dense if dense else None

    def layers(self) -> tuple[LayerCost, ...]:
        """Cost of every layer as the network is now."""
        if self._costs is None or self._costs[0] != self.shape_version:
            self._costs = (self.shape_version, layer_costs(self.network, self.example))
        return self._costs[1]

    def network_macs(self) -> int:
        """Multiply-accumulates of one sample as the network is now."""
        return sum(layer.macs for layer in self.layers())

    def running(self) -> frozenset[str]:
        """The layers that take part in a forward pass."""
        return frozenset(layer.name for layer in self.layers())

    def fixed_cost(self) -> tuple[int, int]:
        """Multiply-accumulates that no prunable layer makes, and parameters of layers that never run.

        A recurrent layer, or one with fixed masks, is prunable where the structure writes or reads any of its channels.
        """
        known = {axis.layer for axis in self.structure.axes} | {reader.layer for reader in self.structure.readers}

        def is_fixed(name: str) -> bool:
            return name == OTHER or (name not in known and not isinstance(self.network.get_submodule(name), COUNTED))

        macs = sum(layer.macs for layer in self.layers() if is_fixed(layer.name))
        return macs, sum(idle_layers(self.network, self.layers()).values())

    def expected_cost(self) -> ExpectedCost:
        """The expected cost of the network as it is now, as a function of its gates."""
        if self._expected is None or self._expected[0] != self.shape_version:
            self._expected = (self.shape_version, ExpectedCost.of(self.network, self.structure, self.layers()))
        return self._expected[1]

    def outputs(self, inputs: Any) -> Any:
        """What the network says of inputs, in float32 or wider."""
        return widened(call(self.network, inputs))

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """Mean loss of what the network says in training, its auxiliary outputs included where it has some."""
        loss = self.likelihood.loss(outputs, targets)
        return loss if self.heads is None else loss + self.heads.loss(self.likelihood, targets)

    def held(self) -> Held:
        """What reopens gates on the state's device, for the network as it is now."""
        if self._held is None or self._held[0] is not self.structure:
            self._held = (self.structure, Held(self.structure, self.place.device))
        return self._held[1]

    def params(self) -> int:
        """Parameters of the network as it is now."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def weights(self) -> int:
        """How many weights the linear, convolution and recurrent layers that run have, as the network is now."""
        return sum(weight_sizes(self.network, weights_of(self.network, self.running())).values())

    def masked_weights(self) -> int:
        """How many of these weights masks hold at zero; what a layer's fixed mask leaves out is no weight."""
        zeros = sum(int((mask == 0).sum()) for mask in self.masks.values())
        return zeros - sum(int((~mask).sum()) for name, mask in fixed_masks(self.network).items() if name in self.masks)

    def apply_masks(self) -> None:
        """Set masked weights to zero."""
        apply_masks(self.network, self.masks)
