"""Which layers of a network would be linear if their weights were not negative, and why others cannot be."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn

from bayesprune.batches import Batch, call, head
from bayesprune.devices import device_of, random_apart
from bayesprune.errors import UnsupportedLayerError
from bayesprune.layers.graph import Flow, is_identity_where_positive, is_passing, is_plain_pool, words_for
from bayesprune.layers.linear import (
    CONVOLUTIONS,
    NORMS,
    LinearChain,
    Nothing,
    Passed,
    factors_of,
    is_matrix,
    why_no_skip,
)
from bayesprune.structure.functions import ADDITIONS
from bayesprune.structure.modes import evaluating, hooked


@dataclass(frozen=True)
class Candidate:
    """A layer that is linear, and goes into the next one, where its weights and biases are not negative.

    Attributes:
        layer: its name.
        into: the layer that reads what it writes.
        norm: the batch normalisation behind it, folded where signs count; "" for none.
        pool: the average pooling between both, likewise.
        skip: whether what it reads is added to what it writes.
    """

    layer: str
    into: str
    norm: str = ""
    pool: str = ""
    skip: bool = False


@dataclass(frozen=True)
class Layers:
    """The matrices of a network in the order of its forward pass.

    Attributes:
        names: of all of them: linear layers, convolutions, and chains of such (`LinearChain`).
        candidates: those that can become linear.
        refused: why each of the others cannot.
        sizes: sides of the map that each reads; () for a linear layer.
    """

    names: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    refused: Mapping[str, str]
    sizes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @cached_property
    def by_name(self) -> dict[str, Candidate]:
        """The candidates by their layers."""
        return {one.layer: one for one in self.candidates}

    @property
    def hidden(self) -> tuple[str, ...]:
        """All matrices but the last."""
        return self.names[:-1]


class _Tracer(fx.Tracer):
    """Sees through all modules but torch's own and those that are one linear map."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        """Whether a module is one node."""
        return isinstance(module, LinearChain | Nothing | Passed) or super().is_leaf_module(module, name)


def find_layers(
    network: nn.Module, example: Batch, *, inputs_not_negative: bool = False, in_training: bool = False
) -> Layers:
    """Look at every linear layer and convolution of a network.

    A layer is a candidate (Hebiri and Lederer, arXiv 2006.15604; docs/layer-sparsity.md derives the conditions) where
    what it reads cannot be negative, the activation behind it is the identity on [0, inf), and one layer of its kind
    reads the result. Between the layer and its activation there may be a batch normalisation and a skip that adds what
    the layer reads; between the activation and the next layer average pooling.

    Args:
        network: it is traced symbolically (`torch.fx`), in evaluation mode.
        example: inputs [B, ...].
        inputs_not_negative: say so where no input is below 0: then the first matrix is looked at like the others.
        in_training: hooks on layers are those of training and go with it; else layers that have some are refused.

    Raises:
        UnsupportedLayerError: the network cannot be traced, or has no linear layer and no convolution.
    """
    with evaluating(network):
        try:
            graph = _Tracer().trace(network)
        except Exception as error:  # the forward pass is the user's and may raise anything
            raise UnsupportedLayerError(
                "the layers of this network cannot be told one by one, since its forward pass cannot be traced by "
                f"torch.fx ({type(error).__name__}: {' '.join(str(error).split())[:200]}): write it without branches "
                "that hang on values, or take another method"
            ) from error
        sizes = _sizes(network, example)
    return _Search(network, Flow(network, graph, inputs_not_negative), sizes, in_training).all()


@torch.no_grad()
def _sizes(network: nn.Module, example: Batch) -> dict[str, tuple[int, ...]]:
    """Sides of what each convolution reads."""
    found: dict[str, tuple[int, ...]] = {}

    def watch(name: str, module: nn.Module) -> Any:
        def hook(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            given = arguments[0] if arguments else None
            axes = CONVOLUTIONS.get(type(factors_of(module)[0]), 0)
            found[name] = tuple(given.shape[-axes:]) if isinstance(given, Tensor) and axes else ()

        return module.register_forward_pre_hook(hook)

    matrices = [(name, module) for name, module in network.named_modules() if is_matrix(module)]
    with hooked(watch(*one) for one in matrices), random_apart(device_of(network)):
        call(network, head(example, 1))
    return found


class _Search:
    """Looks at the matrices of a traced network one by one."""

    def __init__(self, network: nn.Module, flow: Flow, sizes: Mapping[str, tuple[int, ...]], in_training: bool) -> None:
        self.network, self.flow, self.sizes, self.in_training = network, flow, sizes, in_training
        self.nodes: dict[str, fx.Node] = {}
        for node in flow.graph.nodes:
            module = flow.module(node)
            if module is not None and is_matrix(module):
                self.nodes.setdefault(str(node.target), node)

    def all(self) -> Layers:
        """What is found.

        Raises:
            UnsupportedLayerError: the network has no linear layer and no convolution.
        """
        names = tuple(self.nodes)
        if not names:
            raise UnsupportedLayerError(
                "the network calls no plain linear layer and no plain convolution, so that none of its layers can go: "
                "take another method"
            )
        found, refused = [], {}
        for name, node in self.nodes.items():
            one = self._candidate(name, node, is_last=name == names[-1])
            if isinstance(one, Candidate):
                found.append(one)
            else:
                refused[name] = one
        return Layers(names, tuple(found), refused, self.sizes)

    def _candidate(self, name: str, node: fx.Node, *, is_last: bool) -> Candidate | str:
        """The layer as a candidate, or why it is none."""
        reason = self._why_not_plain(name)
        if reason:
            return reason
        if not self.flow.is_positive(self.flow.source(node)):
            return (
                "first matrix: what it reads may be negative" if name == next(iter(self.nodes)) and not is_last
                else "last matrix: there is no activation behind it" if is_last
                else f"what it reads may be negative ({words_for(self.flow, self.flow.source(node))})"
            )  # fmt: skip
        return self._forward(name, node)

    def _why_not_plain(self, name: str) -> str:
        """Why a layer cannot be taken out whatever stands around it."""
        module = self.network.get_submodule(name)
        if self.flow.calls(name) > 1:
            return f"it is called {self.flow.calls(name)} times"
        if not self.in_training and any(one._forward_hooks or one._forward_pre_hooks for one in module.modules()):
            return "it has hooks"
        if self.flow.is_shared(module):
            return "its weights are read elsewhere too"
        return ""

    def _forward(self, name: str, node: fx.Node) -> Candidate | str:
        """From a layer to its activation."""
        norm, skip, here = "", False, node
        while True:
            readers = self.flow.readers(here)
            if len(readers) != 1:
                return f"its output is read in {len(readers)} places"
            reader = readers[0]
            if reader.op == "output":
                return "last matrix: there is no activation behind it"
            module = self.flow.module(reader)
            if is_identity_where_positive(self.flow, reader):
                return self._behind(name, reader, norm, skip=skip)
            if isinstance(module, NORMS) and not norm and not skip and not isinstance(
                self.network.get_submodule(name), LinearChain
            ) and module.running_var is not None and self.flow.calls(str(reader.target)) == 1:  # fmt: skip
                norm = str(reader.target)
            elif self.flow.name(reader) in ADDITIONS and not skip:
                reason = self._why_no_skip(name, node, here, reader)
                if reason:
                    return reason
                skip = True
            elif not is_passing(self.flow, reader):
                what = words_for(self.flow, reader)
                if module is not None and is_matrix(module):
                    return "there is no activation behind it"
                return f"behind it stands {what}, which is not the identity on [0, inf)"
            here = reader

    def _why_no_skip(self, name: str, node: fx.Node, here: fx.Node, addition: fx.Node) -> str:
        """Why what is added to a layer's output is no skip around this layer alone; empty where it is."""
        others = [one for one in self.flow.added(addition) if one is not here and self.flow.alias(one) is not here]
        source = self.flow.alias(self.flow.source(node))
        if len(others) != 1 or self.flow.alias(others[0]) is not source:
            return "what is added to its output is not what it reads"
        reason = why_no_skip(self.network.get_submodule(name))
        return f"it has a skip, and {reason}" if reason else ""

    def _behind(self, name: str, activation: fx.Node, norm: str, *, skip: bool) -> Candidate | str:
        """From an activation to the next layer."""
        pool, here = "", activation
        while True:
            readers = self.flow.readers(here)
            if len(readers) != 1:
                return f"its output is read in {len(readers)} places"
            reader = readers[0]
            module = self.flow.module(reader)
            if module is not None and is_matrix(module):
                return self._joined(name, str(reader.target), norm, pool, skip=skip)
            if module is not None and is_plain_pool(module) and not pool and self.flow.calls(str(reader.target)) == 1:
                pool = str(reader.target)
            elif not is_passing(self.flow, reader):
                return f"between its activation and the next matrix stands {words_for(self.flow, reader)}"
            here = reader

    def _joined(self, name: str, into: str, norm: str, pool: str, *, skip: bool) -> Candidate | str:
        """A layer and the one that it would go into."""
        reason = self._why_not_plain(into)
        if reason:
            return f"the next matrix {into!r} cannot take it in: {reason}"
        kinds = [type(factors_of(self.network.get_submodule(one))[0]) for one in (name, into)]
        if kinds[0] is not kinds[1]:
            return f"the next matrix {into!r} is a {kinds[1].__name__} and this one a {kinds[0].__name__}"
        return Candidate(name, into, norm, pool, skip)
