"""What the study is to show, and whether it did."""

from collections.abc import Sequence

from bayesprune.experiments.papers.uncertainty.measure import ONE_DENSE, RESTARTS, Measured
from bayesprune.experiments.papers.verdicts import UNKNOWN, Target, verdict
from bayesprune.experiments.statistics import mean_and_spread

Pair = tuple[Measured, Measured]


def targets(found: Sequence[Measured]) -> list[Target]:
    """The restarts together against one dense network, repeat by repeat."""
    pairs = _pairs(found)
    nll = [dense.nll - together.nll for together, dense in pairs]
    auroc = [together.auroc - dense.auroc for together, dense in pairs]
    shown = [
        f"{gain:+.4f}, standard error over images {_error(*pair):.4f}" for gain, pair in zip(nll, pairs, strict=True)
    ]
    return [
        _target("NLL", "lower", nll, shown, pairs),
        _target("AUROC", "higher", auroc, [f"{gain:+.4f}" for gain in auroc], pairs),
    ]


def _pairs(found: Sequence[Measured]) -> list[Pair]:
    """The restarts together and the dense network of each repeat that has both."""
    dense = {one.repeat: one for one in found if one.predictor == ONE_DENSE}
    return [(one, dense[one.repeat]) for one in found if one.predictor == RESTARTS and one.repeat in dense]


def _error(one: Measured, other: Measured) -> float:
    """Standard error of the difference of two NLLs, over the images that both are measured on."""
    differences = one.losses - other.losses
    return float(differences.std() / len(differences) ** 0.5)


def _target(name: str, word: str, gains: Sequence[float], shown: Sequence[str], pairs: Sequence[Pair]) -> Target:
    """One figure."""
    subject = f"restarts together, {name}"
    wanted = f"{word} than that of one dense network, mean over repeats, at no more MACs in all"
    if not pairs:
        return Target(subject, wanted, "no repeat has both", UNKNOWN)
    most, limit = max(one.macs for one, _ in pairs), min(other.macs for _, other in pairs)
    mean = mean_and_spread(gains).mean
    said = f"better by {mean:+.4f} ({'; '.join(shown)}) at {most:,} of {limit:,} MACs at most"
    return Target(subject, wanted, said, verdict(mean > 0 and most <= limit))
