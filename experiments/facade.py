"""The library's front door: prune, compare, load."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import nn

from bayesprune.data import Data
from bayesprune.errors import UnknownNameError
from bayesprune.experiments.methods import method as method_by_name
from bayesprune.networks import Factory, name_of
from bayesprune.pruned import Pruned, rebuild
from bayesprune.running import run
from bayesprune.settings import RunSettings
from bayesprune.store.runs import RunFolder, RunRecord
from bayesprune.training import Checkpointer, Progress


def prune(
    network: nn.Module,
    data: Data,
    method: str = "parsimonious",
    *,
    checkpoint: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    **settings: Any,
) -> Pruned:
    """Train and prune a network, from its present weights.

    Args:
        network: any module that torch-pruning's dependency graph understands; it is not changed.
        data: from `bayesprune.load_data`, `bayesprune.data.from_tensors` or `from_loaders`.
        method: a name in the table of methods.
        checkpoint: a file to save the state to now and then, and to resume from when it is there.
        progress: called after every step.
        settings: fields of `RunSettings` (seed, epochs, budget, price, ...), or the method's own settings.

    Raises:
        SettingError: a setting is unknown or has a value that cannot be used.
        NetworkError: the network cannot take the data, or has layers that cannot be gated.
        DivergenceError: the loss is not finite.
    """
    chosen = method_by_name(method)
    known = {field.name for field in fields(RunSettings)} - {"method", "options"}
    own = {name: value for name, value in settings.items() if name not in known}
    given = {name: value for name, value in settings.items() if name in known}
    spec = name_of(network)
    given = {"network": spec.factory if spec else type(network).__name__, "data": data.name} | given
    options = dict(settings.pop("options", {})) | {name: v for name, v in own.items() if name != "options"}
    for name in ("keep", "widths"):
        if given.get(name) is not None:
            given[name] = tuple(given[name])
    checkpointer = None if checkpoint is None else Checkpointer(Path(checkpoint))
    return run(
        chosen,
        network,
        data,
        RunSettings(method=method, options=options, **given),
        spec=spec,
        checkpointer=checkpointer,
        progress=progress,
    )


def load(folder: str | Path, factory: Factory | None = None) -> Pruned:
    """Read a pruned network from a run folder, or from one that `Pruned.save` wrote.

    Nothing in the files is executed: weights are safetensors, the rest is JSON, and the network's factory is looked up
    by its registered name.

    Args:
        folder: where run.json lies.
        factory: makes the dense network, for a class of your own; called with the keyword arguments it accepts of
            input_shape and classes.

    Raises:
        StoreError: the folder holds no finished run, is damaged, or needs a factory.
    """
    import bayesprune.models.networks  # noqa: F401 - fills the registry

    record = RunRecord.read(folder)
    network = rebuild(record, RunFolder(Path(folder)).load_network(), factory)
    return Pruned.from_record(record, network)


def compare(
    network: str = "lenet300",
    data: str = "mnist5k",
    *,
    seeds: int = 3,
    methods: Sequence[str] | None = None,
    out: str | Path = "runs",
    workers: int = 2,
    **settings: Any,
) -> list[RunRecord]:
    """Run several methods side by side, as `bayesprune compare` does; finished runs are not made again.

    Returns:
        The runs' records, method after method.
    """
    from bayesprune.experiments.compare import COMPARED, comparison
    from bayesprune.experiments.executor import run_jobs
    from bayesprune.experiments.study import seeds_from

    known = {field.name for field in fields(RunSettings)}
    for name in settings:
        if name not in known:
            raise UnknownNameError("setting", name, known)
    base = RunSettings(method="parsimonious", network=network, data=data, **settings)
    jobs = comparison(base, seeds_from(seeds), methods or COMPARED)
    return [RunRecord.read(folder) for folder in run_jobs(jobs, Path(out), workers=workers)]
