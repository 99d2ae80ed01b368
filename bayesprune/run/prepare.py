"""A user's network made ready for a run: a plain copy in float32 that says logits in both modes."""

import warnings

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from bayesprune.batches import Batch, call, whole_shape
from bayesprune.devices import CPU
from bayesprune.errors import NetworkError, PruningWarning, a_kind
from bayesprune.structure.copying import copied
from bayesprune.structure.modes import evaluating, remember_frozen


def prepared(network: nn.Module, example: Batch, seed: int, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A copy of a network that can be trained; the network itself is left as it is.

    A compiled module gives its original, a parallel one what it wraps, a lazy one gets its weights by one pass, and
    one in another precision becomes float32 (or what is asked for) unless it casts its inputs itself. What the user
    keeps in evaluation mode stays in it. The copy lies on the CPU.

    Args:
        network: the user's.
        example: inputs [B, ...] of the data.
        seed: of the weights of lazy layers.
        dtype: that its weights are to have.

    Raises:
        NetworkError: it is scripted, cannot be copied, or nothing of it can be trained.
    """
    copy = readable(network, example, seed)
    if dtype != torch.float32:
        copy.to(dtype)
    _to_float32(copy, example, dtype)
    _refuse_frozen(copy)
    remember_frozen(copy)
    return copy


def readable(network: nn.Module, example: Batch, seed: int) -> nn.Module:
    """A copy of a network whose layers can be looked at: without wrappers, lazy layers with weights.

    Args:
        network: the user's.
        example: inputs [B, ...] of the data.
        seed: of the weights of lazy layers.

    Raises:
        NetworkError: it is scripted, cannot be copied, or its lazy layers cannot get their weights.
    """
    _refuse_scripted(network)
    copy = on_cpu(_unwrapped(copied(network)))
    _restore_forward(copy)
    _materialise(copy, example, seed)
    return copy


def _refuse_scripted(network: nn.Module) -> None:
    """Refuse what has no Python code any more.

    Raises:
        NetworkError: naming the scripted modules.
    """
    if not isinstance(network, nn.Module):
        made = "a class: give an instance, such as Network()" if isinstance(network, type) else "no torch.nn.Module"
        raise NetworkError(f"the network {getattr(network, '__name__', network)!r} is {made}")
    for name, module in network.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise NetworkError(
                f"{f'module {name!r}' if name else 'the network'} is {a_kind(module)}, whose layers cannot be "
                "cut: give the module that it was made from, before torch.jit.trace or torch.jit.script"
            )


def _unwrapped(network: nn.Module) -> nn.Module:
    """The network without what torch.compile or a parallel wrapper put around it or its parts."""
    network = _inside(network)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if _inside(child) is not child:
                setattr(module, name, _inside(child))
    return network


def _restore_forward(network: nn.Module) -> None:
    """Let modules run their class's forward again where it was compiled on the instance.

    Raises:
        NetworkError: another function took its place, which may belong to the module that was copied.
    """
    for name, module in network.named_modules():
        given = vars(module).get("forward")
        if given is None or getattr(given, "__self__", None) is module:
            continue
        own = getattr(given, "__qualname__", "") == type(module).forward.__qualname__
        if not (own and hasattr(given, "_torchdynamo_orig_callable")):
            raise NetworkError(
                f"forward of {f'module {name!r}' if name else 'the network'} was replaced on the instance, and a copy "
                "would run the weights of the original: write it in the module's class"
            )
        del module.forward


def _inside(module: nn.Module) -> nn.Module:
    """What a wrapper wraps; any other module as it is."""
    while True:
        inner = module._modules.get("_orig_mod")
        if inner is None and isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = module.module
        if inner is None:
            return module
        module = inner


@torch.no_grad()
def _materialise(network: nn.Module, example: Batch, seed: int) -> None:
    """Give lazy layers their weights by one pass, drawn from the seed.

    Raises:
        NetworkError: the pass fails, or some layer is not reached by it.
    """
    if not any(map(is_lazy, (*network.parameters(), *network.buffers()))):
        return
    with torch.random.fork_rng(devices=[]), evaluating(network):
        torch.default_generator.manual_seed(seed)
        try:
            call(network, example)
        except Exception as error:  # whatever the network's own code raises
            raise NetworkError(
                f"the lazy layers cannot get their weights: the network cannot take inputs of shape "
                f"{whole_shape(example)}: {error}"
            ) from error
    left = [name for name, parameter in network.named_parameters() if is_lazy(parameter)]
    if left:
        raise NetworkError(f"the lazy parameters {left} are never used: leave their layers out of the network")


def on_cpu(network: nn.Module) -> nn.Module:
    """A network on the CPU: itself where it lies there, else a copy."""
    tensors = (*network.parameters(), *network.buffers())
    return network if all(each.device.type == CPU for each in tensors) else copied(network).cpu()


def _to_float32(network: nn.Module, example: Batch, dtype: torch.dtype) -> None:
    """Make a network float32 that has other weights and does not cast its inputs itself."""
    tensors = (*network.parameters(), *network.buffers())
    others = {str(each.dtype) for each in tensors if each.is_floating_point() and each.dtype != dtype}
    if not others or _runs(network, example):
        return
    network.float()
    warnings.warn(
        f"the network has {' and '.join(sorted(others))} weights and the data are torch.float32: the network is "
        "trained and given back in float32",
        PruningWarning,
        stacklevel=2,
    )


@torch.no_grad()
def _runs(network: nn.Module, example: Batch) -> bool:
    """Whether the network takes the example as it is."""
    try:
        with torch.random.fork_rng(devices=[]), evaluating(network):
            call(network, example)
    except RuntimeError:
        return False
    return True


def _refuse_frozen(network: nn.Module) -> None:
    """Refuse a network that nothing of can be trained.

    Raises:
        NetworkError: all parameters are frozen, or there are none.
    """
    parameters = list(network.parameters())
    if not parameters:
        raise NetworkError("the network has no parameters: there is nothing to train or to prune")
    if not any(parameter.requires_grad for parameter in parameters):
        raise NetworkError(
            f"all {len(parameters)} parameters of the network are frozen (requires_grad=False): unfreeze those to be "
            "trained, for example all with network.requires_grad_(True)"
        )
