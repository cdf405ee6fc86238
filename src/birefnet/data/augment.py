"""Random changes to a picture and its mask; every function takes its own random generator.

Legend: H, W size. Pictures are uint8 RGB (H, W, 3), masks uint8 (H, W) with 255 for the subject. Nothing here touches
a global random state.
"""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

Array = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def crop_box(rng: np.random.Generator, mask: Array, smallest: float, keep: float = 0.7) -> Box:
    """A random rectangle (left, top, right, bottom) of the picture that keeps most of the subject.

    Args:
        rng: source of randomness.
        mask: (H, W) uint8.
        smallest: least side of the rectangle, as a part of the picture's.
        keep: least part of the subject's area that must stay inside; after ten tries the whole picture is taken.
    """
    height, width = mask.shape
    # Summing a coarse mask is enough to judge a crop and far cheaper than summing every pixel ten times.
    coarse = mask[::4, ::4].astype(np.float32)
    total = float(coarse.sum())
    for _ in range(10):
        w, h = width * rng.uniform(smallest, 1), height * rng.uniform(smallest, 1)
        left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
        inside = coarse[int(top / 4) : int((top + h) / 4) + 1, int(left / 4) : int((left + w) / 4) + 1]
        if float(inside.sum()) >= keep * total:
            return left, top, left + w, top + h
    return 0.0, 0.0, float(width), float(height)


def free_box(rng: np.random.Generator, mask: Array, smallest: float = 0.3) -> Box | None:
    """A random rectangle without any subject in it, or None if ten tries find none."""
    height, width = mask.shape
    for _ in range(10):
        w, h = width * rng.uniform(smallest, 0.8), height * rng.uniform(smallest, 0.8)
        left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
        if not mask[int(top) : int(top + h) + 1, int(left) : int(left + w) + 1].any():
            return left, top, left + w, top + h
    return None


def resize(array: Array, size: tuple[int, int], box: Box | None = None) -> Array:
    """The `box` of `array` brought to `size` (width, height), bilinear with antialiasing, as inference does."""
    return np.asarray(Image.fromarray(array).resize(size, Image.Resampling.BILINEAR, box=box))


def rotate(picture: Array, mask: Array, degrees: float) -> tuple[Array, Array]:
    """Both turned about the centre; what comes in from outside is the picture's reflection."""
    margin = max(picture.shape[0], picture.shape[1]) // 8
    turned = []
    for array in (picture, mask):
        padding = ((margin, margin), (margin, margin), (0, 0))[: array.ndim]
        wide = Image.fromarray(np.pad(array, padding, mode="reflect"))
        wide = wide.rotate(degrees, Image.Resampling.BILINEAR)
        turned.append(np.asarray(wide)[margin:-margin, margin:-margin])
    return turned[0], turned[1]


def jitter_colours(rng: np.random.Generator, picture: Array, strength: float = 1.0) -> Array:
    """Exposure, contrast, saturation, colour cast and gamma, together about as strong as a phone's worst."""
    x = picture.astype(np.float32) / 255
    x = x ** np.float32(np.exp(rng.normal(0, 0.2 * strength)))
    mean = x.mean()
    x = (x - mean) * np.float32(np.exp(rng.normal(0, 0.22 * strength))) + mean * np.float32(
        np.exp(rng.normal(0, 0.18 * strength))
    )
    luma = (x @ _LUMA)[..., None]
    saturation = 0.0 if rng.random() < 0.04 * strength else float(np.exp(rng.normal(0, 0.3 * strength)))
    x = luma + (x - luma) * np.float32(saturation)
    x *= np.exp(rng.normal(0, 0.06 * strength, 3)).astype(np.float32)
    return np.asarray(np.clip(x * 255 + 0.5, 0, 255), np.uint8)


def degrade(rng: np.random.Generator, picture: Array) -> Array:
    """What cameras and the web do to pictures, each sometimes: blur, low resolution, noise, JPEG."""
    height, width = picture.shape[:2]
    if rng.random() < 0.12:
        radius = rng.uniform(0.4, 1.6)
        picture = np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius)))
    if rng.random() < 0.10:
        factor = rng.uniform(0.35, 0.8)
        picture = resize(resize(picture, (max(8, int(width * factor)), max(8, int(height * factor)))), (width, height))
    if rng.random() < 0.15:
        noise = rng.standard_normal((height, width, 1 if rng.random() < 0.5 else 3), dtype=np.float32)
        noisy = picture + noise * np.float32(rng.uniform(2, 14))
        picture = np.asarray(np.clip(noisy, 0, 255), np.uint8)
    if rng.random() < 0.2:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=int(rng.integers(25, 90)))
        picture = np.asarray(Image.open(buffer).convert("RGB"))
    return picture
