"""What the study is to show, and whether it did."""

from collections.abc import Callable, Sequence

from bayesprune.experiments.papers.uncertainty.measure import ONE_DENSE, RESTARTS, Measured
from bayesprune.experiments.papers.verdicts import UNKNOWN, Target, verdict
from bayesprune.experiments.statistics import mean_and_spread

_FIGURES: tuple[tuple[str, Callable[[Measured], float], str], ...] = (
    ("NLL", lambda one: -one.nll, "lower"),
    ("AUROC", lambda one: one.auroc, "higher"),
)


def targets(found: Sequence[Measured]) -> list[Target]:
    """The restarts together against one dense network, repeat by repeat."""
    return [_target(name, gain, word, found) for name, gain, word in _FIGURES]


def gains(found: Sequence[Measured], gain: Callable[[Measured], float]) -> list[float]:
    """By how much the restarts together are better than the dense network of the same repeat."""
    dense = {one.repeat: one for one in found if one.predictor == ONE_DENSE}
    together = [one for one in found if one.predictor == RESTARTS and one.repeat in dense]
    return [gain(one) - gain(dense[one.repeat]) for one in together]


def _target(name: str, gain: Callable[[Measured], float], word: str, found: Sequence[Measured]) -> Target:
    subject = f"restarts together, {name}"
    wanted = f"{word} than that of one dense network, mean over repeats, at no more MACs in all"
    better = gains(found, gain)
    if not better:
        return Target(subject, wanted, "no repeat has both", UNKNOWN)
    most = max(one.macs for one in found if one.predictor == RESTARTS)
    limit = min(one.macs for one in found if one.predictor == ONE_DENSE)
    mean = mean_and_spread(better).mean
    each = ", ".join(f"{value:+.4f}" for value in better)
    said = f"better by {mean:+.4f} ({each}) at {most:,} of {limit:,} MACs at most"
    return Target(subject, wanted, said, verdict(mean > 0 and most <= limit))
