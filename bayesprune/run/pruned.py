"""The result of a run: a smaller plain network, what was kept, the posterior, and how it was got."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bayesprune.data import Data
from bayesprune.data.given import as_data
from bayesprune.errors import BayespruneError, StoreError
from bayesprune.evaluation.evaluate import Evaluation, evaluate
from bayesprune.run.identity import tensors_digest
from bayesprune.run.method import GatePosterior
from bayesprune.run.networks import Factory, NetworkSpec
from bayesprune.run.settings import RunSettings
from bayesprune.run.table import table_of
from bayesprune.store.runs import RunFolder, RunRecord, library_versions
from bayesprune.structure import Group, LayerCost, compact, fed_outputs, find, layer_costs
from bayesprune.structure.selectors import plain_name
from bayesprune.training import TrainState

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True, eq=False, repr=False)
class Pruned:
    """A pruned network and everything known about it.

    Attributes:
        network: a plain `nn.Module` that takes the full input.
        kept: for each group the original indices that are left.
        groups: the groups, with their initial sizes.
        posterior: over the structure; None for deterministic methods.
        evaluation: quality and cost, measured when the run ended.
        history: one record an epoch.
        layers: cost of every layer now; `dense_layers` at the start.
        settings: of the run.
        spec: how the dense network was built; None for a network of the user's own.
        input_shape, classes, data_summary: of the data it was trained on.
        macs_ratio: training multiply-accumulates over those of dense training of as many epochs.
        seconds: training time.
        dense_weights: weights of the network at the start.
        identity: all that the run depended on, as JSON.
        measured_before_change: whether the network's weights were changed after they were measured.
    """

    network: nn.Module
    groups: tuple[Group, ...]
    posterior: GatePosterior | None
    evaluation: Evaluation
    history: list[dict[str, Any]]
    layers: tuple[LayerCost, ...]
    dense_layers: tuple[LayerCost, ...]
    settings: RunSettings
    spec: NetworkSpec | None
    input_shape: tuple[int, ...]
    classes: int
    data_summary: dict[str, Any]
    macs_ratio: float
    seconds: float
    dense_weights: int
    identity: Mapping[str, Any]
    measured_before_change: bool = False
    _data: Data | None = None
    _measured: str = ""

    def __post_init__(self) -> None:
        if not self._measured:
            object.__setattr__(self, "_measured", tensors_digest(self.network.state_dict()))

    def __repr__(self) -> str:
        return table_of(self)

    @classmethod
    def of(
        cls,
        state: TrainState,
        settings: RunSettings,
        data: Data,
        evaluation: Evaluation,
        posterior: GatePosterior | None,
        spec: NetworkSpec | None,
        identity: Mapping[str, Any],
    ) -> "Pruned":
        """What a finished state amounts to."""
        dense_macs = sum(record["dense_macs"] for record in state.history)
        return cls(
            network=state.network,
            groups=state.structure.groups,
            posterior=posterior,
            evaluation=evaluation,
            history=state.history,
            layers=state.layers(),
            dense_layers=state.initial_layers,
            settings=settings,
            spec=spec,
            input_shape=data.input_shape,
            classes=data.classes,
            data_summary={"name": data.name, "split_sizes": data.split_sizes},
            macs_ratio=sum(record["macs"] for record in state.history) / max(dense_macs, 1),
            seconds=sum(record["seconds"] for record in state.history),
            dense_weights=state.initial_weights,
            identity=identity,
            _data=data,
        )

    @classmethod
    def from_record(cls, record: RunRecord, network: nn.Module) -> "Pruned":
        """A finished run read from disk, with its network rebuilt."""
        settings = RunSettings.from_json(record.settings)
        factory, _ = record.settings["factory"], record.settings["data_fingerprint"]  # both must be there
        result, tensors = record.result, record.posterior
        dense = tuple(
            LayerCost(row["name"], row["kind"], **{name: row.get(f"dense_{name}", 0) for name in _COUNTS}, positions=0)
            for row in record.layers
        )
        return cls(
            network=network,
            groups=tuple(
                Group(g["name"], g["size"], torch.tensor(g["kept"], dtype=torch.long), (), ()) for g in record.groups
            ),
            posterior=None if tensors is None else GatePosterior(*(tensors[name] for name in _POSTERIOR)),
            evaluation=Evaluation(**{name: result[name] for name in Evaluation.__dataclass_fields__}),
            history=record.history,
            layers=layer_costs(network, torch.zeros(1, *record.input_shape)),
            dense_layers=dense,
            settings=settings,
            spec=None if factory is None else NetworkSpec(factory["name"], factory["arguments"]),
            input_shape=record.input_shape,
            classes=record.classes,
            data_summary=record.data,
            macs_ratio=result["train_macs_ratio"],
            seconds=result["train_seconds"],
            measured_before_change=bool(result.get("measured_before_change", False)),
            dense_weights=round(result["nonzero_weights"] / result["density"]) if result["density"] else 1,
            identity=record.settings,
        )

    @property
    def data_fingerprint(self) -> str:
        """Hash of the data it was trained on."""
        return str(self.identity["data_fingerprint"])

    @property
    def kept(self) -> dict[str, list[int]]:
        """For each group the original indices that are left."""
        return {group.name: group.kept.tolist() for group in self.groups}

    @property
    def densities(self) -> dict[str, float]:
        """For each layer its non-zero weights over those it had at the start; a density asked for is met over all."""
        dense = {layer.name: layer.weights for layer in self.dense_layers}
        alive = {_dense_name(layer.name, dense): self._alive(layer)["nonzero_weights"] for layer in self.layers}
        return {name: count / max(dense[name], 1) for name, count in alive.items()}

    def _alive(self, layer: LayerCost) -> dict[str, int]:
        """Non-zero weights of a layer, and how many of its outputs have one."""
        module = self.network.get_submodule(layer.name)
        nonzero = int(module.get_parameter("weight").count_nonzero())
        return {"nonzero_weights": nonzero, "fed_outputs": fed_outputs(module)}

    def evaluate(self, data: Data | str | None = None) -> Evaluation:
        """Measure the network, on the data it was trained on unless other data are given.

        Raises:
            StoreError: the network was loaded from disk and no data were given.
            DataError: what is given is no data; the message says how to make some.
        """
        data = self._data if data is None else data
        if data is None:
            raise StoreError("a loaded network does not bring its data along: give evaluate(data)")
        return evaluate(self.network, as_data(data))

    def remeasured(self) -> "Pruned":
        """The same, measured anew where the network's weights were changed since, by fine-tuning for example.

        Where no data are at hand the figures stay, and `measured_before_change` says so.
        """
        digest = tensors_digest(self.network.state_dict())
        if digest == self._measured:
            return self
        identity = {**self.identity, "changed_weights_digest": digest}
        if self._data is None:
            return replace(self, identity=identity, measured_before_change=True, _measured=digest)
        return replace(self, identity=identity, evaluation=self.evaluate(), _measured=digest)

    def result(self) -> dict[str, Any]:
        """The row of the result table: what `--json` prints for a run."""
        evaluation, posterior = self.evaluation, self.posterior
        return {
            "method": self.settings.method,
            "seed": self.settings.seed,
            "accuracy": evaluation.accuracy,
            "nll": evaluation.nll,
            "ece": evaluation.ece,
            "brier": evaluation.brier,
            "params": evaluation.params,
            "nonzero_weights": evaluation.nonzero_weights,
            "macs": evaluation.macs,
            "latency_ms": evaluation.latency_ms,
            "density": evaluation.nonzero_weights / self.dense_weights,
            "architecture": {group.name: len(group.kept) for group in self.groups},
            "undecided_gates": 0 if posterior is None else int((posterior.decided > 1).sum()),
            "decided_at_end": 0 if posterior is None else posterior.decided_at_end,
            "train_seconds": self.seconds,
            "train_macs_ratio": self.macs_ratio,
            **({"measured_before_change": True} if self.measured_before_change else {}),
        }

    def record(self) -> RunRecord:
        """What is written to run.json."""
        dense = {layer.name: layer for layer in self.dense_layers}
        rows = [_layer_row(layer, dense) | self._alive(layer) for layer in self.layers]
        return RunRecord(
            settings=dict(self.identity),
            result=self.result(),
            groups=[{"name": g.name, "size": g.size, "kept": g.kept.tolist()} for g in self.groups],
            layers=rows,
            input_shape=self.input_shape,
            classes=self.classes,
            data=self.data_summary,
            versions=library_versions(),
            history=self.history,
            tensors=_posterior_tensors(self.posterior),
        )

    def posterior_tree(self, draws: int = 1000, seed: int = 0) -> "xarray.DataTree":
        """The posterior over the structure as a DataTree that ArviZ reads; see `bayesprune.run.datatree.to_datatree`.

        Args:
            draws: draws of all gates, at least 1.
            seed: of the draws.

        Raises:
            SettingError: the method has no posterior, or `draws` is below 1.
        """
        from bayesprune.run.datatree import to_datatree

        return to_datatree(self, draws, seed)

    def save(self, folder: str | Path) -> Path:
        """Write the network, its structure, posterior and history to a folder that `bayesprune.load` reads.

        A network whose weights were changed after the run is measured anew (`remeasured`), and gets a name of its own.

        Raises:
            StoreError: the folder cannot be written.
        """
        tensors = {name: value for name, value in self.network.state_dict().items() if isinstance(value, Tensor)}
        RunFolder(Path(folder)).write_record(self.remeasured().record(), tensors, _posterior_tensors(self.posterior))
        return Path(folder)


def rebuild(record: RunRecord, state_dict: dict[str, Tensor], factory: Factory | None = None) -> nn.Module:
    """Build the compact network of a record: the dense one, its groups sliced, its weights filled in.

    Nothing in the files is executed: the factory is looked up by its registered name, or given by the caller.

    Raises:
        StoreError: the record names no factory and none was given, or its parts do not fit together.
    """
    spec = _spec_of(record, factory)
    settings = record.settings
    try:
        with torch.random.fork_rng(devices=[]):
            network = spec.build(factory)
        structure = find(
            network, torch.zeros(1, *record.input_shape), keep=settings["keep"], inputs=settings["inputs"],
            flatten_inputs=settings["flatten_inputs"], check=False,
        )  # fmt: skip
        sizes = {group.name: group.size for group in structure.groups}
        if sizes != {group["name"]: group["size"] for group in record.groups}:
            raise ValueError(f"its groups are {sizes}")
        kept = {group["name"]: group["kept"] for group in record.groups}
        compact(network, structure, structure.open_from_kept(kept))
        network.load_state_dict(state_dict)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, BayespruneError) as error:
        made_by, reason = spec.factory or "the given factory", " ".join(str(error).split())
        raise StoreError(
            f"structure and weights do not fit the network of {made_by}: {reason}; was the run changed?"
        ) from error
    return network.eval()


def _spec_of(record: RunRecord, factory: Factory | None) -> NetworkSpec:
    """How to build the dense network of a record."""
    described = record.settings.get("factory")
    if described is None:
        if factory is None:
            raise StoreError("this network was made by a class of yours: load it with factory=...")
        arguments: dict[str, Any] = {"input_shape": list(record.input_shape), "classes": record.classes}
        widths = record.settings.get("widths")
        return NetworkSpec("", arguments if widths is None else arguments | {"widths": widths})
    if not isinstance(described, dict) or not isinstance(described.get("name"), str):
        raise StoreError(f"key 'factory' is {described!r}, which describes no network; the file was changed")
    if factory is None and ":" in described["name"]:
        raise StoreError(f"{described['name']} is code outside this library: load it with factory=...")
    return NetworkSpec(described["name"], described.get("arguments", {}))


_COUNTS = ("inputs", "outputs", "params", "macs", "weights")
_POSTERIOR = ("inclusion_probability", "decided", "trace", "steps")


def _layer_row(layer: LayerCost, dense: Mapping[str, LayerCost]) -> dict[str, Any]:
    """One layer of run.json, under the name that it has in the dense network."""
    name = _dense_name(layer.name, dense)
    now = {count: getattr(layer, count) for count in _COUNTS}
    before = {f"dense_{count}": getattr(dense[name], count) for count in _COUNTS}
    return {"name": name, "kind": layer.kind} | now | before


def _dense_name(name: str, dense: Mapping[str, object]) -> str:
    """The name of a layer in the dense network."""
    return name if name in dense else plain_name(name)


def _posterior_tensors(posterior: GatePosterior | None) -> dict[str, Tensor] | None:
    """The tensors of posterior.safetensors."""
    if posterior is None:
        return None
    return {name: getattr(posterior, name) for name in _POSTERIOR}
