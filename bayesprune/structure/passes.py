"""Running a network so that every layer is seen: in evaluation mode, and as in training where that runs more."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from bayesprune.batches import Batch, call, is_batch, parts, whole_shape
from bayesprune.errors import InputShapeError, NetworkError, a_kind
from bayesprune.structure.modes import as_in_training, evaluating, hooked
from bayesprune.structure.nesting import tensors_in

Mode = Callable[[nn.Module], AbstractContextManager[None]]
Watch = Callable[[Callable[[], Any]], Any]
"""Makes a pass, and returns what it says."""


class Quiet(TorchFunctionMode):
    """Leaves dropout out, also where a network calls it in evaluation mode."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function, or hand on what would be dropped from."""
        if is_dropout(func):
            return args[0] if args else (kwargs or {})["input"]
        if getattr(func, "__name__", "") == "scaled_dot_product_attention":
            args, kwargs = (*args[:4], 0.0, *args[5:]) if len(args) > 4 else args, {**(kwargs or {}), "dropout_p": 0.0}
            kwargs = {key: value for key, value in kwargs.items() if key != "dropout_p" or len(args) <= 4}
        return func(*args, **(kwargs or {}))


def is_dropout(function: Any) -> bool:
    """Whether a function of torch drops features at random."""
    return "dropout" in getattr(function, "__name__", "")


@dataclass(frozen=True)
class Passes:
    """How a network is run.

    Attributes:
        training_too: training runs other layers or says something else, as with auxiliary heads.
        run: the modules with parameters that run in either mode.
    """

    training_too: bool
    run: frozenset[str]

    def __call__(self, network: nn.Module, example: Batch) -> list[Any]:
        """What the network says in each mode; dropout is left out, other random numbers are the same each time."""
        modes: list[Mode] = [evaluating, as_in_training] if self.training_too else [evaluating]
        outputs = []
        for mode in modes:
            with torch.random.fork_rng(devices=[]), mode(network), Quiet():
                torch.default_generator.manual_seed(0)
                outputs.append(call(network, example))
        return outputs


def look(network: nn.Module, example: Batch, watching: Watch | None = None) -> Passes:
    """Run a network in both modes to see which layers each of them runs.

    Args:
        network: the network.
        example: inputs [B, ...].
        watching: sees every pass, and what it says.

    Raises:
        InputShapeError: it cannot take the example; with what the network said.
    """
    if not is_batch(example):
        raise InputShapeError(
            f"the example is {a_kind(example)}; a tensor [B, ...] is needed, or a tuple or dict of such"
        )
    if any(part.is_floating_point() and bool(part.isnan().any()) for part in parts(example)):
        raise InputShapeError("the example holds NaN, on which nothing can be compared: give inputs that are numbers")
    try:
        evaluated, outputs = _layers_run(network, example, evaluating, watching)
    except NetworkError:
        raise
    except Exception as error:  # whatever the network's own code raises
        said = " ".join(str(error).split())
        raise InputShapeError(f"the network cannot take inputs of shape {whole_shape(example)}: {said}") from error
    try:
        trained, others = _layers_run(network, example, as_in_training, watching)
    except NetworkError:
        raise
    except Exception:  # it cannot be trained on these inputs, so training has no layers that matter
        trained, others = evaluated, outputs
    differs = bool(trained - evaluated) or not _same(outputs, others)
    return Passes(differs, frozenset(evaluated | trained))


def is_random(network: nn.Module, example: Batch) -> bool:
    """Whether a network says something else at each pass in evaluation mode, though dropout is left out."""
    with torch.random.fork_rng(devices=[]), torch.no_grad(), evaluating(network), Quiet():
        return not _same(call(network, example), call(network, example))


def _same(one: Any, other: Any) -> bool:
    """Whether two outputs hold the same tensors."""
    pairs = zip_longest(tensors_in(one), tensors_in(other))
    return all(a is not None and b is not None and torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairs)


def _layers_run(network: nn.Module, example: Batch, mode: Mode, watching: Watch | None) -> tuple[set[str], Any]:
    """The names of the modules with parameters that one pass runs, and what it says."""
    seen: set[str] = set()

    def watch(name: str, module: nn.Module) -> Any:
        return module.register_forward_pre_hook(lambda *_: seen.add(name))

    layers = [(name, module) for name, module in network.named_modules() if any(True for _ in module.parameters())]
    with torch.random.fork_rng(devices=[]), hooked(watch(*layer) for layer in layers), mode(network), Quiet():
        torch.default_generator.manual_seed(0)
        if watching is None:
            return seen, call(network, example)
        outputs = watching(lambda: call(network, example))
        return seen, outputs
