"""Picture -> the network's input.

The released models were trained on pictures squashed to a fixed size by Pillow's 8-bit bilinear resize (whose
filter widens when it shrinks, so nothing aliases), scaled to [0, 1] and normalised. This is that function, bit for
bit, in strips.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from birefnet.errors import ConfigError, InputError
from birefnet.inputs import IMAGENET_MEAN, IMAGENET_STD, MULTIPLE, nearest_multiple
from birefnet.pixels.strips import strips

NATIVE_SIDES = (256, 2304)  # the sides that the models for many sizes were trained on

Upsample = Literal["bilinear", "guided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """The input a network was made for.

    Attributes:
        width, height: in pixels; multiples of 32.
        mean, std: per channel (red, green, blue), of values in [0, 1].
        upsample: how its alpha is best brought to the picture's size; see `birefnet.pixels.alpha.finish`.

    Raises:
        ConfigError: for a size that is no multiple of 32 (with the nearest that is), or a std that is not positive.
    """

    width: int
    height: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    upsample: Upsample = "bilinear"

    def __post_init__(self) -> None:
        if self.width <= 0 or self.height <= 0 or self.width % MULTIPLE or self.height % MULTIPLE:
            nearest = f"{nearest_multiple(self.width)}x{nearest_multiple(self.height)}"
            raise ConfigError(
                f"A network's size is multiples of {MULTIPLE}, got {self.width}x{self.height}; nearest: {nearest}."
            )
        if len(self.mean) != 3 or len(self.std) != 3 or not all(value > 0 for value in self.std):
            raise ConfigError(f"Wanted three means and three positive stds, got mean={self.mean} std={self.std}.")
        if self.upsample not in ("bilinear", "guided"):
            raise ConfigError(f"`upsample` is `bilinear` or `guided`, got `{self.upsample}`.")


@dataclass(frozen=True, slots=True)
class Frame:
    """The way back from the network's output to the picture.

    Attributes:
        height, width: of the picture that was prepared.
        seen: the picture as the network saw it, (h, w, 3) uint8; guides the enlargement of the alpha.
    """

    height: int
    width: int
    seen: NDArray[np.uint8] | None = field(default=None, compare=False, repr=False)


def native_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) of a picture -> the network size nearest to it, each side a multiple of 32.

    Larger and smaller pictures are brought into `NATIVE_SIDES` with their aspect kept as far as possible: beyond
    them the models were never trained, and memory grows with the area.
    """
    least, most = NATIVE_SIDES
    scale = min(1.0, most / max(height, width)) * max(1.0, least / min(height, width))
    if max(height, width) * scale > most:  # very long and thin: the limit on memory wins
        scale = most / max(height, width)
    return tuple(min(most, max(least, nearest_multiple(side * scale))) for side in (height, width))  # type: ignore[return-value]


def check_rgb(rgb: NDArray[Any]) -> None:
    """Refuse anything but an (H, W, 3) uint8 array with at least one pixel.

    Raises:
        InputError: with what it got and wanted.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
        raise InputError(f"Wanted a picture of (height, width, 3) uint8, got {rgb.shape} {rgb.dtype}.")


def prepare(rgb: NDArray[np.uint8], spec: InputSpec) -> tuple[NDArray[np.float32], Frame]:
    """(H, W, 3) uint8 sRGB -> (1, 3, spec.height, spec.width) float32 normalised, and the way back.

    Raises:
        InputError: if `rgb` has another shape or type.
    """
    check_rgb(rgb)
    seen = squash(rgb, spec.height, spec.width)
    mean = np.asarray(spec.mean, np.float32)
    std = np.asarray(spec.std, np.float32)
    planes = seen.transpose(2, 0, 1).astype(np.float32)  # (3, h, w)
    planes *= (1 / (255 * std))[:, None, None]
    planes -= (mean / std)[:, None, None]
    return planes[None], Frame(rgb.shape[0], rgb.shape[1], seen)


def squash(rgb: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 -> (height, width, 3) uint8, equal to Pillow's bilinear resize of the whole picture.

    Pillow resizes rows first and rounds to 8 bits between its two passes; a strip whose height stays the same goes
    through the first pass alone. So the passes can be run one by one, and only a strip exists in Pillow's own four
    bytes a pixel.
    """
    rows, columns = rgb.shape[:2]
    narrow = np.empty((rows, width, 3), np.uint8)
    for strip in strips(rows, columns):
        image = Image.fromarray(np.ascontiguousarray(rgb[strip]))
        narrow[strip] = np.asarray(image.resize((width, image.height), Image.Resampling.BILINEAR))
    image = Image.fromarray(narrow)
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
