"""The result of a run: a smaller plain network, what was kept, the posterior, and how it was got."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from bayesprune.data import Data, InputSpec
from bayesprune.data.given import as_data
from bayesprune.data.inputs import AnyNormalisation
from bayesprune.errors import SettingError, StoreError
from bayesprune.evaluation.evaluate import Evaluation, evaluate, evaluate_split
from bayesprune.layers.collapse import Steps
from bayesprune.run.asking import Asking
from bayesprune.run.environment import environment
from bayesprune.run.identity import tensors_digest
from bayesprune.run.method import GatePosterior
from bayesprune.run.networks import NetworkSpec
from bayesprune.run.predicting import Predicting
from bayesprune.run.reading_records import fields_of
from bayesprune.run.settings import RunSettings
from bayesprune.run.table import table_of
from bayesprune.run.writing_records import alive, dense_name, posterior_tensors, record_of, result_of
from bayesprune.store.runs import RunFolder, RunRecord
from bayesprune.structure import OTHER, Group, LayerCost, Structure
from bayesprune.tasks import Likelihood, Metric, Task
from bayesprune.training import TrainState
from bayesprune.training.heads import saying
from bayesprune.training.masks import attach_masks, hold_masks

if TYPE_CHECKING:
    from bayesprune.run.matching import Match


@dataclass(frozen=True, eq=False, repr=False)
class Pruned(Predicting, Asking):
    """A pruned network and everything known about it.

    Attributes:
        network: a plain `nn.Module` that takes the full input, normalised as the training data were: raw inputs go
            in through `predict`, or as `pruned.network(pruned.normalisation.apply(raw))`.
        kept: for each group the original indices that are left.
        groups: the groups, with their initial sizes.
        posterior: over the structure; None for deterministic methods.
        evaluation: quality and cost, measured when the run ended.
        history: one record an epoch.
        layers: cost of every layer now; `dense_layers` at the start.
        settings: of the run.
        spec: how the dense network was built; None for a network of the user's own.
        inputs, task, data_summary: of the data it was trained on; the task is None for one of the user's own that was
            loaded from disk.
        task_document, metrics: what the task is, as JSON, and the metrics of `evaluation`, the most important first.
        likelihood: of the targets, with what was learnt, such as the noise of a regression.
        macs_ratio: training multiply-accumulates over those of the method `dense` with as many epochs; None where
            nothing was trained.
        seconds: training time.
        dense_weights, dense_params: weights, and all parameters, of the network at the start.
        normalisation: of the inputs; None in folders of earlier versions, which do not tell.
        identity: all that the run depended on, as JSON.
        measured_before_change: whether the network's weights were changed after they were measured.
        warnings: what its user should know of the result, a line each.
        masks: of the weights that may be other than 0, bool, by parameter name; empty for a method that masks none.
            The network's layers carry them too: a run that starts from it, or from a copy, keeps the zeros.
        whole: the linear and convolution layers that lose no channel whatever the method does, each with the reason.
        structure: where the network reads and writes the channels that are left.
        collapsed: the layers that went into the ones behind them, as steps that can be done again; mostly empty.
        restarts: all runs of which this is the best, itself among them; empty for a single run. Not saved along.
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
    inputs: InputSpec
    task: Task | None
    task_document: Mapping[str, Any]
    metrics: tuple[Metric, ...]
    likelihood: Likelihood | None
    data_summary: dict[str, Any]
    macs_ratio: float | None
    seconds: float
    dense_weights: int
    dense_params: int
    identity: Mapping[str, Any]
    normalisation: AnyNormalisation | None = None
    measured_before_change: bool = False
    warnings: tuple[str, ...] = ()
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    whole: Mapping[str, str] = field(default_factory=dict)
    structure: Structure = Structure((), (), ())
    collapsed: Steps = field(default_factory=list)
    restarts: tuple["Pruned", ...] = ()
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
            inputs=data.inputs,
            task=data.task,
            task_document=data.task.to_json(),
            metrics=data.task.metrics,
            likelihood=state.likelihood,
            data_summary={
                "name": data.name,
                "split_sizes": data.split_sizes,
                "normalisation": data.normalisation.to_json(),
                "inputs": data.inputs.to_json(),
                **{name: list(names) for name, names in _names_of(data).items() if names},
            },
            macs_ratio=state.macs_ratio(),
            seconds=sum(record["seconds"] for record in state.history),
            dense_weights=state.initial_weights,
            dense_params=state.initial_params,
            normalisation=data.normalisation,
            identity=identity,
            warnings=warnings,
            masks={name: mask != 0 for name, mask in state.masks.items()},
            whole=state.structure.whole,
            structure=state.structure,
            collapsed=state.collapsed,
            _data=data,
        )

    @classmethod
    @environment()
    def from_record(cls, record: RunRecord, network: nn.Module, structure: Structure) -> "Pruned":
        """A finished run read from disk, with its network rebuilt and the groups that are left of it."""
        return cls(**fields_of(record, network), structure=structure)

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
    def input_shape(self) -> Any:
        """Shape of one input; for several tensors a tuple or dict of shapes."""
        return self.inputs.shape

    @property
    def classes(self) -> int:
        """Number of classes; for other tasks of the outputs."""
        return 0 if self.task is None else self.task.outputs

    @property
    def kept_features(self) -> list[str] | None:
        """Names of the input features that are left; None where features have no names, or no gates."""
        names, kept = self.data_summary.get("features"), self.kept.get("inputs")
        return None if not names or kept is None else [str(names[place]) for place in kept]

    @property
    def kept(self) -> dict[str, list[int]]:
        """For each group the original indices that are left."""
        return {group.name: group.kept.tolist() for group in self.groups}

    @property
    def densities(self) -> dict[str, float]:
        """For each layer its non-zero weights over those it had at the start; a density asked for is met over all."""
        dense = {layer.name: layer.weights for layer in self.dense_layers}
        counts = {
            dense_name(layer.name, dense): alive(self.network, layer)["nonzero_weights"]
            for layer in self.layers
            if layer.name != OTHER
        }
        return {name: count / max(dense.get(name, 1), 1) for name, count in counts.items()}

    def evaluate(self, data: Any = None) -> Evaluation:
        """Measure the network, on the data it was trained on unless other data are given.

        Args:
            data: `Data` or their name, whose test split is used; or raw examples, a pair (inputs, targets) or a
                DataLoader, all of which are used, prepared as the training inputs were.

        Raises:
            StoreError: the network was loaded from disk and no data were given.
            DataError: what is given is no data; the message says how to make some.
        """
        data = self._data if data is None else data
        if data is None:
            raise StoreError("a loaded network does not bring its data along: give evaluate(data)")
        split = self.raw_split(data)
        if split is not None and self.task is not None:
            with saying(self.network, self.settings.output):
                return evaluate_split(self.network, split, self.task, self.likelihood)
        found = as_data(data, None if self.task is None else self.task.name)
        with saying(self.network, self.settings.output):
            return evaluate(self.network, found, self.task or found.task, self.likelihood)

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
        return result_of(self)

    def record(self) -> RunRecord:
        """What is written to run.json."""
        return record_of(self)

    def ensemble(self, gates: Tensor | None = None) -> nn.Module:
        """All restarts, or this network under draws of its gates, as one module that predicts their mean.

        The mean is that of probabilities (of classes or tags) or rates, and of the numbers themselves in a regression
        or for a task of your own. It takes inputs as `network` does, and costs as much as all of them together.

        Args:
            gates: draws [R, D, J] in {0, 1}, such as `gibbs().draws` or `drawn_gates()`; None for the restarts.

        Raises:
            SettingError: there are no restarts, or the gates are not those of the network.
        """
        from bayesprune.run.draw_average import DrawAverage
        from bayesprune.run.ensemble import Ensemble

        if gates is not None:
            flat = gates.flatten(0, -2)
            return DrawAverage(self.network, self.structure, flat, self.task, self.settings.output).eval()
        if not self.restarts:
            raise SettingError("this is one run, and an ensemble needs several: give prune(..., restarts=5)")
        return Ensemble([one.network for one in self.restarts], self.task, self.settings.output)

    def evaluate_ensemble(self, data: Any = None, gates: Tensor | None = None) -> Evaluation:
        """What `evaluate` says of the `ensemble`, cost included; arguments and errors as there and in `ensemble`."""
        return replace(self, network=self.ensemble(gates), masks={}).evaluate(data)

    def matched_units(self, other: "Pruned", data: Any = None, examples: int = 1000) -> "list[Match]":
        """Which hidden unit or filter of another restart does what one of this network does.

        Args:
            other: such as one of `restarts`.
            data: `Data` or their name; by default those of the run.
            examples: of the training split, the first so many.

        Raises:
            StoreError: the network was loaded from disk and no data were given.
            SettingError: the networks have other groups.
        """
        from bayesprune.run.matching import match_units

        data = self._data if data is None else as_data(data, None if self.task is None else self.task.name)
        if data is None:
            raise StoreError("a loaded network does not bring its data along: give matched_units(other, data)")
        inputs, _ = next(iter(data.train.batches(examples)))
        return match_units((self.network, other.network), (self.groups, other.groups), inputs)

    def save(self, folder: str | Path) -> Path:
        """Write the network, its structure, posterior and history to a folder that `bayesprune.load` reads.

        A network whose weights were changed after the run is measured anew (`remeasured`), and gets a name of its own.

        Raises:
            StoreError: the folder cannot be written.
        """
        tensors = {name: value for name, value in self.network.state_dict().items() if isinstance(value, Tensor)}
        record, posterior = self.remeasured().record(), posterior_tensors(self.posterior)
        RunFolder(Path(folder)).write_record(record, tensors, posterior, self.masks)
        return Path(folder)


def _names_of(data: Data) -> dict[str, tuple[str, ...]]:
    """What data call their features and classes."""
    return {"features": data.features, "class_names": data.class_names}
