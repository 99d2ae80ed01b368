"""Why layers of a network cannot be cut, gathered so that all of it is said at once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bayesprune.errors import UnsupportedLayerError


@dataclass(frozen=True)
class Refusal:
    """Something that keeps channels from being removed.

    Attributes:
        kind: the class of the layer, "parameter", or "" where `reason` is a whole sentence.
        name: of the layer or parameter.
        reason: what is wrong with it.
        keep: the name that leaves these channels whole when it stands in `keep`.
    """

    kind: str
    name: str
    reason: str
    keep: str


def all_refused(
    refusals: Sequence[Refusal], keep: Sequence[str], left: int, unseen: Mapping[str, str] | None = None
) -> UnsupportedLayerError:
    """One error for all refusals.

    Args:
        refusals: at least one.
        keep: what the user keeps already.
        left: gates that are there with everything refused kept.
        unseen: layers that did not run though others like them did, which may be the reason, and what to do.
    """
    advised = [*keep, *dict.fromkeys(refusal.keep for refusal in refusals if refusal.keep not in keep)]
    cure = f"leave such channels whole with keep={advised}"
    if not left:
        cure += (
            "; then nothing is left whose channels can be removed: for this network take a method that masks single "
            "weights, such as magnitude"
        )
    reasons = [*dict.fromkeys(_sentences(refusals)), *(f"{name!r}: {said}" for name, said in (unseen or {}).items())]
    return UnsupportedLayerError(f"{'; '.join(reasons)}: {cure}", keep=advised, left=left)


def _sentences(refusals: Iterable[Refusal]) -> list[str]:
    """One sentence for all layers of one class that are refused for one reason."""
    alike: dict[tuple[str, str], list[str]] = {}
    for refusal in refusals:
        names = alike.setdefault((refusal.kind, refusal.reason), [])
        if refusal.name not in names:
            names.append(refusal.name)
    return [
        reason if not kind else f"{kind} {', '.join(map(repr, names))}{': each ' if len(names) > 1 else ' '}{reason}"
        for (kind, reason), names in alike.items()
    ]
