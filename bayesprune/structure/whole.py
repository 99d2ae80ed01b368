"""Which layers stay whole, and why, so that none is left out in silence."""

from collections.abc import Mapping, Set

from torch import nn

from bayesprune.structure.groups import Structure
from bayesprune.structure.labels.classes import Classes, Found
from bayesprune.structure.labels.follow import OUTPUTS
from bayesprune.structure.layers import CONVOLUTION, is_source
from bayesprune.structure.passes import Passes
from bayesprune.structure.refusals import Refusal

__all__ = ["KEPT", "OUTPUTS", "left_whole", "unknown_operators"]

KEPT = "named in keep"
"""The user's own reason, which surprises nobody; nor does that of OUTPUTS, which every network has."""

NEVER = "it is never run"

_LISTED = (nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention, nn.Embedding, nn.EmbeddingBag, nn.Bilinear)


def left_whole(
    network: nn.Module,
    structure: Structure,
    classes: Classes,
    kept: Set[str],
    passes: Passes,
    settled: Mapping[str, str],
) -> dict[str, str]:
    """Every layer that could make channels and writes none with a gate, and the reason."""
    producing = {name for group in structure.groups for name in group.producers}
    producing |= {axis.layer for axis in structure.axes}  # layers inside of others, such as attention's projections
    of = {maker: found for found in classes.found for maker in (*found.producers, *found.makers)}
    record = classes.trace.record

    def reason(name: str) -> str:
        if name in kept:
            return KEPT
        if name in record.whole:
            return record.whole[name]
        if name in of:
            return settled.get(of[name].name) or _reason(of[name], classes, kept)
        if name in record.passed:
            return _of_labels(classes, record.passed[name])
        if name not in passes.run:
            return never_run(network, name, passes)
        return "its channels are not followed inside of the layer that it belongs to"

    layers = {
        n: m for n, m in network.named_modules() if n and (is_source(m) or isinstance(m, (*CONVOLUTIONS, *_LISTED)))
    }
    return {name: reason(name) for name in layers if name not in producing}


CONVOLUTIONS = (CONVOLUTION,)


def never_run(network: nn.Module, name: str, passes: Passes) -> str:
    """Why a layer that did not run stays whole; a layer like it that did run tells that other inputs may run it."""
    ran = [one for one in passes.run if _differ_in_a_number(one.split("."), name.split("."))]
    layer = type(network.get_submodule(name))
    other = next((one for one in sorted(ran) if type(network.get_submodule(one)) is layer), None)
    if other is None:
        return NEVER
    return f"it did not run on this example and {other!r} did: give an example that runs both if other inputs do"


def unseen_layers(network: nn.Module, passes: Passes) -> dict[str, str]:
    """The layers that did not run though others like them did, as experts to which no example went."""
    idle = [name for name, layer in network.named_modules() if is_source(layer) and name not in passes.run]
    said = {name: never_run(network, name, passes) for name in idle}
    return {name: reason for name, reason in said.items() if reason != NEVER}


def _differ_in_a_number(one: list[str], other: list[str]) -> bool:
    """Whether two names differ in one number, as those of layers in members of a list do."""
    pairs = [(a, b) for a, b in zip(one, other, strict=False) if a != b]
    return len(one) == len(other) and len(pairs) == 1 and all(part.isdigit() for part in pairs[0])


def _reason(found: Found, classes: Classes, kept: Set[str]) -> str:
    if found.whole is not None:
        return found.whole
    also = sorted(classes.writers(found) & kept)
    return f"its channels are tied to those of {also[0]!r}, which is {KEPT}" if also else "it could not be cut exactly"


def _of_labels(classes: Classes, labels: object) -> str:
    cause = classes.reason(classes.canonical(labels))  # type: ignore[arg-type]  # a tensor
    return "its channels are tied to what stays whole" if cause is None else str(cause)


def unknown_operators(classes: Classes, kept: Set[str]) -> list[Refusal]:
    """What reads channels and is not understood, with the layer that is to be kept for it."""
    names = {name for name, _ in classes.trace.record.network.named_modules() if name}
    refusals = []
    for found in classes.found:
        for cause in classes.refusing(found):
            keep = next((name for name in found.makers if name in names), None)
            if keep is not None and not classes.writers(found) & kept:
                refusals.append(Refusal("", keep, str(cause), keep))
    return refusals
