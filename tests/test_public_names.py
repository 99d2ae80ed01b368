"""`dir` lists what is public, and nothing else."""

from importlib import import_module

import pytest

import bayesprune

PACKAGES = [
    "bayesprune",
    *(f"bayesprune.{name}" for name in ("data", "graphs", "inference", "models", "structure", "training")),
]


@pytest.mark.parametrize("name", PACKAGES)
def test_dir_lists_the_public_names_and_each_is_there(name: str) -> None:
    package = import_module(name)
    listed = [entry for entry in dir(package) if entry != "__version__"]
    assert listed == sorted(package.__all__)
    assert all(getattr(package, entry) is not None for entry in listed)


def test_the_inference_floor_lists_its_objects_before_they_are_loaded() -> None:
    assert {"GateGuide", "Parsimonious", "ParsimoniousOptions", "to_datatree"} <= set(dir(bayesprune.inference))


def test_an_unknown_name_is_refused() -> None:
    for package in (bayesprune, bayesprune.inference, bayesprune.models):
        with pytest.raises(AttributeError, match="no attribute 'nothing_here'"):
            getattr(package, "nothing_" + "here")
