"""`bayesprune search`: architecture search."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bayesprune.experiments.commands.flags import (
    SEARCH,
    SUBJECT,
    TRAINING,
    Accepted,
    Count,
    Out,
    Switch,
    _integers,
)

_Text = Annotated[str, Parameter(group=SEARCH)]
_Number = Annotated[int, Parameter(group=SEARCH, converter=_integers)]
_Share = Annotated[float, Parameter(group=SEARCH)]
_Some = Annotated[tuple[str, ...], Parameter(group=SEARCH, negative=(), consume_multiple=1, show_default=False)]
_Range = Annotated[
    tuple[int, ...],
    Parameter(group=SEARCH, negative=(), consume_multiple=1, show_default=False, converter=_integers),
]


def search(
    *,
    space: _Text = "graphs",
    data: Annotated[str, Parameter(group=SUBJECT)] = "mnist5k",
    strategy: _Text = "predictor",
    candidates: _Number = 40,
    population: _Number = 10,
    batch: _Number = 5,
    tournament: _Number = 3,
    crossover: _Share = 0.3,
    offspring: _Number = 20,
    drawn: _Share = 0.25,
    predictor: _Text = "gaussian-process",
    acquisition: _Text = "expected-improvement",
    objectives: _Text = "accuracy",
    most_macs: Annotated[int | None, Parameter(group=SEARCH, show_default=False, converter=_integers)] = None,
    families: _Some = (),
    operations: _Some = (),
    vertices: _Range = (),
    widths: _Range = (),
    cells: _Range = (),
    stages: _Range = (),
    stride: _Range = (),
    epochs: Annotated[int, Parameter(group=TRAINING, converter=_integers)] = 10,
    batch_size: Annotated[int, Parameter(group=TRAINING, converter=_integers)] = 100,
    learning_rate: Annotated[float | None, Parameter(group=TRAINING, show_default=False)] = None,
    augment: Annotated[str | None, Parameter(group=TRAINING, show_default=False)] = None,
    device: Annotated[str, Parameter(group=TRAINING)] = "auto",
    precision: Annotated[str, Parameter(group=TRAINING)] = "float32",
    final_epochs: Annotated[int | None, Parameter(group=TRAINING, show_default=False, converter=_integers)] = None,
    final_data: Annotated[str | None, Parameter(group=TRAINING, show_default=False)] = None,
    seed: Count = 0,
    out: Out = Path("runs"),
    workers: Count = 1,
    fresh: Switch = False,
    resume: Accepted = True,
    json: Switch = False,
) -> None:
    """Search for a network: candidates are trained, the best by validation accuracy is reported.

    Args:
        space: graphs, feed-forward networks from random graphs; or cells, networks for pictures from a small graph of
            operations.
        data: As for prune; validation decides, fashion-mnist@5000/3000 is 5,000 to validate and 3,000 to train.
        strategy: predictor, which trains the children from which a model expects most; evolution; or random.
        candidates: Networks that are trained in all.
        population: Of these, drawn at random first; as many are parents later.
        batch: Networks that are trained between two looks at the results.
        tournament: Networks that compete to be a parent.
        crossover: Probability that a child has two parents.
        offspring: With predictor, children that are made for each that is trained.
        drawn: With predictor, share of these that is drawn at random.
        predictor: gaussian-process or bayesian-ridge.
        acquisition: expected-improvement or upper-bound.
        objectives: accuracy, or accuracy,macs for the front of both.
        most_macs: Candidates cost no more multiply-accumulates.
        families: Of random graphs: barabasi-albert, watts-strogatz, erdos-renyi; by default all.
        operations: Of cells: skip, conv1, conv3, sep3, avg3; by default all.
        vertices: Fewest and most of a graph, by default 8 40; of a cell the most, by default 4.
        widths: Fewest and most units of a vertex, by default 1 16, or channels of the first stage, by default 2 12.
        cells: In each stage, by default 1.
        stages: By default 3.
        stride: Of the first convolution, by default 2.
        epochs: Of each candidate.
        batch_size: Examples a step.
        learning_rate: By default that of dense training.
        augment: Of training pictures: crop-flip; by default none.
        device: auto, cpu, cuda, cuda:1 or mps.
        precision: float32, bf16 or float64.
        final_epochs: Train the winner once more for so many epochs, and report that run.
        final_data: Of that run; by default the same data.
        seed: Of the search; all candidates are trained with seed 0.
        out: Folder of the run folders.
        workers: Processes, one thread each.
        fresh: Start interrupted runs anew instead of going on from their checkpoints.
        resume: Accepted; it is what happens anyway.
        json: Print one JSON object.
    """
    from bayesprune.experiments.commands.fetching import fetch_missing
    from bayesprune.experiments.commands.output import answer, answer_object
    from bayesprune.experiments.commands.shared import check_folder
    from bayesprune.experiments.search.calling import search as made
    from bayesprune.experiments.search.view import as_json, as_text

    given: dict[str, object] = {
        name: value for name, value in (("families", families), ("operations", operations), ("widths", widths)) if value
    }
    if vertices:
        given["vertices"] = vertices if space == "graphs" or len(vertices) > 1 else vertices[0]
    given |= {name: value[0] for name, value in (("cells", cells), ("stages", stages), ("stride", stride)) if value}
    check_folder(out)
    fetch_missing([name for name in (data, final_data) if name is not None])
    result = made(
        space, data, out=out, workers=workers, fresh=fresh, progress=True, final_epochs=final_epochs,
        final_data=final_data, strategy=strategy, candidates=candidates, population=population, batch=batch,
        tournament=tournament, crossover=crossover, offspring=offspring, drawn=drawn, predictor=predictor,
        acquisition=acquisition, objectives=objectives, most_macs=most_macs, seed=seed, epochs=epochs,
        batch_size=batch_size, learning_rate=learning_rate, augment=augment, device=device, precision=precision,
        **given,
    )  # fmt: skip
    if json:
        answer_object(as_json(result))
    else:
        answer(as_text(result))
