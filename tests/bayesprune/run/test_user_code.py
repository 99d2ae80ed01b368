"""Code of the user's is hashed as its files are now, and imported as they are now."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from bayesprune.models import LeNet300
from bayesprune.run.user_code import code_digest, import_current, source_digest

NETWORK = (
    "from torch import nn\nfrom own_sizes import WIDTH\ndef make(classes):\n    return nn.Linear(WIDTH, classes)\n"
)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module with a factory, and one beside it that it imports."""
    (tmp_path / "own_factory.py").write_text(NETWORK)
    (tmp_path / "own_sizes.py").write_text("WIDTH = 6\n")
    (tmp_path / "own_stranger.py").write_text("NOTHING = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("own_factory", "own_sizes"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return "own_factory"


def test_the_hash_follows_the_module_and_what_it_imports_from_its_own_folder(module: str, tmp_path: Path) -> None:
    first = source_digest(module)
    assert first is not None and source_digest(module) == first
    (tmp_path / "own_stranger.py").write_text("NOTHING = 2\n")
    assert source_digest(module) == first
    (tmp_path / "own_sizes.py").write_text("WIDTH = 7\n")
    second = source_digest(module)
    (tmp_path / "own_factory.py").write_text(NETWORK.replace("Linear", "Bilinear"))
    assert len({first, second, source_digest(module)}) == 3


def test_a_package_is_hashed_with_its_own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "own_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "nets.py").write_text("from .blocks import WIDTH\n")
    (package / "blocks.py").write_text("WIDTH = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    first = source_digest("own_package.nets")
    (package / "blocks.py").write_text("WIDTH = 2\n")
    assert first is not None and source_digest("own_package.nets") != first


def test_code_that_belongs_to_a_version_or_is_not_there_has_no_hash() -> None:
    assert [source_digest(name) for name in ("torch.nn", "bayesprune.models", "no_such_module")] == [None, None, None]


def test_a_changed_module_is_imported_anew(module: str, tmp_path: Path) -> None:
    assert import_current(module).make(3).in_features == 6
    assert import_current(module) is sys.modules[module]
    (tmp_path / "own_sizes.py").write_text("WIDTH = 9\n")  # as many bytes as before, perhaps in the same second
    assert import_current(module).make(3).in_features == 9
    assert list(tmp_path.rglob("*.pyc")) == []


def test_an_unchanged_module_stays_the_same_object(module: str) -> None:
    assert import_current(module) is import_current(module)


class Own(nn.Module):
    """A network of the user's."""

    def __init__(self, slope: float = 0.1, act: nn.Module | None = None) -> None:
        super().__init__()
        self.slope, self.fc, self.act = slope, nn.Linear(4, 2), act or nn.ReLU()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.act(self.fc(inputs)) * self.slope
        return outputs


def test_the_hash_of_a_network_is_that_of_what_it_computes() -> None:
    plain, same, frozen, evaluating = Own(), Own(), Own(), Own()
    frozen.fc.bias.requires_grad_(False)
    evaluating.fc.eval()
    others = [frozen, evaluating, Own(0.2), Own(act=nn.Tanh()), Own(act=nn.LeakyReLU(0.2)), LeNet300()]
    assert code_digest(plain) == code_digest(same)
    assert len({code_digest(network) for network in (plain, *others)}) == 7


def test_the_hash_of_a_network_follows_the_source_of_its_class(monkeypatch: pytest.MonkeyPatch) -> None:
    import inspect

    first = code_digest(Own())
    monkeypatch.setattr(inspect, "getsource", lambda kind: "another text")
    assert code_digest(Own()) != first


def test_a_class_without_source_counts_by_its_forward() -> None:
    texts = ("x + 1", "x + 2")
    made = []
    for text in texts:
        space: dict[str, type[nn.Module]] = {}
        exec(f"from torch import nn\nclass Net(nn.Module):\n    def forward(self, x): return {text}", space)
        made.append(code_digest(space["Net"]()))
    assert made[0] != made[1]
