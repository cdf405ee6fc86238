"""A sheet of predictions: picture, truth and prediction side by side, one row each, as one PNG."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from birefnet.training.validation import Shown

_WIDTH, _HEIGHT, _LINE, _GAP = 256, 192, 16, 4  # of a cell, of its caption, between cells; in pixels
_BACK, _INK = (32, 32, 36), (230, 230, 230)
_HEADS = ("picture", "truth", "prediction")


def draw_sheet(rows: Sequence[Shown], title: str) -> npt.NDArray[np.uint8]:
    """The rows below `title`, as (H, W, 3) uint8."""
    step = _HEIGHT + _LINE + _GAP
    size = (3 * (_WIDTH + _GAP) + _GAP, 2 * _LINE + _GAP + len(rows) * step)
    sheet = Image.new("RGB", size, _BACK)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, 2), title, fill=_INK)
    for column, head in enumerate(_HEADS):
        draw.text((_GAP + column * (_WIDTH + _GAP), _LINE), head, fill=_INK)
    for index, row in enumerate(rows):
        top = 2 * _LINE + _GAP + index * step
        for column, array in enumerate((row.picture, row.truth, row.prediction)):
            cell = _fit(array)
            left = _GAP + column * (_WIDTH + _GAP)
            sheet.paste(cell, (left + (_WIDTH - cell.width) // 2, top + (_HEIGHT - cell.height) // 2))
        # Pillow's own small font knows Latin letters only; other names must not stop a run.
        draw.text((_GAP, top + _HEIGHT + 1), row.name.encode("latin-1", "replace").decode("latin-1"), fill=_INK)
    return np.asarray(sheet)


def _fit(array: npt.NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(array)).convert("RGB")
    scale = min(_WIDTH / image.width, _HEIGHT / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
