"""Several things judged on the same sets: which is best, and by how much."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from birefnet.errors import ConfigError
from birefnet.evaluation.columns import AVERAGING
from birefnet.evaluation.measure import METRICS
from birefnet.evaluation.outcome import Evaluation, write_files
from birefnet.evaluation.report import html_comparison
from birefnet.evaluation.run import SetResult
from birefnet.evaluation.tables import MEAN, Table, Values, latex, markdown

FILES = ("comparison.csv", "comparison.json", "comparison.md", "comparison.tex", "comparison.html")
RANK = "rank"
RANKING = "The rank of a method is the mean of its places in every column of every set; equal values share theirs."


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was judged, all on the same sets with the same metrics.

    Args:
        evaluations: one for each method, with labels of their own.
        by: "rank" or a metric whose mean over the sets decides.

    Raises:
        ConfigError: for fewer than two methods, or a metric that was not measured.
    """

    evaluations: tuple[Evaluation, ...]
    by: str = RANK

    def __post_init__(self) -> None:
        check_by(self.by, self.evaluations[0].columns if self.evaluations else ())
        if len(self.evaluations) < 2:
            raise ConfigError("A comparison needs two or more: predictions, weights or a run with several checkpoints.")

    @property
    def columns(self) -> tuple[str, ...]:
        return self.evaluations[0].columns

    @property
    def sets(self) -> tuple[str, ...]:
        return tuple(result.name for result in self.evaluations[0].results)

    def ranks(self) -> dict[str, float]:
        """Mean place of each method over all columns of all sets; 1 is best."""
        tables = [table for name, table in self.tables().items() if name != MEAN]
        places = [_places(table.rows, metric) for table in tables for metric in table.columns]
        return {one.label: sum(place[one.label] for place in places) / len(places) for one in self.evaluations}

    def tables(self) -> dict[str, Table]:
        """Set -> a row for each method; of several sets also `MEAN`, each set weighing the same."""
        tables = {}
        for number, name in enumerate(self.sets):
            rows = [(one.label, one.results[number].summary.values) for one in self.evaluations]
            tables[name] = Table("method", self.columns, tuple(rows), mark_best=True)
        if len(self.sets) > 1:
            means = tuple((one.label, one.mean) for one in self.evaluations)
            tables[MEAN] = Table("method", self.columns, means, mark_best=True)
        return tables

    def order(self) -> list[str]:
        """Labels, the best first; methods that are equal by `by` are ordered by the other, then as they were given."""
        ranks = self.ranks()
        leading = self.columns[0] if self.by == RANK else self.by
        sign = -1 if METRICS[leading].better == "higher" else 1
        means = {one.label: one.mean[leading] for one in self.evaluations}
        worst = float("inf")
        by_mean = {label: worst if mean is None else sign * mean for label, mean in means.items()}
        first, second = (ranks, by_mean) if self.by == RANK else (by_mean, ranks)
        return sorted(ranks, key=lambda label: (first[label], second[label]))

    def to_dict(self) -> dict[str, Any]:
        """What `--json` prints."""
        ranks = self.ranks()
        order = self.order()
        return {
            "best": order[0],
            "by": self.by,
            "order": order,
            "metrics": list(self.columns),
            "averaging": f"{AVERAGING} {RANKING}",
            "methods": {
                one.label: {
                    "rank": ranks[one.label],
                    "mean": one.mean,
                    "sets": {
                        result.name: {metric: result.summary.values[metric] for metric in self.columns}
                        for result in one.results
                    },
                    "undefined": {result.name: dict(result.summary.undefined) for result in one.results},
                }
                for one in self.evaluations
            },
        }


def check_by(by: str, columns: Sequence[str]) -> None:
    """Refuse a decision by what is not measured.

    Raises:
        ConfigError: if `by` is neither "rank" nor among the columns.
    """
    if by != RANK and by not in columns:
        raise ConfigError(f"`--by {by}`: wanted `rank` or a metric that is measured: {', '.join(columns)}.")


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write all of `FILES`, each whole or not at all.

    Raises:
        MissingExtra: if matplotlib is not installed; nothing is written then.
        DataError: if a file cannot be written.
    """
    tables, ranks, order = comparison.tables(), comparison.ranks(), comparison.order()
    sections = [f"## {name}\n\n{markdown(table)}" for name, table in tables.items()]
    places = "\n".join(["| method | rank |", "|---|---:|", *(f"| {label} | {ranks[label]:.2f} |" for label in order)])
    title = f"Best by {comparison.by}: {order[0]}"
    notes = [AVERAGING, RANKING, *_notes(comparison)]
    contents = {
        "comparison.html": html_comparison(
            title, {name: _methods(comparison, name) for name in comparison.sets}, tables, ranks, order, notes
        ),
        "comparison.csv": _csv(comparison),
        "comparison.json": json.dumps(comparison.to_dict(), indent=2) + "\n",
        "comparison.md": "\n\n".join([f"# {title}", places, *sections, *notes]) + "\n",
        "comparison.tex": latex({n: t for n, t in tables.items() if n != MEAN}, "Comparison"),
    }
    write_files(folder, contents)


def _methods(comparison: Comparison, name: str) -> dict[str, SetResult]:
    number = comparison.sets.index(name)
    return {one.label: one.results[number] for one in comparison.evaluations}


def _notes(comparison: Comparison) -> list[str]:
    return [f"{one.label}: {note}" for one in comparison.evaluations for note in one.notes() if ":" in note]


def _places(rows: Sequence[tuple[str, Values]], metric: str) -> Mapping[str, float]:
    """Label -> place from 1; equal values share the mean of their places, and what has no value comes last."""
    sign = -1 if METRICS[metric].better == "higher" else 1
    scores = {}
    for label, values in rows:
        value = values.get(metric)
        scores[label] = float("inf") if value is None else sign * value
    return {
        label: sum(other < score for other in scores.values())
        + (sum(other == score for other in scores.values()) + 1) / 2
        for label, score in scores.items()
    }


def _csv(comparison: Comparison) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["method", "set", *comparison.columns])
    for one in comparison.evaluations:
        for result in one.results:
            values = [result.summary.values[metric] for metric in comparison.columns]
            writer.writerow([one.label, result.name, *values])
    return stream.getvalue()
