"""Conv-4, the small VGG-like network of the sparse-training literature."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from bayesprune.models.networks.lenet import check_widths
from bayesprune.run.networks import register, require_size


@register("conv4")
class Conv4(nn.Module):
    """Four 3x3 convolutions (64-64, pool, 128-128, pool) and linear layers 256-256-classes.

    Args:
        widths: filters of the four convolutions and units of the two hidden linear layers.
        input_shape: channels, height and width; at least 4x4.
        classes: outputs.
    """

    def __init__(
        self,
        widths: Sequence[int] = (64, 64, 128, 128, 256, 256),
        input_shape: Sequence[int] = (3, 32, 32),
        classes: int = 10,
    ) -> None:
        super().__init__()
        check_widths("conv4", widths, 6, classes)
        require_size("conv4", tuple(input_shape), (1, 4, 4))
        self.spec_arguments = {
            "widths": list(widths), "input_shape": list(input_shape), "classes": classes
        }  # fmt: skip
        channels, height, width = input_shape
        sizes = (channels, *widths[:4])
        self.conv1, self.conv2, self.conv3, self.conv4 = (
            nn.Conv2d(reads, writes, 3, padding=1) for reads, writes in zip(sizes, sizes[1:], strict=False)
        )
        self.fc1 = nn.Linear(widths[3] * (height // 4) * (width // 4), widths[4])
        self.fc2 = nn.Linear(widths[4], widths[5])
        self.fc3 = nn.Linear(widths[5], classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [B, classes] of images [B, C, H, W]."""
        maps = max_pool2d(self.conv2(self.conv1(inputs).relu()).relu(), 2)
        maps = max_pool2d(self.conv4(self.conv3(maps).relu()).relu(), 2)
        hidden = self.fc2(self.fc1(maps.flatten(1)).relu()).relu()
        logits: Tensor = self.fc3(hidden)
        return logits
