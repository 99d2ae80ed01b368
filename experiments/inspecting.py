"""Looking at what of a network can be removed: `bayesprune.inspect`."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from bayesprune.batches import is_batch
from bayesprune.data.given import as_data
from bayesprune.errors import NetworkError, a_kind
from bayesprune.inspection import Inspection
from bayesprune.inspection import inspect as look
from bayesprune.run.environment import environment
from bayesprune.run.given import Given, start_from
from bayesprune.run.prepare import prepared, readable
from bayesprune.run.pruned import Pruned
from bayesprune.run.settings import RunSettings


@environment()
def inspect(
    network: Given | Pruned,
    example: Any,
    *,
    keep: Sequence[str] = (),
    inputs: str = "auto",
    flatten_inputs: bool = False,
    widths: Sequence[int] | None = None,
) -> Inspection:
    """Say of every layer what can be removed, tied with what, or why it stays whole; see `bayesprune.inspection`.

    Args:
        network: what `prune` takes: a module, which is not changed, or a name, class or function that makes one.
        example: a batch [B, ...] of inputs (or a tuple or dict of such) for a module; or data, as `prune` takes them.
        keep: layers whose outputs stay whole.
        inputs: gates on input features, as for `prune`.
        flatten_inputs: gates on flattened features as well.
        widths: of the network's layers, where a name, class or function takes them.

    Returns:
        A value that prints as a table, also in notebooks.

    Raises:
        NetworkError: the network cannot be copied, run or traced, or takes other inputs.
        SettingError: `keep` names a layer that is not there.
        DataError: a name, class or function has no data beside it.
    """
    import bayesprune.models.networks  # noqa: F401 - fills the registry

    module = network.network if isinstance(network, Pruned) else network
    if isinstance(module, Mapping):
        raise NetworkError(f"network is {a_kind(module)}: give a torch.nn.Module, into which its weights are loaded")
    chosen: dict[str, Any] = {"keep": keep, "inputs": inputs, "flatten_inputs": flatten_inputs}
    if isinstance(module, nn.Module) and is_batch(example) and not _is_pair(example):
        return look(readable(module, example, 0), example, **chosen)
    data = as_data(example, None)
    settings = RunSettings("dense", data=data.name, widths=None if widths is None else tuple(widths))
    start = start_from(module, data, settings)
    inside = next(iter(data.test.batches(2)))[0]
    return look(prepared(start.network, inside, settings.seed), inside, name=start.settings.network, **chosen)


def _is_pair(example: Any) -> bool:
    """Whether this is (inputs, targets) and not two inputs: the second is one whole number an example."""
    if not (isinstance(example, tuple) and len(example) == 2):
        return False
    second = example[1]
    return isinstance(second, Tensor) and second.dim() == 1 and not second.is_floating_point()
