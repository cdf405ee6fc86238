"""Metrics of soft mattes: errors over all pixels (Rhemann et al., CVPR 2009).

Prediction p and truth t are alphas in [0, 1], grey / 255, neither stretched nor cut. Sums are in thousands, as the
field prints them, so they grow with the picture; means do not. 0 is perfect.
"""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from birefnet.errors import require
from birefnet.evaluation.pair import Grey, Mask, Pair

UNIT = 1000.0  # the figures of the field are in thousands
GRADIENT_SPREAD = 1.4  # standard deviation of the Gaussian, in pixels
STEPS = 10  # connectivity is looked at in steps of 1 / STEPS of alpha
TOLERANCE = 0.15  # smaller lacks of connection do not count


def sum_of_absolute_differences(pair: Pair) -> float:
    """SAD: sum of |p - t| in thousands."""
    return _sum_of_powers(pair, 1) / UNIT


def mean_absolute_difference(pair: Pair) -> float:
    """MAD: mean of |p - t|."""
    return _sum_of_powers(pair, 1) / pair.truth.size


def mean_squared_difference(pair: Pair) -> float:
    """MSD: mean of (p - t)^2, which the papers of matting call MSE."""
    return _sum_of_powers(pair, 2) / pair.truth.size


def gradient_error(pair: Pair) -> float:
    """Grad: sum of the squared differences of the gradients' lengths, in thousands.

    Gradients are those of Gaussian derivatives with a standard deviation of 1.4 pixels; the border is repeated.
    """
    predicted, true = (_gradient_length(grey) for grey in (pair.prediction, pair.truth))
    return float(((predicted - true) ** 2).sum(dtype=np.float64)) / UNIT


def connectivity_error(pair: Pair) -> float:
    """Conn: sum of the differences in how well pixels connect to the common opaque region, in thousands.

    Alpha is looked at in steps of 0.1; at each, the region is the largest one, joined at pixels' sides, in which
    prediction and truth both reach the step. What a pixel's alpha is above the last step at which it belonged to the
    region is its lack of connection, and counts from 0.15 on.
    """
    cv2 = require("cv2", "evaluate")
    common = np.minimum(pair.prediction, pair.truth)
    reached = np.full(common.shape, STEPS, np.uint8)  # the last step at which a pixel belonged to the region
    still = np.ones(common.shape, np.bool_)
    for step in range(1, STEPS + 1):
        left = still & ~_largest_region(cv2, common >= math.ceil(255 * step / STEPS))
        reached[left] = step - 1
        still ^= left
        if not still.any():
            break
    lack = np.arange(256) / 255 - np.arange(STEPS + 1)[:, None] / STEPS
    degree = (1 - lack * (lack >= TOLERANCE)).astype(np.float32).ravel()  # by step and grey
    place = reached * np.uint16(256)
    error = np.abs(degree[place + pair.prediction] - degree[place + pair.truth])
    return float(error.sum(dtype=np.float64)) / UNIT


def _sum_of_powers(pair: Pair, power: int) -> float:
    """Sum over the pixels of |p - t|^power."""
    differences = np.abs(np.arange(256)[:, None] - np.arange(256)) ** power
    joint = np.bincount(pair.prediction.ravel().astype(np.intp) * 256 + pair.truth.ravel(), minlength=65536)
    return float(differences.ravel() @ joint) / float(255**power)


def _largest_region(cv2: ModuleType, mask: Mask) -> Mask:
    """The largest region of a mask, of pixels joined at their sides; nothing of an empty mask."""
    number, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=4, ltype=cv2.CV_32S)
    if number == 1:
        return mask
    sizes = np.bincount(labels[mask], minlength=number)
    region: Mask = labels == int(sizes.argmax())
    return region


def _gradient_length(grey: Grey) -> NDArray[np.float32]:
    cv2 = require("cv2", "evaluate")
    smooth, slope = _gaussian_pair()
    alpha = grey.astype(np.float32) / 255
    across = cv2.sepFilter2D(alpha, cv2.CV_32F, slope, smooth, borderType=cv2.BORDER_REPLICATE)
    down = cv2.sepFilter2D(alpha, cv2.CV_32F, smooth, slope, borderType=cv2.BORDER_REPLICATE)
    length: NDArray[np.float32] = np.sqrt(across * across + down * down)
    return length


def _gaussian_pair() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The Gaussian and its derivative, cut where the Gaussian falls below 0.01; their product has unit length."""
    reach = math.ceil(GRADIENT_SPREAD * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * GRADIENT_SPREAD * 0.01)))
    offsets = np.arange(-reach, reach + 1)
    smooth = np.exp(-(offsets**2) / (2 * GRADIENT_SPREAD**2)) / (GRADIENT_SPREAD * math.sqrt(2 * math.pi))
    slope = offsets * smooth / GRADIENT_SPREAD**2
    return smooth / np.linalg.norm(smooth), slope / np.linalg.norm(slope)
