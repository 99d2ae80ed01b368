"""The result of a run: a smaller plain network, what was kept, the posterior, and how it was got."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from bayesprune.data import Data
from bayesprune.errors import BayespruneError, StoreError
from bayesprune.evaluation.evaluate import Evaluation, evaluate
from bayesprune.run.method import GatePosterior
from bayesprune.run.networks import Factory, NetworkSpec
from bayesprune.run.settings import RunSettings
from bayesprune.store.runs import RunFolder, RunRecord, library_versions
from bayesprune.structure import Group, LayerCost, Structure, compact, fed_outputs, find, layer_costs
from bayesprune.structure.selected_inputs import with_input_gates
from bayesprune.structure.selectors import plain_name
from bayesprune.training import TrainState
from bayesprune.training.masks import attach_masks, hold_masks


@dataclass(frozen=True, eq=False)
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
        data_fingerprint: short hash of the data.
        masks: of the weights that may be other than 0, bool, by parameter name; empty for a method that masks none.
            The network's layers carry them too: a run that starts from it, or from a copy, keeps the zeros.
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
    data_fingerprint: str
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    _data: Data | None = None

    def __post_init__(self) -> None:
        attach_masks(self.network, self.masks)

    @classmethod
    def of(
        cls,
        state: TrainState,
        settings: RunSettings,
        data: Data,
        evaluation: Evaluation,
        posterior: GatePosterior | None,
        spec: NetworkSpec | None,
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
            data_fingerprint=data.fingerprint,
            masks={name: mask != 0 for name, mask in state.masks.items()},
            _data=data,
        )

    @classmethod
    def from_record(cls, record: RunRecord, network: nn.Module) -> "Pruned":
        """A finished run read from disk, with its network rebuilt."""
        settings = RunSettings.from_json(record.settings)
        factory = record.settings["factory"]
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
            dense_weights=round(result["nonzero_weights"] / result["density"]) if result["density"] else 1,
            data_fingerprint=record.settings["data_fingerprint"],
            masks=_fitting(record.masks, network),
        )

    def hold_masks(self, optimizer: Optimizer) -> RemovableHandle:
        """Keep the zeros while you train the network further: they are set again after every step of the optimizer.

        ```python
        optimizer = torch.optim.Adam(pruned.network.parameters())
        pruned.hold_masks(optimizer)
        ```

        Returns:
            A handle; its `remove()` lets the weights go.

        Raises:
            SettingError: the optimizer steps none of the masked weights, or they have another shape by now.
        """
        return hold_masks(self.network, self.masks, optimizer)

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

    def evaluate(self, data: Data | None = None) -> Evaluation:
        """Measure the network, on the data it was trained on unless other data are given.

        Raises:
            StoreError: the network was loaded from disk and no data were given.
        """
        data = data or self._data
        if data is None:
            raise StoreError("a loaded network does not bring its data along: give evaluate(data)")
        return evaluate(self.network, data)

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
        }

    def record(self) -> RunRecord:
        """What is written to run.json."""
        dense = {layer.name: layer for layer in self.dense_layers}
        rows = [_layer_row(layer, dense) | self._alive(layer) for layer in self.layers]
        return RunRecord(
            settings=identity_of(self.settings, self.spec, self.data_fingerprint),
            result=self.result(),
            groups=[{"name": g.name, "size": g.size, "kept": g.kept.tolist()} for g in self.groups],
            layers=rows,
            input_shape=self.input_shape,
            classes=self.classes,
            data=self.data_summary,
            versions=library_versions(),
            history=self.history,
        )

    def save(self, folder: str | Path) -> Path:
        """Write the network, its structure, posterior and history to a folder that `bayesprune.load` reads.

        Raises:
            StoreError: the folder cannot be written.
        """
        tensors = {name: value for name, value in self.network.state_dict().items() if isinstance(value, Tensor)}
        posterior = _posterior_tensors(self.posterior)
        RunFolder(Path(folder)).write_record(self.record(), tensors, posterior, self.masks)
        return Path(folder)


def identity_of(settings: RunSettings, spec: NetworkSpec | None, fingerprint: str) -> dict[str, Any]:
    """All that a run depends on, as JSON: its settings, how its network is built, the data's fingerprint."""
    factory = None if spec is None else {"name": spec.factory, "arguments": dict(spec.arguments)}
    return settings.to_json() | {"factory": factory, "data_fingerprint": fingerprint}


def rebuild(record: RunRecord, state_dict: dict[str, Tensor], factory: Factory | None = None) -> nn.Module:
    """Build the compact network of a record: the dense one, its groups sliced, its weights filled in.

    Nothing in the files is executed: the factory is looked up by its registered name, or given by the caller.

    Raises:
        StoreError: the record names no factory and none was given, or its parts do not fit together.
    """
    spec = _spec_of(record, factory)
    try:
        with torch.random.fork_rng(devices=[]):
            network = spec.build(factory)
        structure = _structure(network, record) if record.groups else Structure((), (), ())
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


def _structure(network: nn.Module, record: RunRecord) -> Structure:
    """The groups of a record's network before anything was removed."""
    example, settings = torch.zeros(1, *record.input_shape), record.settings
    keep, inputs = settings["keep"], settings["inputs"]
    flatten = settings["flatten_inputs"]
    found = find(network, example, keep=keep, inputs=inputs, flatten_inputs=flatten, check=False)
    return with_input_gates(network, found, example, keep, inputs)


def _spec_of(record: RunRecord, factory: Factory | None) -> NetworkSpec:
    """How to build the dense network of a record."""
    described = record.settings.get("factory")
    if described is None:
        if factory is None:
            raise StoreError("this network was made by a class of yours: load it with factory=...")
        return NetworkSpec("", {"input_shape": list(record.input_shape), "classes": record.classes})
    if not isinstance(described, dict) or not isinstance(described.get("name"), str):
        raise StoreError(f"key 'factory' is {described!r}, which describes no network; the file was changed")
    if factory is None and ":" in described["name"]:
        raise StoreError(f"{described['name']} is code outside this library: load it with factory=...")
    return NetworkSpec(described["name"], described.get("arguments", {}))


def _fitting(masks: Mapping[str, Tensor], network: nn.Module) -> Mapping[str, Tensor]:
    """Masks from a file, once they are known to be this network's.

    Raises:
        StoreError: one is not.
    """
    parameters = dict(network.named_parameters())
    for name, mask in masks.items():
        if name not in parameters or parameters[name].shape != mask.shape or mask.dtype != torch.bool:
            raise StoreError(
                f"the mask {name!r} {list(mask.shape)} fits no weight of the network; was the run changed?"
            )
    return masks


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
