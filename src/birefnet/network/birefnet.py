"""BiRefNet (Zheng et al., "Bilateral Reference for High-Resolution Dichotomous Image Segmentation", 2024)."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from birefnet.errors import InputError
from birefnet.inputs import MULTIPLE, nearest_multiple
from birefnet.network.backbones import find_backbone
from birefnet.network.config import BiRefNetConfig
from birefnet.network.decoder import Decoder
from birefnet.network.encoder import Encoder


class Prediction(NamedTuple):
    """What the model always returns; everything but `logits` is filled only while training."""

    logits: Tensor  # (B, 1, H, W); their sigmoid is the alpha
    side_logits: tuple[Tensor, ...] = ()  # (B, 1, h, w) at strides 32, 16, 8
    edge_logits: tuple[Tensor, ...] = ()  # predicted gradients, same shapes
    class_logits: Tensor | None = None  # (B, classes)


class BiRefNet(nn.Module):
    """Picture in, foreground logits out.

    Args:
        config: the network's shape; the default is that of the released large models.

    Raises:
        ConfigError: if the config names no known backbone.
    """

    def __init__(self, config: BiRefNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or BiRefNetConfig()
        spec = find_backbone(self.config.backbone)
        self.encoder = Encoder(self.config, spec)
        self.decoder = Decoder(self.config, spec)
        self.classifier = nn.Linear(self.encoder.widths[3], self.config.classes) if self.config.classes else None

    def forward(self, picture: Tensor) -> Prediction:
        """Foreground logits of a batch of pictures.

        Args:
            picture: (B, 3, H, W), RGB, normalised with mean (0.485, 0.456, 0.406) and deviation
                (0.229, 0.224, 0.225) of values in [0, 1]; H and W multiples of 32.

        Raises:
            InputError: if the shape is another.
        """
        check_picture(picture)
        maps = self.encoder(picture)
        decoded = self.decoder(maps, picture)
        classes = None
        if self.training and self.classifier is not None:
            classes = self.classifier(maps[3].mean(dim=(2, 3)))
        return Prediction(decoded.logits, decoded.side_logits, decoded.edge_logits, classes)


def check_picture(picture: Tensor) -> None:
    """Raise `InputError` unless `picture` is (B, 3, H, W) with H and W multiples of 32, above 0."""
    if picture.ndim != 4 or picture.shape[1] != 3:
        raise InputError(f"The network takes pictures (B, 3, H, W), got a tensor of shape {tuple(picture.shape)}")
    height, width = picture.shape[-2:]
    if height % MULTIPLE or width % MULTIPLE or not height or not width:
        raise InputError(
            f"Height and width must be multiples of {MULTIPLE}, got {height}x{width}; "
            f"the nearest size is {nearest_multiple(height)}x{nearest_multiple(width)}"
        )
