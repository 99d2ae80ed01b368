"""Where a run computes and in which precision, and the random numbers of that device."""

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.errors import SettingError, UnknownNameError

AUTO, CPU = "auto", "cpu"

PRECISIONS = {"float32": torch.float32, "bf16": torch.float32, "float64": torch.float64}
"""The type of weights, data and gates in each precision; with bf16 only what a network computes is bfloat16."""

_FORM = re.compile(r"auto|cpu|mps|cuda(:\d+)?")

READ_EVERY = 20
"""Steps from one look at the losses to the next on an accelerator, which must be waited for; else every step."""


@dataclass(frozen=True)
class Place:
    """Where a run computes, and how.

    Attributes:
        device: as torch has it.
        precision: a key of `PRECISIONS`.
    """

    device: torch.device = torch.device(CPU)
    precision: str = "float32"

    @property
    def dtype(self) -> torch.dtype:
        """Of weights, data and gates."""
        return PRECISIONS[self.precision]

    @property
    def is_usual(self) -> bool:
        """Whether data and networks are there already as they are made."""
        return self.device.type == CPU and self.dtype == torch.float32

    @property
    def read_every(self) -> int:
        """Steps from one look at the losses to the next."""
        return 1 if self.device.type == CPU else READ_EVERY

    def computing(self) -> AbstractContextManager[Any]:
        """A context for forward passes and losses: bfloat16 for what bears it, where that is the precision."""
        return nullcontext() if self.precision != "bf16" else _in_bfloat16(self.device.type)

    def settle(self, network: nn.Module) -> nn.Module:
        """Bring a network here, in place."""
        if self.is_usual and all(map(_is_usual, (*network.parameters(), *network.buffers()))):
            return network
        network.to(self.device)
        if self.dtype == torch.float64:
            network.double()
        if self.precision == "bf16" and self.device.type == "cuda":
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        return network

    def bring(self, tensor: Tensor) -> Tensor:
        """A tensor here: floats in the precision of the run, other types as they are."""
        if tensor.is_floating_point() and self.dtype == torch.float64:
            return tensor.to(self.device, torch.float64, non_blocking=True)
        return tensor.to(self.device, non_blocking=True)


@contextmanager
def _in_bfloat16(kind: str) -> Iterator[None]:
    """Autocast whose narrow copies of weights go at the end.

    Torch keeps them inside an outer context, also when the weights have changed.
    """
    torch.clear_autocast_cache()
    try:
        with torch.autocast(kind, dtype=torch.bfloat16):
            yield
    finally:
        torch.clear_autocast_cache()


def _is_usual(tensor: Tensor) -> bool:
    return tensor.device.type == CPU


def check_device(device: object) -> str:
    """The name of a device.

    Raises:
        SettingError: it names none.
    """
    name = str(device) if isinstance(device, str | torch.device) else ""
    if not _FORM.fullmatch(name):
        raise SettingError(f"device must be 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps', not {device!r}")
    return name


def check_precision(precision: object) -> str:
    """The name of a precision.

    Raises:
        UnknownNameError: there is no such one.
    """
    name = str(precision).removeprefix("torch.") if isinstance(precision, str | torch.dtype) else repr(precision)
    name = "bf16" if name == "bfloat16" else name
    if name not in PRECISIONS:
        raise UnknownNameError("precision", name, PRECISIONS)
    return name


def place_of(device: str, precision: str) -> Place:
    """The place that settings name, as far as this machine has it.

    "auto" is the first CUDA device where there is one, else the CPU.

    Raises:
        SettingError: the machine has no such device, or the device lacks the precision.
    """
    found = _first() if device == AUTO else _existing(device)
    if precision == "float64" and found.type == "mps":
        raise SettingError("precision='float64' is not to be had on device 'mps': give device='cpu'")
    if precision == "bf16" and not _has_bf16(found):
        raise SettingError(f"precision='bf16' is not to be had on device '{found}': give precision='float32'")
    return Place(found, precision)


def _first() -> torch.device:
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device(CPU)


def _existing(name: str) -> torch.device:
    """The device of a name.

    Raises:
        SettingError: it is not there.
    """
    asked = torch.device(name)
    there = available()
    if asked.type == "cuda":
        asked = torch.device("cuda", asked.index or 0)
    if str(asked) not in there:
        raise SettingError(f"device={name!r} is not there: this machine has {', '.join(there)}; give one of these")
    return asked


def available() -> list[str]:
    """Names of this machine's devices."""
    cuda = [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return [CPU, *cuda, *(["mps"] if torch.backends.mps.is_available() else [])]


def _has_bf16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 by itself."""
    if device.type != "cuda":
        return True
    return bool(torch.cuda.get_device_capability(device) >= (8, 0))


def widened(outputs: Any) -> Any:
    """Outputs in float32 that were computed in a narrower type: likelihoods need the digits."""
    narrow = isinstance(outputs, Tensor) and outputs.dtype in (torch.bfloat16, torch.float16)
    return outputs.float() if narrow else outputs


def device_of(network: nn.Module) -> torch.device:
    """Where a network's first parameter lies; the CPU for one without any."""
    first = next(network.parameters(), None)
    return torch.device(CPU) if first is None else first.device


def fitting(network: nn.Module, tensor: Tensor) -> Tensor:
    """An input where a network lies; floats in float64 where its weights are."""
    first = next(network.parameters(), None)
    if first is None:
        return tensor
    if tensor.is_floating_point() and first.dtype == torch.float64:
        return tensor.to(first.device, torch.float64)
    return tensor.to(first.device)


def number(value: Tensor) -> float | Tensor:
    """A scalar as a number where that costs nothing, that is on the CPU; else as it is, to be read later."""
    return float(value) if value.device.type == CPU else value


def wide(tensor: Tensor) -> Tensor:
    """A tensor in float64, or in float32 on a device that has no wider type."""
    return tensor.float() if tensor.device.type == "mps" else tensor.double()


def free_memory(device: torch.device) -> float:
    """Bytes that a device has left; infinite where that is not known."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return float(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    return float("inf")


def generators(device: torch.device) -> dict[str, Any]:
    """What holds the state of the random numbers that a run on a device draws, by kind of device."""
    return {CPU: _CPUNumbers()} | ({} if device.type == CPU else {device.type: _DeviceNumbers(device)})


class _CPUNumbers:
    """Torch's global generator."""

    def get(self) -> Tensor:
        """Its state."""
        return torch.get_rng_state()

    def put(self, state: Tensor) -> None:
        """Set it."""
        torch.set_rng_state(state)

    def seed(self, number: int) -> None:
        """Begin anew."""
        torch.default_generator.manual_seed(number)


class _DeviceNumbers:
    """The generator of an accelerator."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._module = device, torch.get_device_module(device)

    def get(self) -> Tensor:
        """Its state, on the CPU."""
        state: Tensor = self._module.get_rng_state(*self._index())
        return state

    def put(self, state: Tensor) -> None:
        """Set it."""
        self._module.set_rng_state(state.cpu(), *self._index())

    def seed(self, number: int) -> None:
        """Begin anew."""
        with ExitStack() as stack:
            if self._device.type == "cuda":
                stack.enter_context(torch.cuda.device(self._device))
            self._module.manual_seed(number)

    def _index(self) -> tuple[torch.device, ...]:
        return (self._device,) if self._device.type == "cuda" else ()


@contextmanager
def random_apart(device: torch.device, seed: int | None = None) -> Iterator[None]:
    """Give the generators of the CPU and of a device their states back afterwards; inside they begin at a seed."""
    own = generators(device)
    before = {kind: one.get() for kind, one in own.items()}
    try:
        if seed is not None:
            seed_random(device, seed)
        yield
    finally:
        for kind, one in own.items():
            one.put(before[kind])


def seed_random(device: torch.device, number: int) -> None:
    """Let the generators of the CPU and of a device begin anew."""
    for one in generators(device).values():
        one.seed(number)


def random_states(device: torch.device) -> dict[str, Tensor]:
    """The states of all generators of a run on a device, by kind of device."""
    return {kind: one.get() for kind, one in generators(device).items()}


def put_random_states(device: torch.device, states: Mapping[str, Tensor], seed: int) -> None:
    """Set the generators' states; one of a kind that has none among them begins at a seed: the run was moved here."""
    for kind, one in generators(device).items():
        if kind in states:
            one.put(states[kind])
        else:
            one.seed(seed)
