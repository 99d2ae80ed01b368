"""What settings name as device and precision, and what a machine without it says."""

from typing import Any

import pytest
import torch
from torch import nn

from bayesprune import devices
from bayesprune.devices import Place, check_device, check_precision, place_of, random_apart, widened
from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.run.settings import RunSettings
from bayesprune.structure import Structure, find
from bayesprune.structure.held import Held
from bayesprune.training.losses import Losses, first_wrong

NO_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "cuda:1", "mps", torch.device("cuda", 3)])
def test_devices_go_by_name(name: Any) -> None:
    assert RunSettings("dense", device=name).device == check_device(name) == str(name)


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "", None, 0, "cpu:0", True])
def test_other_names_are_refused(name: Any) -> None:
    with pytest.raises(SettingError, match=f"device must be 'auto', 'cpu', .* not {name!r}"):
        RunSettings("dense", device=name)


@pytest.mark.parametrize(
    ("given", "name"),
    [("float32", "float32"), ("bfloat16", "bf16"), (torch.float64, "float64"), (torch.bfloat16, "bf16")],
)
def test_precisions_have_one_name(given: Any, name: str) -> None:
    assert RunSettings("dense", precision=given).precision == check_precision(given) == name


@pytest.mark.parametrize("name", ["float16", "double", None, 32])
def test_other_precisions_are_refused(name: Any) -> None:
    with pytest.raises(UnknownNameError, match="unknown precision .*there are bf16, float32, float64"):
        RunSettings("dense", precision=name)


@NO_CUDA
@pytest.mark.parametrize("name", ["cuda", "cuda:1", "mps"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(SettingError, match=f"device='{name}' is not there: this machine has cpu; give one of these"):
        place_of(name, "float32")


@NO_CUDA
def test_auto_is_the_processor_without_a_cuda_device() -> None:
    assert place_of("auto", "bf16") == Place(torch.device("cpu"), "bf16")


def test_what_a_device_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "available", lambda: ["cpu", "cuda:0", "mps"])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    with pytest.raises(SettingError, match="precision='bf16' is not to be had on device 'cuda:0': give precision='flo"):
        place_of("cuda", "bf16")
    with pytest.raises(SettingError, match="precision='float64' is not to be had on device 'mps': give device='cpu'"):
        place_of("mps", "float64")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert place_of("cuda:0", "bf16") == Place(torch.device("cuda", 0), "bf16")


def test_narrow_outputs_are_widened() -> None:
    assert widened(torch.ones(2, dtype=torch.bfloat16)).dtype == torch.float32
    wide = torch.ones(2, dtype=torch.float64)
    assert widened(wide) is wide


def test_weights_that_change_are_computed_with_as_they_are() -> None:
    # Inside an outer autocast context torch keeps the narrow copies of weights for good.
    layer, inputs, place = nn.Linear(2, 1), torch.ones(1, 2), Place(precision="bf16")
    with torch.autocast("cpu", enabled=False):
        for value in (1.0, 2.0):
            nn.init.constant_(layer.weight, value)
            nn.init.zeros_(layer.bias)
            with place.computing():
                assert float(layer(inputs).detach()) == 2 * value


def test_random_numbers_are_put_back() -> None:
    before = torch.get_rng_state()
    with random_apart(torch.device("cpu"), 3):
        first = torch.rand(2)
    with random_apart(torch.device("cpu"), 3):
        assert torch.equal(torch.rand(2), first)
    assert torch.equal(torch.get_rng_state(), before)


def test_losses_are_read_in_their_order() -> None:
    losses = Losses(3)
    assert [losses.add(torch.tensor(value)) for value in (1.0, 2.0, float("nan"))] == [False, False, True]
    read = losses.read()
    assert (read[:2], first_wrong(read), losses.read()) == ([1.0, 2.0], 2, [])


class Flattened(nn.Module):
    """Features with a gate of their own and one of their channel, and channels that are concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Conv2d(1, 3, 3), nn.Conv2d(1, 2, 3), nn.Linear(20, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """[B, 3]."""
        outputs: torch.Tensor = self.head(torch.cat([self.one(inputs), self.two(inputs)], 1).relu().flatten(1))
        return outputs


@pytest.fixture(scope="module", params=["auto", "all"])
def structure(request: pytest.FixtureRequest) -> Structure:
    return find(Flattened(), torch.randn(2, 1, 4, 4), inputs=request.param, flatten_inputs=True)


def test_gates_are_reopened_as_on_the_processor(structure: Structure) -> None:
    held, generator = Held(structure, torch.device("cpu")), torch.Generator().manual_seed(0)
    shut = 0
    for share in (0.02, 0.1, 0.3) * 60:
        preference = torch.rand(structure.gate_count, generator=generator)
        open_gates = torch.rand(structure.gate_count, generator=generator) < share
        wanted = structure.protect(open_gates, preference)
        shut += int(not torch.equal(wanted, open_gates))
        reopened = held.reopened(open_gates, preference)
        assert structure.passes_on(reopened) and bool((reopened >= open_gates).all())
        assert torch.equal(reopened, wanted)
    assert shut > 20
