"""Which values the tensors of a graph take on pictures, and the 8-bit range that loses least of them.

The whole range would spend most steps on a few extreme values; the range chosen here is the one with the least mean
squared error over what was seen, values outside it clipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birefnet.errors import require
from birefnet.libraries import load

STEPS = 255  # of an unsigned 8-bit value
_SEEN = 8192  # values of a tensor that are kept of each picture
_SHARES = np.linspace(0.2, 1.0, 17)  # of the whole range that are tried, at each end

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Range:
    """An unsigned 8-bit value q stands for (q - zero) * scale."""

    scale: np.float32
    zero: np.uint8


def find_ranges(model: Any, names: Sequence[str], pictures: Iterable[Floats]) -> dict[str, Range]:
    """The best range of each of the named tensors.

    Args:
        model: an `onnx.ModelProto` in float32 with one input; left as it is.
        names: of tensors that it computes, or of its input.
        pictures: normalised, (N, 3, H, W) each, as the network will see them; at least one.
    """
    found: dict[str, list[Floats]] = {name: [] for name in names}
    generator = np.random.default_rng(0)
    for values in _values(model, names, pictures):
        for name, value in values.items():
            found[name].append(_some(value.ravel(), generator))
    return {name: best_range(np.concatenate(seen)) for name, seen in found.items()}


def best_range(values: Floats) -> Range:
    """The range with the least mean squared error over `values` (N,); zero, which pads, is always exact."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    if low == high:
        return Range(np.float32(1), np.uint8(0))
    lows = low * _SHARES if low < 0 else np.zeros(1)
    highs = high * _SHARES if high > 0 else np.zeros(1)
    # Coarsely, each end in turn: the two hardly depend on each other.
    best = (low, high)
    for _ in range(2):
        best = min(((best[0], top) for top in highs), key=lambda ends: _error(values, ends))
        best = min(((bottom, best[1]) for bottom in lows), key=lambda ends: _error(values, ends))
    return _to_range(best)


def _to_range(ends: tuple[float, float]) -> Range:
    scale = np.float32((ends[1] - ends[0]) / STEPS)
    return Range(scale, np.uint8(np.clip(np.round(-ends[0] / scale), 0, STEPS)))


def _error(values: Floats, ends: tuple[float, float]) -> float:
    """The mean squared error of `values` in a range."""
    found = _to_range(ends)
    zero = np.float32(found.zero)
    steps = np.clip(np.round(values / found.scale) + zero, 0, STEPS)
    return float(np.square((steps - zero) * found.scale - values).mean())


def _some(values: Floats, generator: np.random.Generator) -> Floats:
    """Its extremes, and of the rest some at random."""
    if values.size <= _SEEN:
        return values
    picked = values[generator.integers(values.size, size=_SEEN - 2)]
    return np.concatenate([picked, [values.min(), values.max()]]).astype(np.float32)


def _values(model: Any, names: Sequence[str], pictures: Iterable[Floats]) -> Iterator[dict[str, Floats]]:
    """Of each picture what the named tensors hold."""
    onnx: Any = require("onnx", "export")
    library: Any = load("onnxruntime")
    given = model.graph.input[0].name
    asked = [name for name in names if name != given]
    told = onnx.ModelProto()
    told.CopyFrom(model)
    known = {port.name for port in told.graph.output}
    told.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in asked if name not in known)
    options = library.SessionOptions()
    options.log_severity_level = 3  # errors; they are raised as well
    options.enable_mem_pattern = False
    with TemporaryDirectory() as folder:  # a graph as bytes would be in memory twice
        path = Path(folder) / "told.onnx"
        path.write_bytes(told.SerializeToString())
        del told
        session = library.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    for picture in pictures:
        values = dict(zip(asked, session.run(asked, {given: picture}), strict=True)) if asked else {}
        yield values | ({given: picture} if given in names else {})
