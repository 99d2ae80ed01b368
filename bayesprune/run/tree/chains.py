"""Draws of gates, chain by chain, and what is known of the networks they are of: what a tree is built from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bayesprune.errors import SettingError, a_kind
from bayesprune.store.runs import RunRecord

if TYPE_CHECKING:
    from bayesprune.run.pruned import Pruned

    Run: TypeAlias = Pruned | RunRecord | str | Path

NOTE = (
    "Draws are independent Bernoulli draws from the inclusion probabilities of a variational posterior, taken before "
    "the last decisions (of methods with multipliers from their scores, which are probabilities for l0 and bmrs only: "
    "docs/relatives.md); every chain is an independent restart. R-hat and effective sample sizes therefore compare "
    "restarts only: with one chain R-hat is undefined, and neither says how well a run has converged."
)
MAY_DIFFER = frozenset({"seed", "threads", "device", "precision", "out", "weights_digest"})
"""Settings in which restarts of the same run may differ."""

Variables = dict[str, tuple[tuple[str, ...], NDArray[Any]]]
"""By name, dimensions and values."""


@dataclass(frozen=True, eq=False)
class Chains:
    """Draws of J gates, R chains of D draws.

    Attributes:
        z: uint8 [R, D, J].
        group_of: the group [J] of every gate.
        index: its original index [J] in that group.
        sizes: channels of every group at the start.
        left: gates that the network of each chain still has, bool [R, J].
        networks: of the chains; None where only a record is at hand, and the same one for chains of one network.
        price: nats [R, J]; NaN where it is not known any more. None where there are no prices.
        log_odds: prior log odds [R, J] that the draws have by themselves; None where a price has to say them.
        theta: inclusion probabilities [R, J] that they were drawn from; None for draws of another kind.
        stats: variables of `sample_stats` that need no draws.
        coords: of these.
        note: what R-hat means.
        attributes: of the tree.
    """

    z: NDArray[np.uint8]
    group_of: tuple[str, ...]
    index: NDArray[np.int64]
    sizes: dict[str, int]
    left: NDArray[np.bool_]
    networks: "tuple[Pruned | None, ...]"
    price: NDArray[np.float64] | None = None
    log_odds: NDArray[np.float64] | None = None
    theta: NDArray[np.float64] | None = None
    stats: Variables = field(default_factory=dict)
    coords: dict[str, Any] = field(default_factory=dict)
    note: str = NOTE
    attributes: dict[str, str | int] = field(default_factory=dict)

    @property
    def gates(self) -> list[str]:
        """The name of every gate: its group and its original index in it, as in `fc1[12]`."""
        return [f"{group}[{index}]" for group, index in zip(self.group_of, self.index.tolist(), strict=True)]

    def network(self, chain: int, need: str) -> "Pruned":
        """The network of a chain.

        Raises:
            SettingError: only a record of it is at hand.
        """
        found = self.networks[chain]
        if found is None:
            raise SettingError(
                f"{need} needs the network of every run, and there is a record only: give what bayesprune.prune or "
                "bayesprune.load(folder, factory=...) gave back"
            )
        return found

    def by_group(self, values: NDArray[Any], kind: type[Any]) -> NDArray[Any]:
        """Sums [..., groups] of values [..., J]."""
        names = np.array(self.group_of)
        return np.stack([values[..., names == name].sum(-1, dtype=kind) for name in self.sizes], axis=-1)


@runtime_checkable
class OfChains(Protocol):
    """Draws that know their chains themselves, such as `GibbsDraws`."""

    def chains(self) -> Chains:
        """What a tree is built from."""
        ...


def chains_of(runs: "Run | Sequence[Run]", draws: int, seed: int, trace: bool) -> Chains:
    """Draws from the posteriors of one run, or of several restarts of it.

    Args:
        runs: as in `bayesprune.run.datatree.to_datatree`.
        draws: a chain.
        seed: of the draws.
        trace: whether inclusion probabilities after every epoch are wanted.

    Raises:
        StoreError, SettingError: as in `bayesprune.run.datatree.to_datatree`.
    """
    several = runs if isinstance(runs, Sequence) and not isinstance(runs, str) else [runs]
    records = [_record(run) for run in several]
    check_restarts(records)
    groups = records[0].groups
    theta = _stacked(records, "inclusion_probability")
    streams = np.random.SeedSequence(seed).spawn(len(records))
    decided = _stacked(records, "decided")
    stats: Variables = {
        "inclusion_probability": (("chain", "gate"), theta),
        "decided": (("chain", "gate"), decided),
        "seed": (("chain",), np.array([record.result["seed"] for record in records])),
    }
    if trace:
        stats["trace"] = (("chain", "step", "gate"), _stacked(records, "trace"))
    index = np.concatenate([np.arange(group["size"]) for group in groups])
    group_of = tuple(group["name"] for group in groups for _ in range(group["size"]))
    left = np.stack([_left(record) for record in records])
    return Chains(
        z=np.stack([_draw(row, draws, stream) for row, stream in zip(theta, streams, strict=True)]),
        group_of=group_of,
        index=index,
        sizes={group["name"]: group["size"] for group in groups},
        left=left,
        networks=tuple(None if isinstance(run, RunRecord | str | Path) else run for run in several),
        price=_prices(records, left, np.array(group_of)),
        theta=theta.astype(np.float64),
        stats=stats,
        coords={"step": _tensor(records[0], "steps")} if trace else {},
        attributes=_attributes(records, seed),
    )


def check_restarts(records: Sequence[RunRecord]) -> None:
    """Refuse what cannot stand side by side as chains of one posterior.

    Raises:
        SettingError: names the run and what it differs in.
    """
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


def _record(run: "Run") -> RunRecord:
    """The record of a run that a user has in one form or another."""
    if isinstance(run, str | Path):
        return RunRecord.read(run)
    if isinstance(run, RunRecord):
        return run
    if not hasattr(run, "record"):
        raise SettingError(f"{a_kind(run)} is no run: give a pruned network, a RunRecord or a run folder")
    return run.record()


def _differing_settings(first: RunRecord, other: RunRecord) -> list[str]:
    """Settings that two restarts must share and these do not."""
    names = dict.fromkeys([*first.settings, *other.settings])
    return [name for name in names if name not in MAY_DIFFER and first.settings.get(name) != other.settings.get(name)]


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


def _left(record: RunRecord) -> NDArray[np.bool_]:
    """Which gates [J] the network still has."""
    return np.concatenate([np.isin(np.arange(group["size"]), group["kept"]) for group in record.groups])


def _prices(
    records: Sequence[RunRecord], left: NDArray[np.bool_], group_of: NDArray[np.str_]
) -> NDArray[np.float64] | None:
    """Nats [R, J]; those of gates that are gone where what is left of their group has one price, else NaN."""
    if any(record.posterior is None or "price" not in record.posterior for record in records):
        return None
    found = _stacked(records, "price").astype(np.float64)
    for row, here in zip(found, left, strict=True):
        for name in dict.fromkeys(group_of.tolist()):
            own = group_of == name
            values = row[own & here]
            alike = len(values) and np.ptp(values) <= 1e-6 * np.abs(values).max()
            row[own & ~here] = values[0] if alike else np.nan
    return found


def _draw(theta: NDArray[Any], draws: int, stream: np.random.SeedSequence) -> NDArray[np.uint8]:
    """Gates [draw, gate]; uint8, since ArviZ 1.x cannot summarise bool."""
    uniform = np.random.default_rng(stream).random((draws, theta.size), dtype=np.float32)
    return (uniform < theta).astype(np.uint8)  # uniform lies in [0, 1): 0 is never drawn open, 1 always


def _attributes(records: Sequence[RunRecord], seed: int) -> dict[str, str | int]:
    """Where the tree comes from; text and numbers only, as NetCDF wants it."""
    first = records[0]
    return {
        "inference_library_version": first.versions.get("bayesprune", ""),
        "method": str(first.result["method"]),
        "network": str(first.settings.get("network", "")),
        "data": str(first.data["name"]),
        "runs": " ".join(record.id for record in records),
        "draws_seed": seed,
    }
