"""Everything that a run is at a step, as one object that can be saved and resumed from."""

from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn
from torch.optim import Optimizer

from bayesprune.errors import NetworkError
from bayesprune.structure import LayerCost, Structure, compact, layer_costs
from bayesprune.structure.compact import replace_data
from bayesprune.structure.cost import COUNTED
from bayesprune.training.masks import apply_masks
from bayesprune.training.memory import Memory

Kind = TypeVar("Kind", bound=Memory)


@runtime_checkable
class GateShaped(Protocol):
    """A module with parameters of one entry a gate: they are cut along when the network shrinks."""

    def gate_parameters(self) -> list[nn.Parameter]:
        """Parameters of shape [J]."""
        ...


@dataclass
class TrainState:
    """One run at one step.

    Attributes:
        network: in its present shape.
        structure: its groups, with the original indices of what is left; without any where the network cannot be
            taken apart. Who removes channels asks `need_structure`.
        example: inputs [B, ...] for counting costs.
        refusal: why no channel of the network can be removed; None where some can.
        modules: parameters outside the network, such as a guide, by name; `state_dict` is saved.
        masks: by parameter name, multiplied into the weights after every step.
        optimizers: of the present phase; "network" is the first.
        values: what a method wants to keep: numbers, strings and tensors by name.
        memories: what methods remember, by the name of its kind; `memory` reads it.
        identity: what run this is, as plain values; a checkpoint of another one is refused.
        history: one record an epoch.
        phase, phase_step: which phase, and its steps done; `phase_started` once its `start` has run.
        step: steps done in all.
        epoch, epoch_step: passes over the training data begun before this one, and steps done in this one.
        seconds, macs: training time and multiply-accumulates of all finished epochs.
        epoch_loss, epoch_seconds, epoch_macs, epoch_dense_macs: sums over this epoch so far; the last is what
            plain training of the network at its initial size would have cost.
        learning_rate: of the step being made.
    """

    network: nn.Module
    structure: Structure
    example: Tensor
    modules: dict[str, nn.Module] = field(default_factory=dict)
    masks: dict[str, Tensor] = field(default_factory=dict)
    optimizers: dict[str, Optimizer] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
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
    epoch_loss: float = 0.0
    epoch_seconds: float = 0.0
    epoch_macs: float = 0.0
    epoch_dense_macs: float = 0.0
    learning_rate: float = 0.0
    refusal: NetworkError | None = None
    shape_version: int = 0
    _costs: tuple[int, tuple[LayerCost, ...]] | None = None

    def __post_init__(self) -> None:
        self.initial_layers = self.layers()
        self.initial_macs = self.network_macs()
        self.initial_params = self.params()
        self.initial_weights = self.weights()

    def need_structure(self) -> Structure:
        """The structure, for a method that removes channels.

        Raises:
            NetworkError: (mostly its subclass UnsupportedLayerError) the network's channels cannot be removed.
        """
        if self.refusal is not None:
            raise self.refusal
        return self.structure

    def shrink(self, open_gates: Tensor) -> Tensor:
        """Remove closed gates' channels, with optimizer state, masks and gate-shaped parameters.

        Gates that have no use once these are closed go along (`Structure.consistent`).

        Args:
            open_gates: bool [J].

        Returns:
            The positions [K], among the former gates, of those that stay.

        Raises:
            SettingError: a group would be emptied.
        """
        open_gates = self.structure.consistent(open_gates)
        positions = open_gates.nonzero().flatten()
        self.structure = compact(
            self.network, self.structure, open_gates, optimizers=self.optimizers.values(), masks=self.masks
        )
        for module in self.modules.values():
            for parameter in module.gate_parameters() if isinstance(module, GateShaped) else ():
                replace_data(parameter, parameter.data[positions])
                for optimizer in self.optimizers.values():
                    memory = optimizer.state.get(parameter, {})
                    for key, value in memory.items():
                        if isinstance(value, Tensor) and value.shape == open_gates.shape:
                            memory[key] = value[positions]
        self.shape_version += 1
        return positions

    def memory(self, kind: type[Kind]) -> Kind:
        """The one memory of this kind (a dataclass derived from `Memory`), made at the first use."""
        found = self.memories.setdefault(kind.__name__, kind())
        assert isinstance(found, kind)
        return found

    def forget(self, kind: type[Memory]) -> None:
        """Drop the memory of this kind."""
        self.memories.pop(kind.__name__, None)

    def layers(self) -> tuple[LayerCost, ...]:
        """Cost of every layer as the network is now."""
        if self._costs is None or self._costs[0] != self.shape_version:
            self._costs = (self.shape_version, layer_costs(self.network, self.example[:1]))
        return self._costs[1]

    def network_macs(self) -> int:
        """Multiply-accumulates of one sample as the network is now."""
        return sum(layer.macs for layer in self.layers())

    def params(self) -> int:
        """Parameters of the network as it is now."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def weights(self) -> int:
        """Entries of the weights of linear and convolution layers as the network is now."""
        return sum(m.weight.numel() for m in self.network.modules() if isinstance(m, COUNTED))

    def apply_masks(self) -> None:
        """Set masked weights to zero."""
        apply_masks(self.network, self.masks)
