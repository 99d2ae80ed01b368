"""Latency: what is run, in which mode, how often, and that nothing stays changed."""

import pytest
import torch
from torch import Tensor, nn

from bayesprune.errors import DataError, SettingError
from bayesprune.evaluation import latency as latency_module
from bayesprune.evaluation import latency_ms


class Spy(nn.Module):
    """Records how it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[tuple[int, ...], bool, bool, int]] = []

    def forward(self, inputs: Tensor) -> Tensor:
        mode = (self.training, torch.is_inference_mode_enabled(), torch.get_num_threads())
        self.calls.append((tuple(inputs.shape), *mode))
        return inputs


@pytest.fixture
def _two_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_two_threads")
def test_one_sample_in_evaluation_and_inference_mode_on_one_thread() -> None:
    network = Spy()
    latency_ms(network, torch.zeros(16, 3, 4), repeats=5, warmup=2)
    assert network.calls == [((1, 3, 4), False, True, 1)] * 7
    assert torch.get_num_threads() == 2


def test_the_median_of_the_measured_passes_in_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two clock readings a pass; passes of 1, 9 and 2 ms have the median 2, the mean 4.
    readings = iter([0.0, 0.001, 1.0, 1.009, 2.0, 2.002])
    monkeypatch.setattr(latency_module, "perf_counter", lambda: next(readings))
    assert latency_ms(nn.Identity(), torch.zeros(1, 2), repeats=3, warmup=4) == pytest.approx(2.0)


def test_every_training_flag_is_as_before_also_those_that_differ() -> None:
    frozen = nn.BatchNorm1d(2)
    network = nn.Sequential(nn.Linear(2, 2), frozen, nn.Dropout())
    network.train()
    frozen.eval()
    statistics = {name: value.clone() for name, value in frozen.state_dict().items()}
    assert latency_ms(network, torch.ones(3, 2), repeats=1, warmup=0) > 0.0
    assert [module.training for module in network.modules()] == [True, True, False, True]
    assert all(torch.equal(frozen.state_dict()[name], value) for name, value in statistics.items())


@pytest.mark.usefixtures("_two_threads")
def test_flags_and_threads_are_restored_when_the_network_fails() -> None:
    network = nn.Linear(3, 1)
    with pytest.raises(RuntimeError):
        latency_ms(network, torch.zeros(1, 2), repeats=1, warmup=0)
    assert network.training
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("repeats", "warmup"), [(0, 0), (-1, 3), (1, -1)])
def test_counts_that_measure_nothing_are_refused(repeats: int, warmup: int) -> None:
    with pytest.raises(SettingError, match=f"repeats is {repeats} and warmup {warmup}"):
        latency_ms(nn.Identity(), torch.zeros(1, 1), repeats=repeats, warmup=warmup)


@pytest.mark.parametrize("shape", [(), (0, 3)])
def test_an_example_without_a_sample_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="at least one sample"):
        latency_ms(nn.Identity(), torch.zeros(shape))
