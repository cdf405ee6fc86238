"""All metrics of a pair under the names of the field, and of a set of pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from birefnet.errors import ConfigError, InputError, did_you_mean
from birefnet.evaluation import boundary, effort, matte, region, weighted
from birefnet.evaluation.pair import Grey, Pair
from birefnet.evaluation.region import Curve


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table of metrics.

    Attributes:
        name: as in results and tables.
        better: which way is better.
        group: what it looks at; tables are divided by it.
        symbol: as in the papers, in LaTeX.
        text: what it is, in a few words.
        needs: the extra of the package that it needs, or None.
        curve: the curve it is taken from, and whether it is the largest value or the mean; the value of a set then
            comes from the mean of its pictures' curves. None: the value of a set is the mean of its pictures' values.
        undefined: when it is not defined for a pair, in words; empty if it always is.
    """

    name: str
    better: Literal["higher", "lower"]
    group: Literal["region", "boundary", "effort", "matte"]
    symbol: str
    text: str
    needs: str | None = None
    curve: tuple[Literal["F", "E", "BIoU"], Literal["largest", "mean"]] | None = None
    undefined: str = ""

    @property
    def latex(self) -> str:
        """Its head in a LaTeX table: the symbol, and an arrow to where it is better."""
        return rf"${self.symbol}\{'up' if self.better == 'higher' else 'down'}arrow$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What was measured on one pair.

    Attributes:
        values: metric -> value; None where it is not defined for this pair.
        curves: "F", "E", "BIoU", and beside "F" also "precision" and "recall" -> (256,) values, index t for the
            pixels whose stretched level is at least t; those that the metrics asked for need.
    """

    values: dict[str, float | None]
    curves: dict[str, Curve] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What was measured on a set.

    Attributes:
        values: metric -> value over the pairs for which it is defined; None if it is for none.
        undefined: metric -> number of pairs left out, for those where any was.
        curves: mean curves, as in `Measurement`.
        count: number of pairs.
    """

    values: dict[str, float | None]
    undefined: dict[str, int]
    curves: dict[str, Curve]
    count: int


_NO_EDGE = "the truth is empty or full, so it has no boundary"
_ONE_PIXEL = "the picture is a single pixel"
_ROWS = (
    Metric("S", "higher", "region", r"S_\alpha", "S-measure: likeness of objects and regions"),
    Metric("MAE", "lower", "region", r"\mathrm{MAE}", "mean absolute error"),
    Metric("MSE", "lower", "region", r"\mathrm{MSE}", "mean squared error"),
    Metric("maxF", "higher", "region", r"F_\beta^{x}", "F-measure at the best threshold", curve=("F", "largest")),
    Metric("meanF", "higher", "region", r"F_\beta^{m}", "F-measure, mean over thresholds", curve=("F", "mean")),
    Metric("adpF", "higher", "region", r"F_\beta^{a}", "F-measure at the adaptive threshold"),
    Metric("WF", "higher", "region", r"F_\beta^{\omega}", "weighted F-measure", needs="evaluate"),
    Metric(
        "maxE",
        "higher",
        "region",
        r"E_\phi^{x}",
        "E-measure at the best threshold",
        curve=("E", "largest"),
        undefined=_ONE_PIXEL,
    ),
    Metric(
        "meanE",
        "higher",
        "region",
        r"E_\phi^{m}",
        "E-measure, mean over thresholds",
        curve=("E", "mean"),
        undefined=_ONE_PIXEL,
    ),
    Metric("adpE", "higher", "region", r"E_\phi^{a}", "E-measure at the adaptive threshold", undefined=_ONE_PIXEL),
    Metric("HCE", "lower", "effort", r"\mathrm{HCE}_\gamma", "human correction efforts", needs="evaluate"),
    Metric("MBA", "higher", "boundary", r"\mathrm{mBA}", "mean boundary accuracy", undefined=_NO_EDGE),
    Metric(
        "maxBIoU", "higher", "boundary", r"\mathrm{BIoU}^{x}", "boundary IoU, best threshold", curve=("BIoU", "largest")
    ),
    Metric("meanBIoU", "higher", "boundary", r"\mathrm{BIoU}^{m}", "boundary IoU, mean", curve=("BIoU", "mean")),
    Metric("IoU", "higher", "region", r"\mathrm{IoU}", "intersection over union at one half"),
    Metric("SAD", "lower", "matte", r"\mathrm{SAD}", "sum of absolute differences, in thousands"),
    Metric("MAD", "lower", "matte", r"\mathrm{MAD}", "mean absolute difference of the mattes"),
    Metric("MSD", "lower", "matte", r"\mathrm{MSE}", "mean squared difference of the mattes"),
    Metric("Grad", "lower", "matte", r"\mathrm{Grad}", "gradient error, in thousands", needs="evaluate"),
    Metric("Conn", "lower", "matte", r"\mathrm{Conn}", "connectivity error, in thousands", needs="evaluate"),
)
METRICS: Mapping[str, Metric] = MappingProxyType({row.name: row for row in _ROWS})
"""All metrics by name, in the order in which they are listed."""
MATTE = tuple(row.name for row in _ROWS if row.group == "matte")
"""What judges soft mattes besides."""
STANDARD = tuple(name for name in METRICS if name not in (*MATTE, "IoU"))
"""What the published tables show."""

_VALUES: dict[str, Callable[[Pair], float | None]] = {
    "S": region.s_measure,
    "MAE": region.mean_absolute_error,
    "MSE": region.mean_squared_error,
    "adpF": region.adaptive_f,
    "WF": weighted.weighted_f,
    "adpE": region.adaptive_e,
    "MBA": boundary.mean_boundary_accuracy,
    "IoU": region.iou,
    "SAD": matte.sum_of_absolute_differences,
    "MAD": matte.mean_absolute_difference,
    "MSD": matte.mean_squared_difference,
    "Grad": matte.gradient_error,
    "Conn": matte.connectivity_error,
}


def measure(
    prediction: Grey, truth: Grey, metrics: Sequence[str] = STANDARD, *, skeleton_cache: Path | None = None
) -> Measurement:
    """Measure one prediction.

    Args:
        prediction: uint8 (H, W), the alpha at the truth's size.
        truth: uint8 (H, W); foreground above 128, soft values count for the metrics of mattes only.
        metrics: names from `METRICS`, in the order wanted.
        skeleton_cache: a folder that keeps the truths' skeletons for the next time; used by HCE only.

    Raises:
        InputError: for arrays of another type, shape or size.
        ConfigError: for a metric that is not known.
        MissingExtra: if a metric needs OpenCV and it is not installed.
    """
    check_metrics(metrics)
    pair = Pair(prediction, truth)
    curves = _curves(pair, {row.curve[0] for name in metrics if (row := METRICS[name]).curve})
    functions: dict[str, Callable[[Pair], float | None]] = {
        **_VALUES,
        "HCE": partial(effort.human_correction_efforts, skeleton_cache=skeleton_cache),
    }
    values: dict[str, float | None] = {}
    for name in metrics:
        if METRICS[name].curve:
            values[name] = _of_curve(METRICS[name], curves)
        else:
            values[name] = functions[name](pair)
    return Measurement(values=values, curves=curves)


def summarise(measurements: Iterable[Measurement]) -> Summary:
    """Put the measurements of a set together; they may come from a generator, and only sums are kept.

    The largest and the mean value over thresholds are those of the mean curve, as in the published evaluations; all
    other values are means over the pictures for which they are defined.

    Raises:
        InputError: if there is none, or if they do not hold the same metrics.
    """
    count = 0
    totals: dict[str, float] = {}
    defined: dict[str, int] = {}
    curve_totals: dict[str, Curve] = {}
    curves_defined: dict[str, int] = {}
    for one in measurements:
        if count and one.values.keys() != totals.keys():
            raise InputError(f"One pair was measured with {', '.join(one.values)}, others with {', '.join(totals)}")
        count += 1
        for name, value in one.values.items():
            totals[name] = totals.get(name, 0.0) + (0.0 if value is None else value)
            defined[name] = defined.get(name, 0) + (value is not None)
        for name, curve in one.curves.items():
            curve_totals[name] = curve_totals.get(name, 0.0) + curve
            curves_defined[name] = curves_defined.get(name, 0) + 1
    if not count:
        raise InputError("There is nothing to summarise: no pair was measured")
    curves = {name: total / curves_defined[name] for name, total in curve_totals.items()}
    values: dict[str, float | None] = {}
    for name, total in totals.items():
        if METRICS[name].curve:
            values[name] = _of_curve(METRICS[name], curves)
        else:
            values[name] = total / defined[name] if defined[name] else None
    undefined = {name: count - number for name, number in defined.items() if number < count}
    return Summary(values=values, undefined=undefined, curves=curves, count=count)


def check_metrics(names: Sequence[str]) -> None:
    """Refuse names that are not in the table.

    Raises:
        ConfigError: naming the first that is not known, and the nearest that is.
    """
    for name in names:
        if name not in METRICS:
            hint = did_you_mean(name, METRICS, cutoff=0.5)
            raise ConfigError(f"No metric named `{name}`; known: {', '.join(METRICS)}", hint=hint)


def _curves(pair: Pair, wanted: set[str]) -> dict[str, Curve]:
    curves: dict[str, Curve] = {}
    if "F" in wanted:
        curves["F"] = region.f_curve(pair)
        curves["precision"], curves["recall"] = region.precision_recall(pair)
    if "E" in wanted and (curve := region.e_curve(pair)) is not None:
        curves["E"] = curve
    if "BIoU" in wanted:
        curves["BIoU"] = boundary.boundary_iou_curve(pair)
    return curves


def _of_curve(row: Metric, curves: Mapping[str, Curve]) -> float | None:
    """The value of a metric that is taken from a curve; None if the curve is not defined."""
    assert row.curve
    name, how = row.curve
    if name not in curves:
        return None
    return float(curves[name].max() if how == "largest" else curves[name].mean())
