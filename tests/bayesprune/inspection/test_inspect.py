"""What an inspection says, against networks counted by hand."""

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import bayesprune as bp
from bayesprune.errors import BudgetError, NetworkError, UnknownNameError
from bayesprune.inspection import inspect
from bayesprune.models import LeNet5
from bayesprune.pruners.budgeted import checked_limits
from bayesprune.run.budget import parse_budgets
from bayesprune.structure import find
from bayesprune.training import TrainState


class Residual(nn.Module):
    """A stem and a block on one stream of 6 channels, and a layer that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.first, self.second = nn.Conv2d(6, 5, 3, padding=1), nn.Conv2d(5, 6, 3, padding=1)
        self.last, self.idle = nn.Linear(6, 3), nn.Linear(7, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        maps = self.norm(self.stem(inputs)).relu()
        maps = maps + self.second(self.first(maps).relu())
        outputs: Tensor = self.last(maps.mean((2, 3)))
        return outputs


class Mixing(Residual):
    """The same with a normalisation of one group over the inner channels of the block."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.LayerNorm([5, 4, 4])

    def forward(self, inputs: Tensor) -> Tensor:
        maps = self.norm(self.stem(inputs)).relu()
        maps = maps + self.second(self.mix(self.first(maps)).relu())
        outputs: Tensor = self.last(maps.mean((2, 3)))
        return outputs


IMAGES = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def test_every_layer_by_hand() -> None:
    found = inspect(Residual(), IMAGES)
    assert [one.name for one in found.layers] == ["stem", "first", "second", "last", "idle"]
    rows = {one.name: (one.inputs, one.outputs, one.params, one.macs, one.removable) for one in found.layers}
    assert rows == {
        "stem": (1, 6, 60, 16 * 54, 6), "first": (6, 5, 275, 16 * 270, 5), "second": (5, 6, 276, 16 * 270, 6),
        "last": (6, 3, 21, 18, 0), "idle": (7, 2, 16, 0, 0),
    }  # fmt: skip
    assert found["stem"].tied == ("second",) and found["second"].tied == ("stem",) and found["first"].tied == ()
    assert found["stem"].group == found["second"].group != found["first"].group == "first"
    assert found["second"].reads == ("first",) and found["last"].reads == (found["stem"].group,)
    assert found.whole == {"last": "its channels are outputs of the network", "idle": "it is never run"}
    assert found.groups == {found["stem"].group: 6, "first": 5}
    assert found.share == pytest.approx(17 / 22)
    assert (found.macs, found.params) == (16 * 594 + 18, 60 + 12 + 275 + 276 + 21 + 16)
    assert found.smallest_macs == 16 * 27 + 3
    assert found.smallest_params == (9 + 1) + 2 + (9 + 1) + (9 + 1) + (3 + 3) + 16
    assert found.advised == found.refused == ()
    with pytest.raises(KeyError):
        found["norm"]


def test_no_budget_lies_below_what_is_said_to_be_smallest() -> None:
    network, example = LeNet5(), torch.randn(2, 1, 28, 28)
    found, state = inspect(network, example), TrainState(network, find(network, example), example)
    for kind, least in (("macs", found.smallest_macs), ("params", found.smallest_params)):
        assert checked_limits(state, parse_budgets(f"{kind}={least}")).allowed == (least,)
        with pytest.raises(BudgetError, match=f"it needs {least:,}"):
            checked_limits(state, parse_budgets(f"{kind}={least - 1}"))


def test_what_is_kept_stays_whole() -> None:
    found = inspect(Residual(), IMAGES, keep=["first"])
    assert found["first"].whole == "named in keep" and not found["first"].prunable and found.keep == ("first",)
    assert found["stem"].prunable
    whole = inspect(Residual(), IMAGES, keep=["stem", "first"])
    assert not any(one.prunable for one in whole.layers) and all(one.whole for one in whole.layers)
    assert whole.smallest_macs == whole.macs and "no channel can be removed" in str(whole)


def test_a_refused_network_is_shown_with_the_advice() -> None:
    """Whatever `find` refuses, the advice makes `find` take; where it takes all, there is none."""
    found = inspect(Mixing(), IMAGES)
    if found.refused:
        assert "mix" in " ".join(found.refused)
        find(Mixing(), IMAGES, keep=found.advised)
        assert f"a run needs keep={list(found.advised)}" in str(found)
    assert found["stem"].prunable
    assert all(one.prunable or one.whole for one in found.layers)


def test_the_table_and_the_object() -> None:
    found = inspect(Residual(), IMAGES, name="mine")
    text = str(found)
    lines = text.splitlines()
    head = "layer kind in out params MACs can go group tied with, or why it stays whole"
    assert " ".join(lines[0].split()) == head
    assert " ".join(lines[1].split()) == f"stem Conv2d 1 6 60 864 100% {found['stem'].group} with second"
    assert lines[4].endswith("its channels are outputs of the network")
    assert f"mine: {found.macs:,} MACs" in text and f"smallest possible network: {found.smallest_macs:,} MACs" in text
    document = json.loads(json.dumps(found.to_json()))
    assert document["smallest_macs"] == found.smallest_macs and document["layers"][0]["prunable"] is True
    html = found._repr_html_()
    assert html.count("<tr>") == 6 and "<td>stem</td>" in html


def test_markup_of_names_is_text() -> None:
    assert "<b>" not in inspect(Residual(), IMAGES, name="<b>mine")._repr_html_()


@pytest.mark.parametrize(
    ("network", "example", "keep", "kind", "said"),
    [
        (Residual(), torch.randn(2, 5, 4, 4), (), NetworkError, "channels"),
        (Residual(), IMAGES, ("conv1",), UnknownNameError, "conv1"),
        ("lenet5", IMAGES, (), NetworkError, "give a torch.nn.Module"),
    ],
)
def test_bad_input(network: Any, example: Tensor, keep: tuple[str, ...], kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        inspect(network, example, keep=keep)


def test_the_front_door_takes_names_and_data() -> None:
    data = bp.data.from_tensors(torch.randn(40, 1, 8, 8), torch.arange(40) % 4)
    found = bp.inspect("lenet300", data, widths=(7, 5))
    assert [(one.name, one.outputs) for one in found.layers] == [("fc1", 7), ("fc2", 5), ("fc3", 4)]
    assert found.groups == {"inputs": 64, "fc1": 7, "fc2": 5} and found.name == "lenet300"
    assert bp.inspect(Residual(), IMAGES).macs == inspect(Residual(), IMAGES).macs
    assert bp.inspect(Residual(), (torch.randn(40, 1, 4, 4), torch.arange(40) % 3)).macs == found_macs()


def found_macs() -> int:
    return 16 * 594 + 18


@pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated:DeprecationWarning")
def test_wrapped_lazy_and_scripted_networks_are_looked_at_as_runs_take_them() -> None:
    """Names are those that `prune(..., keep=...)` takes."""
    plain, example = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(4, 6)
    names = [one.name for one in bp.inspect(plain, example).layers]
    for network in (torch.compile(plain), nn.DataParallel(plain)):
        assert [one.name for one in bp.inspect(network, example).layers] == names
    lazy = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(3))
    assert bp.inspect(lazy, example).params == 8 * 7 + 3 * 9
    assert isinstance(lazy[0], nn.LazyLinear)
    with pytest.raises(NetworkError, match="RecursiveScriptModule, whose layers cannot be cut"):
        bp.inspect(torch.jit.script(plain), example)


def test_what_cannot_be_looked_at_is_one_clear_line() -> None:
    plain, example = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(4, 6)
    asked: list[tuple[dict[str, Any], str]] = [
        ({"keep": 3}, "keep must be a list of names of layers, not 3"),
        ({"keep": [0]}, r"keep must be a list of names of layers, not \[0\]"),
        ({"inputs": "some"}, "inputs must be auto, all or none, not 'some'"),
    ]
    for wrong, said in asked:
        with pytest.raises(bp.SettingError, match=said):
            bp.inspect(plain, example, **wrong)
    with pytest.raises(bp.InputShapeError, match="holds no example"):
        bp.inspect(plain, example[:0])
    with pytest.raises(NetworkError, match=r"network is an OrderedDict: give a torch.nn.Module"):
        bp.inspect(plain.state_dict(), example)  # type: ignore[arg-type]  # what is refused
