"""What a user asks of an export; every format reads the same record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from birefnet.errors import ConfigError
from birefnet.weights.entries import ZooEntry

Precision = Literal["fp32", "fp16", "int8", "int8wo"]
Deform = Literal["native", "decomposed"]


def _say_nothing(_: str) -> None:
    """No progress asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """How a network is packed.

    Attributes:
        size: (width, height) of the input, multiples of 32; None for any.
        batch: pictures at once; None for any number.
        precision: of the weights: float32; float16 (computed as the runtime prefers); int8, weights and activations,
            which needs pictures to calibrate with; int8wo, the weights only.
        deform: deformable convolutions as the format's own operator, or made of common ones.
        calibration: a folder of pictures, without which there is no int8.
        max_drop: how much worse, as mean absolute error of the alpha in [0, 1], int8 may be on these pictures, whose
            masks lie beside them (`im` and `gt`); layers that cost more stay in float. None leaves it at the usual
            choice of layers.
        entry: the model's row of the zoo, where that was named: its terms go into folders for browsers.
        report: called with a sentence whenever a long step begins; for progress on a screen.

    Raises:
        ConfigError: if the values do not fit each other.
    """

    size: tuple[int, int] | None = None
    batch: int | None = 1
    precision: Precision = "fp32"
    deform: Deform = "native"
    calibration: Path | None = None
    max_drop: float | None = None
    entry: ZooEntry | None = None
    report: Callable[[str], None] = _say_nothing

    def __post_init__(self) -> None:
        for name, choices in (("precision", get_args(Precision)), ("deform", get_args(Deform))):
            value = getattr(self, name)
            if value not in choices:
                raise ConfigError(f"`{name}` is {value!r}; choose one of {', '.join(choices)}")
        if self.batch is not None and self.batch < 1:
            raise ConfigError(f"`batch` is {self.batch}; it must be 1 or more, or dynamic")
        if self.max_drop is not None and (self.precision != "int8" or not 0 < self.max_drop < 1):
            raise ConfigError(
                f"`max_drop` is {self.max_drop} for {self.precision}; it belongs to int8, between 0 and 1"
            )
        if self.precision == "int8" and self.calibration is None:
            raise ConfigError(
                '`precision="int8"` needs pictures to calibrate with',
                hint='name a folder of typical ones, as `calibration="photos/"`, or take `precision="int8wo"`',
            )
