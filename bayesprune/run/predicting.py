"""What a pruned network answers to raw inputs."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.batches import call, chunks, each
from bayesprune.data import InputSpec, TensorSplit
from bayesprune.data.given import raw_pair
from bayesprune.data.inputs import AnyNormalisation
from bayesprune.data.loaders import as_numbers
from bayesprune.devices import fitting
from bayesprune.errors import SettingError, StoreError
from bayesprune.run.pipeline import make_pipeline
from bayesprune.run.raw_inputs import NO_NORMALISATION, clear_refusal, prepared_inputs
from bayesprune.run.settings import RunSettings
from bayesprune.structure import evaluating
from bayesprune.tasks import Task
from bayesprune.training.heads import saying


class Predicting:
    """The part of `Pruned` that takes raw inputs."""

    network: nn.Module
    inputs: InputSpec
    task: Task | None
    task_document: Mapping[str, Any]
    settings: RunSettings
    normalisation: AnyNormalisation | None

    def predict(self, raw: Any, batch_size: int = 1000) -> Tensor:
        """What the network answers to raw inputs: they are prepared as the training inputs were.

        Args:
            raw: [N, ...] tensor or array (or a tuple or dict of such), as `from_tensors` takes them.
            batch_size: examples at a time.

        Returns:
            Classes [N], tags [N, K] of 0 and 1, numbers [N] or [N, K] in the unit of the targets, expected counts, or a
            class for each position [N, ...]; for an own task the outputs.

        Raises:
            DataError: the inputs do not fit the data of the run.
            StoreError: the run is of version 0.1.0, which did not keep what was done to the inputs.
        """
        outputs = self.outputs(raw, batch_size)
        return outputs if self.task is None else self.task.answers(outputs)

    def predict_proba(self, raw: Any, batch_size: int = 1000) -> Tensor:
        """Probabilities of classes [N, K], tags [N, K] or classes of positions [N, K, ...]; arguments as in `predict`.

        Raises:
            SettingError: the task has no classes.
        """
        outputs = self.outputs(raw, batch_size)
        found = None if self.task is None else self.task.probabilities(outputs)
        if found is None:
            raise SettingError(f"the task {self.task_document['name']!r} has no probabilities: use predict")
        return found

    @torch.inference_mode()
    def outputs(self, raw: Any, batch_size: int = 1000) -> Tensor:
        """What the network says of raw inputs, on the CPU; arguments and errors as in `predict`."""
        ready = prepared_inputs(raw, self.inputs, self.normalisation)
        place = partial(fitting, self.network)
        with saying(self.network, self.settings.output), evaluating(self.network), clear_refusal():
            said = [call(self.network, each(place, part)).cpu() for part in chunks(ready, batch_size)]
        return torch.cat(said)

    def raw_split(self, data: Any) -> TensorSplit | None:
        """Raw examples, a pair or a loader, as the network takes them; None for what is neither, or without a task.

        Raises:
            DataError: the examples do not fit the data of the run.
        """
        pair = None if self.task is None else raw_pair(data)
        if pair is None or self.task is None:
            return None
        inputs = prepared_inputs(pair[0], self.inputs, self.normalisation)
        return TensorSplit(inputs, self.task.targets(as_numbers(pair[1]), "the examples"))

    def pipeline(self) -> nn.Module:
        """One plain module from raw inputs to outputs: logits, log rates, or numbers in the unit of the targets.

        What was done to the training inputs is part of it, folded into the first layer's weights where that is exact (a
        linear layer, or a convolution without padding, on inputs whose mean is no more than some deviations).

        Raises:
            StoreError: the run is of version 0.1.0, which did not keep what was done to the inputs.
        """
        if self.normalisation is None:
            raise StoreError(NO_NORMALISATION)
        return make_pipeline(
            self.network,
            self.normalisation,
            self.task,
            self.settings.output,
            self.normalisation.undo(self.inputs.random()),
        )
