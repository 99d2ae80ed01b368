"""Random numbers from 16-bit integers, against what they should be distributed like."""

import torch

from bayesprune.training.draws import draw_uniform, draw_words


def test_words_take_all_values_and_do_not_depend_on_each_other() -> None:
    torch.manual_seed(1)
    words = draw_words(1000, 333)
    assert (words.dtype, words.shape) == (torch.int16, (1000, 333))
    counts = (words.flatten().long() + 2**15).div(2**12, rounding_mode="floor").bincount(minlength=16)
    expected = words.numel() / 16
    assert bool(((counts - expected).abs() < 5 * expected**0.5).all())
    scaled = words.double() / 2**15
    neighbours = (scaled[:, 1:] * scaled[:, :-1]).mean() * 3
    assert abs(float(neighbours)) < 5 / words.numel() ** 0.5


def test_noise_has_mean_0_and_the_deviation_that_was_asked_for() -> None:
    torch.manual_seed(2)
    noise = draw_uniform(2000, 301, 0.3).double()
    error = 0.3 / noise.numel() ** 0.5
    assert abs(float(noise.mean())) < 5 * error and abs(float(noise.std()) - 0.3) < 5 * error
    assert float(noise.abs().max()) <= 0.3 * 3**0.5


def test_no_numbers_are_drawn_for_no_columns() -> None:
    assert draw_uniform(4, 0, 0.3).shape == (4, 0)
