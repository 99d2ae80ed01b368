"""What graphs, and data of networks on graphs, say of the generator: `python -m bayesprune.experiments.graph_priors`.

Everything is summed exactly. Means and standard deviations are over seeds, which draw the graphs and the data.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyro
import torch
from torch import Tensor

from bayesprune.errors import SettingError
from bayesprune.experiments.report.drawing import COLOURS, MARKERS
from bayesprune.experiments.report.picture_file import write_picture
from bayesprune.graphs.laws import draw_edges
from bayesprune.run.settings import check_integer

if TYPE_CHECKING:
    from bayesprune.models import GraphPrior

COUNTS = (1, 3, 10, 30)
"""Observed graphs."""

EXAMPLES = 40
VERTICES_SEEN, VERTICES_OF_NETWORK = 6, 5
NEIGHBOURS = {VERTICES_SEEN: 4, VERTICES_OF_NETWORK: 2}
"""On the ring, by vertices; 4 of 5 vertices would be the complete graph."""


@dataclass(frozen=True)
class Told:
    """How sure the posterior is of the generator that made what it saw.

    Attributes:
        truth: the family.
        parameters: of the generator.
        of: how many graphs or examples it saw.
        family: posterior probability of the family by seed.
        setting: that of the family with its parameters.
    """

    truth: str
    parameters: dict[str, float]
    of: int
    family: tuple[float, ...]
    setting: tuple[float, ...]


def of_graphs(seeds: Sequence[int], counts: Sequence[int] | None = None) -> list[Told]:
    """The generator's posterior given graphs of 6 vertices that it made."""
    from bayesprune.inference import exact_graphs

    prior, found = _prior(VERTICES_SEEN), []
    for truth, told in _truths(VERTICES_SEEN).items():
        for count in counts or COUNTS:
            results = []
            for seed in seeds:
                random = np.random.default_rng([seed, 1])
                graphs = [draw_edges(VERTICES_SEEN, truth, told, random) for _ in range(count)]
                posterior = exact_graphs(prior, observed=torch.from_numpy(np.stack(graphs)).double())
                results.append(_right(posterior, truth, told))
            found.append(Told(truth, told, count, *map(tuple, zip(*results, strict=True))))
    return found


def of_data(seeds: Sequence[int], examples: int = EXAMPLES) -> list[Told]:
    """The same given targets of a regression by a network on one graph of 5 vertices that it made."""
    from bayesprune.inference import exact_graphs
    from bayesprune.models import GraphMLP, GraphRegression

    prior = _prior(VERTICES_OF_NETWORK)
    model = GraphRegression(
        prior, lambda graph: GraphMLP(graph, "tanh", "pre", input_shape=(2,), classes=1), scale=3.0, noise=0.02
    )
    found = []
    for truth, told in _truths(VERTICES_OF_NETWORK).items():
        results = []
        for seed in seeds:
            graph = torch.from_numpy(draw_edges(VERTICES_OF_NETWORK, truth, told, np.random.default_rng([seed, 2])))
            pyro.set_rng_seed(seed)
            inputs = torch.randn(examples, 2, dtype=torch.float64)
            targets: Tensor = model.law(inputs, graph.double()).sample().double()
            posterior = exact_graphs(prior, partial(model.log_evidence, inputs, targets))
            results.append(_right(posterior, truth, told))
        found.append(Told(truth, told, examples, *map(tuple, zip(*results, strict=True))))
    return found


def table(rows: Sequence[Told], what: str) -> str:
    """As Markdown."""
    lines = [f"| made by | {what} | family | family and parameters |", "| --- | ---: | ---: | ---: |"]
    for row in rows:
        told = " ".join(f"{name}={value:g}" for name, value in row.parameters.items())
        shown = [f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}" for values in (row.family, row.setting)]
        lines.append(f"| {row.truth} {told} | {row.of} | {shown[0]} | {shown[1]} |")
    return "\n".join(lines)


def plot(rows: Sequence[Told], path: Path) -> Path:
    """The family's posterior against the number of graphs.

    Raises:
        SettingError: a suffix other than .png and .svg.
        StoreError: it cannot be written.
    """
    return write_picture(lambda: _figure(rows), path)


def _figure(rows: Sequence[Told]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0, 3.0), layout="constrained")
    axes = figure.add_subplot()
    for place, truth in enumerate(dict.fromkeys(row.truth for row in rows)):
        own = [row for row in rows if row.truth == truth]
        x = [row.of for row in own]
        means = [float(np.mean(row.setting)) for row in own]
        low = [float(np.min(row.setting)) for row in own]
        high = [float(np.max(row.setting)) for row in own]
        axes.fill_between(x, low, high, color=COLOURS[place], alpha=0.15, linewidth=0)
        axes.plot(x, means, color=COLOURS[place], marker=MARKERS[place], label=truth)
    axes.set_xscale("log")
    axes.set_xticks(list(COUNTS), [str(count) for count in COUNTS])
    axes.minorticks_off()
    axes.set_xlabel("observed graphs of 6 vertices")
    axes.set_ylabel("posterior of the generator")
    axes.legend()
    return figure


def _prior(vertices: int) -> "GraphPrior":
    """The usual one, with one number of neighbours on the ring."""
    from bayesprune.models import GraphPrior, OneOf

    return GraphPrior(vertices, neighbours=OneOf([NEIGHBOURS[vertices]]), edges=OneOf([1, 2]))


def _truths(vertices: int) -> dict[str, dict[str, float]]:
    """The generators that make what is seen."""
    return {
        "barabasi-albert": {"edges": 2.0},
        "watts-strogatz": {"neighbours": float(NEIGHBOURS[vertices]), "rewire": 0.25},
        "erdos-renyi": {"probability": 0.5},
    }


def _right(posterior: Any, truth: str, told: dict[str, float]) -> tuple[float, float]:
    """Posterior probability of the true family, and of it with its parameters."""
    own = [
        float(share)
        for one, share in zip(posterior.settings, posterior.of_settings, strict=True)
        if one.family == truth and dict(one.parameters) == told
    ]
    return posterior.marginal("family")[truth], own[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both tables; with a file also the picture.

    Args:
        arguments: number of seeds (10 where it is left out), and a picture to write.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if len(given) > 2 or (given and not given[0].isdecimal()):
        raise SettingError(f"{' '.join(given)}: give a number of seeds, and a picture to write")
    seeds = range(int(given[0]) if given else 10)
    check_integer("seeds", len(seeds), 2)
    rows = of_graphs(seeds)
    sys.stdout.write(f"{table(rows, 'graphs')}\n\n{table(of_data(seeds), 'examples')}\n")
    if len(given) == 2:
        plot(rows, Path(given[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
