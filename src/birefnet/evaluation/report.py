"""The HTML report: the table, the curves, how values are spread, and the worst pictures side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape

import numpy as np

from birefnet.evaluation.columns import AVERAGING, arrow, format_value
from birefnet.evaluation.curves import SERIES, Line, histogram, line_chart
from birefnet.evaluation.measure import METRICS
from birefnet.evaluation.page import page
from birefnet.evaluation.run import Row, SetResult
from birefnet.evaluation.tables import MEAN, Table
from birefnet.evaluation.thumbnails import EXTRA, MISSED, strip, worst

WORST, WORST_OF_EACH = 8, 4  # pictures shown of a single set, and of each of several

_CHARTS = (  # name, title, curve across (None: the threshold), curve up, labels
    ("pr", "Precision and recall", "recall", "precision", "recall", "precision"),
    ("f", "F-measure at each threshold", None, "F", "threshold", "F-measure"),
    ("e", "E-measure at each threshold", None, "E", "threshold", "E-measure"),
    ("biou", "Boundary IoU at each threshold", None, "BIoU", "threshold", "boundary IoU"),
)


def html_report(title: str, results: Sequence[SetResult], table: Table, notes: Sequence[str]) -> str:
    """One self-contained page.

    Args:
        title: what was judged, plain text.
        results: one for each set.
        table: the means.
        notes: sentences about the numbers, plain text.

    Raises:
        MissingExtra: if matplotlib is not installed.
    """
    count = sum(result.summary.count for result in results)
    sets = results[0].name if len(results) == 1 else f"{len(results)} test sets"
    parts = [f"<h1>{escape(title)}</h1>", f'<p class="soft">{escape(sets)}, {count} pictures</p>', html_table(table)]
    parts += [f'<p class="soft">{escape(note)}</p>' for note in (AVERAGING, *notes)]
    figures = [*_curves(results), *_spread(results, table.columns)]
    parts += ["<h2>Curves</h2>", _charts(figures, [result.name for result in results])]
    parts += [_pairs(results, table.columns), _definitions(table.columns)]
    return page(title, "\n".join(parts))


def html_comparison(
    title: str,
    results: Mapping[str, Mapping[str, SetResult]],
    tables: Mapping[str, Table],
    ranks: Mapping[str, float],
    order: Sequence[str],
    notes: Sequence[str],
) -> str:
    """One self-contained page for several methods.

    Args:
        title: plain text.
        results: set -> method -> its result.
        tables: set, and perhaps `MEAN` -> a row for each method.
        ranks: method -> mean place.
        order: methods, the best first.
        notes: sentences about the numbers, plain text.

    Raises:
        MissingExtra: if matplotlib is not installed.
    """
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{ranks[name]:.2f}</td></tr>" for name in order)
    head = "<thead><tr><th>method</th><th>rank</th></tr></thead>"
    parts = [f"<h1>{escape(title)}</h1>", f'<div class="scroll"><table>{head}<tbody>{rows}</tbody></table></div>']
    parts += [f'<p class="soft">{escape(note)}</p>' for note in notes]
    for name in sorted(tables, key=lambda name: name in results):  # the mean before the sets
        parts += [f"<h2>{escape(name)}</h2>", html_table(tables[name])]
        if name in results:
            methods = [replace(result, name=label) for label, result in results[name].items()]
            parts.append(_charts(_curves(methods, prefix=f"set{len(parts)}-"), list(results[name])))
    parts.append(_definitions(next(iter(tables.values())).columns))
    return page(title, "\n".join(parts))


def html_table(table: Table) -> str:
    """A table of means, as HTML; the best in bold."""
    heads = "".join(
        f'<th title="{escape(METRICS[metric].text)}">{escape(metric)} {arrow(metric)}</th>' for metric in table.columns
    )
    lines = []
    for name, row in table.rows:
        cells = [
            f"<b>{text}</b>" if name in table.best(metric) else text
            for metric in table.columns
            for text in (format_value(metric, row.get(metric)),)
        ]
        mean = ' class="mean"' if name == MEAN else ""
        lines.append(f"<tr{mean}><td>{escape(name)}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    head = f"<thead><tr><th>{escape(table.head)}</th>{heads}</tr></thead>"
    return f'<div class="scroll"><table>{head}<tbody>{"".join(lines)}</tbody></table></div>'


def leading(columns: Sequence[str]) -> str:
    """The metric that pictures are sorted by: S where it is measured, else the table's first."""
    return "S" if "S" in columns else columns[0]


def _curves(results: Sequence[SetResult], *, prefix: str = "") -> list[str]:
    """A figure for each mean curve that was measured, a line for each result."""
    figures = []
    for name, title, across, up, x, y in _CHARTS:
        lines: dict[str, Line] = {}
        for result in results:
            curves = result.summary.curves
            if up in curves:
                lines[result.name] = (curves[across] if across else np.linspace(0, 1, 256), curves[up])
        if lines:
            figures.append(_figure(title, line_chart(lines, x, y, name=prefix + name)))
    return figures


def _spread(results: Sequence[SetResult], columns: Sequence[str]) -> list[str]:
    """A histogram over pictures of the two metrics that say most."""
    figures = []
    for metric in [metric for metric in ("S", "MAE") if metric in columns] or columns[:2]:
        values = {result.name: _defined(result.rows, metric) for result in results}
        figures.append(_figure(f"Pictures by {metric}", histogram(values, metric, name=f"spread-{metric}")))
    return figures


def _charts(figures: Sequence[str], names: Sequence[str]) -> str:
    """Figures in a grid, below one legend for all of them."""
    marks = [
        f'<li><i style="background: var(--series-{1 + i % SERIES})"></i>{escape(name)}</li>'
        for i, name in enumerate(names)
    ]
    legend = f'<ul class="legend">{"".join(marks)}</ul>' if len(names) > 1 else ""
    return f'{legend}<div class="charts">{"".join(figures)}</div>' if figures else ""


def _figure(title: str, svg: str) -> str:
    return f"<figure><figcaption>{escape(title)}</figcaption>{svg}</figure>"


def _defined(rows: Sequence[Row], metric: str) -> list[float]:
    return [value for row in rows if (value := row.values.get(metric)) is not None]


def _pairs(results: Sequence[SetResult], columns: Sequence[str]) -> str:
    metric = leading(columns)
    better = METRICS[metric].better == "higher"
    marks = [
        f'<li><i class="block" style="background: rgb{colour}"></i>{meaning}</li>'
        for colour, meaning in ((MISSED, "subject that was missed"), (EXTRA, "ground that was taken for subject"))
    ]
    parts = [f"<h2>The worst pictures by {escape(metric)}</h2>", f'<ul class="legend">{"".join(marks)}</ul>']
    count = WORST if len(results) == 1 else WORST_OF_EACH
    for result in results:
        if len(results) > 1:
            parts.append(f"<h3>{escape(result.name)}</h3>")
        for row in worst(result.rows, metric, higher_is_better=better, count=count):
            parts.append(_pair(row, columns))
    return "\n".join(parts)


def _pair(row: Row, columns: Sequence[str]) -> str:
    small = strip(row.job)
    values = "".join(f"<span>{metric} {format_value(metric, row.values.get(metric))}</span>" for metric in columns[:6])
    shown = {
        "picture": small.photo,
        "truth": small.truth,
        "prediction": small.prediction,
        "difference": small.difference,
    }
    size = f'width="{small.width}" height="{small.height}"'
    of = f"of {escape(row.job.stem)}"
    figures = [
        f'<figure><img src="{address}" {size} alt="{name} {of}"><figcaption>{name}</figcaption></figure>'
        for name, address in shown.items()
        if address is not None
    ]
    name = f'<p class="name"><b>{escape(row.job.stem)}</b>{values}</p>'
    return f'<div class="pair">{name}<div class="strip">{"".join(figures)}</div></div>'


def _definitions(columns: Sequence[str]) -> str:
    rows = "".join(f"<dt>{metric} {arrow(metric)}</dt><dd>{escape(METRICS[metric].text)}</dd>" for metric in columns)
    return f"<h2>Metrics</h2>\n<dl>{rows}</dl>\n<p class='soft'>↑ more is better, ↓ less is better.</p>"
