"""The table of a network for CIFAR-10: our runs above published ones, each with the epoch that is told."""

from collections.abc import Sequence

from bayesprune.experiments.number_format import MISSING, NumberFormat
from bayesprune.experiments.papers.cifar import runs
from bayesprune.experiments.papers.cifar.published import LAST, PUBLISHED, Cut
from bayesprune.experiments.papers.measured import (
    RATIO,
    SECONDS,
    macs,
    params,
    seconds,
    shown,
    shown_error,
    training_ratio,
    validation_error,
    with_range,
)
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.report.tables import Table
from bayesprune.experiments.words import counted
from bayesprune.store.runs import RunRecord

HEADINGS = (
    "method", "source", "accuracy of", "budget or price", "test error %", "validation error %", "MACs cut, %", "MACs",
    "parameters", "training MACs / dense", "seconds a run",
)  # fmt: skip
_ONE = NumberFormat(1)
DENSE_MACS = {"vgg16": 313_463_808, "resnet20": 40_813_184, "resnet56": 125_747_840}
"""Of the networks at their usual widths on 32x32, which a test counts again."""


def dense_macs(run: RunRecord) -> float:
    """Multiply-accumulates of the network before anything was removed."""
    return sum(float(layer["dense_macs"]) for layer in run.layers)


def cut(run: RunRecord) -> float:
    """Percent of the dense network's multiply-accumulates that are gone."""
    return 100.0 * (1.0 - macs(run) / dense_macs(run))


def beside_published(network: str, rows: Sequence[RowRuns]) -> Table:
    """Our rows of a network and, where there are some, published ones below, those that save least first."""
    caption = (
        f"{runs.TITLES[network]}: ours (mean ± sample standard deviation over seeds; in brackets the least and the "
        "most) and published rows"
    )
    theirs = sorted(PUBLISHED[network], key=lambda one: (one.cut is None, one.cut or 0.0))
    found = (*map(_ours, rows), *(_published(one, network) for one in theirs))
    return Table(caption, HEADINGS, tuple(found), words=4)


def _ours(one: RowRuns) -> tuple[str, ...]:
    made, settings = one.records, one.row.settings
    epochs = f"{LAST} of {settings.epochs}"
    return (
        one.row.value, f"this study, {counted(len(made), 'seed')}",
        f"{epochs} after {one.row.start.epochs} dense" if one.row.start is not None else epochs,
        _asked(one), shown_error(made), shown_error(made, validation_error), shown(made, cut, _ONE),
        with_range(made, macs), with_range(made, params), shown(made, training_ratio, RATIO),
        shown(made, seconds, SECONDS),
    )  # fmt: skip


def _asked(one: RowRuns) -> str:
    """The size that a row asks for."""
    settings = one.row.settings
    if settings.budget is not None:
        return str(settings.budget)
    return MISSING if settings.method == "dense" else "its own size" if settings.price is None else f"{settings.price}"


def _published(one: Cut, network: str) -> tuple[str, ...]:
    error = f"{one.error:.2f}" if one.error is not None else f"{one.change:+.2f} points of accuracy"
    share, left, stored = MISSING, MISSING, MISSING
    if one.cut is not None:
        share, left = f"{one.cut:.1f}", f"{round(DENSE_MACS[network] * (1 - one.cut / 100)):,}"
    if one.compression is not None:
        stored = f"dense / {one.compression:g}"
    return (one.method, one.source, one.protocol, MISSING, error, MISSING, share, left, stored, MISSING, MISSING)
