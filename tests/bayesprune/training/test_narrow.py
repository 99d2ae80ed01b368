"""Training on the selected features only gives the numbers of training on all of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bayesprune.data import Data, Split, TensorSplit
from bayesprune.structure.selectors import SelectChannels, Selected
from bayesprune.training import Checkpointer, NegativeLogLikelihood, Phase, TrainState, adam, constant, narrow, train
from bayesprune.training.narrow import Narrow

MakeState = Callable[..., TrainState]


class Reads(nn.Module):
    """A perceptron on flattened inputs, with its inputs centred or not."""

    def __init__(self, *, centred: bool = False) -> None:
        super().__init__()
        self.centred, self.one, self.two = centred, nn.Linear(36, 5), nn.Linear(5, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [B, 3]."""
        inputs = inputs - inputs.flatten(1).mean(1)[:, None, None, None] if self.centred else inputs
        logits: Tensor = self.two(self.one(inputs.flatten(1)).relu())
        return logits


def compacted(make_state: MakeState, every: int = 4, *, centred: bool = False) -> TrainState:
    """A network that selects every so many of its inputs."""
    torch.manual_seed(1)
    network, kept = Reads(centred=centred), torch.arange(1, 36, every)
    network.one = Selected(SelectChannels(kept), nn.Linear(len(kept), 5))  # type: ignore[assignment]  # as compact does
    return make_state(network, inputs="none")


def phase(steps: int = 12, **given: Any) -> Phase:
    usual: dict[str, Any] = {"objective": NegativeLogLikelihood(0.3), "optimizer": adam(1e-2), "schedule": constant}
    return Phase("fixed", steps, **usual | given)


def trained(state: TrainState, data: Data, file: Path | None = None, steps: int = 12) -> dict[str, Tensor]:
    checkpointer = None if file is None else Checkpointer(file, steps=5)
    train(state, [phase(steps)], data, batch_size=50, seed=3, checkpointer=checkpointer)
    return state.network.state_dict()


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_weights_are_the_same_to_the_last_bit(
    make_state: MakeState, small_data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Size] = []
    state = compacted(make_state)
    state.network.get_submodule("one.layer").register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    found = trained(state, small_data)
    assert seen and all(shape[-1] == 9 for shape in seen)
    inputs, _ = next(iter(small_data.test.batches(4)))
    assert state.network(inputs).shape == (4, 3)
    monkeypatch.setattr(narrow, "WORTH", 0.0)
    assert_same(found, trained(compacted(make_state), small_data))


def test_a_run_that_is_resumed_ends_the_same(make_state: MakeState, small_data: Data, tmp_path: Path) -> None:
    whole = trained(compacted(make_state), small_data)

    def stop(progress: Any) -> None:
        if progress.step == 7:
            raise KeyError

    state = compacted(make_state)
    with pytest.raises(KeyError):
        train(
            state, [phase()], small_data, batch_size=50, seed=3, progress=stop,
            checkpointer=Checkpointer(tmp_path / "state", steps=5),
        )  # fmt: skip
    assert "forward" not in state.network.get_submodule("one.select").__dict__
    assert_same(whole, trained(compacted(make_state), small_data, tmp_path / "state"))


def examples_of(state: TrainState, data: Data, **given: Any) -> Split:
    with Narrow(state, phase(**given), data.train).examples() as examples:
        return examples


def test_only_what_is_read_is_kept(make_state: MakeState, small_data: Data) -> None:
    found = examples_of(compacted(make_state), small_data)
    assert isinstance(found, TensorSplit) and isinstance(small_data.train, TensorSplit)
    assert torch.equal(found.inputs, small_data.train.inputs.flatten(1)[:, 1::4])
    assert found.labels is small_data.train.labels


def test_where_somebody_else_reads_the_inputs_all_are_kept(make_state: MakeState, small_data: Data) -> None:
    """A network that centres them, one that keeps most of them, and updates that look at the network."""
    for state in (compacted(make_state, centred=True), compacted(make_state, every=1), make_state()):
        assert examples_of(state, small_data) is small_data.train
    assert examples_of(compacted(make_state), small_data, updates=[lambda _: None]) is small_data.train
