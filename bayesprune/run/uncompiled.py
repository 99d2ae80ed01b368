"""Taking `torch.compile` off a network: a compiled graph fits one shape, and a pruned network changes it."""

from torch import nn


def uncompiled(network: nn.Module) -> nn.Module:
    """The network without the wrappers of `torch.compile`, in place; compile the pruned one again.

    Layers keep the names that they have without them: "fc1", not "_orig_mod.fc1".
    """
    network = _unwrapped(network)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if _unwrapped(child) is not child:
                setattr(parent, name, _unwrapped(child))
    return network


def _unwrapped(module: nn.Module) -> nn.Module:
    """What a compiled module was made of; any other module as it is."""
    inner = module._modules.get("_orig_mod")
    return _unwrapped(inner) if inner is not None else module
