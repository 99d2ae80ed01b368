"""The guarded import of torchvision: repaired only where it has to be."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bayesprune.data import torchvision_guard
from bayesprune.data.torchvision_guard import import_torchvision, torchvision_note

BROKEN = "operator torchvision::nms does not exist"


def test_data_sets_transforms_and_models_work() -> None:
    package = import_torchvision()
    assert import_torchvision() is package
    assert sys.modules["torchvision"] is package
    assert package.datasets.MNIST.resources
    picture = package.transforms.Normalize((0.5,), (0.5,))(torch.ones(1, 4, 4))
    assert torch.equal(picture, torch.ones(1, 4, 4))
    network = package.models.squeezenet1_1().eval()
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)


def test_it_says_why_only_where_the_compiled_operators_are_absent() -> None:
    package = import_torchvision()
    assert (torchvision_note() is None) == package.extension._has_ops()


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for another torchvision, which is found first; the real one is put back afterwards."""
    real = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "torchvision"}
    for name in real:
        del sys.modules[name]
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "part.py").write_text("")
    yield package
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    sys.modules.update(real)


def fails_once(package: Path, message: str) -> None:
    """Make the first import fail after a submodule was imported, and the second one work."""
    marker = package / "tried"
    (package / "__init__.py").write_text(
        "import pathlib\nimport torchvision.part\n"
        f"tried = pathlib.Path({str(marker)!r})\n"
        "if not tried.exists():\n    tried.touch()\n    torchvision.part.stale = True\n"
        f"    raise RuntimeError({message!r})\n"
    )


def test_a_missing_operator_is_declared_and_the_import_starts_anew(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declared = list[bool]()
    monkeypatch.setattr(torchvision_guard, "_declare_schemas", lambda: declared.append(True))
    fails_once(fake, BROKEN)
    package = import_torchvision.__wrapped__()
    assert declared == [True]
    assert package.__path__ == [str(fake)]
    assert not hasattr(package.part, "stale")


def test_a_healthy_torchvision_is_left_alone(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declared = list[bool]()
    monkeypatch.setattr(torchvision_guard, "_declare_schemas", lambda: declared.append(True))
    (fake / "__init__.py").write_text("")
    import_torchvision.__wrapped__()
    assert declared == []


def test_another_error_is_passed_on(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declared = list[bool]()
    monkeypatch.setattr(torchvision_guard, "_declare_schemas", lambda: declared.append(True))
    fails_once(fake, "something else")
    with pytest.raises(RuntimeError, match="something else"):
        import_torchvision.__wrapped__()
    assert declared == []


def test_the_schemas_are_declared_once_and_kept() -> None:
    before = list(torchvision_guard._kept_libraries)
    if not before:
        pytest.skip("this torchvision is healthy: its own schemas are there")
    torchvision_guard._declare_schemas()
    assert torchvision_guard._kept_libraries == before
    assert torch.ops.torchvision.nms.default._schema.name == "torchvision::nms"
    assert torch.ops.torchvision.qnms.default._schema.name == "torchvision::qnms"
