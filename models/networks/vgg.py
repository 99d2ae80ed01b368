"""VGG-16 with batch normalisation for small images, as the pruning literature has it on CIFAR-10."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from bayesprune.models.networks.lenet import check_widths
from bayesprune.run.networks import register, require_size

CONVOLUTIONS = 13
_POOLED = (2, 4, 7, 10)
"""Convolutions after which maps are halved; what is left after the last one is averaged."""


@register("vgg16")
class VGG16(nn.Module):
    """Thirteen 3x3 convolutions and a hidden linear layer, each normalised (14,977,728 weights, 313 M MACs on 32x32).

    It is VGG-16 (Simonyan and Zisserman, arXiv 1409.1556, column D) as HRank, CHIP and CORING prune it on CIFAR-10: one
    hidden linear layer of 512, 14.98 M weights. Without a hidden layer (thirteen widths) it has 14.72 M. Layers whose
    output is normalised have no bias. Convolutions are conv1 to conv13, linear layers fc1, fc2 and so on.

    Args:
        widths: filters of the thirteen convolutions, then units of hidden linear layers, if any.
        input_shape: channels, height and width; at least 16x16.
        classes: outputs.
    """

    def __init__(
        self,
        widths: Sequence[int] = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512, 512),
        input_shape: Sequence[int] = (3, 32, 32),
        classes: int = 10,
    ) -> None:
        super().__init__()
        check_widths("vgg16", widths, CONVOLUTIONS, classes, more=True)
        require_size("vgg16", tuple(input_shape), (1, 16, 16))
        self.spec_arguments = {
            "widths": list(widths), "input_shape": list(input_shape), "classes": classes
        }  # fmt: skip
        for number, (reads, writes) in enumerate(pairwise((input_shape[0], *widths[:CONVOLUTIONS])), 1):
            self.add_module(f"conv{number}", nn.Conv2d(reads, writes, 3, padding=1, bias=False))
            self.add_module(f"norm{number}", nn.BatchNorm2d(writes))
        self.act, self.pool = nn.ReLU(), nn.MaxPool2d(2)
        units = widths[CONVOLUTIONS - 1 :]
        for number, (reads, writes) in enumerate(pairwise(units), 1):
            self.add_module(f"fc{number}", nn.Linear(reads, writes, bias=False))
            self.add_module(f"fc{number}_norm", nn.BatchNorm1d(writes))
        self.hidden = len(units) - 1
        self.add_module(f"fc{self.hidden + 1}", nn.Linear(units[-1], classes))

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [B, classes] of images [B, C, H, W]."""
        maps = inputs
        for number in range(1, CONVOLUTIONS + 1):
            maps = self.act(self.get_submodule(f"norm{number}")(self.get_submodule(f"conv{number}")(maps)))
            if number in _POOLED:
                maps = self.pool(maps)
        features = maps.mean((2, 3))
        for number in range(1, self.hidden + 1):
            features = self.act(self.get_submodule(f"fc{number}_norm")(self.get_submodule(f"fc{number}")(features)))
        logits: Tensor = self.get_submodule(f"fc{self.hidden + 1}")(features)
        return logits
