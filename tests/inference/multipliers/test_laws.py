"""Every law of multipliers against sampling, quadrature or SciPy."""

from copy import deepcopy
from math import log
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.inference.multipliers.hard_concrete import HardConcrete
from bayesprune.inference.multipliers.horseshoe import HorseshoeMultipliers
from bayesprune.inference.multipliers.law import MultiplierLaw
from bayesprune.inference.multipliers.log_normal import (
    LogNormalNoise,
    ReducedNoise,
    evidence_of_bits,
    evidence_of_spike,
)  # fmt: skip
from bayesprune.inference.multipliers.normal import InformationBottleneck, JeffreysMultipliers
from bayesprune.inference.multipliers.sparse_weights import NoMultipliers
from bayesprune.inference.multipliers.truncated import HIGH, LOW

DRAWS = 200_000
NODES = np.polynomial.legendre.leggauss(400)
PLACES = [(-0.01, 0.0067), (-0.5, 0.3), (-3.0, 2.0), (-12.0, 5.0), (-19.5, 0.9), (-7.0, 148.0)]


def drawn(law: MultiplierLaw, count: int = DRAWS) -> Tensor:
    with torch.no_grad():
        return law.draw(torch.Size((count, len(law.score()))))


def hard_concrete(logits: list[float], temperature: float = 2 / 3) -> HardConcrete:
    law = HardConcrete(torch.tensor([1.5] * len(logits)), temperature, torch.full((len(logits),), 0.5))
    with torch.no_grad():
        law.logit.copy_(torch.tensor(logits))
    return law


@pytest.mark.parametrize("temperature", [2 / 3, 0.3])
def test_hard_concrete_gates_are_open_as_often_as_the_penalty_says(temperature: float) -> None:
    """P(z > 0), and P(z = 1) by the same formula at the other end, within 5 standard errors of 200,000 draws."""
    law = hard_concrete([-3.0, -1.0, 0.0, 0.7, 2.5], temperature)
    gates = drawn(law)
    for found, wanted in (
        (gates > 0, law.score().detach()),
        (gates == 1, torch.sigmoid(law.logit.detach() + temperature * log(0.1 / 1.1))),
    ):
        error = (wanted * (1 - wanted) / DRAWS).sqrt()
        assert bool(((found.float().mean(0) - wanted).abs() < 5 * error).all())
    assert torch.allclose(law.penalty(), 1.5 * law.score())
    assert float(gates.min()) >= 0 and float(gates.max()) <= 1


def test_a_hard_concrete_gate_stays_where_its_fixed_value_is_above_0() -> None:
    for temperature in (2 / 3, 0.2):
        law = hard_concrete([-log(11.0) - 1e-3, -log(11.0) + 1e-3, 0.0, log(11.0) + 1e-3], temperature)
        assert law.fixed().tolist() == pytest.approx([0.0, 1e-4, 0.5, 1.0], abs=2e-5)
        assert (law.score() > law.keep_above).tolist() == [False, True, True, True]
    with torch.no_grad():
        law.logit.copy_(torch.tensor([-50.0, 50.0, 1.0, 0.0]))
    law.hold()
    assert law.logit.tolist() == pytest.approx([-log(100), log(100), 1.0, 0.0])


def noise(law: Any, places: list[tuple[float, float]] = PLACES) -> Any:
    with torch.no_grad():
        law.mean.copy_(torch.tensor([mean for mean, _ in places]))
        law.log_deviation.copy_(torch.tensor([log(deviation) for _, deviation in places]))
    return law


def doubles(mean: float, deviation: float) -> tuple[Tensor, Tensor]:
    return torch.tensor([mean], dtype=torch.float64), torch.tensor([deviation], dtype=torch.float64)


def scipy_law(mean: float, deviation: float) -> Any:
    return stats.truncnorm((LOW - mean) / deviation, (HIGH - mean) / deviation, mean, deviation)


def test_log_normal_noise_against_sampling() -> None:
    """Mean, signal-to-noise ratio and rule, from draws of SciPy's truncated normal."""
    law = noise(LogNormalNoise(len(PLACES)))
    generator = np.random.default_rng(0)
    score, fixed = law.score().detach(), law.fixed().detach()
    for place, (mean, deviation) in enumerate(PLACES):
        theta = np.exp(scipy_law(mean, deviation).rvs(DRAWS, random_state=generator))
        assert abs(theta.mean() - float(fixed[place])) < 5 * theta.std() / DRAWS**0.5
        share = theta.mean() ** 2 / (theta**2).mean()
        assert float(score[place]) == pytest.approx(share, abs=0.01, rel=0.05)
    ratios = (score / (1 - score)).sqrt()
    assert (ratios > 1).tolist() == (score > 0.5).tolist() == [True, True, False, False, True, False]
    stricter = noise(LogNormalNoise(len(PLACES), threshold=4.0)).score()
    assert (stricter > 0.5).tolist() == (ratios > 4).tolist() and 1 < float(ratios[1]) < 4


def test_noise_is_held_where_the_formulas_are_right() -> None:
    law = noise(LogNormalNoise(3), [(3.0, 1.0), (-30.0, 1e-30), (-1.0, 1e9)])
    law.hold()
    assert law.mean.tolist() == [HIGH, LOW, -1.0]
    assert law.log_deviation.tolist() == pytest.approx([0.0, -12.0, 5.0])
    for value in (law.penalty(), law.fixed(), law.score(), law.draw(torch.Size((3,)))):
        assert bool(torch.isfinite(value).all())


@pytest.mark.parametrize("spike", [0.5, 2.0])
@pytest.mark.parametrize(("mean", "deviation"), PLACES)
def test_change_of_evidence_under_a_log_normal_prior(mean: float, deviation: float, spike: float) -> None:
    """log E_q[p'/p] by Gauss-Legendre quadrature of q p'/p around where the product has its bulk."""
    q, reduced = scipy_law(mean, deviation), scipy_law(-15.0, spike)
    variance = 1 / (1 / deviation**2 + 1 / spike**2)
    middle = variance * (mean / deviation**2 - 15.0 / spike**2)
    reach = 15 * variance**0.5
    low, high = max(LOW, min(middle - reach, HIGH - reach)), min(HIGH, max(middle + reach, LOW + reach))
    x, weights = NODES
    x, weights = low + (x + 1) * (high - low) / 2, weights * (high - low) / 2
    logs = np.log(weights) + q.logpdf(x) + reduced.logpdf(x) + log(HIGH - LOW)
    wanted = float(np.logaddexp.reduce(logs))
    pair = doubles(mean, deviation)
    assert float(evidence_of_spike(*pair, place=-15.0, spike=spike)) == pytest.approx(wanted, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("mean", "deviation"), PLACES[1:])
def test_a_narrow_spike_gives_the_density_at_the_lower_end(mean: float, deviation: float) -> None:
    """As the spike narrows, E_q[p'/p] becomes q(low) / p(low): the Savage-Dickey ratio."""
    wanted = scipy_law(mean, deviation).logpdf(LOW) + log(HIGH - LOW)
    pair = doubles(mean, deviation)
    assert float(evidence_of_spike(*pair)) == pytest.approx(wanted, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("bits", [0, 4, 8, 22])
@pytest.mark.parametrize(("mean", "deviation"), PLACES[1:])
def test_change_of_evidence_under_a_narrower_uniform_prior(mean: float, deviation: float, bits: int) -> None:
    """By quadrature of q times the constant ratio of the two densities."""
    low, high = -23 * log(2.0), -bits * log(2.0)
    x, weights = NODES
    x, weights = low + (x + 1) * (high - low) / 2, weights * (high - low) / 2
    ratio = (HIGH - LOW) / (high - low)
    wanted = float(np.logaddexp.reduce(np.log(weights) + scipy_law(mean, deviation).logpdf(x) + log(ratio)))
    pair = doubles(mean, deviation)
    assert float(evidence_of_bits(*pair, bits)) == pytest.approx(wanted, rel=1e-6, abs=1e-6)


def test_the_score_of_model_reduction_is_the_probability_of_the_open_model() -> None:
    for law in (noise(ReducedNoise(len(PLACES))), noise(ReducedNoise(len(PLACES), "uniform", 4))):
        ratio = law.change().exp()
        assert law.score().tolist() == pytest.approx((1 / (1 + ratio)).tolist(), rel=1e-5, abs=1e-6)
        threshold = -0.918938533 if law.reduced == "normal" else 0.0
        assert torch.equal(law.score() > law.keep_above, law.change() < threshold)
        assert bool(law.score()[0] > 0.99)
    at_zero = noise(ReducedNoise(len(PLACES), threshold=0.0))
    assert torch.equal(at_zero.score() > at_zero.keep_above, at_zero.change() < 0)


def test_the_threshold_of_the_public_code() -> None:
    """Its dF, written out here as it is there: without ln(2 pi) / 2 in the density of a normal law."""
    mean, deviation, spike = (torch.tensor([value], dtype=torch.float64) for value in (-0.4, 30.0, 1e-3))
    joint = 1 / (1 / deviation**2 + 1 / spike**2)
    middle = joint * (mean / deviation**2 + LOW / spike**2)

    def mass(place: Tensor, width: Tensor) -> Tensor:
        return torch.special.ndtr((HIGH - place) / width) - torch.special.ndtr((LOW - place) / width)

    published = (
        (mass(middle, joint.sqrt()) * (HIGH - LOW) / (mass(mean, deviation) * 0.5)).log()
        + 0.5 * (joint / (deviation * spike) ** 2).log()
        - 0.5 * (mean**2 / deviation**2 + LOW**2 / spike**2 - middle**2 / joint)
    )
    ours = evidence_of_spike(mean, deviation, spike=1e-3)
    assert float(published - ours) == pytest.approx(0.5 * log(2 * np.pi), abs=1e-5)
    assert float(ours) < 0 < float(published)


@pytest.mark.parametrize(
    ("given", "said"),
    [({"reduced": "laplace"}, "reduced prior 'laplace'"), ({"bits": 23}, "bits must be"), ({"bits": -1}, "bits must")],
)
def test_priors_that_do_not_exist(given: dict[str, Any], said: str) -> None:
    with pytest.raises((SettingError, UnknownNameError), match=said):
        ReducedNoise(3, **given)


LAWS: dict[str, Any] = {
    "l0": lambda: hard_concrete([-1.0, 0.0, 0.5]),
    "sbp": lambda: noise(LogNormalNoise(3), PLACES[1:4]),
    "bmrs": lambda: noise(ReducedNoise(3), PLACES[1:4]),
    "vib": lambda: InformationBottleneck(torch.full((3,), 2.0)),
    "bc-gnj": lambda: JeffreysMultipliers(3, -3.0),
    "bc-ghs": lambda: HorseshoeMultipliers(torch.tensor([0, 0, 1]), 1e-3, 2.0),
    "sparse-vd": lambda: NoMultipliers(3),
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in LAWS if name != "sparse-vd"])
def test_gradients_flow_from_draws_and_penalty_to_every_parameter(name: str) -> None:
    """Each multiplier's draw and cost moves the parameters of its own gate, and no other's."""
    law = LAWS[name]()
    learnt = [parameter for parameter in law.gate_parameters() if parameter.requires_grad]
    for value in (law.draw(torch.Size((4000, 3)))[:, 1].square().sum(), law.penalty()[1]):
        for slope in torch.autograd.grad(value, learnt, retain_graph=True, allow_unused=True):
            assert slope is not None and bool(torch.isfinite(slope).all())
            assert float(slope[1]) != 0 and float(slope[0]) == float(slope[2]) == 0


@pytest.mark.parametrize("name", LAWS)
def test_scores_and_shapes(name: str) -> None:
    law = LAWS[name]()
    for value in (law.score(), law.fixed(), law.penalty(), law.draw(torch.Size((3,)))):
        assert value.shape == (3,) and value.dtype == torch.float32
    assert bool(((law.score() >= 0) & (law.score() <= 1)).all())
    assert all(parameter.shape == (3,) for parameter in law.gate_parameters())


@pytest.mark.parametrize("name", LAWS)
def test_draws_for_some_gates_are_those_of_a_law_of_these_alone(name: str) -> None:
    law, gates = LAWS[name](), torch.tensor([2, 0])
    alone = deepcopy(law)
    for parameter in alone.gate_parameters():
        parameter.data = parameter.data[gates]
    torch.manual_seed(3)
    some = law.draw(torch.Size((5, 2)), gates)
    torch.manual_seed(3)
    assert torch.equal(some, alone.draw(torch.Size((5, 2))))
