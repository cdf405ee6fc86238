"""Time and memory against the size of the input, one line for each runtime and precision."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from birefnet.benchmarking.job import Benchmark, Row
from birefnet.benchmarking.report import title
from birefnet.benchmarking.table import BACKENDS
from birefnet.errors import require
from birefnet.files import whole_file

# Okabe and Ito's colours, which most colour-blind people tell apart; the reference is grey.
_COLOURS = ("#777777", "#0072b2", "#56b4e9", "#cc79a7", "#e69f00", "#f0c75e", "#009e73", "#d55e00", "#000000")
_STYLES = {"fp32": "-", "bf16": "--", "fp16": "-.", "int8wo": ":", "int8": (0, (1, 1))}
_PANELS = (
    ("median_seconds", "seconds per picture (median)"),
    ("peak_mib", "peak memory of the process, MiB"),
)


def draw(benchmark: Benchmark, path: Path) -> None:
    """Write the plot as .svg, .png or .pdf; both axes of both panels are logarithmic.

    Raises:
        MissingExtra: without matplotlib.
    """
    require("matplotlib", "evaluate")
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator

    done = [row for row in benchmark.rows if row.status == "done"]
    pixels = sorted({(row.width * row.height, f"{row.width}x{row.height}") for row in done})
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    for axes, (field, heading) in zip(figure.subplots(1, 2), _PANELS, strict=True):
        for (runtime, precision), rows in groupby(sorted(done, key=_line), key=_line_name):
            points = [(row.width * row.height, getattr(row, field)) for row in rows if getattr(row, field) is not None]
            colour = _COLOURS[list(BACKENDS).index(runtime) % len(_COLOURS)]
            if points:
                axes.plot(
                    *zip(*points, strict=True),
                    "o",
                    ls=_STYLES[precision],
                    color=colour,
                    ms=4,
                    label=f"{runtime} {precision}",
                )
        axes.set(xscale="log", yscale="log", xlabel="input, pixels", title=heading)
        axes.set_xticks([count for count, _ in pixels], [name for _, name in pixels])
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.minorticks_off()
        axes.grid(True, color="#dddddd", lw=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=9)
    figure.suptitle(title(benchmark), fontsize=8, color="#555555")
    with whole_file(path) as part:
        figure.savefig(part, dpi=150)


def _line(row: Row) -> tuple[int, int, int]:
    """What lines and the points of a line are sorted by."""
    return list(BACKENDS).index(row.runtime), list(_STYLES).index(row.precision), row.width * row.height


def _line_name(row: Row) -> tuple[str, str]:
    return row.runtime, row.precision
