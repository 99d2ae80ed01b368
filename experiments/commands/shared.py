"""What the commands have in common: flags, progress, output."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from bayesprune.errors import SettingError
from bayesprune.experiments.compare import as_json, verdict_of
from bayesprune.experiments.jobs import Job, check
from bayesprune.experiments.report import write_report
from bayesprune.experiments.summary import summary_rows, terminal_table
from bayesprune.settings import RunSettings
from bayesprune.store.atomic import check_writable
from bayesprune.store.runs import RunRecord


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunFlags:
    """Settings of every run.

    Attributes:
        network: Registered name (lenet300, lenet5, conv4) or package.module:callable.
        data: mnist5k, mnist, fashion-mnist, cifar10, svhn, folder:PATH or npz:PATH.
        epochs: In all; by default about 22,000 steps, at most 120 epochs.
        batch_size: Examples a step.
        learning_rate: Of the first phase.
        noise: Standard deviation of the multiplicative noise on gates.
        price: Nats of training log-likelihood a gate must be worth (ln gamma): a number, or fc1=20,fc2=10.
        budget: At most so much: macs=150k, params=5%.
        density: Share of the weights to keep, for methods that prune weights.
        estimator: Of the gates' gradient.
        keep: Layers whose outputs stay whole.
        inputs: Gates on input features: auto, all or none.
        flatten_inputs: Gates on flattened features as well.
        widths: Of the network's layers.
        weights: A safetensors file with trained weights to start from.
        option: The method's own settings, as NAME=VALUE.
    """

    network: str = "lenet300"
    data: str = "mnist5k"
    epochs: int | None = None
    batch_size: int = 100
    learning_rate: float | None = None
    noise: float | None = None
    price: str | None = None
    budget: str | None = None
    density: float | None = None
    estimator: str = "curvature"
    keep: Annotated[tuple[str, ...], Parameter(negative=())] = ()
    inputs: str = "auto"
    flatten_inputs: bool = False
    widths: Annotated[tuple[int, ...], Parameter(negative=())] = ()
    weights: str | None = None
    option: Annotated[tuple[str, ...], Parameter(negative=())] = ()

    def settings(self, method: str, seed: int) -> RunSettings:
        """The settings of a run."""
        return RunSettings(
            method=method, network=self.network, data=self.data, seed=seed, epochs=self.epochs,
            batch_size=self.batch_size, learning_rate=self.learning_rate, noise=self.noise, density=self.density,
            budget=self.budget, price=self.price, estimator=self.estimator, keep=self.keep, inputs=self.inputs,
            flatten_inputs=self.flatten_inputs, weights=self.weights, widths=self.widths or None,
            options=dict(_option(text) for text in self.option),
        )  # fmt: skip


def _option(text: str) -> tuple[str, Any]:
    """Read NAME=VALUE; the value as JSON where it is, else as a word."""
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise SettingError(f"option {text!r}: write NAME=VALUE, for example start=0.9")
    try:
        return name.replace("-", "_"), json.loads(value)
    except json.JSONDecodeError:
        return name.replace("-", "_"), value


def prepare(jobs: Sequence[Job], out: Path) -> list[int]:
    """Refuse bad input before anything is written; returns each run's steps.

    Raises:
        BayespruneError: naming value, limit and cure.
    """
    check_writable(out)
    return [check(job) for job in jobs]


@contextmanager
def progress_bar(jobs: Sequence[Job], steps: Sequence[int]) -> Iterator[Any]:
    """A progress bar on standard error over all runs; yields the report function of the executor.

    The estimate counts work, not steps: a step of a method that shrinks its network is cheaper than a dense one, so
    each method's steps are weighed by what they were measured to take.
    """
    weights = [COST.get(job.settings.method, 1.0) for job in jobs]
    work = [weight * count for weight, count in zip(weights, steps, strict=True)]
    done = [0.0] * len(jobs)
    columns = [
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[runs]} runs"), TimeRemainingColumn(),
    ]  # fmt: skip
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=sum(work), runs=f"0/{len(jobs)}")

        def report(number: int, progress: Any) -> None:
            done[number] = work[number] * progress.step / max(progress.total, 1)
            finished = sum(part >= whole for part, whole in zip(done, work, strict=True))
            text = f"{jobs[number].label}: {progress.phase}"
            bar.update(task, completed=sum(done), description=text, runs=f"{finished}/{len(jobs)}")

        yield report


COST = {"dense": 1.0, "magnitude": 1.1, "parsimonious": 0.5, "l1-units": 0.45, "random": 0.35}
"""Time of a method's run against dense training, roughly, for the progress bar's estimate only."""


def finish(folders: Sequence[Path], report_path: Path | None, as_object: bool, title: str) -> None:
    """Print the table and the verdict (or the JSON object), and write the report."""
    records = [RunRecord.read(folder) for folder in folders]
    sentence = verdict_of(records)
    if report_path is not None:
        write_report(records, report_path, title=title, verdict=sentence)
    written = None if report_path is None else str(report_path)
    if as_object:
        print(json.dumps(as_json(records, summary_rows(records), written)))
        return
    console = Console(file=sys.stdout)
    console.print(terminal_table(records))
    console.print(sentence)
    for label, place in (("report", written), ("runs", str(folders[0].parent))):
        if place is not None:
            console.print(f"{label}: {place}", soft_wrap=True)


