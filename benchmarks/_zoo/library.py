"""All classification and segmentation networks of torchvision, at the smallest inputs that they take."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

HUGE = frozenset({
    "convnext_large", "efficientnet_b6", "efficientnet_b7", "efficientnet_v2_l", "regnet_x_32gf", "regnet_y_128gf",
    "regnet_y_32gf", "resnext101_64x4d", "vit_h_14", "vit_l_16", "vit_l_32", "wide_resnet101_2",
})  # fmt: skip
"""Only larger than others of their kind: they are left out, for their weights alone take gigabytes or minutes."""

SIZES = {
    "inception_v3": 75, "googlenet": 32, "alexnet": 63, "maxvit_t": 224, "vit_b_16": 224, "vit_b_32": 224,
    "squeezenet1_0": 33, "squeezenet1_1": 33, "swin_t": 64, "swin_s": 64, "swin_b": 64, "swin_v2_t": 64,
    "swin_v2_s": 64, "swin_v2_b": 64,
}  # fmt: skip
"""Sides of the smallest pictures; 32 for the others."""


@dataclass(frozen=True)
class Model:
    """A network of torchvision.

    Attributes:
        name: there.
        make: makes it.
        side: of its pictures.
    """

    name: str
    make: Callable[[], nn.Module]
    side: int

    def build(self) -> tuple[nn.Module, Any]:
        """The network in evaluation mode, with random statistics, and two pictures."""
        torch.manual_seed(0)
        network = self.make()
        with torch.no_grad():
            for module in network.modules():
                if isinstance(module, nn.modules.batchnorm._NormBase):
                    for tensor in (*module.parameters(), *module.buffers()):
                        if tensor.is_floating_point():
                            tensor.copy_(torch.rand(tensor.shape) + 0.5)
        return network.eval(), torch.randn(2, 3, self.side, self.side)


def library() -> dict[str, Model]:
    """By name."""
    from bayesprune.data.torchvision_guard import import_torchvision

    models: Any = import_torchvision().models
    found = {}
    for name in models.list_models(models):
        more = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        found[name] = Model(name, _maker(models, name, num_classes=10, **more), SIZES.get(name, 32))
    for name in models.list_models(models.segmentation):
        found[name] = Model(name, _maker(models, name, num_classes=5, weights_backbone=None, aux_loss=None), 64)
    return {name: one for name, one in found.items() if name not in HUGE}


def _maker(models: Any, name: str, **arguments: Any) -> Callable[[], nn.Module]:
    return lambda: models.get_model(name, weights=None, **arguments)
