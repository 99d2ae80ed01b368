"""A graph-structured recurrent network against the same one with a looped cell for each pair of joined layers.

    python -m benchmarks.graph_rnn [--graphs watts-strogatz:0] [--steps 5]

`GraphRNN` runs all cells that feed a layer as one recurrent layer of torch, with a block-diagonal recurrent matrix. The
other side is the plain way to write it: a cell for each pair of joined layers, with a Python loop over time. Both have
equal weights and train one batch of 128 Reber strings at a time, in turns, on one thread; the answers are compared
first. Below stand the 23 properties of a graph, whose target is 20 ms.
"""

import argparse
from time import process_time
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.data.reber import REBER
from bayesprune.graphs import features, study_graph
from bayesprune.models import GraphRNN
from bayesprune.models.networks.masked import GATES, MaskedRNN
from benchmarks._pairing import paired

BATCH, TARGET = 128, 4.0
"""Strings a step, and how many times as fast the fused network is to be."""


class Looped(nn.Module):
    """The network with one cell for each pair of joined layers, step by step, with the weights of a fused one."""

    def __init__(self, fused: GraphRNN) -> None:
        super().__init__()
        self.embedding, self.head, self.sources = fused.embedding, fused.head, fused.sources
        self.sizes, self.kind = fused.graph.sizes, fused.cell
        self.cells, self.masks = nn.ModuleList(), []
        for units, sources, layer in zip(self.sizes, self.sources, fused.layers, strict=True):
            assert isinstance(layer, MaskedRNN)
            widths = [self.sizes[source] for source in sources] or [layer.mask_ih.shape[1]]
            group = nn.ModuleList()
            for number, width in enumerate(widths):
                rows = torch.cat(
                    [torch.arange(units) + (gate * len(widths) + number) * units for gate in range(GATES[self.kind])]
                )
                first, hidden = sum(widths[:number]), slice(number * units, (number + 1) * units)
                cell = _cell(self.kind, width, units)
                with torch.no_grad():
                    cell.weight_ih.copy_(layer.weight_ih[rows, first : first + width])
                    cell.weight_hh.copy_(layer.weight_hh[rows][:, hidden])
                    cell.bias_ih.copy_(layer.bias_ih[rows])
                    cell.bias_hh.copy_(layer.bias_hh[rows])
                group.append(cell)
                self.masks.append(layer.mask_ih[rows, first : first + width])
            self.cells.append(group)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits as of the fused network that reads the last step."""
        outputs: list[Tensor] = []
        masks = iter(self.masks)
        for sources, group in zip(self.sources, self.cells, strict=True):
            read = [outputs[source] for source in sources] or [self.embedding(tokens)]
            parts = [self._run(cell, next(masks), x) for cell, x in zip(group, read, strict=True)]  # type: ignore[call-overload]  # a ModuleList is iterable
            outputs.append(torch.stack(parts).sum(0))
        logits: Tensor = self.head(outputs[-1][:, -1])
        return logits

    def _run(self, cell: Any, mask: Tensor, sequence: Tensor) -> Tensor:
        weight = cell.weight_ih * mask
        state: Any = sequence.new_zeros(len(sequence), cell.hidden_size)
        state = (state, state) if self.kind == "lstm" else state
        call = {"tanh": torch.rnn_tanh_cell, "relu": torch.rnn_relu_cell, "gru": torch.gru_cell}.get(
            self.kind, torch.lstm_cell
        )
        found = []
        for place in range(sequence.shape[1]):
            state = call(sequence[:, place], state, weight, cell.weight_hh, cell.bias_ih, cell.bias_hh)
            found.append(state[0] if self.kind == "lstm" else state)
        return torch.stack(found, 1)


def _cell(kind: str, inputs: int, units: int) -> Any:
    if kind in ("tanh", "relu"):
        return nn.RNNCell(inputs, units, nonlinearity=kind)
    return {"gru": nn.GRUCell, "lstm": nn.LSTMCell}[kind](inputs, units)


def measure(graph: str, kind: str, steps: int) -> tuple[float, float, float]:
    """Milliseconds of a training step, looped and fused, and the largest difference of their answers."""
    torch.manual_seed(0)
    fused = GraphRNN(graph, kind, read="last_step")
    looped = Looped(fused)
    ((tokens, classes), *_) = REBER["reber"].draw(0, (BATCH, 2, 2))
    inputs, labels = torch.from_numpy(tokens), torch.from_numpy(classes)
    inputs = inputs[:, : int((inputs > 0).sum(1).max())]
    difference = float((fused(inputs) - looped(inputs)).detach().abs().max())
    sides = []
    for network in (looped, fused):
        optimizer = torch.optim.Adam(network.parameters())

        def step(network: nn.Module = network, optimizer: torch.optim.Optimizer = optimizer) -> None:
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(network(inputs), labels).backward()
            optimizer.step()

        sides.append(step)
    slow, fast = paired(sides, steps, warm_up=1, clock=process_time)
    return slow, fast, difference


def _table(graph: str, steps: int) -> list[float]:
    """Print how the sides compare on a graph; the ratios."""
    network, ratios = GraphRNN(graph), []
    sizes, cells = network.graph.sizes, sum(map(len, network.sources)) + 1
    print(f"{graph}: {sum(sizes)} units in {len(sizes)} layers, {cells} cells, {cells / len(sizes):.1f} a layer\n")
    print("| cell | looped ms | fused ms | times as fast | largest difference |\n|---|---|---|---|---|")
    for kind in GATES:
        slow, fast, difference = measure(graph, kind, steps)
        ratios.append(slow / fast)
        print(f"| {kind} | {slow:.0f} | {fast:.1f} | {slow / fast:.1f} | {difference:.1g} |")
    print()
    return ratios


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graphs", nargs="+", default=["watts-strogatz:0", "watts-strogatz:1"])
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    ratios = [ratio for graph in arguments.graphs for ratio in _table(graph, arguments.steps)]
    print(f"slowest ratio {min(ratios):.1f}, target >= {TARGET}: {'reached' if min(ratios) >= TARGET else 'MISSED'}")
    drawn = study_graph("watts-strogatz", 0, vertices=50)
    (taken,) = paired([lambda: features(drawn)], 20, warm_up=2, clock=process_time)
    print(f"23 properties of 50 vertices: {taken:.1f} ms, target < 20: {'reached' if taken < 20 else 'MISSED'}")


if __name__ == "__main__":
    main()
