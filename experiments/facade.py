"""The library's front door: prune, compare, load."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayesprune.data.given import as_data
from bayesprune.errors import SettingError, StoreError, UnknownNameError, nearest_name
from bayesprune.experiments.methods import as_method
from bayesprune.experiments.showing import shown
from bayesprune.inference.references.hyper_draws import hyper_prior_draws
from bayesprune.run.environment import environment
from bayesprune.run.given import Given, start_from
from bayesprune.run.method import Method
from bayesprune.run.networks import Factory
from bayesprune.run.pruned import Pruned
from bayesprune.run.rebuild import rebuild
from bayesprune.run.running import run
from bayesprune.run.samplers import register_sampler
from bayesprune.run.settings import RunSettings, check_integer, check_type
from bayesprune.store.atomic import check_writable
from bayesprune.store.runs import RunFolder, RunRecord
from bayesprune.training import Checkpointer, Progress

if TYPE_CHECKING:
    from xarray import DataTree

    from bayesprune.inference.references.exact_gates import ExactGates
    from bayesprune.inference.references.gibbs_draws import GibbsDraws
    from bayesprune.inference.references.nuts_draws import NutsDraws
    from bayesprune.run.tree.chains import OfChains, Run

_SETTINGS = {field.name for field in fields(RunSettings)} - {"method"}


@environment()
def prune(
    network: Given | Pruned,
    data: Any,
    method: str | Method = "parsimonious",
    *,
    restarts: int = 1,
    checkpoint: str | Path | None = None,
    progress: Callable[[Progress], None] | bool | None = None,
    **settings: Any,
) -> Pruned:
    """Train and prune a network.

    A name ("lenet300"), class or function makes a network whose weights `seed` draws, so that the call gives the same
    result whenever it is made. A module starts from the weights that it has: where those were drawn at random before,
    the result depends on them, whatever the seed.

    Args:
        network: a name as on the command line, a class or function that takes any of `input_shape=`, `classes=` and
            `widths=`, or any module; a module is not changed. What
            `prune` gave back, or its network, keeps the zeros of its masks and its selected inputs.
        data: from `bayesprune.load_data`, `bayesprune.data.from_tensors` or `from_loaders`; a name for the first; a
            pair (inputs, targets) for the second; a DataLoader, of which the examples are read once into memory and
            split; or three loaders (train, validation, test), which stay what they are.
        method: a name in the table of methods, or an object, such as `Variational` of parts of your own.
        restarts: so many runs with the seeds from `seed` on, two at a time where network and data are names. What comes
            back is the best of them by its validation data, with all of them as `restarts`: its `posterior_tree` has a
            chain for each. Of a module all start from the weights that it has; a class draws new ones for each.
        checkpoint: a file to save the state to now and then, and to resume from when it is there; it is
            removed when the run is finished. With several restarts it is a folder in which the finished runs stay.
        progress: called after every step; True or False shows a bar or none; by default a bar is shown in a terminal
            and in a notebook.
        settings: fields of `RunSettings` (seed, epochs, budget, price, ...), or the method's own settings.

    Raises:
        SettingError: a setting is unknown or has a value that cannot be used.
        DataError: the data are none; the message says how to make some.
        NetworkError: the network cannot take the data, or has layers that cannot be gated.
        DivergenceError: the loss is not finite.
        StoreError: the checkpoint is damaged, belongs to another run, or cannot be written.
    """
    import bayesprune.models.networks  # noqa: F401 - fills the registry

    network = network.network if isinstance(network, Pruned) else network
    chosen = as_method(method)
    check_integer("restarts", restarts, 1)
    if restarts > 1:
        return _restarted(network, data, method, restarts, checkpoint, progress, settings)
    data = as_data(data, settings.get("task"))
    asked = {"data": data.name} | _settings_and_options(chosen, settings)
    start = start_from(network, data, RunSettings(method=chosen.name, **asked))
    checkpointer = None if checkpoint is None else Checkpointer(Path(checkpoint))
    with shown(progress, f"{chosen.name} seed {start.settings.seed}") as tell:
        pruned = run(
            chosen,
            start.network,
            data,
            start.settings,
            spec=start.spec,
            given=start.given,
            fresh=start.fresh,
            checkpointer=checkpointer,
            progress=tell,
        )
    if checkpointer is not None:
        checkpointer.remove()
    return pruned


def _restarted(
    network: Any,
    data: Any,
    method: Method | str,
    count: int,
    folder: str | Path | None,
    progress: Any,
    given: dict[str, Any],
) -> Pruned:
    """See `prune`."""
    chosen = as_method(method)
    from bayesprune.experiments.restarts import make_restarts
    from bayesprune.experiments.subjects import subject_of, with_method

    if callable(progress):
        raise SettingError("progress is a function, which several runs at a time cannot call: give True, False or None")
    subject, names = subject_of(network, data, given.get("task"))
    base = RunSettings(method=chosen.name, **names | _settings_and_options(chosen, given))
    return make_restarts(base, with_method(subject, method), count, None if folder is None else Path(folder), progress)


def _settings_and_options(method: Method, given: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments as settings, with the method's own ones in `options`.

    Raises:
        UnknownNameError: one of them is neither.
        SettingError: `options` is no table.
    """
    own = {field.name for field in fields(method.options)}
    settings = _SETTINGS | {"checkpoint", "progress", "restarts"}
    for name in given:
        if name not in settings | own:
            meant = nearest_name(name, settings | own)
            kind, known = (f"option of {method.name}", own) if meant in own - settings else ("setting", settings | own)
            raise UnknownNameError(kind, name, known)
    check_type("options", given.get("options", {}), Mapping, "a table of the method's own settings")
    options = dict(given.get("options", {})) | {name: given[name] for name in given if name in own - _SETTINGS}
    return {name: value for name, value in given.items() if name in _SETTINGS} | {"options": options}


def load(folder: str | Path, factory: Factory | None = None) -> Pruned:
    """Read a pruned network from a run folder, or from one that `Pruned.save` wrote.

    Nothing in the files is executed: weights are safetensors, the rest is JSON, and the network's factory is
    looked up by its registered name.

    Args:
        folder: where run.json lies, or that file.
        factory: makes the dense network, for a class of your own; called with those of the keyword arguments
            input_shape, classes and widths that it accepts.

    Raises:
        StoreError: the folder holds no finished run, is damaged, or needs a factory.
    """
    import bayesprune.models.networks  # noqa: F401 - fills the registry

    record = RunRecord.read(folder)
    network, structure = rebuild(record, RunFolder(record.folder or Path(folder)).load_network(), factory)
    try:
        return Pruned.from_record(record, network, structure)
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{folder}: its parts do not fit together ({error}); was the run changed?") from error


def gibbs(
    pruned: Pruned, data: Any = None, *, progress: Callable[[Progress], None] | bool | None = None, **settings: Any
) -> "GibbsDraws":
    """Sample the gates of a pruned network at its weights; see `bayesprune.inference.references.gibbs.gibbs`.

    Args:
        pruned: the result of a run.
        data: as for `Pruned.evidence`.
        progress: as for `prune`; a step is a sweep of all chains.
        settings: draws, chains, warm_up, examples, pi, price, seed.

    Raises:
        BayespruneError: a setting is unknown or cannot be used, or the data are none.
    """
    from bayesprune.inference.references.gibbs import gibbs as sample_gates

    found: GibbsDraws = _looked_at(sample_gates, pruned, data, progress, settings)
    return found


def exact(
    pruned: Pruned, data: Any = None, *, progress: Callable[[Progress], None] | bool | None = None, **settings: Any
) -> "ExactGates":
    """The exact posterior of at most 20 gates at fixed weights; see `bayesprune.inference.references.exact.exact`.

    Args:
        pruned: the result of a run.
        data: as for `Pruned.evidence`.
        progress: as for `prune`; a step is a setting of all gates.
        settings: examples, pi, price, seed.

    Raises:
        BayespruneError: there are too many gates, a setting is unknown or cannot be used, or the data are none.
    """
    from bayesprune.inference.references.exact import exact as all_settings

    found: ExactGates = _looked_at(all_settings, pruned, data, progress, settings)
    return found


def nuts(
    pruned: Pruned, data: Any = None, *, progress: Callable[[Progress], None] | bool | None = None, **settings: Any
) -> "NutsDraws":
    """Draws of the weights of a small network, gates summed out; see `bayesprune.inference.references.nuts.nuts`.

    Args:
        pruned: the result of a run, with at most 8 gates left.
        data: as for `Pruned.evidence`.
        progress: as for `prune`; a step is a draw, or a step of the warm-up, of one chain.
        settings: draws, chains, warm_up, examples, pi, price, slab, seed, deepest.

    Raises:
        BayespruneError: there are too many gates, a setting is unknown or cannot be used, or the data are none.
    """
    from bayesprune.inference.references.nuts import nuts as draw_weights

    found: NutsDraws = _looked_at(draw_weights, pruned, data, progress, settings)
    return found


def _looked_at(look: Callable[..., Any], pruned: Pruned, data: Any, progress: Any, settings: Mapping[str, Any]) -> Any:
    """What a function of a result gives, with its settings checked and its progress shown."""
    known = set(signature(look).parameters) - {"pruned"}
    for name in settings:
        if name not in known:
            raise UnknownNameError("setting", name, known)
    with shown(progress, f"gates of {pruned.settings.method}") as tell:
        return look(pruned, data, progress=tell, **settings)


register_sampler("gibbs", gibbs)
register_sampler("exact", exact)
register_sampler("nuts", nuts)
register_sampler("hyper-prior", hyper_prior_draws)


def to_datatree(
    runs: "Run | Sequence[Run] | OfChains", draws: int = 1000, seed: int = 0, **settings: Any
) -> "DataTree":
    """The posterior of runs, and what goes with it, as a DataTree that ArviZ reads.

    See `bayesprune.run.datatree.to_datatree`. Here networks of run folders are loaded where this library can make
    them, so that their trees have all that those of `Pruned` have.

    Args:
        runs: what `prune` or `load` returned, a record, a run folder, several of them, or Gibbs draws.
        draws: draws a chain.
        seed: of all that is drawn.
        settings: data, split, examples, predicted, evidence, prior, price, weights, trace.

    Raises:
        BayespruneError: as there, or a setting is unknown.
    """
    from bayesprune.run.datatree import to_datatree as build
    from bayesprune.run.tree.chains import OfChains

    known = set(signature(build).parameters) - {"runs"}
    for name in settings:
        if name not in known:
            raise UnknownNameError("setting", name, known)
    if isinstance(runs, OfChains):
        return build(runs, draws, seed, **settings)
    several = runs if isinstance(runs, Sequence) and not isinstance(runs, str) else [runs]
    return build([_with_network(run) for run in several], draws, seed, **settings)


def _with_network(run: Any) -> Any:
    """A run folder as a `Pruned`, where its network can be made; else what it was."""
    folder = run.folder if isinstance(run, RunRecord) else run if isinstance(run, str | Path) else None
    if folder is None:
        return run
    record = run if isinstance(run, RunRecord) else RunRecord.read(folder)
    if record.posterior is None:
        return record
    try:
        return load(folder)
    except StoreError:
        return record  # of a class of the user's, or only its record is whole


def compare(
    network: Given | Pruned = "lenet300",
    data: Any = "mnist5k",
    *,
    seeds: int = 3,
    methods: Sequence[str | Method] | str | Method | None = None,
    out: str | Path = "runs",
    workers: int = 2,
    progress: bool | None = None,
    **settings: Any,
) -> list[RunRecord]:
    """Run several methods side by side, as `bayesprune compare` does.

    Finished runs are not made again, and interrupted ones are gone on with. Names are made into networks and data by
    worker processes, several at a time. Objects cannot be sent there: with a module, class, function or data of your
    own the runs are made in this process, one after the other, and `workers` changes nothing. Runs are known by the
    content of the data and of the weights.

    Args:
        network: what `prune` takes. A name, class or function makes a network for every run, whose weights its seed
            draws. Of a module every run gets a copy: all seeds start from the weights that it has.
        data: what `prune` takes.
        seeds: how many, from 0 on.
        methods: names in the table of methods and objects (see `prune`), or one; runs of objects are made in this
            process.
        out: folder of the run folders.
        workers: processes, one thread each, where network and data are names.
        progress: whether to show how the runs get on; by default in a terminal and in a notebook.
        settings: other fields of `RunSettings`.

    Returns:
        The runs' records, method after method.

    Raises:
        BayespruneError: a setting is unknown or cannot be used, or network or data are none (nothing is written then),
            or a run failed.
    """
    from bayesprune.experiments.compare import COMPARED, comparison
    from bayesprune.experiments.executor import run_jobs
    from bayesprune.experiments.jobs import phase_steps
    from bayesprune.experiments.showing import watched
    from bayesprune.experiments.study import seeds_from
    from bayesprune.experiments.subjects import NAMED, subject_of
    from bayesprune.experiments.worker import leave_if_started_anew

    leave_if_started_anew()
    known = _SETTINGS - {"seed"}
    for name in settings:
        if name not in known:
            raise UnknownNameError("setting", name, known | {"seeds", "methods", "out", "workers", "progress"})
    subject, names = subject_of(network, data, settings.get("task"))
    base = RunSettings(method="parsimonious", **names, **settings)
    named = methods if methods is None or isinstance(methods, (list, tuple)) else (methods,)
    jobs = comparison(base, seeds_from(seeds), named or COMPARED, subject)
    check_writable(out)
    phases = [phase_steps(job) for job in jobs]
    with watched(
        progress, jobs, phases, Path(out), workers if all(job.subject is NAMED for job in jobs) else 1
    ) as watcher:
        folders = run_jobs(jobs, Path(out), workers=workers, **watcher)
    return [RunRecord.read(folder) for folder in folders]
