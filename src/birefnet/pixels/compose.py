"""Alpha + picture -> what people keep: a cut-out, or the subject before a colour, a picture, or its own blurred scene.

Alpha 0 and 1 are exact: where it is 1 the picture's bytes come through unchanged, where it is 0 the background's do.
The colours are the picture's or those of the subject alone (`birefnet.pixels.foreground`); nothing is premultiplied.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageFilter

from birefnet.errors import ConfigError, InputError
from birefnet.pixels.picture import Picture
from birefnet.pixels.prepare import check_rgb
from birefnet.pixels.strips import strips

Bytes = NDArray[np.uint8]
Colour = tuple[int, int, int, int]  # red, green, blue, alpha in 0..255

UNSEEN = (128, 128, 128)  # shown to the network where a picture is transparent: nothing dark or bright is lost on it
BLUR_SHARE = 1 / 50  # default radius of the blur, of the longer side
BLUR_SIDE = 1024  # a blurred scene holds no detail: it is made at this size at most


def to_mask(alpha: NDArray[np.float32]) -> Bytes:
    """(H, W) float32 in [0, 1] -> (H, W) uint8, rounded to the nearest of 0..255."""
    mask = np.empty(alpha.shape, np.uint8)
    for rows in strips(*alpha.shape):
        mask[rows] = alpha[rows] * np.float32(255) + np.float32(0.5)
    return mask


def cut_out(rgb: Bytes, alpha: NDArray[np.float32]) -> Bytes:
    """(H, W, 3) uint8 and (H, W) alpha -> (H, W, 4) uint8, straight alpha.

    Where nothing is left (alpha rounds to 0) the colour becomes black: the removed scene is not carried along
    unseen, and the file is about half as large.
    """
    _check_pair(rgb, alpha)
    out = np.empty((*alpha.shape, 4), np.uint8)
    for rows in strips(*alpha.shape):
        mask = to_mask(alpha[rows])
        out[rows, :, :3] = rgb[rows] * (mask > 0)[..., None]
        out[rows, :, 3] = mask
    return out


def visible(picture: Picture) -> Bytes:
    """What a network is shown of a picture, (H, W, 3) uint8: colours hidden under its transparency are covered."""
    return picture.rgb if picture.alpha is None else over_colour(picture.rgb, picture.alpha, UNSEEN)


def over_colour(rgb: Bytes, alpha: NDArray[np.float32], colour: Sequence[int]) -> Bytes:
    """The subject before one colour (r, g, b) or (r, g, b, a) in 0..255.

    An opaque colour gives (H, W, 3): no alpha is left that could show as a rim. A translucent one gives
    (H, W, 4), straight alpha.
    """
    red, green, blue, opacity = parse_colour(tuple(colour))
    fill = np.array([red, green, blue], np.uint8)
    if opacity == 255:
        return _over(rgb, alpha, lambda rows: np.broadcast_to(fill, rgb[rows].shape))
    _check_pair(rgb, alpha)
    out = np.empty((*alpha.shape, 4), np.uint8)
    for rows in strips(*alpha.shape):
        front = alpha[rows, :, None]
        behind = (1 - front) * np.float32(opacity / 255)
        total = front + behind
        mixed = (rgb[rows] * front + fill * behind) / np.where(total > 0, total, 1)
        out[rows, :, :3] = mixed + np.float32(0.5)
        out[rows, :, 3:] = total * 255 + np.float32(0.5)
    return out


def over_picture(rgb: Bytes, alpha: NDArray[np.float32], background: Bytes) -> Bytes:
    """The subject before another picture (any size, (h, w, 3) uint8), scaled to cover and cropped to its middle."""
    check_rgb(background)
    cover = fit_cover(background, *rgb.shape[:2])
    return _over(rgb, alpha, lambda rows: cover[rows])


def over_blur(
    rgb: Bytes, alpha: NDArray[np.float32], radius: float | None = None, *, subject: Bytes | None = None
) -> Bytes:
    """The subject before its own scene out of focus.

    Only the scene's colours enter the blur, weighted by 1 - alpha, so the subject casts no glow.

    Args:
        rgb: the picture; the blurred scene is made of it.
        radius: standard deviation in pixels; None for a fiftieth of the longer side.
        subject: the subject's colours, (H, W, 3) uint8; None for the picture's.
    """
    _check_pair(rgb, alpha)
    height, width = alpha.shape
    scale = min(1.0, BLUR_SIDE / max(height, width))
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    sigma = (max(height, width) * BLUR_SHARE if radius is None else radius) * scale
    blur = ImageFilter.GaussianBlur(sigma)
    scene = np.asarray(Image.fromarray(to_mask(1 - alpha)).resize(small, Image.Resampling.BOX), np.uint16)
    colour = np.asarray(Image.fromarray(rgb).resize(small, Image.Resampling.BOX), np.uint16)
    weight = np.maximum(scene, 1)  # never quite nothing: a picture that is all subject still has a scene
    light = Image.fromarray(_divide_255(colour * weight[..., None]).astype(np.uint8)).filter(blur)
    amount = np.asarray(Image.fromarray(weight.astype(np.uint8)).filter(blur), np.float32)[..., None]
    mixed = np.asarray(light, np.float32) * 255 / np.maximum(amount, 1)
    soft = Image.fromarray(np.clip(mixed + 0.5, 0, 255).astype(np.uint8))
    cover = np.asarray(soft.resize((width, height), Image.Resampling.BILINEAR))
    return _over(rgb if subject is None else subject, alpha, lambda rows: cover[rows])


def fit_cover(picture: Bytes, height: int, width: int) -> Bytes:
    """(h, w, 3) uint8 -> (height, width, 3): as large as needed to cover it, the overhang cut off evenly."""
    rows, columns = picture.shape[:2]
    if (rows, columns) == (height, width):
        return picture
    scale = max(height / rows, width / columns)
    left, top = (columns - width / scale) / 2, (rows - height / scale) / 2
    box = (max(0.0, left), max(0.0, top), min(columns, columns - left), min(rows, rows - top))
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC, box=box))


def parse_colour(colour: str | Sequence[int]) -> Colour:
    """A name, "#rgb", "#rrggbb", "#rrggbbaa", "rgb(...)", "r,g,b[,a]", or three or four numbers in 0..255.

    Raises:
        ConfigError: if it is none of these.
    """
    parts: tuple[int, ...]
    try:
        if not isinstance(colour, str):
            parts = tuple(operator.index(value) for value in colour)  # 0.5 is no byte
        elif "," in colour and "(" not in colour:
            parts = tuple(int(value) for value in colour.split(","))
        else:
            parts = ImageColor.getcolor(colour.strip(), "RGBA")  # type: ignore[assignment]
    except (ValueError, TypeError):
        parts = ()
    if len(parts) == 3:
        parts = (*parts, 255)
    if len(parts) != 4 or not all(0 <= value <= 255 for value in parts):
        raise ConfigError(f"`{colour}` is not a colour; wanted a name, #rrggbb, #rrggbbaa or r,g,b[,a] in 0..255.")
    return parts[0], parts[1], parts[2], parts[3]


def _over(rgb: Bytes, alpha: NDArray[np.float32], background: Callable[[slice], Bytes]) -> Bytes:
    """Blend strip by strip: out = (front * a + back * (255 - a)) / 255, rounded, in 16-bit whole numbers."""
    _check_pair(rgb, alpha)
    out = np.empty(rgb.shape, np.uint8)
    for rows in strips(*alpha.shape):
        front = to_mask(alpha[rows]).astype(np.uint16)[..., None]
        mixed = rgb[rows] * front
        mixed += background(rows) * (255 - front)
        out[rows] = _divide_255(mixed)
    return out


def _divide_255(values: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Exact rounding division by 255 of values up to 255 * 255, without leaving 16 bits."""
    values = values + np.uint16(128)
    return (values + (values >> np.uint16(8))) >> np.uint16(8)


def _check_pair(rgb: Bytes, alpha: NDArray[np.float32]) -> None:
    check_rgb(rgb)
    if alpha.shape != rgb.shape[:2]:
        raise InputError(f"The alpha is {alpha.shape}, but the picture is {rgb.shape[:2]}.")
