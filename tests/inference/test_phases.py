"""How epochs are shared out: what a message says to give is enough."""

import pytest
import torch

from bayesprune.data import from_tensors, steps_per_epoch
from bayesprune.errors import SettingError
from bayesprune.inference.phases import epochs_for, split_epochs
from bayesprune.run.settings import RunSettings

DATA = from_tensors(torch.rand(100, 4), torch.arange(100) % 2, classes=2)


@pytest.mark.parametrize("prune_share", [0.1, 0.25, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("steps", [1, 7, 600, 2_000])
def test_the_epochs_that_are_named_are_enough_and_half_of_them_are_not(steps: int, prune_share: float) -> None:
    settings = RunSettings("vib", batch_size=20)
    a_pass = steps_per_epoch(DATA.train, 20)
    named = epochs_for(steps, prune_share, DATA, settings)
    epochs, fixed = split_epochs(RunSettings("vib", batch_size=20, epochs=named), prune_share)
    assert epochs * a_pass >= steps and epochs + fixed == named
    if named > 20:
        fewer, _ = split_epochs(RunSettings("vib", batch_size=20, epochs=named // 2), prune_share)
        assert fewer * a_pass < steps


def test_noise_without_training_at_fixed_structure_is_refused() -> None:
    with pytest.raises(SettingError, match="noise=0.1 does nothing here, since vib trains no epoch"):
        split_epochs(RunSettings("vib", epochs=4, noise=0.1), 1.0)
