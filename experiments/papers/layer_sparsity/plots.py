"""The pictures of the study: active layers along r, errors before and after collapse and refit, the four arms."""

from collections.abc import Mapping, Sequence
from typing import Any

from bayesprune.experiments.papers.layer_sparsity.measured import Outcome
from bayesprune.experiments.report.drawing import ACCENT, COLOURS, CONTRAST, legend_below, looks, new_figure
from bayesprune.experiments.report.pictures import Sketch

ByStrength = Mapping[float, Sequence[Outcome]]
STAGES = ("before the collapse", "after it", "after the refit")


def path_sketch(part: str, found: ByStrength) -> Sketch:
    """Active layers by strength."""
    facts = "; ".join(f"r = {r:g}: {', '.join(str(one.active) for one in runs)}" for r, runs in found.items())
    return Sketch(
        f"active-{part}", f"{part}: active layers along r", f"Active hidden layers of each run: {facts}.",
        "A small point a run, the line through the means; runs of one strength stand side by side. The first layer "
        "always counts.",
        lambda: _path(found),
    )  # fmt: skip


def errors_sketch(part: str, found: ByStrength, what: str) -> Sketch:
    """Errors of the three stages by strength."""
    facts = "; ".join(
        f"r = {r:g}: {', '.join(f'{stage} {value:.4f}' for stage, value in zip(STAGES, _stages(runs), strict=True))}"
        for r, runs in found.items()
    )
    return Sketch(
        f"errors-{part}", f"{part}: error before and after collapse and refit", f"Means: {facts}.",
        f"Means over runs of the {what} on the validation split. Where both first lines are one the collapse is exact.",
        lambda: _errors(found, what),
    )  # fmt: skip


def arms_sketch(part: str, found: Mapping[str, Sequence[Outcome]], what: str) -> Sketch:
    """Active layers and error of the arms side by side."""
    facts = "; ".join(
        f"{arm}: {_mean([one.active for one in runs]):.1f} layers, {_mean([one.test for one in runs]):.4f}"
        for arm, runs in found.items()
    )
    return Sketch(
        f"arms-{part}", f"{part}: the arms", f"Mean active layers and {what} on the test split: {facts}.",
        "A point a run. Left: active hidden layers; right: the error on the test split after the last epoch.",
        lambda: _arms(found, what),
    )  # fmt: skip


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))


def _stages(runs: Sequence[Outcome]) -> list[float]:
    """Mean errors of the three stages."""
    return [
        _mean([one.before or 0.0 for one in runs]),
        _mean([one.after or 0.0 for one in runs]),
        _mean([one.validation for one in runs]),
    ]


def _path(found: ByStrength) -> Any:
    figure, axes = new_figure(5.2, 3.2)
    for r, runs in found.items():
        spread = [r * 1.04 ** (place - 0.5 * (len(runs) - 1)) for place in range(len(runs))]
        axes.plot(spread, [one.active for one in runs], "o", color=CONTRAST, markersize=3)
    means = [_mean([one.active for one in runs]) for runs in found.values()]
    axes.plot(list(found), means, "-", color=ACCENT)
    axes.set_xscale("log")
    axes.set_xlabel("strength r")
    axes.set_ylabel("active hidden layers")
    axes.set_ylim(0, max(one.depth for runs in found.values() for one in runs) + 0.5)
    return figure


def _errors(found: ByStrength, what: str) -> Any:
    figure, axes = new_figure(5.2, 3.4)
    for number, (stage, look) in enumerate(looks(list(STAGES)).items()):
        values = [_stages(runs)[number] for runs in found.values()]
        axes.plot(
            list(found),
            values,
            marker=look.marker,
            linestyle=look.dash,
            color=COLOURS[number],
            label=stage,
            markersize=5,
        )
    axes.set_xscale("log")
    axes.set_xlabel("strength r")
    axes.set_ylabel(f"{what}, validation")
    legend_below(figure, axes)
    return figure


def _arms(found: Mapping[str, Sequence[Outcome]], what: str) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, label in ((left, "active hidden layers"), (right, f"{what}, test")):
        for place, runs in enumerate(found.values()):
            values = [float(one.active) if axes is left else one.test for one in runs]
            spread = [place + 0.08 * (number - 0.5 * (len(values) - 1)) for number in range(len(values))]
            axes.plot(spread, values, "o", color=COLOURS[place % len(COLOURS)], markersize=5)
        axes.set_xticks(
            range(len(found)), [name.replace(", ", ",\n").replace(" ", "\n", 1) for name in found], fontsize=8
        )
        axes.set_ylabel(label)
        axes.margins(0.12, 0.14)
    left.set_ylim(0, max(one.depth for runs in found.values() for one in runs) + 0.5)
    return figure
