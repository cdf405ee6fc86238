"""Small pictures for the report: a photo, its truth, the prediction, and where the two differ."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from birefnet.data.masks import read_mask
from birefnet.errors import PictureError
from birefnet.evaluation.files import Job
from birefnet.evaluation.pair import Grey
from birefnet.evaluation.run import Row
from birefnet.pixels.picture import read_picture

SIDE = 320  # pixels of the longer side, at most
MISSED, EXTRA = (255, 110, 64), (64, 150, 255)  # subject that was lost; ground that was taken for subject
_GROUND, _SUBJECT = 18, 96  # grey levels of what both agree on


@dataclass(frozen=True, slots=True)
class Strip:
    """The small pictures of one pair, as data addresses for HTML; no photo where the set has none.

    Attributes:
        width, height: of each, in pixels.
    """

    photo: str | None
    truth: str
    prediction: str
    difference: str
    width: int
    height: int


def worst(rows: Sequence[Row], metric: str, *, higher_is_better: bool, count: int) -> list[Row]:
    """The `count` pictures with the worst values, the worst first; those without a value are not among them."""
    defined = [(value, row) for row in rows if (value := row.values.get(metric)) is not None]
    defined.sort(key=lambda pair: (pair[0] if higher_is_better else -pair[0], pair[1].job.stem))
    return [row for _, row in defined[:count]]


def strip(job: Job) -> Strip:
    """Read a pair's files again and make them small.

    Raises:
        DataError: if a file has become unreadable since it was judged.
    """
    truth = _small(Image.fromarray(read_mask(job.truth).array))
    size = truth.size
    prediction = Image.fromarray(read_mask(job.prediction).array).resize(size, Image.Resampling.BOX)
    photo = None
    if job.picture is not None:
        try:
            photo = Image.fromarray(read_picture(job.picture).rgb).resize(size, Image.Resampling.BOX)
        except PictureError:  # the photo is only shown; nothing is measured on it
            photo = None
    seen = difference(np.asarray(prediction), np.asarray(truth))
    return Strip(
        photo=None if photo is None else _address(photo, "JPEG"),
        truth=_address(truth, "PNG"),
        prediction=_address(prediction, "PNG"),
        difference=_address(Image.fromarray(seen), "PNG"),
        width=size[0],
        height=size[1],
    )


def difference(prediction: Grey, truth: Grey) -> NDArray[np.uint8]:
    """(H, W) each -> (H, W, 3): dark ground, grey subject, and in two colours what was missed and what is extra."""
    p, t = (array[..., None].astype(np.float64) / 255 for array in (prediction, truth))
    both = _GROUND + (_SUBJECT - _GROUND) * np.minimum(p, t)
    missed, extra = np.maximum(t - p, 0), np.maximum(p - t, 0)
    mixed = both * (1 - missed - extra) + missed * np.array(MISSED) + extra * np.array(EXTRA)
    seen: NDArray[np.uint8] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    return seen


def _small(image: Image.Image) -> Image.Image:
    scale = min(1.0, SIDE / max(image.size))
    size = tuple(max(1, round(side * scale)) for side in image.size)
    return image.resize((size[0], size[1]), Image.Resampling.BOX)


def _address(image: Image.Image, format: str) -> str:
    stream = io.BytesIO()
    options = {"quality": 82} if format == "JPEG" else {"optimize": True}
    image.save(stream, format, **options)
    return f"data:image/{format.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"
