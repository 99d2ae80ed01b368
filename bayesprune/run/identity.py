"""What a run depends on, as JSON: its settings, and hashes of the data, weights and code that they name."""

from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from bayesprune.data.cached import load_cached
from bayesprune.run.budget import REVISION
from bayesprune.run.network_arguments import split_arguments
from bayesprune.run.networks import NetworkSpec
from bayesprune.run.settings import RunSettings
from bayesprune.run.shares import is_table
from bayesprune.run.user_code import code_digest, source_digest
from bayesprune.tasks.code import is_ours, said_by
from bayesprune.training.masks import attached_masks

RUN = "run:"
"""Before the name of a run folder, in place of a file of weights."""

_OTHER_DATA = "transfer_data"
"""The option that names data beside the run's own."""


def identity_of(
    settings: RunSettings,
    spec: NetworkSpec | None,
    fingerprint: str,
    network: nn.Module | None = None,
    method: object = None,
) -> dict[str, Any]:
    """All that decides a run's result, as JSON; `bayesprune.store.identity.run_id` names the run by it.

    Args:
        settings: of the run.
        spec: how its network is built; None for a network of the user's own.
        fingerprint: of the data.
        network: one that was handed over with its weights; None for one whose weights the seed draws or a file holds.
        method: the run's; a class of the user's is part of the identity by a hash of its code.

    Returns:
        The settings; `factory`; `data_fingerprint`; `weights_digest`, of the weights that the run starts from, None
        for those that the seed draws; `code_digest`, of the user's code that makes the network; `method_digest` where
        the method is the user's; `budget_revision`, of how budgets are met, where there is one.
    """
    factory = None if spec is None else {"name": spec.factory, "arguments": dict(spec.arguments)}
    weights: str | None
    code: str | None
    if network is not None:
        masks = {f"mask of {name}": mask for name, mask in attached_masks(network).items()}
        weights, code = tensors_digest(dict(network.state_dict()) | masks), code_digest(network)
    else:
        weights = None if settings.weights is None else _weights_digest(settings.weights)
        module, colon, _ = split_arguments(settings.network)[0].partition(":")
        code = source_digest(module) if colon else None
    identity = settings.to_json() | {"factory": factory, "data_fingerprint": fingerprint}
    if (other := settings.options.get(_OTHER_DATA)) is not None:
        identity[f"{_OTHER_DATA}_fingerprint"] = load_cached(str(other)).fingerprint
    if method is not None and not is_ours(type(method)):
        identity["method_digest"] = blake2b(said_by(method).encode(), digest_size=8).hexdigest()
    if settings.budget is not None and not is_table(settings.budget):
        identity["budget_revision"] = REVISION
    return identity | {"weights_digest": weights, "code_digest": code}


def tensors_digest(tensors: Mapping[str, Any]) -> str:
    """A hash of names, types, shapes and bytes; what is no tensor is left out."""
    digest = blake2b(digest_size=8)
    for name, value in tensors.items():
        if isinstance(value, Tensor) and not is_lazy(value):
            digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _weights_digest(weights: str) -> str | None:
    """A hash of a file's content; the name of a run says what its network is. None where there is no file."""
    if weights.startswith(RUN):
        return weights
    file = Path(weights)
    if not file.is_file():
        return None  # loading the weights says so
    with file.open("rb") as opened:
        digest = blake2b(digest_size=8)
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
