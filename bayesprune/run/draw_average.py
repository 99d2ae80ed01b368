"""One network under several draws of its gates, as one module that predicts their mean."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bayesprune.batches import call
from bayesprune.errors import SettingError
from bayesprune.run.settings import check_integer
from bayesprune.structure import Gating, Structure
from bayesprune.tasks import Task
from bayesprune.training.heads import picked

if TYPE_CHECKING:
    from bayesprune.run.pruned import Pruned


class DrawAverage(nn.Module):
    """Outputs [B, ...] that say the mean of what a network predicts under D draws of its gates (`Task.averaged`).

    The draws are part of the module, the same for all examples: equal inputs get equal outputs, whatever the batch. In
    training mode it is the network itself.

    Args:
        network: any.
        structure: its groups.
        gates: what each gate multiplies [D, J]: 0 or 1, or other numbers for gates that are scaled.
        task: of the outputs; without one the outputs themselves are averaged.
        output: which of several outputs counts.

    Raises:
        SettingError: there are no draws, or they are not of the network's gates.
    """

    gates: Tensor

    def __init__(
        self, network: nn.Module, structure: Structure, gates: Tensor, task: Task | None, output: str = ""
    ) -> None:
        super().__init__()
        if gates.dim() != 2 or gates.shape[1] != structure.gate_count or not gates.numel():
            raise SettingError(f"gates are {list(gates.shape)}; [draws, {structure.gate_count}] are needed")
        self.network, self._structure, self._task, self._output = network, structure, task, output
        self.register_buffer("gates", gates.to(torch.get_default_dtype()))

    def forward(self, inputs: Any, /) -> Tensor:
        """Takes one batch: a tensor, or the tuple or dict of tensors that the network takes."""
        if self.training:
            alone: Tensor = picked(call(self.network, inputs), self._output)
            return alone
        gating, said = Gating(self.network, self._structure), []
        try:
            for gates in self.gates:
                with gating.applied(gates):
                    said.append(picked(call(self.network, inputs), self._output))
        finally:
            gating.remove()
        stacked = torch.stack(said)
        return stacked.mean(0) if self._task is None else self._task.averaged(stacked)

    def extra_repr(self) -> str:
        """Say how many draws of how many gates."""
        return f"{self.gates.shape[0]} draws of {self.gates.shape[1]} gates"


def drawn_gates(pruned: "Pruned", draws: int = 100, seed: int = 0) -> Tensor:
    """Gates of a compact network at random, each open with its inclusion probability before the last decisions.

    Gates that were removed stay removed: their weights are gone. A layer that a draw would leave with nothing to pass
    on keeps its likeliest gate.

    Args:
        pruned: the result of a Bayesian method.
        draws: at least 1.
        seed: of the draws.

    Returns:
        [1, D, J] of 0 and 1, as `Pruned.predictive` and `Pruned.ensemble` take them.

    Raises:
        SettingError: the method has no posterior, or `draws` is below 1.
    """
    check_integer("draws", draws, 1)
    if pruned.posterior is None:
        raise SettingError(
            f"method {pruned.settings.method!r} has no posterior to draw gates from: take a Bayesian one, such as "
            "parsimonious, or pruned.gibbs()"
        )
    chances = pruned.posterior.inclusion_probability[pruned.structure.original_gates()].cpu()
    uniform = torch.rand(draws, len(chances), generator=torch.Generator().manual_seed(seed))
    opened = [pruned.structure.protect(row, chances) for row in uniform < chances]
    return torch.stack(opened).to(torch.uint8)[None]
