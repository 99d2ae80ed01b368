"""One plain module from raw inputs to outputs: what `predict` says, the normalisation folded where that is exact."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import bayesprune as bp
from bayesprune.data import from_tensors
from bayesprune.run.pipeline import Standardise
from bayesprune.run.pruned import Pruned

COUNT = 90
ROWS = 7 + 3 * torch.randn(COUNT, 6, generator=torch.Generator().manual_seed(0))
PICTURES = 2 + 4 * torch.randn(COUNT, 2, 6, 6, generator=torch.Generator().manual_seed(1))
PIXELS = torch.randint(0, 256, (COUNT, 1, 6, 6), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
TOKENS = torch.randint(0, 9, (COUNT, 7), generator=torch.Generator().manual_seed(3))
STAMPS = 1.7e9 + 100 * torch.randn(COUNT, 6, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
NUMBERS = 50 + 20 * (ROWS[:, 0] - ROWS[:, 1])
LABELS = (NUMBERS > 50).long()


def linear() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))


def numbers(outputs: int) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, outputs))


def flat() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(72, 8), nn.ReLU(), nn.Linear(8, 2))


def convolution(channels: int = 2, **settings: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        first = nn.Conv2d(channels, 6, 3, **settings)
        width = first(torch.zeros(1, channels, 6, 6)).shape[-1]
        return nn.Sequential(first, nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(6 * width**2, 2))

    return make


def grouped() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 6, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, 2))


def tokens() -> nn.Module:
    return nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(28, 8), nn.ReLU(), nn.Linear(8, 2))


class Beside(nn.Module):
    """Reads the inputs by a layer and by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, rows: Tensor) -> Any:
        return self.last((self.first(rows) + rows).relu())


class TwoReaders(nn.Module):
    """Two layers read the inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other, self.last = nn.Linear(6, 6), nn.Linear(6, 6, bias=False), nn.Linear(6, 2)

    def forward(self, rows: Tensor) -> Any:
        return self.last((self.one(rows) * self.other(rows).sigmoid()).relu())


class Twice(nn.Module):
    """One layer reads the inputs, and what it made of them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, rows: Tensor) -> Any:
        return self.last(self.first(self.first(rows).relu()).relu())


class TwoInputs(nn.Module):
    """Two tables."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other, self.last = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(12, 2)

    def forward(self, rows: Tensor, others: Tensor) -> Any:
        return self.last(torch.cat([self.one(rows), self.other(others)], 1).relu())


class Case(NamedTuple):
    """A network, raw inputs, targets, and whether the normalisation becomes part of the weights."""

    network: Callable[[], nn.Module]
    inputs: Any
    targets: Tensor
    folded: bool


CASES = {
    "linear": Case(linear, ROWS, LABELS, True),
    "flattened pictures": Case(flat, PICTURES, LABELS, True),
    "convolution": Case(convolution(), PICTURES, LABELS, True),
    "convolution without a bias": Case(convolution(bias=False), PICTURES, LABELS, True),
    "strided convolution": Case(convolution(stride=2), PICTURES, LABELS, True),
    "valid padding": Case(convolution(padding="valid"), PICTURES, LABELS, True),
    "padding": Case(convolution(padding=1), PICTURES, LABELS, False),
    "same padding": Case(convolution(padding="same"), PICTURES, LABELS, False),
    "padding by reflection": Case(convolution(padding=1, padding_mode="reflect"), PICTURES, LABELS, False),
    "grouped convolution": Case(grouped, PICTURES, LABELS, False),
    "pixels": Case(convolution(1), PIXELS, LABELS, False),
    "tokens": Case(tokens, TOKENS, LABELS, True),
    "two readers": Case(TwoReaders, ROWS, LABELS, True),
    "a sum with the inputs": Case(Beside, ROWS, LABELS, False),
    "a layer used twice": Case(Twice, ROWS, LABELS, False),
    "time stamps": Case(linear, STAMPS, LABELS, False),
    "two inputs": Case(TwoInputs, (ROWS, 2 * ROWS.flip(1)), LABELS, False),
    "regression": Case(numbers(1), ROWS, NUMBERS, True),
    "several numbers": Case(numbers(2), ROWS, torch.stack([NUMBERS, -3 * NUMBERS], 1), True),
}
EVERY = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))


def pruned_of(case: Case, method: str, **settings: Any) -> Pruned:
    torch.manual_seed(0)
    data = from_tensors(case.inputs, case.targets)
    return bp.prune(case.network(), data, method, epochs=2, batch_size=30, progress=False, **settings)


def said(pipeline: nn.Module, inputs: Any) -> Tensor:
    with torch.inference_mode():
        outputs: Tensor = pipeline(*inputs) if isinstance(inputs, tuple) else pipeline(inputs)
    return outputs


def steps(pipeline: nn.Module) -> list[nn.Module]:
    return [module for module in pipeline.modules() if isinstance(module, Standardise)]


@EVERY
def test_it_says_what_predict_says_and_is_folded_where_that_is_exact(case: Case, tmp_path: Path) -> None:
    pruned = pruned_of(case, "magnitude", density=0.7)
    before = {name: value.clone() for name, value in pruned.network.state_dict().items()}
    pipeline = pruned.pipeline()
    outputs = said(pipeline, case.inputs)
    wanted = pruned.outputs(case.inputs)
    if case.targets.is_floating_point():
        wanted = pruned.predict(case.inputs).reshape(wanted.shape)
        assert wanted.mean(0).abs().min() > 10  # in the unit of the targets
    else:
        assert torch.equal(outputs.argmax(1), pruned.predict(case.inputs))
    scale = float(wanted.abs().max())
    torch.testing.assert_close(outputs, wanted, rtol=0.0, atol=2e-5 * scale)
    assert (not steps(pipeline)) == case.folded
    after = pruned.network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())  # a copy was folded
    loaded = bp.load(pruned.save(tmp_path / "run"), factory=case.network)
    torch.testing.assert_close(said(loaded.pipeline(), case.inputs), outputs, rtol=0.0, atol=2e-5 * scale)


@pytest.mark.parametrize("name", ["linear", "flattened pictures", "regression"])
def test_selected_input_features_are_folded_too(name: str) -> None:
    """A network that reads some of the features only."""
    pruned = pruned_of(CASES[name], "l1-units", budget="macs=40%")
    assert 0 < len(pruned.kept["inputs"]) < (72 if name == "flattened pictures" else 6)
    pipeline, inputs = pruned.pipeline(), CASES[name].inputs
    wanted = pruned.outputs(inputs)
    if name == "regression":
        wanted = pruned.predict(inputs)[:, None]
    scale = float(wanted.abs().max())
    torch.testing.assert_close(said(pipeline, inputs), wanted, rtol=0.0, atol=2e-5 * scale)
    assert not steps(pipeline)


def test_the_zeros_of_masks_stay() -> None:
    pruned = pruned_of(CASES["linear"], "magnitude", density=0.3)
    plain = pruned.pipeline().get_submodule("network")
    for name, mask in pruned.masks.items():
        assert float(plain.get_parameter(name).detach()[~mask].abs().sum()) == 0


def test_it_takes_a_state_dict_and_goes_on_in_evaluation_mode() -> None:
    pruned = pruned_of(CASES["padding"], "magnitude", density=0.7)
    one, other = pruned.pipeline(), pruned.pipeline()
    assert not any(module.training for module in one.modules())
    other.load_state_dict(one.state_dict())
    assert torch.equal(said(one, PICTURES), said(other, PICTURES))
