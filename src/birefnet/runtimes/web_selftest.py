"""Known answers, by which a page finds out whether a graphics adapter computes right: see `serving/web/selftest.js`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birefnet.pixels.prepare import InputSpec

POINTS = 8  # along each side
_DIGITS = 4  # of a logit; the page compares alphas to 4/255


def known_picture(width: int, height: int) -> NDArray[np.float32]:
    """The picture of the page's formula, (1, 3, h, w): a bright disc on a dark ground, all exact in float32."""
    c, y, x = np.ogrid[:3, :height, :width]
    inside = (x - width / 2) ** 2 + (y - height / 2) ** 2 < (min(width, height) / 4) ** 2
    picture: NDArray[np.float32] = (np.where(inside, 1.5, -1.5) + (5 * x + 3 * y + 11 * c) % 16 / 32).astype(np.float32)
    return picture[None]


def known_answers(run: Callable[[NDArray[np.float32]], NDArray[np.float32]], spec: InputSpec) -> dict[str, Any]:
    """What stands in the manifest as `self_test`: points [row, column], and the logits there.

    Args:
        run: a network, (1, 3, h, w) -> (1, 1, h, w).
        spec: its size.
    """
    rows, columns = ([int((i + 0.5) * side / POINTS) for i in range(POINTS)] for side in (spec.height, spec.width))
    points = [[row, column] for row in rows for column in columns]
    logits = run(known_picture(spec.width, spec.height))[0, 0]
    return {"points": points, "logits": [round(float(logits[row, column]), _DIGITS) for row, column in points]}
