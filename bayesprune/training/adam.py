"""Adam for small networks: torch's fused kernel without what its `step` does around it in Python."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Adam

from bayesprune.devices import CPU


def fused_adam(parameters: Sequence[Any], learning_rate: float, weight_decay: float) -> Adam:
    """Fused Adam of parameters or groups of them, the short way where all lie on the processor in one type."""
    tensors = [one for given in parameters for one in (given["params"] if isinstance(given, dict) else [given])]
    if {(one.device.type, one.dtype) for one in tensors} <= {(CPU, torch.float32)}:
        return FusedAdam(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)
    return Adam(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)


class ClippedAdam(Adam):
    """Torch's fused Adam that scales longer gradients down to a norm first."""

    def __init__(self, parameters: Sequence[Any], clip: float, learning_rate: float, weight_decay: float) -> None:
        super().__init__(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)
        self._clip = clip

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]  # no closure is used
        """One step."""
        moved = [parameter for group in self.param_groups for parameter in group["params"]]
        nn.utils.clip_grad_norm_(moved, self._clip)
        super().step()


class FusedAdam(Adam):
    """`Adam(fused=True)` to the last bit, for float32 on a processor; a step makes two calls a group of parameters.

    A small network's step is short, and torch's own wrapper (hooks, profiling, sorting of tensors by device and type)
    takes as long as the kernel. State and `state_dict` are torch's. Step hooks are not called.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]  # no closure is used
        """One step of every parameter that has a gradient."""
        for group in self.param_groups:
            gradients, memories = [], []
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            for parameter in moved:
                gradients.append(parameter.grad)
                memories.append(self.state[parameter] or self._remember(parameter))
            if not moved:
                continue
            steps = [memory["step"] for memory in memories]
            averages = [memory["exp_avg"] for memory in memories]
            squares = [memory["exp_avg_sq"] for memory in memories]
            beta1, beta2 = group["betas"]
            torch._foreach_add_(steps, 1)
            torch._fused_adam_(
                moved, gradients, averages, squares, [], steps, lr=group["lr"], beta1=beta1, beta2=beta2,
                weight_decay=group["weight_decay"], eps=group["eps"], amsgrad=False, maximize=False,
            )  # fmt: skip

    step.hooked = True  # type: ignore[attr-defined]  # torch would wrap it at the first instance

    def _remember(self, parameter: nn.Parameter) -> dict[str, Any]:
        """What a parameter's first step starts from."""
        memory: dict[str, Any] = self.state[parameter]
        memory["step"] = torch.zeros((), dtype=torch.float32)
        memory["exp_avg"], memory["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        return memory
