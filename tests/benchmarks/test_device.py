"""What the benchmark of devices measures, on a processor and in small."""

from dataclasses import replace

import pytest
import torch

from bayesprune.devices import Place
from bayesprune.run.settings import RunSettings
from bayesprune.structure import find, layer_costs
from benchmarks import device
from benchmarks._networks import VGG, ResNet
from benchmarks.device import KEPT, begin, noise, quick, some_channels


def test_every_part_is_measured(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = quick(16)
    monkeypatch.setattr(device, "quick", lambda batch: replace(sizes, warm=1, steps=2, epochs=1))
    device.main(["--quick", "--device", "cpu"])
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("cpu, torch") and len(lines) == 6
    assert lines[0].startswith("step of small VGG in float32: plain ") and "fixed, compact" in lines[0]
    assert "accuracy" in lines[-1] and "left out" not in "".join(lines)
    device.main(["--quick", "--device", "cpu", "--seconds", "-1"])
    assert capsys.readouterr().out.count("left out, for time") == 6


def test_the_compact_network_keeps_the_share_that_is_said() -> None:
    state, _ = begin(VGG((12, 0, 24, 0)), noise(), Place(), RunSettings("dense", epochs=1, batch_size=16))
    state.shrink(some_channels(state))
    assert [len(group.kept) for group in state.structure.groups] == [round(12 * KEPT), round(24 * KEPT)]


def test_the_networks_are_those_of_the_papers() -> None:
    # 0.27 million parameters: He et al. (arXiv 1512.03385), table 6; 41 million multiply-accumulates.
    network, example = ResNet(), torch.rand(2, 3, 32, 32)
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(0.27e6, rel=0.02)
    assert sum(layer.macs for layer in layer_costs(network, example)) == pytest.approx(41e6, rel=0.02)
    assert sum(parameter.numel() for parameter in VGG().parameters()) == pytest.approx(14.7e6, rel=0.01)
    assert find(ResNet(4, 1), example).gate_count > 0
