"""The subject's own colours: what its soft edge would show without the scene that shines through it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birefnet.errors import ConfigError, InputError, require
from birefnet.pixels.foreground_fusion import blur_fusion
from birefnet.pixels.prepare import check_rgb

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

DEFAULT = "blur_fusion"


def estimate_foreground(
    rgb: Bytes, alpha: NDArray[np.floating[Any]], method: str = DEFAULT, *, threads: int | None = None
) -> Bytes:
    """What the subject's colours are at every pixel, (H, W, 3) uint8 sRGB, not premultiplied.

    A soft pixel of a picture is a mixture, alpha * foreground + (1 - alpha) * background; a cut-out with the picture's
    colours carries its old background along as a rim. The result holds the foreground instead.

    Where alpha is 1 these are the picture's colours, unchanged. Where it is 0 the foreground is nowhere to be seen, and
    the result is black, but for blur fusion's first three pixels beyond the edge, which repeat the edge's colours.
    The background's colours are never there.

    Args:
        rgb: the picture, (H, W, 3) uint8 sRGB.
        alpha: (H, W), in [0, 1].
        method: "blur_fusion" (Forte, ICIP 2021: fast, needs nothing else), "closed_form" (Levin, Lischinski and Weiss,
            2008: slow, much memory) or "multi_level" (Germer et al., ICPR 2020); the latter two by `pymatting`.
        threads: that blur fusion may use; None for the default.

    Raises:
        ConfigError: for another method.
        InputError: if the arrays do not fit, or alpha is not in [0, 1].
        MissingExtra: if the method needs `pymatting`, which is not installed.
    """
    estimate = METHODS[check_method(method)]
    check_rgb(rgb)
    if alpha.shape != rgb.shape[:2] or not np.issubdtype(alpha.dtype, np.floating):
        raise InputError(f"Wanted an alpha of {rgb.shape[:2]} in floating point, got {alpha.shape} {alpha.dtype}.")
    low, high = float(alpha.min()), float(alpha.max())
    if not (low >= 0 and high <= 1):  # also where one of them is not a number
        raise InputError(f"Wanted an alpha in [0, 1], got values from {low:g} to {high:g}.")
    return estimate(rgb, alpha.astype(np.float32, copy=False), threads)


def check_method(method: str) -> str:
    """Give back the name of a method, before any work is done.

    Raises:
        ConfigError: if there is none such.
        MissingExtra: if it needs `pymatting`, which is not installed.
    """
    if method not in METHODS:
        raise ConfigError(f"No way of estimating colours is named `{method}`; known: {', '.join(METHODS)}.")
    if method != DEFAULT and find_spec("pymatting") is None:  # its import takes seconds: later
        require("pymatting", "matting")
    return method


def _closed_form(rgb: Bytes, alpha: Floats, _: int | None) -> Bytes:
    estimate = require("pymatting", "matting").estimate_foreground_cf
    return _to_bytes(estimate(rgb / np.float64(255), alpha.astype(np.float64)), rgb, alpha)


def _multi_level(rgb: Bytes, alpha: Floats, _: int | None) -> Bytes:
    estimate = require("pymatting", "matting").estimate_foreground_ml
    return _to_bytes(estimate(rgb / np.float32(255), alpha), rgb, alpha)


def _to_bytes(colours: NDArray[Any], rgb: Bytes, alpha: Floats) -> Bytes:
    """Colours in [0, 1] -> 8 bits, with the picture's own where alpha is 1 and black where it is 0."""
    out: Bytes = (np.clip(colours, 0, 1) * 255 + 0.5).astype(np.uint8)
    np.copyto(out, rgb, where=(alpha == 1)[..., None])
    out[alpha == 0] = 0
    return out


def _blur_fusion(rgb: Bytes, alpha: Floats, threads: int | None) -> Bytes:
    return blur_fusion(rgb, alpha, threads=threads)


METHODS: dict[str, Callable[[Bytes, Floats, int | None], Bytes]] = {
    "blur_fusion": _blur_fusion,
    "closed_form": _closed_form,
    "multi_level": _multi_level,
}
