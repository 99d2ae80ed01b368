"""The training loop that serves every method."""

import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import nullcontext
from time import perf_counter
from typing import Any

from torch import Tensor

from bayesprune.batches import count
from bayesprune.data import Data
from bayesprune.devices import number, random_apart
from bayesprune.errors import DataError, DivergenceError, NetworkError
from bayesprune.evaluation.evaluate import Scores, predict
from bayesprune.structure import MacCounter
from bayesprune.structure.modes import train_mode
from bayesprune.training.checkpoint import Checkpointer, are_finite
from bayesprune.training.interrupt import Interrupt
from bayesprune.training.losses import Losses, first_wrong
from bayesprune.training.narrow import Narrow
from bayesprune.training.objectives import Objective
from bayesprune.training.phase import Phase, make_optimizers
from bayesprune.training.progress import Progress
from bayesprune.training.state import TrainState

_LOG = logging.getLogger(__name__)

Describe = Callable[[TrainState], dict[str, object]]
"""Adds a method's own entries to each epoch's record."""

_NOISE = 2**31 + 11


def train(
    state: TrainState,
    phases: Sequence[Phase],
    data: Data,
    *,
    batch_size: int,
    seed: int,
    checkpointer: Checkpointer | None = None,
    progress: Callable[[Progress], None] | None = None,
    describe: Describe | None = None,
    validate: bool = True,
    dense: Callable[[int], float] | None = None,
) -> TrainState:
    """Run the phases from where the state stands to the end.

    Batches are drawn in an order given by (seed, epoch) alone, so a resumed run sees the same ones. All that
    is random in a step comes from the global generators of the CPU and of the state's device, whose states are part
    of a checkpoint; the caller's are put back. On an accelerator losses are read every so many steps
    (`Place.read_every`).

    Args:
        state: changed in place.
        phases: in order; the state says which is under way.
        data: training and validation splits.
        batch_size: examples a step, where a phase does not say otherwise.
        seed: of order and noise.
        checkpointer: saves the state now and then, and on Ctrl-C.
        progress: called after every step.
        describe: adds entries to the record of each epoch.
        validate: measure the task's metrics on the validation split at the end of each epoch.
        dense: multiply-accumulates of one step of dense training with so many examples (`dense_step`), to which the
            run's are compared; None for no comparison.

    Raises:
        DivergenceError: the loss (or a weight) is not finite; the last checkpoint is the last good state.
        StoreError: a checkpoint is damaged, belongs to another run, or cannot be written.
        KeyboardInterrupt: after Ctrl-C, once the state is saved.
    """
    state.identity |= {
        "seed of steps": seed,
        "examples a step": batch_size,
        "phases": ", ".join(f"{phase.name} {phase.steps} x {phase.batch_size or batch_size}" for phase in phases),
        "groups": ", ".join(f"{group.name} {group.size}" for group in state.structure.groups),
    }
    with random_apart(state.place.device, _stream(seed, _NOISE)), Interrupt() as interrupt:
        if checkpointer is not None:
            checkpointer.restore(state, phases)
        loop = _Loop(state, data, batch_size, seed, checkpointer, progress, describe, validate, interrupt, dense)
        while state.phase < len(phases):
            loop.run(phases[state.phase], later=sum(phase.steps for phase in phases[state.phase + 1 :]))
            state.phase, state.phase_step, state.phase_started = state.phase + 1, 0, False
        loop.stop_if_asked()
    return state


def _stream(seed: int, number: int) -> int:
    """The seed of one of a run's streams of random numbers.

    None of them may be that of the run's initial weights: random scores would be the very numbers that these
    weights were made from. Torch's CPU generator sees the lowest 32 bits of a seed only.
    """
    return (seed * 1_000_003 + 1 + number) % 2**32


class _Loop:
    """What stays the same over the phases of one call of `train`."""

    def __init__(
        self,
        state: TrainState,
        data: Data,
        batch_size: int,
        seed: int,
        checkpointer: Checkpointer | None,
        progress: Callable[[Progress], None] | None,
        describe: Describe | None,
        validate: bool,
        interrupt: Interrupt,
        dense: Callable[[int], float] | None,
    ) -> None:
        self.state, self.data, self.batch_size, self.seed, self.later = state, data, batch_size, seed, 0
        self.checkpointer, self.progress, self.describe = checkpointer, progress, describe
        self.validate, self.interrupt, self.dense = validate, interrupt, dense
        self.step_macs: dict[Hashable, int] = {}
        self.losses = Losses(state.place.read_every)

    def run(self, phase: Phase, later: int) -> None:
        """One phase, from its step `state.phase_step` on; `later` is how many steps the phases after it have."""
        state, self.later = self.state, later
        _LOG.debug("phase %s: step %d of %d", phase.name, state.phase_step, phase.steps)
        if not state.phase_started:
            begin = perf_counter()
            if phase.start is not None:
                with state.counted():
                    phase.start(state)
            state.epoch_seconds += perf_counter() - begin
            state.phase_started = True
        if state.phase_step == 0:
            make_optimizers(state, phase)
        try:
            phase.objective.attach(state)
            train_mode(state.network)
            begin = perf_counter()
            self.narrow = Narrow(state, phase, self.data.train if phase.train is None else phase.train)
            state.epoch_seconds += perf_counter() - begin
            if state.step == 0:
                self._save()
            # A state that was saved after the last step of an epoch has that epoch still to be recorded.
            while state.phase_step < phase.steps or state.epoch_step > 0:
                self._epoch(phase)
        finally:
            phase.objective.detach()

    def stop_if_asked(self) -> None:
        """Save the state and raise KeyboardInterrupt when Ctrl-C asked for it."""
        if self.interrupt.asked:
            self._save()
        self.interrupt.raise_if_asked()

    def _save(self) -> None:
        """Save the state, where somebody wants it saved."""
        if self.checkpointer is not None:
            self._read_losses()
            self.checkpointer.save(self.state)

    def _epoch(self, phase: Phase) -> None:
        """Steps until the training data or the phase ends; records the epoch."""
        state = self.state
        if state.phase_step < phase.steps:
            self._steps(phase)
        if state.epoch_step == 0:
            raise DataError("the training split gave no batches; it needs at least one an epoch")
        self._record(phase)
        state.seconds, state.macs = state.seconds + state.epoch_seconds, state.macs + state.epoch_macs
        state.dense_macs += state.epoch_dense_macs
        state.epoch, state.epoch_step = state.epoch + 1, 0
        state.epoch_loss = state.epoch_seconds = state.epoch_macs = state.epoch_dense_macs = 0.0
        if phase.ends is not None and phase.ends(state):
            state.phase_step = phase.steps

    def _steps(self, phase: Phase) -> None:
        """The steps that are left of this epoch."""
        state = self.state
        order = _stream(self.seed, state.epoch)
        mark = perf_counter()
        batch_size = phase.batch_size or self.batch_size
        with self.narrow.examples() as examples:
            for inputs, labels in examples.batches(batch_size, seed=order, start=state.epoch_step):
                loss = self._step(phase, inputs, labels)
                state.epoch_seconds += perf_counter() - mark
                self._after_step(phase, loss)
                mark = perf_counter()
                if state.phase_step >= phase.steps:
                    break
        self._read_losses()
        state.epoch_seconds += perf_counter() - mark

    def _step(self, phase: Phase, inputs: Any, labels: Any) -> float | Tensor:
        """One optimizer step; returns its loss."""
        state, objective = self.state, phase.objective
        self._set_learning_rate(phase)
        for optimizer in state.optimizers.values():
            for group in optimizer.param_groups:  # as `zero_grad` does, which takes ten times as long
                for parameter in group["params"]:
                    parameter.grad = None
        version = state.shape_version
        value = self._gradients(objective, inputs, labels if objective.needs_labels else None)
        for optimizer in state.optimizers.values():
            optimizer.step()
        state.apply_masks()
        if self.dense is not None and objective.needs_labels:
            state.epoch_dense_macs += self.dense(count(inputs))
        state.step += 1
        state.phase_step += 1
        state.epoch_step += 1
        for update in phase.updates:
            update(state)
        if state.shape_version != version:
            objective.attach(state)
        return value

    def _gradients(self, objective: Objective, inputs: Any, labels: Any) -> float | Tensor:
        """The loss and its gradients; the first step of its kind is counted, and stands for the others."""
        state = self.state
        kind = (state.phase, state.shape_version, count(inputs), objective.kind(state))
        with nullcontext() if kind in self.step_macs else MacCounter() as counter:
            with state.place.computing():
                loss = objective.loss(state, inputs, labels)
            if self.losses.add(loss):
                self._read_losses(ahead=1)
            loss.backward()
        if counter is not None:
            self.step_macs[kind] = counter.macs
        state.epoch_macs += self.step_macs[kind]
        return number(loss.detach())

    def _read_losses(self, ahead: int = 0) -> None:
        """Add the losses that were not read yet to the epoch's; the last step is not done yet where one is `ahead`.

        Raises:
            DivergenceError: one is not finite.
        """
        losses = self.losses.read()
        wrong = first_wrong(losses)
        if wrong is not None:
            raise self._divergence(self.state.step + ahead - len(losses) + 1 + wrong)
        for loss in losses:
            self.state.epoch_loss += loss

    def _set_learning_rate(self, phase: Phase) -> None:
        """Set the network optimizer's rate for the coming step."""
        factor = phase.schedule(self.state.phase_step / max(phase.steps, 1))
        for group in self.state.optimizers["network"].param_groups:
            group["lr"] = group["initial_lr"] * factor
            self.state.learning_rate = group["lr"]

    def _after_step(self, phase: Phase, loss: float | Tensor) -> None:
        """Report, save now and then, and stop where Ctrl-C asked for it."""
        if self.progress is not None:
            total = self.state.step + phase.steps - self.state.phase_step + self.later
            parts: Mapping[str, float | Tensor] = getattr(
                phase.objective, "parts", {}
            )  # of `HasParts`, whose check is slow
            self.progress(Progress(phase.name, self.state.step, total, loss, parts))
        self.stop_if_asked()
        if self.checkpointer is not None and self.checkpointer.is_due(self.state):
            self._save()

    def _record(self, phase: Phase) -> None:
        """Append the epoch's record to the history."""
        state, metrics = self.state, self._metrics(phase)
        record: dict[str, object] = {
            "epoch": state.epoch + 1,
            "phase": phase.name,
            "step": state.step,
            "seconds": state.epoch_seconds,
            "macs": state.epoch_macs,
            "dense_macs": state.epoch_dense_macs,
            "steps": state.epoch_step,
            "loss": state.epoch_loss / max(state.epoch_step, 1),
            "validation_accuracy": metrics.get("accuracy"),
            "validation_nll": metrics.get("nll"),
            "validation_score": metrics.get(state.task.metric.key),
            "params": state.params(),
            "network_macs": state.network_macs(),
            "undecided": 0,
            "alive": {group.name: len(group.kept) for group in state.structure.groups},
        }
        record |= self.describe(state) if self.describe is not None else {}
        state.history.append(record)

    def _metrics(self, phase: Phase) -> Scores:
        """Quality on the validation split, where labels may be used; refuses weights that are no numbers any more."""
        if not are_finite(self.state.network):
            raise self._divergence(self.state.step)
        if not (self.validate and phase.objective.needs_labels and len(self.data.validation)):
            return {}
        try:
            return predict(self.state.network, self.data.validation, self.state.task, self.state.likelihood)
        except NetworkError as error:
            raise self._divergence(self.state.step) from error

    def _divergence(self, step: int) -> DivergenceError:
        """What to raise when numbers are not finite any more."""
        kept = self.checkpointer.last_saved if self.checkpointer is not None else None
        return DivergenceError(step, self.state.learning_rate, kept)
