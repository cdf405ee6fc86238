"""What stands behind a subject: a colour, the picture itself out of focus, or another picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

import numpy as np
from PIL import ImageColor

from birefnet.errors import ConfigError, did_you_mean
from birefnet.pixels.compose import Bytes, Colour, over_colour, parse_colour
from birefnet.pixels.picture import MAX_PIXELS, Picture, read_picture
from birefnet.pixels.sources import Source

BLUR: Literal["blur"] = "blur"
WHITE = (255, 255, 255)  # stands behind what is transparent where something opaque is wanted

Background = Source | Sequence[int]


def find_background(given: Background, *, files: bool = True) -> Colour | Literal["blur"] | Source:
    """Decide what a background means: a colour as (r, g, b, a), the word "blur", or a picture, not yet read.

    Of texts only "blur" stays one: a file's name becomes a path.

    A text that names a colour, or "blur", means that even where a file has this name; `./white` is the file.

    Args:
        given: a colour ("white", "#ff8800", "255,136,0", or three or four numbers in 0..255), "blur", or a picture.
        files: whether a text may name a file.

    Raises:
        ConfigError: for a text that is neither a colour nor "blur" nor the name of a file, and for other numbers than
            those of a colour.
    """
    if isinstance(given, str):
        return _find_text(given, files=files)
    if isinstance(given, np.ndarray) and given.ndim == 1:
        return parse_colour(given.tolist())
    if isinstance(given, (list, tuple)):
        return parse_colour(given)
    return cast(Source, given)  # bytes are a sequence of numbers too: here they are a file


def read_background(source: Source, *, max_pixels: int = MAX_PIXELS) -> Bytes:
    """A picture to stand behind a subject -> (H, W, 3) uint8; what is transparent in it becomes white.

    Raises:
        BiRefNetError: as for `birefnet.pixels.picture.read_picture`.
    """
    return over_white(read_picture(source, max_pixels=max_pixels))


def over_white(picture: Picture) -> Bytes:
    """What a picture shows on white paper, (H, W, 3) uint8: the colours under its transparency stay hidden."""
    return picture.rgb if picture.alpha is None else over_colour(picture.rgb, picture.alpha, WHITE)


def _find_text(text: str, *, files: bool) -> Colour | Literal["blur"] | Path:
    word = text.strip().lower()
    if word == BLUR:
        return BLUR
    try:
        return parse_colour(text)
    except ConfigError as error:
        if files and os.path.exists(text):
            return Path(text)
        hint = did_you_mean(word, (BLUR, *ImageColor.colormap))
        if files:
            hint = hint or "nor is there a picture of that name"
        raise ConfigError(str(error), hint=hint) from None
