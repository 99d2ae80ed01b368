"""What a run's network is as a graph: its properties beside those of random graphs of equal degrees."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np

from bayesprune.errors import GraphError
from bayesprune.experiments.number_format import NumberFormat
from bayesprune.graphs import (
    FEATURES,
    SmallWorld,
    communities,
    degree_distribution,
    features,
    largest_component,
    layer_graph,
    motifs,
    random_layers_of_equal_degrees,
    small_world,
    surviving,
    unit_graph,
)

if TYPE_CHECKING:
    from bayesprune.graphs.checks import DiGraph
    from bayesprune.run.pruned import Pruned

MOST_FOR_PROPERTIES = 1_500
"""Vertices up to which properties are computed: their time grows as the third power."""

MOST_EDGES_SWAPPED = 20_000
"""Edges up to which random graphs of equal degrees without layers are drawn, which takes seconds each."""

_EXAMPLES = 4


@dataclass(frozen=True, eq=False)
class GraphView:
    """A network as a graph.

    Attributes:
        level: "unit" or "layer".
        graph: all of it.
        left: what survives: of units those on a path from input to output, the largest connected part.
        properties: the 23 of what is left, motifs, communities and modularity; empty where it is too large, has cycles
            (a layer that is called twice), or where fewer than two vertices are left.
        random: mean and standard deviation of the same over random graphs in which each unit has as many edges to and
            from each layer; empty for layers, and where there is no other such graph.
        small_world: clustering and mean distance beside those of random graphs in which each unit has as many edges,
            whatever its layer, and the small-world coefficient; None for layers, without such graphs, and beyond
            20,000 edges.
        changed: share of edges of the first random graph that are not in the network: 0 where all layers are fully
            joined, so that nothing can be drawn.
    """

    level: str
    graph: "DiGraph"
    left: "DiGraph"
    properties: Mapping[str, float]
    random: Mapping[str, tuple[float, float]]
    changed: float | None
    small_world: SmallWorld | None = None

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "level": self.level,
            "vertices": len(self.graph),
            "edges": self.graph.number_of_edges(),
            "left_vertices": len(self.left),
            "left_edges": self.left.number_of_edges(),
            "properties": dict(self.properties),
            "random": {name: {"mean": mean, "sd": spread} for name, (mean, spread) in self.random.items()},
            "changed_edges": self.changed,
            "small_world": None if self.small_world is None else asdict(self.small_world),
            "degrees": {
                which: {str(degree): count for degree, count in degree_distribution(self.left, which).items()}
                for which in ("in", "out")
            },
        }

    def text(self) -> str:
        """For the terminal."""
        what = "units" if self.level == "unit" else "layers"
        lines = [f"{len(self.graph):,} {what} and {self.graph.number_of_edges():,} edges"]
        if self.level == "unit":
            lines[0] += f"; on paths from input to output {len(self.left):,} and {self.left.number_of_edges():,}"
        if not self.properties:
            return f"{lines[0]}; properties are computed for 2 to {MOST_FOR_PROPERTIES:,} vertices without cycles"
        form = NumberFormat()
        beside = "random, equal degrees" if self.random else ""
        lines.append(f"\n{'property':32} {'network':>12}   {beside}")
        for name, value in self.properties.items():
            random = form.show(*self.random[name]) if name in self.random else ""
            lines.append(f"{name:32} {form.show(value):>12}   {random}".rstrip())
        lines += [_degrees(self.left, which) for which in ("in", "out")]
        if self.small_world is not None:
            lines.append(_said(self.small_world, form))
        if self.changed == 0:
            lines.append(
                "no edges can be exchanged between these layers, as where they are fully joined: no other graph has "
                "these degrees"
            )
        return "\n".join(lines)


def graph_of(pruned: "Pruned", *, level: str = "auto", references: int = 5, seed: int = 0) -> GraphView:
    """A pruned network as a graph, with random ones beside it.

    Args:
        pruned: the network.
        level: "unit", "layer", or "auto" for units where there are no more than 3,000 and all are known.
        references: random graphs of equal degrees; 0 for none.
        seed: of the first.

    Raises:
        GraphError: another level, or the network has no such graph.
    """
    if level not in ("auto", "unit", "layer") or references < 0:
        raise GraphError(f"level {level!r} with {references} random graphs: take auto, unit or layer, and 0 or more")
    example = pruned.inputs.random(_EXAMPLES)
    network = pruned.network
    kept = {group.name: group.kept for group in pruned.groups}
    chosen, graph = "layer", None
    if level != "layer":
        try:
            chosen, graph = "unit", unit_graph(network, example, kept=kept)
        except GraphError:
            if level == "unit":
                raise
            chosen = "layer"
    if graph is None:
        graph = layer_graph(network, example)
    left = graph if chosen == "layer" else surviving(graph)
    left = largest_component(left) if len(left) else left
    if not nx.is_directed_acyclic_graph(left) or not 2 <= len(left) <= MOST_FOR_PROPERTIES:
        return GraphView(chosen, graph, left, {}, {}, None)
    found = _properties(left)
    drawn = [
        random_layers_of_equal_degrees(left, seed=seed + number)
        for number in range(references if chosen == "unit" else 0)
    ]
    changed = len(set(drawn[0].edges) - set(left.edges)) / left.number_of_edges() if drawn else None
    return GraphView(
        chosen, graph, left, found, _beside(found, drawn) if changed else {}, changed,
        _small_world(left, references, seed) if chosen == "unit" else None,
    )  # fmt: skip


def _small_world(graph: "DiGraph", references: int, seed: int) -> SmallWorld | None:
    """None where there are no random graphs of equal degrees, or it would take long."""
    if not references or graph.number_of_edges() > MOST_EDGES_SWAPPED:
        return None
    try:
        return small_world(graph, references=references, seed=seed)
    except GraphError:  # a graph with so few edges that those of equal degrees fall apart
        return None


def _degrees(graph: "DiGraph", which: str) -> str:
    """How many vertices have how many edges, in a line."""
    counts = degree_distribution(graph, which)
    shown = [f"{degree} ({count:,})" for degree, count in counts.items()]
    if len(shown) > 8:
        total = sum(counts.values())
        mean = sum(degree * count for degree, count in counts.items()) / total
        shown = [f"{min(counts)} to {max(counts)}, mean {mean:.3g}"]
    return f"edges {'to' if which == 'in' else 'from'} a vertex (how many vertices): {', '.join(shown)}"


def _said(found: SmallWorld, form: NumberFormat) -> str:
    """The small-world coefficient in a line."""
    said = "none" if found.coefficient is None else form.show(found.coefficient)
    return (
        f"small-world coefficient {said}: clustering {form.show(found.clustering)} (random, equal degrees: "
        f"{form.show(found.random_clustering)}), mean distance {form.show(found.length)} "
        f"({form.show(found.random_length)}); without skips between layers there are no triangles, and it is 0"
    )


def _beside(found: Mapping[str, float], drawn: "list[DiGraph]") -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of each property over random graphs; 0 for the deviation of a single one."""
    values = [_properties(largest_component(one)) for one in drawn]
    by_name = {name: [one[name] for one in values] for name in found}
    spread = min(1, len(values) - 1)
    return {name: (float(np.mean(some)), float(np.std(some, ddof=spread))) for name, some in by_name.items()}


def _properties(graph: "DiGraph") -> dict[str, float]:
    """The 23 properties, motifs of three and four vertices, and communities."""
    found = features(graph)
    groups = communities(graph)
    more = {"communities": float(len(groups.members)), "modularity": groups.modularity}
    return {name: found[name] for name in FEATURES} | {n: float(v) for n, v in motifs(graph).items()} | more


def plot_graph(view: GraphView, path: Path) -> Path:
    """Draw what is left of the network, a column a layer.

    Raises:
        SettingError: a suffix other than .png and .svg.
        StoreError: it cannot be written.
    """
    from bayesprune.experiments.graph_plot import figure_of
    from bayesprune.experiments.report.picture_file import write_picture

    return write_picture(lambda: figure_of(view), path)
