"""8-bit weights whose errors cancel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from birefnet.export.rounding import to_steps

Array = NDArray[Any]


def widened(values: Array, axis: int) -> Array:
    """The weights as a runtime gets them back."""
    steps, scale = to_steps(values, axis)
    assert steps.dtype == np.int8 and steps.shape == values.shape and steps.min() >= -127
    assert scale.shape == (values.shape[axis],)
    shape = [1] * values.ndim
    shape[axis] = -1
    return steps * scale.reshape(shape)


def nearest(values: Array, axis: int) -> Array:
    """The same, each rounded by itself."""
    others = tuple(other for other in range(values.ndim) if other != axis % values.ndim)
    scale = np.abs(values).max(axis=others, keepdims=True) / 127
    return np.round(values / scale) * scale


def test_steps_are_as_fine_as_each_output_allows() -> None:
    values = np.array([[1.0, -127.0, 3.0], [0.0, 0.0, 0.0], [0.5, 0.25, -0.25]], np.float32)
    steps, scale = to_steps(values, 0)
    assert steps.tolist() == [[1, -127, 3], [0, 0, 0], [127, 64, -64]]
    np.testing.assert_allclose(scale, [1, 1, 0.5 / 127])


def test_errors_of_an_output_cancel() -> None:
    """By hand: 0.4 three times is 1.2, nearest rounding makes 0 of it, and one of them becomes 1."""
    steps, _ = to_steps(np.array([[127.0, 0.4, 0.3, 0.4, 0.1]], np.float32), 0)
    assert steps[0, 0] == 127 and steps[0, [2, 4]].tolist() == [0, 0]
    assert sorted(steps[0, [1, 3]].tolist()) == [0, 1]


@pytest.mark.parametrize(("shape", "axis"), [((32, 24, 3, 3), 0), ((200, 48), 1), ((48, 200), 0), ((16, 1, 7, 7), 0)])
def test_sums_are_kept_and_no_weight_goes_far(shape: tuple[int, ...], axis: int) -> None:
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    found = np.moveaxis(widened(values, axis), axis, 0)
    wanted = np.moveaxis(values, axis, 0)
    step = (np.abs(wanted).reshape(len(wanted), -1).max(axis=1) / 127).reshape(-1, *[1] * (values.ndim - 1))
    errors = (found - wanted) / step
    assert np.abs(errors).max() < 1.5
    assert (np.abs(errors) > 0.501).mean() < 0.12  # most stay with the nearest step
    assert np.abs(errors.reshape(len(wanted), -1).sum(axis=1)).max() < 0.51
    if values.ndim == 4:
        # Kernels were balanced first; then few of an output's were moved by one again.
        assert np.median(np.abs(errors.sum(axis=(2, 3)))) < 0.5


def test_a_mean_above_zero_is_kept_better() -> None:
    """As after a ReLU: channels with means of their own, and pixels that differ around them."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((32, 256)).astype(np.float32)
    seen = np.maximum(rng.standard_normal((256, 500)) * 0.5 + 1, 0)
    ours = np.abs(widened(weights, 0) @ seen - weights @ seen).mean()
    plain = np.abs(nearest(weights, 0) @ seen - weights @ seen).mean()
    assert ours < 0.6 * plain


def test_one_weight_an_output() -> None:
    np.testing.assert_allclose(widened(np.array([[2.0], [-3.0]], np.float32), 0), [[2], [-3]])
