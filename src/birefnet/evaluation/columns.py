"""Which metrics a task's table has, in which order, and how a number is printed there."""

from __future__ import annotations

from collections.abc import Mapping

from birefnet.errors import ConfigError, did_you_mean
from birefnet.evaluation.measure import METRICS

# Task -> columns, as the papers of that task print them.
TASKS: Mapping[str, tuple[str, ...]] = {
    "dis5k": ("maxF", "WF", "MAE", "S", "meanE", "HCE"),
    "cod": ("S", "WF", "meanF", "meanE", "maxE", "MAE"),
    "hrsod": ("S", "maxF", "meanE", "MAE", "MBA"),
    "general": (
        *("maxF", "WF", "MAE", "S", "meanE", "HCE", "maxE", "meanF", "adpE", "adpF", "MBA", "maxBIoU", "meanBIoU"),
    ),
    "matting": ("SAD", "MAD", "MSD", "Grad", "Conn"),
}
EVERYTHING = (*TASKS["general"], "MSE")  # without a task: all that is measured against a binary truth

AVERAGING = (
    "Values of a set are means over its pictures, each weighing the same; "
    "maxF, maxE and maxBIoU of a set are the highest point of the mean curve over 256 thresholds."
)

_DIGITS: Mapping[str, int] = {"HCE": 0, "SAD": 2, "Grad": 2, "Conn": 2, "MSE": 4, "MAD": 4, "MSD": 4}
_DEFAULT_DIGITS = 3


def choose_metrics(task: str | None, metrics: str | None) -> tuple[str, ...]:
    """The columns asked for.

    Args:
        task: one of `TASKS`, or None.
        metrics: names, joined by commas, in any case; "all" for every metric there is. Goes before `task`.

    Raises:
        ConfigError: for an unknown task or metric, with the nearest known.
    """
    if task is not None and task not in TASKS:
        raise ConfigError(f"There is no task `{task}`; known: {', '.join(TASKS)}.", hint=did_you_mean(task, TASKS))
    if metrics is None:
        return TASKS[task] if task else EVERYTHING
    if metrics.strip().lower() == "all":
        return (*EVERYTHING, *(name for name in METRICS if name not in EVERYTHING))
    return tuple(dict.fromkeys(_find(name.strip()) for name in metrics.split(",")))


def format_value(metric: str, value: float | None, *, digits: int | None = None) -> str:
    """A number as tables print it; "-" where it is not defined."""
    if value is None:
        return "-"
    return f"{value:.{_DIGITS.get(metric, _DEFAULT_DIGITS) if digits is None else digits}f}"


def arrow(metric: str) -> str:
    """Whether more is better."""
    return "↑" if METRICS[metric].better == "higher" else "↓"


def _find(name: str) -> str:
    known = {metric.lower(): metric for metric in METRICS}
    if name.lower() not in known:
        hint = did_you_mean(name, METRICS)
        raise ConfigError(f"There is no metric `{name}`; known: {', '.join(METRICS)}.", hint=hint)
    return known[name.lower()]
