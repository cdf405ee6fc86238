"""What is made of a cut-out, and into which kind of file: one record, checked at birth."""

from __future__ import annotations

from dataclasses import dataclass, replace

from birefnet.errors import ConfigError
from birefnet.pixels.background import Background, find_background, read_background
from birefnet.pixels.picture import MAX_PIXELS
from birefnet.pixels.writing import check_quality, check_transparency, output_format


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rendering:
    """What is made of a cut-out.

    Attributes:
        mask_only: the alpha as a grey picture.
        background: what the subject is put before: a colour ("white", "#ff8800", "255,136,0", or three or four
            numbers in 0..255), the word "blur" for the picture itself out of focus, or a picture, scaled to cover and
            cropped to its middle; None to cut it out. A colour is kept as (r, g, b, a).
        format: of the file, one of `birefnet.pixels.writing.FORMATS`; their other names are taken ("jpg", "tif").
        quality: of JPEG and lossy WebP, 1..100.

    Raises:
        ConfigError: for a mask with a background, a background that is neither colour nor picture, transparency in a
            JPEG, an unknown format or another quality.
    """

    mask_only: bool = False
    background: Background | None = None
    format: str = "PNG"
    quality: int = 90

    def __post_init__(self) -> None:
        object.__setattr__(self, "format", output_format(None, self.format))
        check_quality(self.quality)
        if self.background is not None:
            if self.mask_only:
                raise ConfigError("A mask has no background; choose one of `mask_only=True` and `background=...`.")
            object.__setattr__(self, "background", find_background(self.background))
        check_transparency(self.format, transparent=not self.opaque)

    @property
    def opaque(self) -> bool:
        """Whether nothing is transparent in what is made."""
        if self.background is None:
            return self.mask_only
        return not isinstance(self.background, tuple) or self.background[3] == 255

    def loaded(self, *, max_pixels: int = MAX_PIXELS) -> Rendering:
        """The same with its background picture read, if it is one: for many cut-outs.

        Raises:
            BiRefNetError: if it is no picture.
        """
        meant = None if self.background is None else find_background(self.background)
        if meant is None or isinstance(meant, (tuple, str)):
            return self
        return replace(self, background=read_background(meant, max_pixels=max_pixels))
