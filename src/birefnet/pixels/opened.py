"""What the readers of single formats give: a picture whose header is read, and its pixels once they are decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from PIL import Image, ImageFile

from birefnet.pixels.spaces import Space


class Decoded(NamedTuple):
    """Decoded pixels, not yet upright, not yet sRGB.

    Attributes:
        image: loaded, in any mode of Pillow; its `info` may hold a profile, EXIF data and the resolution.
        cover: alpha as an image of mode "L", where `image` cannot hold it.
        space: which colours they are where the file says so without a profile.
    """

    image: Image.Image
    cover: Image.Image | None = None
    space: Space | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """A picture whose header is read.

    Attributes:
        size: (width, height) in pixels, as stored.
        decode: reads the pixels; may raise anything where the data is damaged.
        image: the picture as Pillow opened it; None where Pillow alone would read it wrongly.
    """

    size: tuple[int, int]
    decode: Callable[[], Decoded]
    image: ImageFile.ImageFile | None = None

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        if self.image is not None:
            self.image.close()
