"""Layer gates, and units and layers together: whole runs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import BudgetError, NetworkError, SettingError
from bayesprune.experiments.methods import METHODS
from bayesprune.inference.sections.layer_gates import section_nats
from bayesprune.models import LeNet5, LeNet300
from bayesprune.run.pruned import Pruned
from bayesprune.run.running import run
from bayesprune.run.settings import RunSettings
from bayesprune.sections.absent import Absent
from bayesprune.training import Checkpointer
from tests.bayesprune.sections.networks import Nested, Residual, SmallResNet
from tests.inference.sections.test_differences import sectioned

SOON: dict[str, Any] = {"horizon": 12, "shrink_every": 3, "prune_share": 0.5, "ramp_share": 0.0}
METHOD_NAMES = ("layer-gates", "complexity-aware")


def network_of(make: type[nn.Module], seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def pruned_by(data: Data, name: str, make: type[nn.Module] = Residual, **settings: Any) -> Pruned:
    plain: dict[str, Any] = {"epochs": 6, "batch_size": 24, "seed": 3}
    return bp.prune(network_of(make), data, name, **plain | SOON | settings)


def test_at_a_high_price_all_sections_go_while_training(small_data: Data, tmp_path: Path) -> None:
    pruned = pruned_by(small_data, "layer-gates", SmallResNet, price=1e4)
    network = pruned.network
    assert type(network) is SmallResNet and any(isinstance(module, Absent) for module in network.modules())
    assert all(pruned.kept[f"blocks.{n}.section"] == [] for n in range(3))
    # The stem, the one projection and the classifier are left.
    left = {"conv.weight", "bn.weight", "bn.bias", "fc.weight", "fc.bias"}
    left |= {f"blocks.1.downsample.{name}" for name in ("0.weight", "1.weight", "1.bias")}
    assert {name for name, _ in network.named_parameters()} == left
    assert pruned.result()["params"] == sum(parameter.numel() for parameter in network.parameters())
    assert pruned.kept["conv"] == [0, 1, 2, 3] and pruned.kept["blocks.0.conv1"] == []
    # They went before gates were decided, and what was trained then cost less.
    phases = [(record["phase"], record["network_macs"]) for record in pruned.history]
    assert phases[0][1] > phases[2][1] == phases[5][1] and phases[2][0] == "prune"
    last = pruned.history[-1]
    assert last["macs"] < 0.5 * last["dense_macs"]
    assert not any(module._forward_hooks or "forward" in vars(module) for module in network.modules())

    again = bp.load(pruned.save(tmp_path / "run"), factory=SmallResNet)
    inputs, _ = next(iter(small_data.test.batches(20)))
    assert torch.equal(again.network(inputs), network(inputs))
    assert again.kept == pruned.kept and again.result() == pruned.result()
    dense = {layer.name: layer.macs for layer in pruned.dense_layers}
    assert {layer.name: layer.macs for layer in again.dense_layers} == dense
    assert {row["name"]: row["macs"] for row in pruned.record().layers}["blocks.0.conv1"] == 0


class Half(Residual):
    """One block's branch is silent and frozen; through the other one goes nearly all that is said."""

    def __init__(self) -> None:
        super().__init__(12, 2, 12)
        nn.init.zeros_(self.get_parameter("blocks.0.2.weight"))
        nn.init.zeros_(self.get_parameter("blocks.0.2.bias"))
        self.blocks[0].requires_grad_(False)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.stem(inputs.flatten(1)).relu()
        hidden = hidden + self.blocks[0](hidden)
        outputs: Tensor = self.head(1e-3 * hidden + self.blocks[1](hidden))
        return outputs


def test_by_default_a_section_costs_its_share_of_a_whole_network() -> None:
    """6-5-6 in a network of 36-6, three such blocks, and 6-3, counted by hand."""
    state, _ = sectioned(Residual)
    share = 0.9 * 60 / (36 * 6 + 3 * 60 + 18) + 0.1 * 71 / (37 * 6 + 3 * 71 + 21)
    few = 1_000 / 18_500  # at most one nat an example
    for examples, steps, factor in ((55_000, 100, 1.0), (55_000, 25, 0.25), (27_500, 200, 0.5**0.4), (1_000, 100, few)):
        nats = section_nats(state, RunSettings("layer-gates"), examples, steps)
        assert nats == pytest.approx(18_500 * share * factor)
    assert section_nats(state, RunSettings("layer-gates", price=7), 100, 10) == 7


def test_a_useless_section_goes_and_a_needed_one_stays(small_data: Data) -> None:
    slow = {"horizon": 30, "ramp_share": None, "epochs": 40, "learning_rate": 1e-2}
    pruned = pruned_by(small_data, "layer-gates", Half, price=5.0, **slow)
    assert pruned.kept["blocks.0.section"] == [] and pruned.kept["blocks.1.section"] == [0]
    posterior = pruned.posterior
    assert posterior is not None and posterior.last_rise is not None and posterior.price is not None
    assert int(posterior.last_rise.isfinite().sum()) == 2  # units were not looked at
    assert float(posterior.price[-1]) == 5.0 and float(posterior.last_rise[-1]) > 5.0


@pytest.mark.parametrize("name", METHOD_NAMES)
@pytest.mark.parametrize("make", [pytest.param(SmallResNet, marks=pytest.mark.long), Nested])
def test_what_is_kept_fits_and_comes_back(name: str, make: type[nn.Module], small_data: Data, tmp_path: Path) -> None:
    pruned = pruned_by(small_data, name, make, price=30.0 if name == "layer-gates" else 2.0)
    inputs, _ = next(iter(small_data.test.batches(20)))
    again = bp.load(pruned.save(tmp_path / "run"), factory=make)
    assert torch.equal(again.network(inputs), pruned.network(inputs)) and again.kept == pruned.kept
    assert pruned.evaluate().macs == pruned.result()["macs"]
    evidence = pruned.evidence(examples=40)
    assert len(evidence.evidence) == pruned.structure.gate_count


STEPS = (1, 8, 17, 29, 30, 31, 47)


@pytest.mark.parametrize(
    ("name", "make", "price"),
    [
        ("layer-gates", Residual, 20.0),
        pytest.param("layer-gates", SmallResNet, 60.0, marks=pytest.mark.long),
        pytest.param("complexity-aware", SmallResNet, 3.0, marks=pytest.mark.long),
    ],
)
def test_a_run_that_is_stopped_again_and_again_ends_as_an_undisturbed_one(
    name: str, make: type[nn.Module], price: float, small_data: Data, tmp_path: Path
) -> None:
    settings = RunSettings(name, epochs=6, batch_size=24, seed=3, price=price, options=SOON)

    def part(stop: int = 0, file: Path | None = None) -> Pruned:
        def progress(now: Any) -> None:
            if now.step == stop:
                raise InterruptedError

        saved = None if file is None else Checkpointer(file, steps=1)
        return run(METHODS[name], network_of(make), small_data, settings, checkpointer=saved, progress=progress)

    whole = part()
    for stop in STEPS:
        with pytest.raises(InterruptedError):
            part(stop, tmp_path / "state")
    resumed = part(0, tmp_path / "state")
    torch.testing.assert_close(resumed.network.state_dict(), whole.network.state_dict(), rtol=0, atol=0)
    assert resumed.kept == whole.kept
    assert any(not kept for group, kept in whole.kept.items() if group.endswith(".section"))
    assert whole.posterior is not None and resumed.posterior is not None
    assert torch.equal(resumed.posterior.trace, whole.posterior.trace)


@pytest.mark.long
@pytest.mark.parametrize("budget", ["macs=40%", "params=30%"])
def test_a_budget_is_kept_by_units_and_sections(budget: str, small_data: Data) -> None:
    pruned = pruned_by(small_data, "complexity-aware", SmallResNet, budget=budget)
    kind, share = budget.removesuffix("%").split("=")
    dense = sum(layer.macs for layer in pruned.dense_layers) if kind == "macs" else pruned.dense_params
    assert pruned.result()[kind] <= float(share) / 100 * dense


@pytest.mark.long
def test_layers_go_first_at_a_large_beta_and_units_at_a_small_one(small_data: Data) -> None:
    counts = []
    for beta in (0.02, 50.0):
        pruned = pruned_by(small_data, "complexity-aware", Residual, price=3.0, beta=beta)
        counts.append(sum(len(kept) for name, kept in pruned.kept.items() if name.endswith(".section")))
    assert counts[0] > counts[1] == 0


def test_a_network_without_sections_is_refused_or_pruned_by_its_units(small_data: Data, tmp_path: Path) -> None:
    plain = LeNet300((12, 8), (1, 6, 6), 3)
    with pytest.raises(NetworkError, match=r"no section x -> skip\(x\) \+ F\(x\).*bayesprune.with_bypasses"):
        bp.prune(plain, small_data, "layer-gates", epochs=2, checkpoint=tmp_path / "state")
    assert list(tmp_path.iterdir()) == []
    pruned = bp.prune(plain, small_data, "complexity-aware", epochs=2, batch_size=50, **SOON)
    assert set(pruned.kept) == {"inputs", "fc1", "fc2"}
    with pytest.raises(NetworkError, match="no section .* outside of `keep`"):
        bp.prune(network_of(Residual), small_data, "layer-gates", epochs=2, keep=["blocks"])


def test_bypasses_make_sections_of_plain_networks(small_data: Data, tmp_path: Path) -> None:
    example = next(iter(small_data.test.batches(2)))[0]

    def make() -> nn.Module:
        torch.manual_seed(0)
        return bp.with_bypasses(LeNet300((12, 12), (1, 6, 6), 3), example)

    network = make()
    with torch.no_grad():
        network(example)
    pruned = bp.prune(network, small_data, "layer-gates", epochs=4, batch_size=24, price=1e4, **SOON)
    assert pruned.kept["fc2.section"] == [] and "fc2.branch.weight" not in pruned.network.state_dict()
    again = bp.load(pruned.save(tmp_path / "run"), factory=make)
    assert torch.equal(again.network(example), pruned.network(example))
    images = torch.randn(2, 1, 28, 28)
    sections = bp.with_bypasses(LeNet5(), images)
    assert [name for name, module in sections.named_modules() if hasattr(module, "skip")] == ["conv1", "conv2"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": 1.0}, "start must lie strictly between 0 and 1"), ({"start": 0.0}, "start"),
        ({"sections_per_step": -1}, "sections_per_step"), ({"horizon": 0.5}, "horizon"),
        ({"shrink_every": 0}, "shrink_every"), ({"settle_share": 2.0}, "settle_share"), ({"slab": 0.0}, "slab"),
        ({"round_to": 2}, "round_to"),
    ],
)  # fmt: skip
def test_options_of_layer_gates_that_cannot_be_used_are_refused(
    options: dict[str, Any], message: str, small_data: Data
) -> None:
    with pytest.raises(SettingError, match=message):
        pruned_by(small_data, "layer-gates", **options)


def test_sizes_that_cannot_be_used_are_refused(small_data: Data) -> None:
    with pytest.raises(BudgetError, match="one price for every section"):
        pruned_by(small_data, "layer-gates", price="fc1=2")
    with pytest.raises(BudgetError, match="prices what things cost"):
        pruned_by(small_data, "complexity-aware", price="fc1=2")
    with pytest.raises(SettingError, match="give one of nu, gamma and price, not nu and price"):
        pruned_by(small_data, "complexity-aware", price=2.0, nu=0.1)
    for options, message in (
        ({"beta": 0.0}, "beta"),
        ({"price_kind": "equal"}, "price_kind"),
        ({"round_to": 2}, "roun"),
    ):
        with pytest.raises(SettingError, match=message):
            pruned_by(small_data, "complexity-aware", **options)


@pytest.mark.long
def test_a_network_that_lost_sections_can_be_pruned_again(small_data: Data) -> None:
    once = pruned_by(small_data, "layer-gates", SmallResNet, price=1e4, keep=["blocks.2"], epochs=2)
    assert [once.kept[f"blocks.{n}.section"] for n in range(2)] == [[], []] and "blocks.2.section" not in once.kept
    twice = bp.prune(once.network, small_data, "layer-gates", epochs=2, batch_size=24, price=1e4, **SOON)
    assert twice.kept["blocks.2.section"] == [] and "blocks.1.section" not in twice.kept  # its skip is all that is left
    with pytest.raises(NetworkError, match="no section"):
        bp.prune(twice.network, small_data, "layer-gates", epochs=2)


@pytest.mark.long
def test_units_of_restarts_match_where_both_have_them(small_data: Data) -> None:
    one, other = (pruned_by(small_data, "complexity-aware", price=price, epochs=2) for price in (0.1, 30.0))
    matched = {match.group for match in one.matched_units(other)}
    assert "stem" in matched and matched <= {name for name in one.kept if one.kept[name] and other.kept[name]}
