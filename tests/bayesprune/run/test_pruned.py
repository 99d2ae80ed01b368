"""A result goes to disk and comes back as the same function, and nothing in the files is ever executed."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import StoreError
from bayesprune.models import LeNet300
from bayesprune.run.networks import NetworkSpec
from bayesprune.run.pruned import Pruned
from bayesprune.store.identity import run_id
from bayesprune.store.tensors import load_tensors, save_tensors

Change = Callable[[dict[str, Any]], Any]


class Own(nn.Module):
    """A network of the user's own, with a submodule called `layer` as some have, and a selector before another."""

    def __init__(self, classes: int = 3, *, width: int = 10) -> None:
        super().__init__()
        self.first = nn.Linear(36, width)
        self.block = nn.Sequential()
        self.block.add_module("layer", nn.Linear(width, 6))
        self.last = nn.Linear(6, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.last(self.block(self.first(inputs.flatten(1)).relu()).relu())
        return outputs


@pytest.fixture(scope="module")
def registered(small_data: Data, tmp_path_factory: pytest.TempPathFactory) -> tuple[Pruned, Path]:
    """A parsimonious run of a registered network, saved."""
    pruned = bp.prune(LeNet300((12, 8), (1, 6, 6), 3), small_data, "parsimonious", epochs=2, batch_size=50, horizon=12)
    return pruned, pruned.save(tmp_path_factory.mktemp("saved") / "run")


@pytest.fixture
def folder(registered: tuple[Pruned, Path], tmp_path: Path) -> Path:
    """A copy of the saved run that may be changed."""
    for file in registered[1].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def change_document(folder: Path, change: Change) -> None:
    """Change run.json, and give it the name that its settings make, as somebody who means harm would."""
    document = json.loads((folder / "run.json").read_text())
    change(document)
    document["id"] = run_id(document["settings"], version=document["versions"]["bayesprune"])
    (folder / "run.json").write_text(json.dumps(document))


def test_files_of_a_saved_run(registered: tuple[Pruned, Path]) -> None:
    names = sorted(path.name for path in registered[1].iterdir())
    assert names == ["history.jsonl", "network.safetensors", "posterior.safetensors", "run.json"]


def test_a_registered_network_comes_back_by_name(registered: tuple[Pruned, Path], small_data: Data) -> None:
    pruned, folder = registered
    before = torch.get_rng_state()
    again = bp.load(folder)
    assert torch.equal(torch.get_rng_state(), before)
    inputs, _ = next(iter(small_data.test.batches(60)))
    assert torch.equal(again.network(inputs), pruned.network(inputs))
    assert not again.network.training
    assert again.kept == pruned.kept and again.result() == pruned.result()
    assert again.history == pruned.history and again.settings == pruned.settings and again.spec == pruned.spec
    assert [vars(layer) | {"name": "", "positions": 0} for layer in again.dense_layers] == [
        vars(layer) | {"name": "", "positions": 0} for layer in pruned.dense_layers
    ]
    assert [layer.macs for layer in again.layers] == [layer.macs for layer in pruned.layers]
    assert again.posterior is not None and pruned.posterior is not None
    for name in ("inclusion_probability", "decided", "trace", "steps"):
        assert torch.equal(getattr(again.posterior, name), getattr(pruned.posterior, name))
    assert again.dense_weights == 552 and again.input_shape == (1, 6, 6) and again.classes == 3


def test_the_normalisation_comes_back(registered: tuple[Pruned, Path], small_arrays: dict[str, Any]) -> None:
    """Raw inputs through it give what the run was measured on."""
    pruned, folder = registered
    again = bp.load(folder)
    assert again.normalisation is not None and again.normalisation == pruned.normalisation
    assert again.normalisation.dtype == "float32"
    raw, labels = torch.from_numpy(small_arrays["x_test"]), torch.from_numpy(small_arrays["y_test"])
    answers = again.network(again.normalisation.apply(raw)).argmax(1)
    assert float((answers == labels).float().mean()) == pytest.approx(pruned.evaluation.accuracy)


def test_a_folder_of_an_earlier_version_does_not_tell_the_normalisation(
    registered: tuple[Pruned, Path], tmp_path: Path
) -> None:
    folder = registered[0].save(tmp_path / "old")
    for broken in (None, {"mean": [0.0]}, {"mean": [0.0], "std": [0.0]}, 7):

        def change(document: dict[str, Any], broken: object = broken) -> None:
            document["data"]["normalisation"] = broken

        change_document(folder, change)
        assert bp.load(folder).normalisation is None


def test_it_can_be_saved_again(registered: tuple[Pruned, Path], tmp_path: Path, small_data: Data) -> None:
    again = bp.load(bp.load(registered[1]).save(tmp_path / "copy"))
    inputs, _ = next(iter(small_data.test.batches(60)))
    assert torch.equal(again.network(inputs), registered[0].network(inputs))
    assert (tmp_path / "copy" / "run.json").read_bytes() == (registered[1] / "run.json").read_bytes()


def test_it_can_be_evaluated_on_data(registered: tuple[Pruned, Path], small_data: Data) -> None:
    pruned, folder = registered
    again = bp.load(folder)
    with pytest.raises(StoreError, match="does not bring its data along: give evaluate"):
        again.evaluate()
    assert again.evaluate(small_data).accuracy == pruned.evaluate().accuracy == pruned.evaluation.accuracy


def test_a_network_of_the_users_own_needs_its_factory(small_data: Data, tmp_path: Path) -> None:
    network = Own(width=12)
    pruned = bp.prune(network, small_data, "l1-units", epochs=2, batch_size=50, budget="macs=40%")
    folder = pruned.save(tmp_path / "own")
    assert [layer["name"] for layer in json.loads((folder / "run.json").read_text())["layers"]] == [
        "first", "block.layer", "last"
    ]  # fmt: skip
    with pytest.raises(StoreError, match="class of yours: load it with factory="):
        bp.load(folder)
    given: list[Any] = []

    def factory(classes: int) -> Own:
        given.append(classes)
        return Own(classes, width=12)

    inputs, _ = next(iter(small_data.test.batches(60)))
    for maker in (factory, lambda **arguments: Own(arguments["classes"], width=12), lambda: Own(width=12)):
        assert torch.equal(bp.load(folder, maker).network(inputs), pruned.network(inputs))
    assert given == [3]
    wrong_ones: list[Any] = [Own, lambda: LeNet300((12, 8), (1, 6, 6), 3), lambda: "no network"]
    for wrong in wrong_ones:
        with pytest.raises(StoreError, match="do not fit the network of the given factory"):
            bp.load(folder, wrong)


def test_a_registered_network_that_was_changed_counts_as_the_users_own(small_data: Data, tmp_path: Path) -> None:
    network = LeNet300((12, 8), (1, 6, 6), 3)
    network.fc2 = nn.Linear(12, 9)
    network.fc3 = nn.Linear(9, 3)
    pruned = bp.prune(network, small_data, "dense", epochs=1)
    assert pruned.spec is None
    with pytest.raises(StoreError, match="factory="):
        bp.load(pruned.save(tmp_path / "changed"))


def test_a_pruned_network_can_be_pruned_again(small_data: Data, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 50}
    first = bp.prune(LeNet300((12, 8), (1, 6, 6), 3), small_data, "l1-units", budget="macs=60%", **settings)
    second = bp.prune(first.network, small_data, "l1-units", budget="macs=60%", **settings)
    assert second.result()["macs"] <= 0.6 * first.result()["macs"]
    folder = second.save(tmp_path / "twice")
    with pytest.raises(StoreError, match="factory="):
        bp.load(folder)

    def once_pruned() -> nn.Module:
        return bp.load(first.save(tmp_path / "once")).network

    inputs, _ = next(iter(small_data.test.batches(60)))
    assert torch.equal(bp.load(folder, once_pruned).network(inputs), second.network(inputs))


def test_code_named_in_a_file_is_never_imported(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "harmful_network.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)

    def point(document: dict[str, Any]) -> None:
        document["settings"]["factory"] = {"name": "harmful_network:make", "arguments": {}}
        document["settings"]["network"] = "harmful_network:make"

    change_document(folder, point)
    with pytest.raises(StoreError, match="harmful_network:make is code outside this library: load it with factory="):
        bp.load(folder)
    assert "harmful_network" not in sys.modules
    loaded = bp.load(folder, lambda: LeNet300((12, 8), (1, 6, 6), 3))
    assert "harmful_network" not in sys.modules and loaded.classes == 3


def put(*path: str, value: Any) -> Change:
    """A change of one entry of run.json."""

    def change(document: dict[str, Any]) -> None:
        for key in path[:-1]:
            document = document[int(key) if isinstance(document, list) else key]
        document[path[-1]] = value

    return change


def drop(*path: str) -> Change:
    """Take one entry of run.json away."""

    def change(document: dict[str, Any]) -> None:
        for key in path[:-1]:
            document = document[key]
        del document[path[-1]]

    return change


CHANGES: dict[str, Change] = {
    "unknown factory": put("settings", "factory", "name", value="lenet3000"),
    "factory is a list": put("settings", "factory", value=["lenet300"]),
    "factory has no name": drop("settings", "factory", "name"),
    "arguments are text": put("settings", "factory", "arguments", value="abc"),
    "widths are text": put("settings", "factory", "arguments", "widths", value="abc"),
    "widths are negative": put("settings", "factory", "arguments", "widths", value=[-3, 5]),
    "other widths": put("settings", "factory", "arguments", "widths", value=[13, 8]),
    "no keep": drop("settings", "keep"),
    "keep is a number": put("settings", "keep", value=4),
    "keep names no layer": put("settings", "keep", value=["fc9"]),
    "other gates": put("settings", "inputs", value="none"),
    "no fingerprint": drop("settings", "data_fingerprint"),
    "epochs are text": put("settings", "epochs", value="many"),
    "unknown group": put("groups", "0", "name", value="other"),
    "size of another network": put("groups", "1", "size", value=500),
    "other channels": put("groups", "1", "kept", value=[0]),
    "no channels": put("groups", "2", "kept", value=[]),
    "falling channels": put("groups", "1", "kept", value=[3, 2]),
    "another input shape": put("input_shape", value=[1, 5, 5]),
    "a result without accuracy": drop("result", "accuracy"),
    "density 0": put("result", "density", value=-0.5),
    "another schema": put("schema", value=3),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_document_is_refused(folder: Path, name: str) -> None:
    change_document(folder, CHANGES[name])
    with pytest.raises(StoreError):
        bp.load(folder)


def test_changed_settings_do_not_fit_the_name(folder: Path) -> None:
    document = json.loads((folder / "run.json").read_text())
    document["settings"]["seed"] = 7
    (folder / "run.json").write_text(json.dumps(document))
    with pytest.raises(StoreError, match="key 'id'"):
        bp.load(folder)


def without_checksums(folder: Path) -> None:
    """As a run looks that was written before there were any."""
    document = json.loads((folder / "run.json").read_text())
    del document["checksums"]
    (folder / "run.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: {**tensors, "fc3.bias": torch.zeros(4)},
        lambda tensors: {name: value for name, value in tensors.items() if name != "fc3.bias"},
        lambda tensors: {**tensors, "more": torch.zeros(1)},
    ],
)  # fmt: skip
def test_weights_of_another_shape_are_refused(folder: Path, change: Callable[[Any], dict[str, Tensor]]) -> None:
    save_tensors(folder / "network.safetensors", change(load_tensors(folder / "network.safetensors")))
    with pytest.raises(StoreError, match="not the file that run.json was written with"):
        bp.load(folder)
    without_checksums(folder)
    with pytest.raises(StoreError, match="do not fit the network of lenet300: .*(fc3.bias|more)"):
        bp.load(folder)


@pytest.mark.parametrize("file", ["run.json", "network.safetensors", "posterior.safetensors"])
def test_damaged_files_are_refused(folder: Path, file: str) -> None:
    content = (folder / file).read_bytes()
    for damaged in (content[: len(content) // 2], content[:-1] + b"!", b""):
        (folder / file).write_bytes(damaged)
        with pytest.raises(StoreError, match=file):
            bp.load(folder)


@pytest.mark.parametrize("file", ["run.json", "network.safetensors"])
def test_missing_files_are_refused(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(StoreError, match=file):
        bp.load(folder)


def test_a_posterior_of_another_size_is_refused(folder: Path) -> None:
    tensors = load_tensors(folder / "posterior.safetensors")
    save_tensors(folder / "posterior.safetensors", {**tensors, "decided": torch.zeros(3, dtype=torch.uint8)})
    without_checksums(folder)
    with pytest.raises(StoreError, match="decided"):
        bp.load(folder)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "missing"):
        with pytest.raises(StoreError, match="holds no run|no run"):
            bp.load(place)


def test_a_place_that_cannot_be_written_is_refused(registered: tuple[Pruned, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="choose another folder"):
        registered[0].save(tmp_path / "file" / "run")


def test_spec_of_the_registry() -> None:
    built = NetworkSpec("lenet300", {"widths": [5, 4], "unknown": 1}).build()
    assert built.get_parameter("fc1.weight").shape[0] == 5


@torch.no_grad()
def fine_tune(network: nn.Module) -> None:
    """What a user's own training may come to: other weights."""
    for parameter in network.parameters():
        parameter.mul_(-1.0)


def test_weights_that_were_changed_are_measured_anew_and_are_another_run(small_data: Data, tmp_path: Path) -> None:
    pruned = bp.prune("lenet300", small_data, "dense", widths=(12, 8), epochs=2, batch_size=50)
    before = bp.load(pruned.save(tmp_path / "before"))
    fine_tune(pruned.network)
    after = bp.load(pruned.save(tmp_path / "after"))
    assert after.evaluation.nll == after.evaluate(small_data).nll != before.evaluation.nll
    assert "measured_before_change" not in after.result()
    assert after.record().id != before.record().id == pruned.record().id


def test_weights_that_were_changed_after_loading_keep_figures_that_say_so(
    registered: tuple[Pruned, Path], tmp_path: Path, small_data: Data
) -> None:
    loaded = bp.load(registered[1])
    assert loaded.remeasured() is loaded
    fine_tune(loaded.network)
    again = bp.load(loaded.save(tmp_path / "tuned"))
    result = json.loads((tmp_path / "tuned" / "run.json").read_text())["result"]
    assert result["measured_before_change"] and again.result() == result
    assert again.evaluation == loaded.evaluation
    inputs, _ = next(iter(small_data.test.batches(60)))
    assert torch.equal(again.network(inputs), loaded.network(inputs))
    assert bp.load(again.save(tmp_path / "once more")).result()["measured_before_change"]


def test_it_prints_as_one_table(small_data: Data) -> None:
    pruned = bp.prune(LeNet300((12, 8), (1, 6, 6), 3), small_data, "l1-units", budget="macs=50%", epochs=2, seed=4)
    lines = str(pruned).splitlines()
    assert lines[0] == "l1-units: lenet300 on small, seed 4, 2 epochs" and repr(pruned) == str(pruned)
    of = {line[:18].strip(): line[18:].split() for line in lines[1:]}
    assert of["accuracy"] == [f"{100 * pruned.evaluation.accuracy:.2f}", "%"]
    # dense: 36 x 12 + 12 x 8 + 8 x 3 weights, 12 + 8 + 3 biases
    assert of["parameters"][:3] == [f"{pruned.evaluation.params:,}", "of", "575"]
    assert of["MACs a sample"][:3] == [f"{pruned.evaluation.macs:,}", "of", "552"]
    for name, size in (("inputs", "36"), ("fc1", "12"), ("fc2", "8")):
        assert of[f"group {name}"][:3] == [str(len(pruned.kept[name])), "of", size]
    assert of["layer fc3"] == ["whole", "its", "channels", "are", "outputs", "of", "the", "network"]
    assert len(lines) == 14 and not any(line != line.rstrip() for line in lines)


def test_layers_that_stay_whole_are_told_with_the_reason(small_data: Data, tmp_path: Path) -> None:
    """In Python, in run.json, and after loading; run.json of an earlier version does not say."""
    pruned = bp.prune("lenet300", small_data, "l1-units", budget="macs=50%", epochs=1, keep=["fc1"], progress=False)
    whole = {"fc1": "named in keep", "fc3": "its channels are outputs of the network"}
    assert pruned.whole == whole
    folder = pruned.save(tmp_path / "run")
    document = json.loads((folder / "run.json").read_text())
    assert document["whole"] == whole
    assert bp.load(folder).whole == whole
    del document["whole"]
    (folder / "run.json").write_text(json.dumps(document))
    assert bp.load(folder).whole == {}
    document["whole"] = {"fc3": 3}
    (folder / "run.json").write_text(json.dumps(document))
    with pytest.raises(StoreError, match=r"whole\.fc3.* text"):
        bp.load(folder)
