"""The prior of single weights: check values of the public code, and how the formula goes."""

from math import exp, log

import pytest

from bayesprune.errors import SettingError
from bayesprune.models.priors.edge_inclusion import edge_inclusion


def test_check_values_of_the_public_code() -> None:
    """784-400-400-10, and the linear part 800-800-500-10 of a LeNet; 60,000 examples."""
    perceptron = 785 * 400 + 401 * 400 + 401 * 10
    lenet = 801 * 800 + 801 * 500 + 501 * 10
    assert (perceptron, lenet) == (478_410, 1_046_310)
    assert edge_inclusion(perceptron, 400, 784, 60_000) == pytest.approx(5.6369e-8, rel=2e-5)
    assert edge_inclusion(lenet, 800, 800, 60_000) == pytest.approx(1.9493e-8, rel=3e-5)


def test_each_number_counts_as_the_formula_says() -> None:
    usual = log(edge_inclusion(1000, 20, 50, 400, depth=2))
    assert log(edge_inclusion(1000 * 3, 20, 50, 400, depth=2)) == pytest.approx(usual - log(3))
    assert log(edge_inclusion(1000, 20 * 3, 50, 400, depth=2)) == pytest.approx(usual - 0.3 * log(3))
    assert log(edge_inclusion(1000, 20, 50 * 3, 400, depth=2)) == pytest.approx(usual - 0.1 * log(3))
    assert log(edge_inclusion(1000, 20, 50, 400 * 9, depth=2)) == pytest.approx(usual - 0.1 * log(3))
    assert edge_inclusion(1, 1, 1, 1) == exp(0)


@pytest.mark.parametrize("wrong", [(0, 1, 1, 1), (1, 0, 1, 1), (1, 1, 0, 1), (1, 1, 1, 0)])
def test_nothing_is_refused(wrong: tuple[int, int, int, int]) -> None:
    with pytest.raises(SettingError, match="must be at least 1"):
        edge_inclusion(*wrong)
