"""Running a network again from where something changed: layers before that say what they said."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from bayesprune.sections.value import Section
from bayesprune.structure.layers import CONVOLUTION, NORM

_KINDS = (nn.Linear, CONVOLUTION, NORM, nn.LayerNorm, nn.GroupNorm)


class Prefix:
    """Remembers what layers say in one pass, for passes on the same inputs that differ from some section on.

    ```python
    with Prefix(network, sections) as prefix:
        before = network(inputs)
        prefix.change(section)  # the gate of this section, and of none before it, is another one now
        after = network(inputs)
    ```
    Only linear layers, convolutions and normalisations are remembered; all else runs again. No gradients flow.

    Args:
        network: that runs the same layers in the same order at every pass.
        sections: that may change.
    """

    def __init__(self, network: nn.Module, sections: tuple[Section, ...]) -> None:
        self._network, self._sections = network, sections
        self._said: list[Tensor] = []
        self._calls = self._until = 0
        self._begins: dict[str, int] = {}

    def change(self, section: Section, *, reuse: bool = True) -> None:
        """The coming pass has another gate of this section; all runs again where nothing is to be reused."""
        self._calls, self._until = 0, self._begins.get(section.name, 0) if reuse else 0

    def __enter__(self) -> "Prefix":
        self._stack = self._patched()
        self._stack.__enter__()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stack.__exit__(None, None, None)

    @contextmanager
    def _patched(self) -> Iterator[None]:
        layers = [module for module in self._network.modules() if isinstance(module, _KINDS)]
        handles = [
            self._network.get_submodule(point).register_forward_hook(self._note(section.name))
            for section in self._sections
            for point in section.points
        ]
        for layer in layers:
            layer.forward = self._recall(layer.forward)  # type: ignore[method-assign]  # for a while only
        try:
            yield
        finally:
            for layer in layers:
                del layer.forward
            for handle in handles:
                handle.remove()

    def _note(self, section: str) -> Any:
        """Remember how many layers had run when a section's gate acts for the first time."""

        def hook(*_: Any) -> None:
            self._begins.setdefault(section, self._calls)

        return hook

    def _recall(self, run: Any) -> Any:
        """A layer's forward that hands out copies: what follows may change them in place."""

        def forward(*arguments: Any, **named: Any) -> Tensor:
            number = self._calls
            self._calls += 1
            if number < self._until:
                return self._said[number].clone()
            outputs: Tensor = run(*arguments, **named)
            if number == len(self._said):
                self._said.append(outputs.clone())
            return outputs

        return forward
