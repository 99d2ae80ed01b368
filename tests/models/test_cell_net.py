"""Networks from cells and graphs with widths against what they are, written out edge by edge."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn.functional import avg_pool2d, conv2d

import bayesprune as bp
from bayesprune.errors import GraphError, InputShapeError, SettingError
from bayesprune.evaluation.cost import cost
from bayesprune.graphs import layered, watts_strogatz
from bayesprune.models import CellNet, GraphMLP
from bayesprune.models.networks.cell_net import CellBlock
from bayesprune.models.networks.masked import MaskedLinear
from bayesprune.run.networks import NetworkSpec, name_of

CELL = "0-1:conv3+0-2:skip+1-2:sep3+0-3:conv1+2-3:avg3"


def normalised(maps: Tensor, norm: nn.Module) -> Tensor:
    """Batch normalisation in evaluation mode, by its formula."""
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
    mean, var, scale, shift = (
        value[:, None, None] for value in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return scale * (maps - mean) / (var + norm.eps).sqrt() + shift


def test_a_cell_is_the_sum_of_its_edges() -> None:
    cell = CellNet(CELL, widths=(3,)).cell
    block = CellBlock(cell, 3).eval()
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 1.5)
    maps = torch.randn(2, 3, 5, 5)

    def edge(name: str, value: Tensor) -> Tensor:
        parts = list(block.edges[name].children())
        value = value.clamp(min=0)
        for part in parts[1:-1]:
            assert isinstance(part, nn.Conv2d)
            value = conv2d(value, part.weight, padding=part.weight.shape[-1] // 2, groups=3 // part.weight.shape[1])
        return normalised(value, parts[-1])

    one = edge("0-1", maps)
    two = maps + edge("1-2", one)
    ones = torch.ones_like(two)
    mean = avg_pool2d(two, 3, 1, 1) / avg_pool2d(ones, 3, 1, 1)  # of the places that are there
    torch.testing.assert_close(block(maps), edge("0-3", maps) + mean)


@pytest.mark.parametrize(("cells", "stages", "stride"), [(1, 3, 2), (2, 2, 1), (1, 1, 1)])
def test_sizes_and_channels_of_the_stages(cells: int, stages: int, stride: int) -> None:
    network = CellNet(CELL, cells=cells, stages=stages, stride=stride, widths=(2,), input_shape=(3, 12, 12), classes=4)
    seen: list[tuple[int, ...]] = []
    for part in network.modules():
        if isinstance(part, CellBlock):
            part.register_forward_hook(lambda module, given, out: seen.append(tuple(out.shape[1:])))
    assert network(torch.randn(2, 3, 12, 12)).shape == (2, 4)
    first = 12 // stride
    sizes = [first, -(-first // 2), -(-first // 4)][:stages]
    assert seen == [(2 * 2**stage, size, size) for stage, size in enumerate(sizes) for _ in range(cells)]


def test_it_is_traced_and_made_again_by_name() -> None:
    network = CellNet(CELL, widths=(2,), input_shape=(1, 8, 8), classes=3).eval()
    inputs = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(fx.symbolic_trace(network)(inputs), network(inputs))
    spec = name_of(network)
    assert spec is not None and spec.factory == "cellnet"
    named = NetworkSpec(
        f"cellnet(cell={network.cell}, cells=1)", {"widths": [2], "input_shape": [1, 8, 8], "classes": 3}
    )
    for one in (spec, named):
        made = one.build().eval()
        made.load_state_dict(network.state_dict())
        torch.testing.assert_close(made(inputs), network(inputs))


def test_its_channels_can_be_pruned(small_data: bp.Data) -> None:
    network = CellNet("0-1:conv3+1-2:conv3+0-2:skip", stages=2, widths=(4,), input_shape=(1, 6, 6), classes=3)
    pruned = bp.prune(network, small_data, method="l1-units", budget="macs=50%", epochs=2)
    example = torch.zeros(1, 1, 6, 6)
    assert cost(pruned.network, example).macs <= 0.5 * cost(network, example).macs


@pytest.mark.parametrize("merge", ["pre", "post"])
def test_a_vertex_of_some_width_is_so_many_vertices_joined_alike(merge: str) -> None:
    """The oracle: the graph in which each vertex is replaced by that many, and each edge by all between them."""
    width, graph = 3, layered(watts_strogatz(9, 4, seed=1))
    number = {vertex: place for place, vertex in enumerate(v for layer in graph.layers for v in layer)}
    starts = {vertex: width * place for vertex, place in number.items()}
    edges = [(starts[a] + i, starts[b] + j) for a, b in graph.graph.edges for i in range(width) for j in range(width)]
    wide = GraphMLP(graph, merge=merge, widths=(width,), input_shape=(5,), classes=2)
    plain = GraphMLP(edges, merge=merge, input_shape=(5,), classes=2)
    for one, other in zip(wide.layers, plain.layers, strict=True):
        assert isinstance(one, MaskedLinear) and isinstance(other, MaskedLinear)
        assert torch.equal(one.mask, other.mask)
    assert all(b - a == width for a, b in pairwise(sorted(starts.values())))


def test_what_it_cannot_be() -> None:
    with pytest.raises(GraphError, match="write each edge once"):
        CellNet("conv3")
    with pytest.raises(SettingError, match="takes 1 widths"):
        CellNet(widths=(2, 4))
    with pytest.raises(SettingError, match="stages is 0"):
        CellNet(stages=0)
    with pytest.raises(InputShapeError, match="at least"):
        CellNet(input_shape=(1, 2, 8))
    with pytest.raises(InputShapeError, match="at least"):
        CellNet(input_shape=(64,))
    with pytest.raises(SettingError, match="graphmlp takes 1 widths"):
        GraphMLP(widths=(0,))
