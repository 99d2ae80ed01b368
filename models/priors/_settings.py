"""Turning parameters of distributions into tensors, and refusing the ones that cannot be used."""

import torch
from torch import Size, Tensor

from bayesprune.errors import SettingError

Shape = Size | list[int] | tuple[int, ...]
SCALAR = Size()


def as_float_tensor(value: Tensor | float, like: Tensor | None = None) -> Tensor:
    """A floating-point tensor of `value`; plain numbers take the type and device of `like`."""
    if isinstance(value, Tensor):
        return value if value.is_floating_point() else value.to(torch.get_default_dtype())
    if like is None:
        return torch.tensor(value, dtype=torch.get_default_dtype())
    return torch.tensor(value, dtype=like.dtype, device=like.device)


def require(name: str, value: Tensor, usable: Tensor, limit: str, cure: str) -> None:
    """Raise a SettingError that names the first element of `value` where `usable` is false."""
    if not bool(usable.all()):
        worst = value.detach()[~usable].flatten()[0].item()
        raise SettingError(f"{name} is {worst:g} but must be {limit}; {cure}")
