"""The result of a run: a smaller plain network, what was kept, the posterior, and how it was got."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from bayesprune.data import Data, Normalisation
from bayesprune.data.given import as_data
from bayesprune.errors import StoreError
from bayesprune.evaluation.evaluate import Evaluation, evaluate
from bayesprune.run.environment import environment
from bayesprune.run.identity import tensors_digest
from bayesprune.run.method import GatePosterior, Reason
from bayesprune.run.networks import NetworkSpec
from bayesprune.run.settings import RunSettings
from bayesprune.run.table import table_of
from bayesprune.store.runs import RunFolder, RunRecord, library_versions
from bayesprune.structure import OTHER, Group, LayerCost, fed_outputs, layer_costs
from bayesprune.structure.layers import weight_of
from bayesprune.structure.selectors import plain_name
from bayesprune.training import TrainState
from bayesprune.training.masks import attach_masks, hold_masks

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True, eq=False, repr=False)
class Pruned:
    """A pruned network and everything known about it.

    Attributes:
        network: a plain `nn.Module` that takes the full input, normalised as the training data were: raw inputs go
            in as `pruned.network(pruned.normalisation.apply(raw))`.
        kept: for each group the original indices that are left.
        groups: the groups, with their initial sizes.
        posterior: over the structure; None for deterministic methods.
        evaluation: quality and cost, measured when the run ended.
        history: one record an epoch.
        layers: cost of every layer now; `dense_layers` at the start.
        settings: of the run.
        spec: how the dense network was built; None for a network of the user's own.
        input_shape, classes, data_summary: of the data it was trained on.
        macs_ratio: training multiply-accumulates over those of the method `dense` with as many epochs; None where
            nothing was trained.
        seconds: training time.
        dense_weights: weights of the network at the start.
        normalisation: of the inputs; None in folders of earlier versions, which do not tell.
        identity: all that the run depended on, as JSON.
        measured_before_change: whether the network's weights were changed after they were measured.
        warnings: what its user should know of the result, a line each.
        masks: of the weights that may be other than 0, bool, by parameter name; empty for a method that masks none.
            The network's layers carry them too: a run that starts from it, or from a copy, keeps the zeros.
        whole: the linear and convolution layers that lose no channel whatever the method does, each with the reason.
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
    macs_ratio: float | None
    seconds: float
    dense_weights: int
    identity: Mapping[str, Any]
    normalisation: Normalisation | None = None
    measured_before_change: bool = False
    warnings: tuple[str, ...] = ()
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    whole: Mapping[str, str] = field(default_factory=dict)
    _data: Data | None = None
    _measured: str = ""

    def __post_init__(self) -> None:
        attach_masks(self.network, self.masks)
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
        warnings: tuple[str, ...] = (),
    ) -> "Pruned":
        """What a finished state amounts to."""
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
            data_summary={
                "name": data.name,
                "split_sizes": data.split_sizes,
                "normalisation": data.normalisation.to_json(),
            },
            macs_ratio=state.macs_ratio(),
            seconds=sum(record["seconds"] for record in state.history),
            dense_weights=state.initial_weights,
            normalisation=data.normalisation,
            identity=identity,
            warnings=warnings,
            masks={name: mask != 0 for name, mask in state.masks.items()},
            whole=state.structure.whole,
            _data=data,
        )

    @classmethod
    @environment()
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
            posterior=None if tensors is None else _posterior_of(tensors),
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
            whole=record.whole,
            measured_before_change=bool(result.get("measured_before_change", False)),
            dense_weights=round(result["nonzero_weights"] / result["density"]) if result["density"] else 1,
            normalisation=Normalisation.from_json(record.data.get("normalisation")),
            identity=record.settings,
            warnings=tuple(result.get("warnings", ())),
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
        alive = {
            _dense_name(layer.name, dense): self._alive(layer)["nonzero_weights"]
            for layer in self.layers
            if layer.name != OTHER
        }
        return {name: count / max(dense[name], 1) for name, count in alive.items()}

    def _alive(self, layer: LayerCost) -> dict[str, int]:
        """Non-zero weights of a layer, and how many of its outputs have one."""
        if layer.name == OTHER:
            return {"nonzero_weights": 0, "fed_outputs": 0}
        module = self.network.get_submodule(layer.name)
        return {"nonzero_weights": int(weight_of(module).count_nonzero()), "fed_outputs": fed_outputs(module)}

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
            "unattributed_macs": sum(layer.macs for layer in self.layers if layer.name == OTHER),
            "latency_ms": evaluation.latency_ms,
            "density": evaluation.nonzero_weights / max(self.dense_weights, 1),
            "architecture": {group.name: len(group.kept) for group in self.groups},
            "undecided_gates": 0 if posterior is None else int((posterior.decided > 1).sum()),
            "decided_at_end": 0 if posterior is None else posterior.decided_at_end,
            "closed_by_price": 0 if posterior is None else posterior.count(Reason.CLOSED_BY_PRICE),
            "cut_for_budget": 0 if posterior is None else posterior.count(Reason.CUT_FOR_BUDGET),
            "reopened": 0 if posterior is None else posterior.reopened,
            "train_seconds": self.seconds,
            "train_macs_ratio": self.macs_ratio,
            **({"measured_before_change": True} if self.measured_before_change else {}),
            **({"warnings": list(self.warnings)} if self.warnings else {}),
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
            whole=dict(self.whole),
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
        record, posterior = self.remeasured().record(), _posterior_tensors(self.posterior)
        RunFolder(Path(folder)).write_record(record, tensors, posterior, self.masks)
        return Path(folder)


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
_POSTERIOR = ("inclusion_probability", "decided", "trace", "steps", "reason")


def _layer_row(layer: LayerCost, dense: Mapping[str, LayerCost]) -> dict[str, Any]:
    """One layer of run.json, under the name that it has in the dense network."""
    name = _dense_name(layer.name, dense)
    now = {count: getattr(layer, count) for count in _COUNTS}
    before = {f"dense_{count}": getattr(dense[name], count) if name in dense else 0 for count in _COUNTS}
    return {"name": name, "kind": layer.kind} | now | before


def _dense_name(name: str, dense: Mapping[str, object]) -> str:
    """The name of a layer in the dense network."""
    return name if name in dense else plain_name(name)


def _posterior_of(tensors: Mapping[str, Tensor]) -> GatePosterior:
    """The posterior of a record; runs of version 0.1.0 did not say why gates are closed."""
    theta, decided = tensors["inclusion_probability"], tensors["decided"]
    closed = torch.where(theta > 0, int(Reason.CLOSED_AT_END), int(Reason.CLOSED_BY_PRICE))
    reason = tensors.get("reason", torch.where(decided > 0, int(Reason.OPEN), closed).to(torch.uint8))
    return GatePosterior(theta, decided, tensors["trace"], tensors["steps"], reason)


def _posterior_tensors(posterior: GatePosterior | None) -> dict[str, Tensor] | None:
    """The tensors of posterior.safetensors."""
    if posterior is None:
        return None
    return {name: getattr(posterior, name) for name in _POSTERIOR}
