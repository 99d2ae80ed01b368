"""The training loop that serves every method."""

from collections.abc import Callable, Sequence
from time import perf_counter

import torch
from torch import Tensor

from bayesprune.data import Data
from bayesprune.errors import DivergenceError
from bayesprune.evaluation.evaluate import predict
from bayesprune.training.checkpoint import Checkpointer
from bayesprune.training.interrupt import Interrupt
from bayesprune.training.phase import Phase, make_optimizers
from bayesprune.training.progress import Progress
from bayesprune.training.state import TrainState

Describe = Callable[[TrainState], dict[str, object]]
"""Adds a method's own entries to each epoch's record."""


PLAIN_PASSES = 3
"""A plain training step costs one forward pass and a backward pass that counts twice."""


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
) -> TrainState:
    """Run the phases from where the state stands to the end.

    Batches are drawn in an order given by (seed, epoch) alone, so a resumed run sees the same ones. Everything random
    in a step comes from torch's global generator, whose state is part of a checkpoint; the caller's is put back.

    Args:
        state: changed in place.
        phases: in order; the state says which is under way.
        data: training and validation splits.
        batch_size: examples a step.
        seed: of order and noise.
        checkpointer: saves the state now and then, and on Ctrl-C.
        progress: called after every step.
        describe: adds entries to the record of each epoch.
        validate: measure accuracy and loss on the validation split at the end of each epoch.

    Raises:
        DivergenceError: the loss is not finite; the last checkpoint is the last good state.
        KeyboardInterrupt: after Ctrl-C, once the state is saved.
    """
    with torch.random.fork_rng(devices=[]), Interrupt() as interrupt:
        torch.manual_seed(seed)
        if checkpointer is not None:
            checkpointer.restore(state, phases)
            if state.step == 0:
                checkpointer.save(state)
        total = sum(phase.steps for phase in phases)
        loop = _Loop(state, data, batch_size, seed, total, checkpointer, progress, describe, validate, interrupt)
        while state.phase < len(phases):
            loop.run(phases[state.phase])
            state.phase, state.phase_step, state.phase_started = state.phase + 1, 0, False
    return state


class _Loop:
    """What stays the same over the phases of one call of `train`."""

    def __init__(
        self,
        state: TrainState,
        data: Data,
        batch_size: int,
        seed: int,
        total: int,
        checkpointer: Checkpointer | None,
        progress: Callable[[Progress], None] | None,
        describe: Describe | None,
        validate: bool,
        interrupt: Interrupt,
    ) -> None:
        self.state, self.data, self.batch_size, self.seed, self.total = state, data, batch_size, seed, total
        self.checkpointer, self.progress, self.describe = checkpointer, progress, describe
        self.validate, self.interrupt = validate, interrupt

    def run(self, phase: Phase) -> None:
        """One phase, from its step `state.phase_step` on."""
        state = self.state
        if not state.phase_started:
            begin = perf_counter()
            if phase.start is not None:
                phase.start(state)
            state.epoch_seconds += perf_counter() - begin
            state.phase_started = True
        if not state.optimizers or state.phase_step == 0:
            make_optimizers(state, phase)
        phase.objective.attach(state)
        state.network.train()
        try:
            while state.phase_step < phase.steps:
                self._epoch(phase)
        finally:
            phase.objective.detach()
        state.optimizers = {}

    def _epoch(self, phase: Phase) -> None:
        """Steps until the training data or the phase ends; records the epoch."""
        state = self.state
        order = self.seed * 1_000_003 + state.epoch
        mark = perf_counter()
        for inputs, labels in self.data.train.batches(self.batch_size, seed=order, start=state.epoch_step):
            loss = self._step(phase, inputs, labels)
            state.epoch_seconds += perf_counter() - mark
            self._after_step(phase, loss)
            mark = perf_counter()
            if state.phase_step >= phase.steps:
                break
        self._record(phase)
        state.seconds, state.macs = state.seconds + state.epoch_seconds, state.macs + state.epoch_macs
        state.epoch, state.epoch_step = state.epoch + 1, 0
        state.epoch_loss = state.epoch_seconds = state.epoch_macs = state.epoch_dense_macs = 0.0

    def _step(self, phase: Phase, inputs: Tensor, labels: Tensor) -> float:
        """One optimizer step; returns its loss."""
        state, objective = self.state, phase.objective
        self._set_learning_rate(phase)
        for optimizer in state.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        version = state.shape_version
        loss = objective.loss(state, inputs, labels if objective.needs_labels else None)
        value = float(loss.item())
        if value != value or value in (float("inf"), float("-inf")):
            kept = self.checkpointer.last_saved if self.checkpointer is not None else None
            raise DivergenceError(state.step + 1, state.learning_rate, kept)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        for optimizer in state.optimizers.values():
            optimizer.step()
        state.apply_masks()
        state.epoch_loss += value
        state.epoch_macs += state.network_macs() * len(inputs) * objective.passes(len(inputs))
        state.epoch_dense_macs += state.initial_macs * len(inputs) * PLAIN_PASSES
        state.step, state.phase_step, state.epoch_step = state.step + 1, state.phase_step + 1, state.epoch_step + 1
        for update in phase.updates:
            update(state)
        if state.shape_version != version:
            objective.attach(state)
        return value

    def _set_learning_rate(self, phase: Phase) -> None:
        """Set the network optimizer's rate for the coming step."""
        factor = phase.schedule(self.state.phase_step / max(phase.steps, 1))
        for group in self.state.optimizers["network"].param_groups:
            group["lr"] = group["initial_lr"] * factor
            self.state.learning_rate = group["lr"]

    def _after_step(self, phase: Phase, loss: float) -> None:
        """Report, save now and then, and stop where Ctrl-C asked for it."""
        state = self.state
        if self.progress is not None:
            self.progress(Progress(phase.name, state.step, self.total, loss))
        if self.checkpointer is None:
            self.interrupt.raise_if_asked()
            return
        if self.interrupt.asked or self.checkpointer.is_due(state):
            self.checkpointer.save(state)
        self.interrupt.raise_if_asked()

    def _record(self, phase: Phase) -> None:
        """Append the epoch's record to the history."""
        state = self.state
        metrics = predict(state.network, self.data.validation) if self.validate and len(self.data.validation) else None
        record: dict[str, object] = {
            "epoch": state.epoch + 1,
            "phase": phase.name,
            "step": state.step,
            "seconds": state.epoch_seconds,
            "macs": state.epoch_macs,
            "dense_macs": state.epoch_dense_macs,
            "steps": state.epoch_step,
            "loss": state.epoch_loss / max(state.epoch_step, 1),
            "validation_accuracy": None if metrics is None else metrics.accuracy,
            "validation_nll": None if metrics is None else metrics.nll,
            "params": state.params(),
            "network_macs": state.network_macs(),
            "undecided": 0,
            "alive": {group.name: len(group.kept) for group in state.structure.groups},
        }
        record |= self.describe(state) if self.describe is not None else {}
        state.history.append(record)
