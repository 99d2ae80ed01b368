"""What a method remembers between steps, as one typed value that checkpoints hold.

A method declares its memory as a dataclass and asks the state for it. It is made at the first use, with every field at
its default, and comes back from a checkpoint with the fields it had.

```python
@dataclass
class Trace(Memory):
    theta: Tensor | None = None
    steps: list[int] = field(default_factory=list)


state.memory(Trace).steps.append(state.step)
```
"""

from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, ClassVar, Self, get_args, get_origin, get_type_hints

import torch
from torch import Tensor


class Memory:
    """Base of such dataclasses; every field has a default and holds what a checkpoint can.

    That is a tensor, a number, text, None, or a list, tuple or dict of those.
    """

    kinds: ClassVar[dict[str, type["Memory"]]] = {}
    on_device: ClassVar[bool] = False
    """Whether the tensors lie where the network does; else on the CPU."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        Memory.kinds[cls.__name__] = cls

    def to_tree(self) -> dict[str, Any]:
        """The fields by name."""
        assert is_dataclass(self)
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> Self:
        """What `to_tree` gave.

        Raises:
            TypeError: there are other fields, or one holds a value of another kind.
        """
        made = cls(**tree)
        assert is_dataclass(made)
        wanted = get_type_hints(cls)
        for one in fields(made):
            value = getattr(made, one.name)
            if not _fits(value, wanted[one.name]):
                raise TypeError(f"{cls.__name__}.{one.name} is {type(value).__name__}")
        return made


def _fits(value: object, hint: Any) -> bool:
    """Whether a value is of one of the kinds that a field's type names; what lists and dicts hold is not looked at."""
    parts = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    kinds = tuple(get_origin(part) or part for part in parts)
    return isinstance(value, kinds) or (float in kinds and isinstance(value, int))


def to_tree(memories: dict[str, Memory]) -> dict[str, dict[str, Any]]:
    """All memories of a state, for its checkpoint."""
    return {name: memory.to_tree() for name, memory in memories.items()}


def from_tree(tree: dict[str, dict[str, Any]], device: torch.device) -> dict[str, Memory]:
    """What `to_tree` gave, for a network on a device.

    Raises:
        LookupError: no method here has such a memory.
        TypeError: a memory has other fields.
    """
    kinds = {name: Memory.kinds[name] for name in tree}
    return {
        name: kind.from_tree(_moved(tree[name], device) if kind.on_device else tree[name])
        for name, kind in kinds.items()
    }


def _moved(value: Any, device: torch.device) -> Any:
    """A tree of dicts, lists and tuples with its tensors on a device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: _moved(part, device) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_moved(part, device) for part in value)
    return value
