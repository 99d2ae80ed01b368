"""Numbers as text, against what one would write by hand."""

import pytest

from bayesprune.experiments.number_format import NumberFormat, compact, compact_spread


@pytest.mark.parametrize(
    ("form", "mean", "spread", "text"),
    [
        (NumberFormat(1, 100.0), 0.9532, 0.0041, "95.3 ± 0.4"),
        (NumberFormat(1, 100.0), 0.9532, None, "95.3"),
        (NumberFormat(3), None, None, "-"),
        (NumberFormat(0), 266610.0, 12.4, "266,610 ± 12"),
        (NumberFormat(2), -0.001, 0.0, "0.00 ± 0.00"),
        (NumberFormat(), 0.02134, 0.00051, "0.0213 ± 0.0005"),
        (NumberFormat(), 12.34, 1.0, "12.3 ± 1.0"),
        (NumberFormat(), 1234.5, None, "1,234"),
        (NumberFormat(), 0.0, 0.0, "0 ± 0"),
        (NumberFormat(digits=2), 0.0946, None, "0.095"),
        (NumberFormat(), 0.00002, 0.1, "0.000 ± 0.100"),
        (NumberFormat(), 1.25e-7, 3e-9, "1.25e-07 ± 3e-09"),
        (NumberFormat(), 2.5e12, None, "2.5e+12"),
    ],
)
def test_mean_and_spread_have_the_same_decimals(
    form: NumberFormat, mean: float | None, spread: float | None, text: str
) -> None:
    assert form.show(mean, spread) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (10, "10"), (999, "999"), (1000, "1k"), (266_610, "266.6k"), (2_293_000, "2.3M"), (4e9, "4G")],
)
def test_large_numbers_are_short(value: float, text: str) -> None:
    assert compact(value) == text


@pytest.mark.parametrize(
    ("mean", "spread", "text"),
    [
        (21_286.0, 512.0, "21.3k ± 0.5k"),
        (21_286.0, None, "21.3k"),
        (640.0, 3.2, "640 ± 3"),
        (2_293_000.0, 100_000.0, "2.3M ± 0.1M"),
        (None, None, "-"),
    ],
)
def test_a_spread_is_in_the_unit_of_its_mean(mean: float | None, spread: float | None, text: str) -> None:
    assert compact_spread(mean, spread) == text
