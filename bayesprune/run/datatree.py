"""The posterior over a network's structure as an xarray DataTree that ArviZ reads.

What a run knows is a probability for every gate, so draws are made from those, independently. They say
nothing about convergence by themselves: only independent restarts, one chain each, can disagree.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bayesprune.errors import SettingError
from bayesprune.store.runs import RunRecord

if TYPE_CHECKING:
    import xarray

    from bayesprune.run.pruned import Pruned

    Run: TypeAlias = Pruned | RunRecord | str | Path

NOTE = (
    "Draws are independent Bernoulli draws from the inclusion probabilities of a variational posterior, "
    "taken before the last decisions; every chain is an independent restart. R-hat and effective sample "
    "sizes therefore compare restarts only: with one chain R-hat is undefined, and neither says how well a "
    "run has converged."
)
_MAY_DIFFER = frozenset({"seed", "threads", "device", "precision", "out", "weights_digest"})
"""Settings in which restarts of the same run may differ."""


def to_datatree(runs: "Run | Sequence[Run]", draws: int = 1000, seed: int = 0) -> "xarray.DataTree":
    """The posterior of one run, or of several restarts of it as chains, gates named like `fc1[12]`.

    Groups and variables:

    - `posterior`: `z` [chain, draw, gate], uint8, 1 where a draw opens the gate; `open_gates` [chain, draw,
      group], the number of open gates of each group of channels.
    - `sample_stats`: `log_probability` [chain, draw] of each draw under the posterior it comes from;
      `inclusion_probability` [chain, gate] before the last decisions, `decided` [chain, gate], `trace` [chain, step,
      gate] of inclusion probabilities after every epoch, `seed` [chain].
    - `constant_data`: `group_of_gate` [gate], `index_in_group` [gate], `group_size` [group].

    ArviZ before 1.0 takes it as `arviz.from_datatree(tree)`; `arviz.concat(one, two, dim="chain")` joins such restarts.

    Args:
        runs: a finished run with a posterior, or several that differ in their seed only: what `bayesprune.prune` or
            `bayesprune.load` returned, a record, or a run folder.
        draws: draws a chain, at least 1.
        seed: of the draws.

    Raises:
        StoreError: a folder holds no finished run, or is damaged.
        SettingError: there is no run, a run has no posterior, is given twice, or is no restart of the first
            one (other groups or settings); or `draws` is below 1.
    """
    import xarray

    from bayesprune.run.settings import check_integer

    records = _records(runs)
    check_integer("draws", draws, 1)
    check_integer("seed", seed, 0)
    _check_restarts(records)
    theta = _stacked(records, "inclusion_probability")
    streams = np.random.SeedSequence(seed).spawn(len(records))
    z = np.stack([_draw(row, draws, stream) for row, stream in zip(theta, streams, strict=True)])
    coordinates = _coordinates(records)
    chains = {"chain": coordinates["chain"], "draw": np.arange(draws)}
    gate, group = {"gate": coordinates["gate"]}, {"group": coordinates["group"]}
    tree = xarray.DataTree.from_dict(
        {
            "posterior": xarray.Dataset(
                {
                    "z": (("chain", "draw", "gate"), z),
                    "open_gates": (("chain", "draw", "group"), _open_by_group(z, records[0])),
                },
                coords=chains | gate | group,
                attrs={"note": NOTE},
            ),
            "sample_stats": xarray.Dataset(
                {
                    "log_probability": (("chain", "draw"), _log_probability(z, theta)),
                    "inclusion_probability": (("chain", "gate"), theta),
                    "decided": (("chain", "gate"), _stacked(records, "decided")),
                    "trace": (("chain", "step", "gate"), _stacked(records, "trace")),
                    "seed": ("chain", [record.result["seed"] for record in records]),
                },
                coords=chains | gate | {"step": _tensor(records[0], "steps")},
            ),
            "constant_data": _constants(records[0], coordinates),
        }
    )
    tree.attrs.update(_attributes(records, seed))
    return tree


def for_arviz(tree: "xarray.DataTree") -> Any:
    """The tree as the installed ArviZ takes it: as it is from 1.0 on, before that as InferenceData."""
    container = vars(import_arviz()).get("InferenceData")  # getattr would make ArviZ 1.x warn
    return tree if container is None else container.from_datatree(tree)


def import_arviz() -> Any:
    """The module `arviz`, which takes seconds to import; its news of the day is held back."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import arviz
    return arviz


def gate_names(record: RunRecord) -> list[str]:
    """The name of every gate: its group and its original index in it, as in `fc1[12]`."""
    return [f"{group['name']}[{index}]" for group in record.groups for index in range(group["size"])]


def _records(runs: "Run | Sequence[Run]") -> list[RunRecord]:
    """The record of every run."""
    several = runs if isinstance(runs, Sequence) and not isinstance(runs, str) else [runs]
    return [_record(run) for run in several]


def _record(run: "Run") -> RunRecord:
    """The record of a run that a user has in one form or another."""
    if isinstance(run, str | Path):
        return RunRecord.read(run)
    if isinstance(run, RunRecord):
        return run
    if not hasattr(run, "record"):
        raise SettingError(f"a {type(run).__name__} is no run: give a pruned network, a RunRecord or a run folder")
    return run.record()


def _check_restarts(records: Sequence[RunRecord]) -> None:
    """Refuse what cannot stand side by side as chains of one posterior."""
    if not records:
        raise SettingError("there is no run: name at least one finished run of a Bayesian method")
    first = records[0]
    for record in records:
        name = _name(record)
        if record.posterior is None:
            place = "" if record.folder is None else f" (there is no posterior.safetensors in {record.folder})"
            raise SettingError(f"{name} has no posterior{place}: give a run of a Bayesian method, such as parsimonious")
        if _layout(record) != _layout(first):
            raise SettingError(
                f"{name} has the groups {_layout(record)}, but {_name(first)} has {_layout(first)}: "
                "only runs with the same groups can be chains of one posterior"
            )
        differing = _differing_settings(first, record)
        if differing:
            raise SettingError(
                f"{name} differs from {_name(first)} in {', '.join(differing)}: only restarts that differ in "
                "their seed can be chains of one posterior; show the others one by one"
            )
        if not np.array_equal(_tensor(record, "steps"), _tensor(first, "steps")):
            raise SettingError(f"{name} and {_name(first)} took other steps: run one of them again")
    seen = [record.id for record in records]
    twice = sorted({run for run in seen if seen.count(run) > 1})
    if twice:
        raise SettingError(f"run {twice[0]} is given twice: the same run is no second restart")


def _differing_settings(first: RunRecord, other: RunRecord) -> list[str]:
    """Settings that two restarts must share and these do not."""
    names = dict.fromkeys([*first.settings, *other.settings])
    return [name for name in names if name not in _MAY_DIFFER and first.settings.get(name) != other.settings.get(name)]


def _name(record: RunRecord) -> str:
    return f"run {record.id} ({record.result['method']}, seed {record.result['seed']})"


def _layout(record: RunRecord) -> list[tuple[str, int]]:
    """Name and size of every group, in the order in which gates are numbered."""
    return [(group["name"], group["size"]) for group in record.groups]


def _tensor(record: RunRecord, name: str) -> NDArray[Any]:
    """A tensor of the posterior, which is there, as an array."""
    posterior = record.posterior
    if posterior is None:
        raise SettingError(f"{_name(record)} has no posterior")
    array: NDArray[Any] = posterior[name].numpy()
    return array


def _stacked(records: Sequence[RunRecord], name: str) -> NDArray[Any]:
    """A tensor of every run, one run a chain."""
    return np.stack([_tensor(record, name) for record in records])


def _draw(theta: NDArray[Any], draws: int, stream: np.random.SeedSequence) -> NDArray[np.uint8]:
    """Gates [draw, gate]; uint8, since ArviZ 1.x cannot summarise bool."""
    uniform = np.random.default_rng(stream).random((draws, theta.size), dtype=np.float32)
    return (uniform < theta).astype(np.uint8)  # uniform lies in [0, 1): 0 is never drawn open, 1 always


def _open_by_group(z: NDArray[np.uint8], record: RunRecord) -> NDArray[np.int64]:
    """Number of open gates [chain, draw, group]."""
    borders = np.cumsum([group["size"] for group in record.groups])[:-1]
    return np.stack([part.sum(-1, dtype=np.int64) for part in np.split(z, borders, axis=-1)], axis=-1)


def _log_probability(z: NDArray[np.uint8], theta: NDArray[Any]) -> NDArray[np.float64]:
    """Log-probability [chain, draw] of drawn gates; decided ones add log 1 = 0 and are left out."""
    rows = []
    for draws, probability in zip(z, theta.astype(np.float64), strict=True):
        undecided = (probability > 0.0) & (probability < 1.0)
        opened, closed = np.log(probability[undecided]), np.log1p(-probability[undecided])
        rows.append(draws[:, undecided] @ (opened - closed) + closed.sum())
    return np.stack(rows)


def _coordinates(records: Sequence[RunRecord]) -> dict[str, Any]:
    return {
        "chain": np.arange(len(records)),
        "gate": gate_names(records[0]),
        "group": [group["name"] for group in records[0].groups],
    }


def _constants(record: RunRecord, coordinates: dict[str, Any]) -> "xarray.Dataset":
    """What all restarts share. Nothing of it has a chain: ArviZ 0.23 cannot concatenate constants that have one."""
    import xarray

    groups = record.groups
    return xarray.Dataset(
        {
            "group_of_gate": ("gate", [group["name"] for group in groups for _ in range(group["size"])]),
            "index_in_group": ("gate", [index for group in groups for index in range(group["size"])]),
            "group_size": ("group", [group["size"] for group in groups]),
        },
        coords={name: coordinates[name] for name in ("gate", "group")},
    )


def _attributes(records: Sequence[RunRecord], seed: int) -> dict[str, str | int]:
    """Where the tree comes from; text and numbers only, as NetCDF wants it."""
    first = records[0]
    return {
        "note": NOTE,
        "inference_library": "bayesprune",
        "inference_library_version": first.versions.get("bayesprune", ""),
        "method": str(first.result["method"]),
        "network": str(first.settings.get("network", "")),
        "data": str(first.data["name"]),
        "runs": " ".join(record.id for record in records),
        "draws_seed": seed,
    }
