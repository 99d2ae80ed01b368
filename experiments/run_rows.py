"""One run as a row of `--json`: its result, and what was asked of it."""

from typing import Any

from bayesprune.store.runs import RunRecord

ASKED = {"price": "price", "budget": "budget", "density_asked": "density", "epochs": "epochs"}
"""Names in a row, and the settings they come from; `density` is what the result has."""


def run_row(record: RunRecord) -> dict[str, Any]:
    """The run's id, the price, budget, density and epochs asked for, and the keys of its result."""
    asked = {name: record.settings.get(setting) for name, setting in ASKED.items()}
    return {"id": record.id} | asked | record.result
