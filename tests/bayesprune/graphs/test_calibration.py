"""Coverage and CRPS, against closed forms and quadrature."""

import numpy as np
import pytest
from scipy.stats import norm

from bayesprune.errors import SettingError
from bayesprune.graphs.calibration import calibration, crps


def test_crps_of_an_ensemble_is_the_integral_of_its_definition() -> None:
    random = np.random.default_rng(0)
    draws, truth = np.sort(random.normal(size=(7, 3)), 0), np.array([-1.0, 0.2, 3.0])
    grid = np.linspace(-8, 8, 160_001)
    step = grid[1] - grid[0]
    for column in range(3):
        below = (draws[:, column, None] <= grid).mean(0)
        integral = ((below - (grid >= truth[column])) ** 2).sum() * step
        assert crps(truth, draws)[column] == pytest.approx(integral, abs=1e-3)


def test_crps_of_a_normal_distribution() -> None:
    """s (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)), Gneiting and Raftery (2007)."""
    draws = 2.0 + 0.5 * norm.ppf((np.arange(2_000) + 0.5) / 2_000)[:, None]
    for truth in (1.0, 2.0, 3.1):
        z = (truth - 2.0) / 0.5
        closed = 0.5 * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))
        assert calibration(np.array([truth]), draws).crps == pytest.approx(closed, abs=1e-3)


def test_coverage_and_width_by_hand() -> None:
    draws = np.tile(np.linspace(0, 1, 101)[:, None], 4)
    found = calibration(np.array([0.5, 0.3, 0.12, 2.0]), draws)
    assert found.coverage == {0.5: 0.5, 0.8: 0.75, 0.95: 0.75}
    assert found.width == pytest.approx({0.5: 0.5, 0.8: 0.8, 0.95: 0.95})
    assert found.error[0.8] == pytest.approx(0.2) and found.off(0.8) == pytest.approx(-0.25)
    both = calibration(np.array([0.5, 0.3, 0.12, 2.0]), np.stack([draws, draws + 10]))
    assert both.coverage[0.5] == 0.25


def test_draws_of_the_law_itself_are_calibrated() -> None:
    random = np.random.default_rng(1)
    truth = random.gamma(2.0, size=4_000)
    found = calibration(truth, random.gamma(2.0, size=(500, 4_000)))
    assert all(abs(found.off(level)) < 4 for level in (0.5, 0.8, 0.95))


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(SettingError, match=r"draws \(3, 4\) of truth \(5,\)"):
        calibration(np.zeros(5), np.zeros((3, 4)))
    with pytest.raises(SettingError, match="between 0 and 1"):
        calibration(np.zeros(4), np.zeros((3, 4)), levels=(1.0,))
