"""Values -> text, Markdown, LaTeX and CSV tables, the best of several rows marked."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from birefnet.evaluation.columns import arrow, format_value
from birefnet.evaluation.measure import METRICS
from birefnet.evaluation.run import SetResult

Values = Mapping[str, float | None]

MEAN = "mean of sets"  # the name of the row or table beside those of the sets


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of values.

    Attributes:
        head: of the first column, which names the rows.
        columns: metrics, in order.
        rows: (name, values by metric).
        mark_best: whether rows compete, so that the best of each column is set in bold.
    """

    head: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, Values], ...]
    mark_best: bool = False

    def best(self, metric: str) -> set[str]:
        """The names of a column's best rows: several where the printed numbers are equal; empty if none compete."""
        if not self.mark_best or len(self.rows) < 2:
            return set()
        sign = 1 if METRICS[metric].better == "higher" else -1
        shown = {name: float(format_value(metric, v)) for name, row in self.rows if (v := row.get(metric)) is not None}
        top = max((sign * value for value in shown.values()), default=None)
        return {name for name, value in shown.items() if sign * value == top}


def text(table: Table, *, width: int | None = None) -> str:
    """For a terminal; turned on its side if it is wider than `width` characters. The best is marked by a star."""
    heads = [f"{metric} {arrow(metric)}" for metric in table.columns]
    plain = "{} " if table.mark_best else "{}"  # digits stand below each other, starred or not
    heads = [plain.format(head) for head in heads]
    cells = [[name, *_cells(table, name, row, "{}*", plain)] for name, row in table.rows]
    lines = _aligned([[table.head, *heads], *cells])
    if width is not None and max(map(len, lines)) > width:
        names, *columns = zip(*cells, strict=True)
        lines = _aligned([[table.head, *names], *([head, *row] for head, row in zip(heads, columns, strict=True))])
    return "\n".join(lines)


def markdown(table: Table) -> str:
    """A Markdown table; the best in bold."""
    heads = [f"{metric} {arrow(metric)}" for metric in table.columns]
    lines = [f"| {' | '.join([table.head, *heads])} |", f"|---|{'---:|' * len(heads)}"]
    for name, row in table.rows:
        cells = [name.replace("|", r"\|"), *_cells(table, name, row, "**{}**")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def latex(tables: Mapping[str, Table], caption: str) -> str:
    """One booktabs table: rows as they are, a group of columns for each of the named tables; the best in bold.

    Args:
        tables: group's title -> table; all with the same rows and columns.
        caption: plain text.
    """
    first = next(iter(tables.values()))
    count = len(first.columns)
    groups = len(tables) > 1
    heads = [METRICS[metric].latex for metric in first.columns]
    lines = [r"% needs \usepackage{booktabs}", r"\begin{table}", r"\centering", rf"\caption{{{_escape(caption)}}}"]
    lines += [rf"\begin{{tabular}}{{l{'c' * count * len(tables)}}}", r"\toprule"]
    if groups:
        spans = [rf"\multicolumn{{{count}}}{{c}}{{{_escape(title)}}}" for title in tables]
        rules = [rf"\cmidrule(lr){{{2 + i * count}-{1 + (i + 1) * count}}}" for i in range(len(tables))]
        lines += [" & ".join(["", *spans]) + r" \\", " ".join(rules)]
    lines += [" & ".join([_escape(first.head.capitalize()), *(heads * len(tables))]) + r" \\", r"\midrule"]
    for name, _ in first.rows:
        cells = [_escape(name)]
        for table in tables.values():
            cells += [_unzero(cell) for cell in _cells(table, name, dict(table.rows)[name], r"\textbf{{{}}}")]
        lines.append(" & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def per_image_csv(results: Sequence[SetResult], columns: Sequence[str]) -> str:
    """One line for each picture, all digits; empty where a value is not defined."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["set", "stem", *columns])
    for result in results:
        for row in result.rows:
            writer.writerow([result.name, row.job.stem, *(row.values[metric] for metric in columns)])
    return stream.getvalue()


def mean_of_sets(sets: Sequence[Values], columns: Sequence[str]) -> dict[str, float | None]:
    """Means over sets, each weighing the same however many pictures it has; None where no set has a value."""
    means: dict[str, float | None] = {}
    for metric in columns:
        values = [value for one in sets if (value := one.get(metric)) is not None]
        means[metric] = sum(values) / len(values) if values else None
    return means


def _cells(table: Table, name: str, row: Values, bold: str, plain: str = "{}") -> list[str]:
    cells = [format_value(metric, row.get(metric)) for metric in table.columns]
    return [
        (bold if name in table.best(metric) else plain).format(cell)
        for metric, cell in zip(table.columns, cells, strict=True)
    ]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of equal width, the first to the left, the numbers to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    return [line.rstrip() for line in lines]


def _unzero(cell: str) -> str:
    """.908 for 0.908, as papers print numbers below one."""
    return re.sub(r"(?<!\d)0\.", ".", cell)


def _escape(plain: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(letter, rf"\{letter}" if letter in "&%$#_{}" else letter) for letter in plain)
