"""A device that is not there: tensors that say they lie on it, and compute with real numbers on the CPU.

Whatever a GPU refuses or waits for shows on it: a tensor of the CPU among those of the device (`Misplaced`), and every
question after a value, which is counted (and refused while `Pretend.refuses` is set). It has a generator of its own.
Torch's own pretence (`FakeTensorMode` on "cuda") ends the process at the first backward pass where torch was built
without CUDA, and has no numbers, without which no gate closes.
"""

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

KIND = "lazy"
"""A kind of device that torch knows, no build has, and autograd runs backward passes for."""

DEVICE = torch.device(KIND, 0)

aten: Any = torch.ops.aten

_DATA: Any = Tensor.data

_WAITS = {
    aten._local_scalar_dense, aten.equal, aten.is_nonzero, aten.nonzero, aten.masked_select, aten.unique_dim,
    aten._unique2, aten.repeat_interleave, aten.bincount,
}  # fmt: skip
"""Operators for whose results a GPU is waited for."""


class Misplaced(AssertionError):
    """A tensor lies on the CPU among those of the device."""


class Waited(AssertionError):
    """A device must be waited for where nobody should wait."""


class Far(Tensor):
    """A tensor on the pretended device."""

    elem: Tensor

    @staticmethod
    def __new__(cls, elem: Tensor) -> "Far":
        return Tensor._make_wrapper_subclass(
            cls, elem.shape, strides=elem.stride(), storage_offset=elem.storage_offset(), dtype=elem.dtype,
            device=DEVICE,
        )  # fmt: skip

    def __init__(self, elem: Tensor) -> None:
        self.elem = elem

    @property
    def data(self) -> Any:
        return _DATA.__get__(self)

    @data.setter
    def data(self, value: Any) -> None:
        _DATA.__set__(self, value)
        self.elem = value.elem

    def __deepcopy__(self, memory: dict[int, Any]) -> Any:
        if id(self) not in memory:
            copy = self.detach().clone()
            copy.requires_grad_(self.requires_grad)
            if isinstance(self, torch.nn.Parameter):
                copy = torch.nn.Parameter(copy, self.requires_grad)
            copy.__dict__.update({name: v for name, v in self.__dict__.items() if name != "elem"})
            memory[id(self)] = copy
        return memory[id(self)]

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]  # the stub has another name
        return f"Far({self.elem})"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch's stub declares a method of the instance
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        raise AssertionError(f"{func} on a pretended tensor outside of Pretend")


class Pretend(TorchDispatchMode):
    """Inside, there is a device "lazy:0".

    Attributes:
        waits: how often it was waited for, by operator.
        refuses: whether waiting is an error.
        generator: of its random numbers.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.refuses = False
        self.generator = torch.Generator().manual_seed(0)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = _tensors((args, kwargs))
        far = [each for each in tensors if isinstance(each, Far)]
        asked = kwargs.get("device")
        to_far = asked is not None and torch.device(asked).type == KIND
        if not far and not to_far:
            return func(*args, **kwargs)
        if func is torch.ops.prim.device.default:
            return DEVICE
        packet = func._overloadpacket
        leaves = bool(far) and asked is not None and not to_far
        if packet in _WAITS or leaves:
            self._wait(str(packet))
        if packet is aten.copy_ and isinstance(args[1], Far) != isinstance(args[0], Far):
            self._wait("copy_")
        elif far and not leaves and packet is not aten._to_copy:
            self._check(func, tensors)
        if to_far:
            kwargs["device"] = torch.device("cpu")
        found = self._run(func, *_mapped(lambda each: each.elem if isinstance(each, Far) else each, (args, kwargs)))
        if leaves:
            return found
        return self._wrapped(found, far)

    def _check(self, func: Any, tensors: list[Tensor]) -> None:
        """Refuse tensors of the CPU, but for plain numbers, and masks that must be counted."""
        for each in tensors:
            if not isinstance(each, Far) and each.dim() > 0:
                raise Misplaced(f"{func} gets a tensor {list(each.shape)} {each.dtype} of the CPU")
        masks = any(each.dtype == torch.bool for each in tensors[1:])
        if masks and func._overloadpacket in (aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_):
            self._wait("index by a mask")

    def _wait(self, why: str) -> None:
        self.waits[why] += 1
        if self.refuses:
            raise Waited(f"the device must be waited for: {why}")

    def _run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """An operator on the CPU, which draws from the device's generator."""
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        before = torch.get_rng_state()
        torch.set_rng_state(self.generator.get_state())
        try:
            return func(*args, **kwargs)
        finally:
            self.generator.set_state(torch.get_rng_state())
            torch.set_rng_state(before)

    @staticmethod
    def _wrapped(found: Any, far: list[Far]) -> Any:
        """Results as tensors of the device; what an operator changed in place is the tensor that it was given."""
        given = {id(each.elem): each for each in far}

        def wrap(each: Tensor) -> Tensor:
            if id(each) not in given:
                return Far(each)
            own = given[id(each)]
            if own.shape != each.shape:  # an axis was taken off in place
                _DATA.__set__(own, Far(each))
            return own

        with torch.inference_mode(False):  # torch would refuse views of other tensors
            return _mapped(wrap, found)

    # what `torch.get_device_module` would give
    def get_rng_state(self) -> Tensor:
        return self.generator.get_state()

    def set_rng_state(self, state: Tensor) -> None:
        self.generator.set_state(state)

    def manual_seed(self, seed: int) -> None:
        self.generator.manual_seed(seed)


@contextmanager
def pretended(monkeypatch: Any) -> Iterator[Pretend]:
    """Let the library take "cuda" for the pretended device."""
    from bayesprune import devices

    mode = Pretend()
    real = devices.place_of
    module = torch.get_device_module
    swaps = torch.__future__.get_swap_module_params_on_conversion()

    def place_of(device: str, precision: str) -> devices.Place:
        return devices.Place(DEVICE, precision) if device.startswith(("cuda", KIND)) else real(device, precision)

    monkeypatch.setattr(devices, "_FORM", re.compile(r"auto|cpu|cuda(:\d+)?|lazy:0"))
    monkeypatch.setattr("bayesprune.run.running.place_of", place_of)
    monkeypatch.setattr(torch, "get_device_module", lambda device=None: mode if _is_far(device) else module(device))
    monkeypatch.setattr(
        sys.modules["torch.optim.optimizer"], "_get_fused_kernels_supported_devices", lambda: ["cpu", KIND]
    )
    monkeypatch.setattr("bayesprune.run.environment.torch.autocast", _autocast(torch.autocast))
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        with mode:
            yield mode
    finally:
        torch.__future__.set_swap_module_params_on_conversion(swaps)


def _tensors(values: Any) -> list[Tensor]:
    """All tensors in tuples, lists and dicts; torch's own `tree_flatten` takes longer than the operators."""
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, dict):
        values = values.values()
    elif not isinstance(values, tuple | list):
        return []
    return [tensor for each in values for tensor in _tensors(each)]


def _mapped(change: Callable[[Tensor], Tensor], values: Any) -> Any:
    """The same with every tensor changed."""
    if isinstance(values, Tensor):
        return change(values)
    if isinstance(values, dict):
        return {name: _mapped(change, each) for name, each in values.items()}
    return type(values)(_mapped(change, each) for each in values) if isinstance(values, tuple | list) else values


def _is_far(device: Any) -> bool:
    return device is not None and torch.device(device).type == KIND


def _autocast(real: Any) -> Any:
    """Torch has no autocast for the pretended device: that of the CPU stands for it."""
    return lambda kind, *args, **kwargs: real("cpu" if kind == KIND else kind, *args, **kwargs)
