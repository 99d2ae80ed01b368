"""The library's front door: prune, compare, load."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import nn

from bayesprune.data import Data
from bayesprune.errors import StoreError, UnknownNameError
from bayesprune.experiments.methods import method as method_by_name
from bayesprune.run.environment import environment
from bayesprune.run.networks import Factory, NetworkSpec, name_of
from bayesprune.run.pruned import Pruned, rebuild
from bayesprune.run.running import run
from bayesprune.run.settings import RunSettings
from bayesprune.store.atomic import check_writable
from bayesprune.store.runs import RunFolder, RunRecord
from bayesprune.training import Checkpointer, Progress


@environment()
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
        checkpoint: a file to save the state to now and then, and to resume from when it is there; it is
            removed when the run is finished.
        progress: called after every step.
        settings: fields of `RunSettings` (seed, epochs, budget, price, ...), or the method's own settings.

    Raises:
        SettingError: a setting is unknown or has a value that cannot be used.
        NetworkError: the network cannot take the data, or has layers that cannot be gated.
        DivergenceError: the loss is not finite.
        StoreError: the checkpoint is damaged, belongs to another run, or cannot be written.
    """
    chosen = method_by_name(method)
    options = dict(settings.pop("options", {}))
    known = {field.name for field in fields(RunSettings)} - {"method"}
    options |= {name: settings.pop(name) for name in list(settings) if name not in known}
    spec = _remembered_spec(network)
    given = {"network": spec.factory if spec else type(network).__name__, "data": data.name} | settings
    checkpointer = None if checkpoint is None else Checkpointer(Path(checkpoint))
    pruned = run(
        chosen,
        network,
        data,
        RunSettings(method=method, options=options, **given),
        spec=spec,
        checkpointer=checkpointer,
        progress=progress,
    )
    if checkpointer is not None:
        checkpointer.remove()
    return pruned


def _remembered_spec(network: nn.Module) -> NetworkSpec | None:
    """How a registered factory made the network; None when it was changed since and cannot be made again."""
    spec = name_of(network)
    if spec is None:
        return None
    return spec if _anatomy(spec.build()) == _anatomy(network) else None


def _anatomy(network: nn.Module) -> list[object]:
    """Names and kinds of all modules, names and shapes of all tensors."""
    modules: list[object] = [(name, type(module)) for name, module in network.named_modules()]
    return modules + [(name, getattr(value, "shape", None)) for name, value in network.state_dict().items()]


def load(folder: str | Path, factory: Factory | None = None) -> Pruned:
    """Read a pruned network from a run folder, or from one that `Pruned.save` wrote.

    Nothing in the files is executed: weights are safetensors, the rest is JSON, and the network's factory is
    looked up by its registered name.

    Args:
        folder: where run.json lies.
        factory: makes the dense network, for a class of your own; called with those of the keyword arguments
            input_shape and classes that it accepts.

    Raises:
        StoreError: the folder holds no finished run, is damaged, or needs a factory.
    """
    import bayesprune.models.networks  # noqa: F401 - fills the registry

    record = RunRecord.read(folder)
    network = rebuild(record, RunFolder(Path(folder)).load_network(), factory)
    try:
        return Pruned.from_record(record, network)
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{folder}: its parts do not fit together ({error}); was the run changed?") from error


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
    """Run several methods side by side, as `bayesprune compare` does.

    Finished runs are not made again, and interrupted ones are gone on with.

    Args:
        network: registered name or `package.module:callable`.
        data: name of the data set.
        seeds: how many, from 0 on.
        methods: names in the table of methods.
        out: folder of the run folders.
        workers: processes, one thread each.
        settings: other fields of `RunSettings`.

    Returns:
        The runs' records, method after method.

    Raises:
        BayespruneError: a setting is unknown or cannot be used (nothing is written then), or a run failed.
    """
    from bayesprune.experiments.compare import COMPARED, comparison
    from bayesprune.experiments.executor import run_jobs
    from bayesprune.experiments.jobs import check
    from bayesprune.experiments.study import seeds_from
    from bayesprune.experiments.worker import leave_if_started_anew

    leave_if_started_anew()
    known = {field.name for field in fields(RunSettings)} - {"method", "seed"}
    for name in settings:
        if name not in known:
            raise UnknownNameError("setting", name, known)
    base = RunSettings(method="parsimonious", network=network, data=data, **settings)
    jobs = comparison(base, seeds_from(seeds), methods or COMPARED)
    check_writable(out)
    for job in jobs:
        check(job)
    return [RunRecord.read(folder) for folder in run_jobs(jobs, Path(out), workers=workers)]
