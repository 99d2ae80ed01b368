"""`bayesprune graph`: the surviving network as a graph."""

from pathlib import Path

from bayesprune.experiments.commands.flags import JSON


def graph(
    run: Path,
    /,
    *,
    level: str = "auto",
    references: int = 5,
    graphml: Path | None = None,
    plot: Path | None = None,
    json: JSON = False,
) -> None:
    """The network that survives a run as a graph: properties, random graphs of equal degrees beside it, a picture.

    Args:
        run: A run folder, or one that Pruned.save wrote; of a network that the library makes by name.
        level: Of vertices: unit (units of linear and recurrent layers, channels of convolutions), layer, or auto for
            units where there are no more than 3,000 and all are known.
        references: Random graphs of equal degrees that it is compared with; 0 for none.
        graphml: Also write the graph as GraphML, dead units included.
        plot: The picture to write (.png or .svg); by default graph.png in the run's folder.
        json: Print one JSON object.
    """
    from bayesprune.experiments.commands.output import answer, answer_object
    from bayesprune.experiments.facade import load
    from bayesprune.experiments.graph_view import graph_of, plot_graph
    from bayesprune.graphs import write_graphml
    from bayesprune.store.atomic import check_writable

    for file in (plot, graphml):
        if file is not None:
            check_writable(file.parent)  # before the work
    pruned = load(run)
    view = graph_of(pruned, level=level, references=references)
    folder = run.parent if run.name == "run.json" else run
    picture = plot_graph(view, plot or folder / "graph.png")
    if graphml is not None:
        write_graphml(view.graph, graphml)
    if json:
        written = {"plot": str(picture), "graphml": None if graphml is None else str(graphml)}
        answer_object({"schema": 1, "run": str(run)} | view.document() | written)
        return
    answer(view.text())
    answer(f"\nplot: {picture}")
    if graphml is not None:
        answer(f"graphml: {graphml}")
