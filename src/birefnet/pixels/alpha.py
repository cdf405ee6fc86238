"""Logits -> alpha at the picture's size, and whether there is a subject at all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from birefnet.errors import InputError
from birefnet.pixels.prepare import Frame, check_rgb, squash
from birefnet.pixels.strips import strips
from birefnet.pixels.upsample import guided_upsample

FOREGROUND_ALPHA = 0.5  # a pixel above this belongs to the subject
FOREGROUND_SHARE = 1 / 4096  # fewer such pixels (16x16 of 1024x1024) are noise, not a subject


def finish(
    logits: NDArray[np.float32],
    frame: Frame,
    *,
    rgb: NDArray[np.uint8] | None = None,
    sharpen: bool = False,
    threads: int | None = None,
) -> NDArray[np.float32]:
    """(1, 1, h, w) logits -> alpha (H, W) float32 in [0, 1] at the size of the frame.

    The values are the network's: sigmoid, then a bilinear resize with pixel centres aligned. Nothing is stretched
    to the picture's own minimum and maximum, so an empty scene stays empty.

    Args:
        rgb: the picture, (H, W, 3) uint8; needed for `sharpen`.
        sharpen: let the picture's own edges guide the enlargement (see `guided_upsample`); no effect where the
            picture is not larger than the network's input.
        threads: that may be used; None for the default.

    Raises:
        InputError: if shapes do not belong together.
    """
    if logits.ndim != 4 or logits.shape[:2] != (1, 1):
        raise InputError(f"Wanted logits of (1, 1, height, width), got {logits.shape}.")
    coarse = sigmoid(logits[0, 0])  # (h, w)
    height, width = coarse.shape
    if not sharpen or (frame.height <= height and frame.width <= width):
        return resize_alpha(coarse, frame.height, frame.width)
    if rgb is None:
        raise InputError("To sharpen the alpha, `finish` needs the picture: pass `rgb`.")
    check_rgb(rgb)
    if rgb.shape[:2] != (frame.height, frame.width):
        raise InputError(f"The frame is {frame.width}x{frame.height}, but `rgb` is {rgb.shape[1]}x{rgb.shape[0]}.")
    seen = frame.seen if frame.seen is not None else squash(rgb, height, width)
    return guided_upsample(coarse, seen, rgb, threads=threads)


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logistic function, float32, without overflow for any finite input."""
    alpha: NDArray[np.float32] = np.tanh(logits.astype(np.float32) * np.float32(0.5))
    alpha *= 0.5
    alpha += 0.5
    return alpha


def resize_alpha(alpha: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """(h, w) float32 -> (height, width) float32, bilinear; averages when it shrinks."""
    if alpha.shape == (height, width):
        return alpha
    image = Image.fromarray(np.ascontiguousarray(alpha))
    scale = alpha.shape[0] / height
    out = np.empty((height, width), np.float32)
    for rows in strips(height, width):
        box = (0, rows.start * scale, alpha.shape[1], rows.stop * scale)
        strip = image.resize((width, rows.stop - rows.start), Image.Resampling.BILINEAR, box=box)
        np.clip(np.asarray(strip), 0, 1, out=out[rows])  # the filter's weights sum to 1 only up to rounding
    return out


def has_foreground(alpha: NDArray[np.float32]) -> bool:
    """Whether (H, W) alpha holds a subject: at least one pixel in 4096 (and at least one) is above one half."""
    solid = sum(int(np.count_nonzero(alpha[rows] > FOREGROUND_ALPHA)) for rows in strips(*alpha.shape))
    return solid >= max(1, alpha.size * FOREGROUND_SHARE)
