"""Tables by name: those of scikit-learn, and CSV files with a target that is named or not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes

from bayesprune.data import load
from bayesprune.data.cached import load_cached
from bayesprune.errors import DataError, UnknownNameError
from bayesprune.tasks import Classification, Counts, MultiLabel, Regression


def test_diabetes_is_a_regression_in_the_unit_of_its_targets() -> None:
    data = load("diabetes")
    assert isinstance(data.task, Regression) and data.features[2] == "bmi" and data.input_shape == (10,)
    parts = [split.labels for split in (data.train, data.validation, data.test)]
    values = torch.cat([part.double() * data.task.std[0] + data.task.mean[0] for part in parts])[:, 0]
    expected = np.sort(load_diabetes(scaled=False).target)
    np.testing.assert_allclose(np.sort(values.numpy()), expected, rtol=1e-5)
    torch.testing.assert_close(parts[0].double().mean(), torch.zeros((), dtype=torch.float64), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("name", "classes", "examples"), [("breast-cancer", 2, 569), ("wine", 3, 178)])
def test_the_others_are_classified(name: str, classes: int, examples: int) -> None:
    data = load(name)
    assert data.task == Classification(classes) and sum(data.split_sizes.values()) == examples
    assert len(data.class_names) == classes and len(data.features) == data.input_shape[0]
    assert data.fingerprint == load(name).fingerprint


def table(folder: Path) -> Path:
    """60 rows: two numbers, a colour, a class, a count and a tag."""
    lines = ["a,b,colour,kind,count,tag"]
    for row in range(60):
        colour = ("red", "green")[row % 2]
        lines.append(f"{row / 7},{(row * 13) % 17},{colour},{('x', 'y', 'z')[row % 3]},{row % 5},{int(row % 4 == 0)}")
    path = folder / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_csv_file_by_its_target(tmp_path: Path) -> None:
    path = table(tmp_path)
    kinds = load(f"csv:{path}:kind")
    assert kinds.task == Classification(3) and kinds.class_names == ("x", "y", "z")
    assert kinds.features == ("a", "b", "colour=green", "colour=red", "count", "tag")
    assert load(f"csv:{path}").task == Classification(2)
    assert isinstance(load(f"csv:{path}:a").task, Regression)
    assert isinstance(load(f"csv:{path}:count", task="counts").task, Counts)
    assert load(f"csv:{path}:a+b", task="regression").task.outputs == 2
    with pytest.raises(UnknownNameError, match="kind"):
        load(f"csv:{path}:kinds")
    with pytest.raises(DataError, match="not there"):
        load(f"csv:{tmp_path / 'other.csv'}")


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = table(tmp_path)
    name = f"csv:{path}:kind"
    first = load_cached(name)
    assert load_cached(name) is first and load_cached(name, "classification") is not first
    path.write_text(path.read_text().replace("red", "blue"))
    assert "colour=blue" in load_cached(name).features


def test_an_npz_file_holds_the_targets_of_any_task(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    tokens, tags = random.integers(0, 9, (50, 4)), random.integers(0, 2, (50, 3))
    np.savez(tmp_path / "tags.npz", x=tokens, y=tags)
    data = load(f"npz:{tmp_path / 'tags.npz'}")
    assert data.task == MultiLabel(3) and data.inputs.dtypes == {"": "int64"}
    np.savez(tmp_path / "numbers.npz", x=random.normal(size=(50, 4)), y=random.normal(size=50))
    assert isinstance(load(f"npz:{tmp_path / 'numbers.npz'}").task, Regression)
