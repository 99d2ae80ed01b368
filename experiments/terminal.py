"""The summary of a study as a table for the terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bayesprune.experiments.summary import metrics_for, summary_rows
from bayesprune.store.runs import RunRecord

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table

_HEADINGS = {
    "accuracy": "accuracy %",
    "nll": "NLL",
    "ece": "ECE",
    "params": "params",
    "macs": "MACs",
    "latency_ms": "latency ms",
    "time_against_dense": "time/dense",
}


