"""What the benchmark of devices measures, on a processor and in small."""

from dataclasses import replace

import pytest

from bayesprune.devices import Place
from bayesprune.models import LeNet5
from bayesprune.run.settings import RunSettings
from benchmarks import device
from benchmarks.device import KEPT, begin, noise, quick, some_channels


def test_every_part_is_measured(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = quick(16)
    monkeypatch.setattr(device, "quick", lambda batch: replace(sizes, warm=1, steps=2, epochs=1))
    device.main(["--quick", "--device", "cpu"])
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("cpu, torch") and len(lines) == 6
    assert lines[0].startswith("step of small LeNet in float32: plain ") and "fixed, compact" in lines[0]
    assert "accuracy" in lines[-1] and "left out" not in "".join(lines)
    device.main(["--quick", "--device", "cpu", "--seconds", "-1"])
    assert capsys.readouterr().out.count("left out, for time") == 6


def test_the_compact_network_keeps_the_share_that_is_said() -> None:
    settings = RunSettings("dense", epochs=1, batch_size=16)
    state, _ = begin(LeNet5((12, 24, 9), (3, 32, 32)), noise(), Place(), settings)
    state.shrink(some_channels(state))
    assert [len(group.kept) for group in state.structure.groups] == [
        round(12 * KEPT),
        round(24 * KEPT),
        round(9 * KEPT),
    ]
