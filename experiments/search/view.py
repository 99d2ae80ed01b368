"""What a search came to, as text and as JSON."""

from dataclasses import asdict
from typing import Any

from bayesprune.experiments.search.calling import SearchResult
from bayesprune.experiments.search.evolution import Candidate
from bayesprune.experiments.search.genomes import Genome
from bayesprune.experiments.words import counted


def as_text(result: SearchResult) -> str:
    """The winner, and where cost is an objective too the front."""
    record = result.record
    trained = counted(len(result.candidates), "network")
    length = counted(int(record.settings["epochs"]), "epoch")
    lines = [
        f"{trained} trained on {record.data['name']}, strategy {result.options.strategy}",
        f"best: {spoken(result.best)}",
        f"      test accuracy {100 * result.test_accuracy:.1f} % after {length}, run {record.id}",
    ]
    if result.options.with_cost:
        lines += ["front:", *(f"  {spoken(one)}" for one in result.front)]
    return "\n".join(lines)


def spoken(candidate: Candidate[Genome]) -> str:
    """A candidate in a line."""
    genome = candidate.genome
    return (
        f"--network '{genome.network}' --widths {genome.width}: validation accuracy {100 * candidate.accuracy:.1f} %, "
        f"{candidate.cost:,} MACs"
    )


def as_json(result: SearchResult) -> dict[str, Any]:
    """The JSON object that `--json` prints."""
    runs = [
        candidate_values(one) | {"run": record.id}
        for one, record in zip(result.candidates, result.records, strict=True)
    ]
    places = {id(one): place for place, one in enumerate(result.candidates)}
    return {
        "schema": 1,
        "data": result.record.data["name"],
        "options": asdict(result.options),
        "space": {"name": type(result.space).__name__} | asdict(result.space),
        "candidates": runs,
        "best": runs[places[id(result.best)]] | {"test_accuracy": result.test_accuracy, "reported": result.record.id},
        "front": [runs[places[id(one)]] for one in result.front],
    }


def candidate_values(candidate: Candidate[Genome]) -> dict[str, Any]:
    """A candidate as plain JSON."""
    predicted = candidate.predicted
    return {
        "network": candidate.genome.network,
        "width": candidate.genome.width,
        "validation_accuracy": candidate.accuracy,
        "macs": candidate.cost,
        "predicted": None if predicted is None else {"mean": predicted[0], "deviation": predicted[1]},
    }
