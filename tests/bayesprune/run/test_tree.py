"""The whole tree: costs, log-probabilities, priors and weights of draws, against the network that is really cut."""

import warnings
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
import xarray
from scipy.integrate import quad
from torch import Tensor, nn
from torch.distributions import Bernoulli, Categorical
from torch.func import functional_call
from torch.utils.data import DataLoader, TensorDataset

import bayesprune as bp
from bayesprune.errors import SettingError, StoreError
from bayesprune.run.arviz_view import for_arviz, import_arviz
from bayesprune.run.pruned import Pruned
from bayesprune.structure import Gating, compact, layer_costs

PRICE = 0.5


class Net(nn.Sequential):
    """Seven units in two layers, with batch normalisation between."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3))


def rows(count: int = 240) -> tuple[Tensor, Tensor]:
    """Three classes by two of five features, with noise."""
    inputs = torch.randn(count, 5, generator=torch.Generator().manual_seed(0))
    noisy = inputs + 0.7 * torch.randn(count, 5, generator=torch.Generator().manual_seed(1))
    return inputs, (noisy[:, 0] > 0).long() + (noisy[:, 1] > 0).long()


@pytest.fixture(scope="module")
def runs() -> list[Pruned]:
    """Two restarts whose gates are taken to be uncertain in the end, as those of a short run would be."""
    found = []
    for seed in (0, 1):
        one = bp.prune(Net, rows(), epochs=8, batch_size=30, price=PRICE, seed=seed, progress=False)
        assert one.posterior is not None
        one.posterior.inclusion_probability.copy_(torch.linspace(0.3, 0.95, len(one.posterior.decided)))
        found.append(one)
    return found


def left(pruned: Pruned) -> np.ndarray[Any, np.dtype[np.bool_]]:
    assert pruned.posterior is not None
    return pruned.posterior.decided.numpy() > 0


def train(pruned: Pruned) -> tuple[Tensor, Tensor]:
    assert pruned._data is not None
    inputs, targets = next(iter(pruned._data.train.batches(1000)))
    return inputs, targets


def test_the_cost_of_a_draw_is_that_of_the_network_that_is_cut(runs: list[Pruned]) -> None:
    pruned = runs[0]
    tree = bp.to_datatree(pruned, draws=12)
    stats, z = tree["sample_stats"], tree["posterior"]["z"].to_numpy()[0][:, left(pruned)]
    compared = 0
    for draw, gates in enumerate(torch.from_numpy(z).bool()):
        if not pruned.structure.passes_on(gates):
            continue  # nothing can be cut to nothing
        network = deepcopy(pruned.network).eval()
        compact(network, pruned.structure, gates)
        layers = layer_costs(network, torch.zeros(1, 5))
        assert stats["macs"].to_numpy()[0, draw] == pytest.approx(sum(layer.macs for layer in layers))
        params = sum(parameter.numel() for parameter in network.parameters())
        assert stats["params"].to_numpy()[0, draw] == pytest.approx(params)
        compared += 1
    assert compared > 2


def test_log_p_and_log_q_are_those_of_torch(runs: list[Pruned]) -> None:
    """The log posterior of the gates that are left, up to a constant, and the law they were drawn from."""
    tree = bp.to_datatree(runs, draws=16, split="train", prior="map")
    stats, compared = tree["sample_stats"], 0
    for chain, pruned in enumerate(runs):
        here, (inputs, targets) = left(pruned), train(pruned)
        z = torch.from_numpy(tree["posterior"]["z"].to_numpy()[chain][:, here]).double()
        assert pruned.posterior is not None
        theta = pruned.posterior.inclusion_probability.double()[torch.from_numpy(here)]
        expected = Bernoulli(theta).log_prob(z).sum(1).numpy()
        assert stats["log_q"].to_numpy()[chain] == pytest.approx(expected, abs=1e-6)
        prior = Bernoulli(logits=torch.tensor(-PRICE, dtype=torch.float64)).log_prob(z).sum(1).numpy()
        assert tree["log_prior"]["z"].sum("group").to_numpy()[chain] == pytest.approx(prior, abs=1e-6)
        for draw, gates in enumerate(z.bool()):
            if not pruned.structure.passes_on(gates):
                continue
            network = deepcopy(pruned.network).eval()
            compact(network, pruned.structure, gates)
            said = Categorical(logits=network(inputs).detach()).log_prob(targets).sum().item()
            assert stats["log_p"].to_numpy()[chain, draw] == pytest.approx(said + prior[draw], abs=1e-2)
            assert stats["loss"].to_numpy()[chain, draw] == pytest.approx(-said / len(targets), abs=1e-4)
            compared += 1
    assert compared > 2
    few = bp.to_datatree(runs, draws=6, split="train", prior="map", examples=40)
    assert few["log_likelihood"]["y"].shape == (2, 6, 40) and "log_p" in few["sample_stats"]
    assert "log_p" not in bp.to_datatree(runs, draws=6, split="test", prior="map")["sample_stats"]


def test_the_hyper_prior_is_drawn_from_its_density(runs: list[Pruned]) -> None:
    """Moments of pi and z against quadrature of (gamma - 1) / ln gamma / (1 + (gamma - 1) pi), at 5 standard errors."""
    gamma = np.exp(PRICE)

    def moment(power: int) -> float:
        density = (gamma - 1) / PRICE
        return float(quad(lambda pi: pi**power * density / (1 + (gamma - 1) * pi), 0, 1)[0])

    tree = bp.to_datatree(runs[0], draws=2000, prior="marginal")
    prior, mean = tree["prior"], moment(1)
    pi, z = prior["pi"].to_numpy().ravel(), prior["z"].to_numpy().ravel()
    assert abs(pi.mean() - mean) < 5 * np.sqrt((moment(2) - mean**2) / pi.size)
    assert abs((pi**2).mean() - moment(2)) < 5 * np.sqrt(moment(4) / pi.size)
    assert abs(z.mean() - mean) < 5 * np.sqrt(mean * (1 - mean) / z.size)
    drawn = tree["posterior"]["z"].to_numpy()[..., left(runs[0])]
    expected = Bernoulli(torch.tensor(mean, dtype=torch.float64)).log_prob(torch.from_numpy(drawn).double()).sum(-1)
    assert tree["log_prior"]["z"].sum("group").to_numpy() == pytest.approx(expected.numpy(), abs=1e-6)
    at_mode = bp.to_datatree(runs[0], draws=2000, prior="map")["prior"]
    chance = 1 / (1 + gamma)
    assert abs(at_mode["z"].to_numpy().mean() - chance) < 5 * np.sqrt(chance / z.size) and "pi" not in at_mode
    assert (at_mode["open_gates"].sum("group") == at_mode["z"].astype(int).sum("gate")).all()


def test_a_price_of_one_s_own_is_taken_for_the_prior(runs: list[Pruned]) -> None:
    z = bp.to_datatree(runs[0], draws=50, prior="map", price=40)["prior"]["z"]
    assert bool((z == 0).all())
    for wrong in (float("nan"), -1, -1e-9, "x", True):
        with pytest.raises(SettingError, match="price must be a finite number of nats >= 0 for every gate, not"):
            bp.to_datatree(runs[0], prior="map", price=wrong)
    with pytest.raises(SettingError, match="prior must be 'marginal', 'map' or True, not 'mode'"):
        bp.to_datatree(runs[0], prior="mode")


def test_what_a_prior_predicts_is_what_its_gates_predict(runs: list[Pruned]) -> None:
    """With all gates closed by their price, it is what is left then: shares of drawn classes within 5 errors."""
    raw, pruned = rows(5), runs[0]
    tree = bp.to_datatree(pruned, draws=600, data=raw, prior="map", price=40)
    drawn = tree["prior_predictive"]["y"].to_numpy()[0]
    gating = Gating(pruned.network, pruned.structure)
    with gating.applied(torch.zeros(pruned.structure.gate_count)):
        chances = pruned.predict_proba(raw[0]).numpy()
    gating.remove()
    for place in range(5):
        shares = np.bincount(drawn[:, place], minlength=3) / 600
        assert (abs(shares - chances[place]) <= 5 * np.sqrt(chances[place] / 600) + 1e-6).all()


def test_restarts_are_chains_of_their_own_networks(runs: list[Pruned]) -> None:
    tree = bp.to_datatree(runs, draws=8, split="test", weights=True)
    for chain, pruned in enumerate(runs):
        gates = torch.from_numpy(tree["posterior"]["z"].to_numpy()[chain][:, left(pruned)])
        alone = pruned.predictive(gates[None], split="test").log_likelihood[0].numpy()
        assert np.array_equal(tree["log_likelihood"]["y"].to_numpy()[chain], alone)
    assert tree["observed_data"]["y"].dims == ("example",)
    # The choice of examples is the same for all of them.
    few = bp.to_datatree(runs, draws=8, split="test", examples=7, seed=3)
    assert few["observed_data"]["y"].shape == (7,)
    drawn = tree["posterior_predictive"]["y"].to_numpy()
    assert drawn.shape == tree["log_likelihood"]["y"].shape and drawn.dtype == np.int16


def test_weights_of_a_draw_make_the_network_of_that_draw(runs: list[Pruned]) -> None:
    pruned = runs[0]
    tree = bp.to_datatree(pruned, draws=6, split="train", weights=True)
    posterior, (inputs, targets) = tree["posterior"].to_dataset(), train(pruned)
    first = posterior["0.weight"]
    assert first.dims[:3] == ("chain", "draw", "0") and first["0"].to_numpy().tolist() == pruned.kept["0"]
    for draw in range(6):
        values = {
            name: torch.from_numpy(posterior[name.replace(".layer", "")].to_numpy()[0, draw])
            for name, _ in pruned.network.named_parameters()
        }
        said = functional_call(pruned.network.eval(), values, (inputs,))
        found = Categorical(logits=said).log_prob(targets).numpy()
        assert tree["log_likelihood"]["y"].to_numpy()[0, draw] == pytest.approx(found, abs=1e-4)
    together = bp.to_datatree(runs, draws=3, weights=True)["posterior"].to_dataset()
    either = sorted({*runs[0].kept["0"], *runs[1].kept["0"]})
    assert together["0.weight"]["0"].to_numpy().tolist() == either
    gone = [unit for unit in either if unit not in runs[1].kept["0"]]
    assert bool((together["0.weight"].sel({"chain": 1, "0": gone}) == 0).all())
    assert not any(str(name).endswith(".weight") for name in bp.to_datatree(pruned, draws=3)["posterior"].data_vars)


def test_too_many_weights_are_refused_before_they_are_made(runs: list[Pruned], monkeypatch: Any) -> None:
    monkeypatch.setattr("bayesprune.run.tree.weights.MOST", 100)
    with pytest.raises(SettingError, match="a tree takes 100 at most: give fewer draws"):
        bp.to_datatree(runs, draws=50, weights=True)


def test_evidence_stands_at_its_gates(runs: list[Pruned]) -> None:
    found = [pruned.evidence() for pruned in runs]
    stats = bp.to_datatree(runs, draws=4, evidence=found)["sample_stats"].to_dataset()
    for chain, one in enumerate(found):
        for name, value, error in zip(one.names, one.evidence.tolist(), one.error.tolist(), strict=True):
            assert float(stats["evidence"].sel(chain=chain, gate=name)) == value
            assert float(stats["evidence_error"].sel(chain=chain, gate=name)) == error
        assert int(stats["evidence"].sel(chain=chain).notnull().sum()) == len(one)
    with pytest.raises(SettingError, match="evidence of 1 runs is given for 2"):
        bp.to_datatree(runs, draws=4, evidence=found[0])
    with pytest.raises(SettingError, match="other gates than those that its network has left"):
        bp.to_datatree(runs[0], draws=4, evidence=found[0].weakest(1))


def test_prices_are_known_where_a_group_has_one(runs: list[Pruned]) -> None:
    price = bp.to_datatree(runs, draws=4)["sample_stats"]["price"].to_numpy()
    for row, pruned in zip(price, runs, strict=True):
        names = np.array([group.name for group in pruned.groups for _ in range(group.size)])
        for name in set(names.tolist()):
            known = left(pruned)[names == name].any()
            assert row[names == name] == pytest.approx(PRICE if known else np.nan, abs=1e-6, nan_ok=True)


def test_loo_is_that_of_the_hand_and_compares_methods(runs: list[Pruned]) -> None:
    """Importance sampling by hand: log D - logsumexp(-log-likelihood); smoothing its tail changes it by little."""
    arviz = import_arviz()
    tree = bp.to_datatree(runs[0], draws=600, split="train")
    values = torch.from_numpy(tree["log_likelihood"]["y"].to_numpy()).double().flatten(0, 1)
    hand = float((np.log(len(values)) - (-values).logsumexp(0)).sum())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of shape parameters: few settings of gates
        found = arviz.loo(for_arviz(tree))
        elpd = float(getattr(found, "elpd_loo", None) or found.elpd)
        assert elpd == pytest.approx(hand, rel=0.02)
        same = bp.to_datatree(runs[0], draws=40, split="train", seed=1)
        alike = same["log_likelihood"]["y"].to_numpy()
        alike[:] = alike[:, :1]  # one setting of the gates
        certain = arviz.loo(for_arviz(same))
        exact = float(same["log_likelihood"]["y"].to_numpy()[0, 0].sum())
        assert float(getattr(certain, "elpd_loo", None) or certain.elpd) == pytest.approx(exact, rel=1e-5)
        other = bp.to_datatree(runs[1], draws=600, split="train")
        table = arviz.compare({"one": for_arviz(tree), "other": for_arviz(other)})
    assert set(table.index) == {"one", "other"} and table["rank"].tolist() == [0, 1]


def test_arviz_draws_and_joins_it(runs: list[Pruned]) -> None:
    arviz = import_arviz()
    if not hasattr(arviz, "concat"):
        pytest.skip("ArviZ 1.x has other plots and no concat")
    tree = bp.to_datatree(runs, draws=20, split="test", prior=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = for_arviz(tree)
        assert len(arviz.summary(data, var_names=["open_gates"])) == len(runs[0].groups)
        arviz.plot_trace(data, var_names=["open_gates"])
        arviz.plot_forest(data, var_names=["z"])
        arviz.plot_ppc(data, num_pp_samples=5)
        arviz.plot_ppc(data, group="prior", num_pp_samples=5)
        one, two = (
            for_arviz(bp.to_datatree(run, draws=20, split="test", prior=True, evidence=run.evidence())) for run in runs
        )
        joined = arviz.concat(one, two, dim="chain")
        import matplotlib.pyplot as plt

        plt.close("all")
    for group in ("log_likelihood", "posterior_predictive", "log_prior", "prior"):
        assert getattr(joined, group).sizes["chain"] == 2
    assert joined.posterior["z"].shape == tree["posterior"]["z"].shape
    assert joined.observed_data["y"].equals(data.observed_data["y"])
    assert joined.sample_stats["evidence"].sizes["chain"] == 2


def test_the_container_is_what_arviz_1_takes(runs: list[Pruned]) -> None:
    """Every variable of the groups with draws begins with chain and draw; none is bool, none has a reserved name."""
    tree = bp.to_datatree(runs, draws=5, split="test", prior=True, weights=True)
    assert isinstance(tree, xarray.DataTree) and tree.attrs["inference_library"] == "bayesprune"
    for group in ("posterior", "posterior_predictive", "log_likelihood", "log_prior", "prior", "prior_predictive"):
        for name, value in tree[group].data_vars.items():
            assert value.dims[:2] == ("chain", "draw"), (group, name)
            assert value.dtype != bool
            assert not {"sample", "pred_id"} & set(value.dims)
        assert tree[group]["draw"].to_numpy().tolist() == [0, 1, 2, 3, 4]
    for group in ("observed_data", "constant_data"):
        assert not {"chain", "draw"} & set(tree[group].dims)


def test_r_hat_of_gates_that_never_change_is_missing_and_never_large(runs: list[Pruned]) -> None:
    before = [run.posterior.inclusion_probability.clone() for run in runs if run.posterior is not None]
    try:
        for run, value in zip(runs, (0.0, 1.0), strict=True):
            assert run.posterior is not None
            run.posterior.inclusion_probability[:3] = value
        tree = bp.to_datatree(runs, draws=100)
        table = bp.summary(tree, "z")
        names = tree["posterior"]["gate"].to_numpy().tolist()
        assert table.loc[[f"z[{name}]" for name in names[:3]], "r_hat"].isna().all()
        assert table["r_hat"].dropna().between(0.9, 2.0).all() and len(table) == len(names)
        assert bp.summary(tree, "z", []).empty
        with pytest.raises(SettingError, match=r"no gate 'fc1\[99\]'"):
            bp.summary(tree, "z", ["fc1[99]"])
        with pytest.raises(SettingError, match="no variable 'gates': there are"):
            bp.summary(tree, "gates")
    finally:
        for run, values in zip(runs, before, strict=True):
            assert run.posterior is not None
            run.posterior.inclusion_probability.copy_(values)


def test_gibbs_draws_go_the_same_way(runs: list[Pruned]) -> None:
    draws = runs[0].gibbs(draws=30, chains=2, progress=False)
    tree = bp.to_datatree(draws, split="train", prior=True, evidence=runs[0].evidence())
    assert tree.identical(draws.to_datatree(split="train", prior=True, evidence=runs[0].evidence()))
    stats, inputs_targets = tree["sample_stats"].to_dataset(), train(runs[0])
    assert {"macs", "params", "loss", "log_p", "evidence"} <= set(stats) and "log_q" not in stats
    gates = tree["posterior"]["z"].to_numpy()[1, 7]
    network = deepcopy(runs[0].network).eval()
    compact(network, runs[0].structure, torch.from_numpy(gates).bool())
    said = Categorical(logits=network(inputs_targets[0]).detach()).log_prob(inputs_targets[1]).sum().item()
    law = Bernoulli(logits=draws.log_odds.double())
    prior = float(law.log_prob(torch.from_numpy(gates).double()).sum())
    assert float(stats["log_p"][1, 7]) == pytest.approx(said + prior, abs=1e-2)
    with pytest.raises(SettingError, match="Gibbs draws have prior odds of their own"):
        draws.to_datatree(prior="map")


def test_what_cannot_be_had_is_refused_in_a_line(runs: list[Pruned], tmp_path: Any) -> None:
    record = runs[0].record()
    for wanted in ({"split": "test"}, {"weights": True}):
        with pytest.raises(SettingError, match="needs the network of every run, and there is a record only"):
            bp.to_datatree(record, draws=4, **wanted)
    loaded = bp.load(runs[0].save(tmp_path / "run"), factory=Net)
    with pytest.raises(StoreError, match="does not bring its data along"):
        bp.to_datatree(loaded, draws=4, split="test")
    with pytest.raises(SettingError, match="examples=9,999 is more than the data have"):
        bp.to_datatree(runs, draws=4, split="test", examples=9_999)
    with pytest.raises(SettingError, match="unknown setting 'example'"):
        bp.to_datatree(runs, draws=4, example=3)
    budget = bp.prune(Net, rows(), epochs=2, batch_size=30, budget="macs=60%", progress=False)
    with pytest.raises(SettingError, match="no price a gate, so their prior is not known"):
        bp.to_datatree(budget, draws=4, prior=True)


def test_the_tree_grows_with_draws_times_gates(runs: list[Pruned]) -> None:
    """A byte a gate and draw, and eight numbers a draw; no weights, no examples, no epochs."""
    few, many = (bp.to_datatree(runs[0], draws=draws, trace=False).nbytes for draws in (1000, 3000))
    gates, groups = len(left(runs[0])), len(runs[0].groups)
    assert (many - few) / 2000 <= gates + 8 * (groups + 8)


def test_other_data_than_the_run_s_have_no_posterior_of_it(runs: list[Pruned]) -> None:
    inputs, targets = rows()
    other = bp.data.from_tensors(inputs.flip(0) + 1, targets, seed=0)
    stats = bp.to_datatree(runs, draws=4, data=other, split="train", prior="map")["sample_stats"]
    assert "loss" in stats and "log_p" not in stats
    assert runs[0]._data is not None
    same = bp.data.from_tensors(*rows(), seed=0)
    found = bp.to_datatree(runs, draws=4, data=same, split="train", prior="map")["sample_stats"]
    assert ("log_p" in found) == (same.fingerprint == runs[0]._data.fingerprint)


def test_a_loader_that_shuffles_is_read_once(runs: list[Pruned]) -> None:
    """All chains and the prior see its examples in one order."""
    loader = DataLoader(TensorDataset(*rows(60)), batch_size=7, shuffle=True)
    tree = bp.to_datatree(runs, draws=200, data=loader, prior="map", price=0)
    observed = tree["observed_data"]["y"].to_numpy()
    assert sorted(observed.tolist()) == sorted(rows(60)[1].tolist())
    likely = tree["log_likelihood"]["y"].mean("draw").to_numpy()
    drawn = (tree["prior_predictive"]["y"].to_numpy() == observed).mean(1)
    assert np.corrcoef(likely.ravel(), drawn.ravel())[0, 1] > 0.5


def test_log_p_and_log_q_weigh_draws_into_the_posterior(runs: list[Pruned]) -> None:
    """Importance sampling of the inclusion probabilities given all others' law, against the sum over all 2^J gates."""
    pruned = runs[0]
    count = pruned.structure.gate_count
    every = (torch.arange(2**count)[:, None] >> torch.arange(count)) & 1
    said = pruned.predictive(every[None].to(torch.uint8), split="train").log_likelihood[0].double().sum(1)
    weight = (said - PRICE * every.sum(1)).softmax(0)
    exact = (weight[:, None] * every).sum(0).numpy()
    tree = bp.to_datatree(pruned, draws=6_000, split="train", prior="map")
    z = tree["posterior"]["z"].to_numpy()[0][:, left(pruned)].astype(float)
    stats = tree["sample_stats"]
    logs = stats["log_p"].to_numpy()[0] - stats["log_q"].to_numpy()[0]
    own = np.exp(logs - logs.max())
    own /= own.sum()
    found = own @ z
    error = np.sqrt(((own[:, None] * (z - found)) ** 2).sum(0))
    assert (abs(found - exact) <= 5 * error + 1e-3).all()
    assert (abs(z.mean(0) - exact) > 5 * error).any()  # unweighted draws are those of another law


def test_the_whole_tree_goes_to_disk_and_back(runs: list[Pruned], tmp_path: Any) -> None:
    found = [run.evidence() for run in runs]
    tree = bp.to_datatree(runs, draws=6, split="train", prior=True, evidence=found, weights=True, trace=True)
    assert bp.load_tree(bp.save_tree(tree, tmp_path / "whole.nc")).identical(tree)
