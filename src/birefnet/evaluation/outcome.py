"""The results of an evaluation as data and as files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from birefnet.errors import ConfigError, DataError, shortened
from birefnet.evaluation.columns import AVERAGING
from birefnet.evaluation.report import html_report
from birefnet.evaluation.run import SetResult
from birefnet.evaluation.tables import MEAN, Table, latex, markdown, mean_of_sets, per_image_csv
from birefnet.files import write_text

FILES = ("per_image.csv", "evaluation.json", "table.md", "table.tex", "report.html")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One thing judged on one or several sets.

    Attributes:
        label: what was judged.
        columns: metrics, in the order of tables.
        results: one for each set.
        task: whose columns these are, or None.
        resized: whether predictions were brought to the size of their truth.
    """

    label: str
    columns: tuple[str, ...]
    results: tuple[SetResult, ...]
    task: str | None = None
    resized: bool = False

    @property
    def mean(self) -> dict[str, float | None]:
        """The set's values; of several sets their mean, each set weighing the same."""
        return mean_of_sets([result.summary.values for result in self.results], self.columns)

    def table(self) -> Table:
        """A row for each set and, for several, one for their mean."""
        rows = [(result.name, result.summary.values) for result in self.results]
        if len(rows) > 1:
            rows.append((MEAN, self.mean))
        return Table("set", self.columns, tuple(rows))

    def notes(self) -> list[str]:
        """Sentences that whoever reads the numbers needs: what is undefined, resized or odd."""
        notes = ["The mean over sets weighs every set the same."] if len(self.results) > 1 else []
        for result in self.results:
            for metric, count in result.summary.undefined.items():
                notes.append(
                    f"{result.name}: {metric} is not defined for {count} of {result.summary.count} pictures; "
                    "they are left out of its mean."
                )
            for names, look in (
                (result.looking("inverted"), "look inverted"),
                (result.looking("faint"), "hold 0 and a dark grey only"),
            ):
                if names:
                    notes.append(f"{result.name}: {len(names)} predictions {look}: {shortened(names)}.")
        if self.resized:
            notes.append("Predictions of another size were brought to the size of their truth, bilinearly.")
        return notes

    def to_dict(self) -> dict[str, Any]:
        """What `--json` prints; a level `sets` only if there are several."""
        facts: dict[str, Any] = {
            "predictions": self.label,
            "task": self.task,
            "metrics": list(self.columns),
            "averaging": " ".join([AVERAGING, *self.notes()[:1]] if len(self.results) > 1 else [AVERAGING]),
            "resized": self.resized,
        }
        if len(self.results) == 1:
            return {**facts, "set": self.results[0].name, **_set_facts(self.results[0], self.columns)}
        sets = {result.name: _set_facts(result, self.columns) for result in self.results}
        return {**facts, "mean": self.mean, "sets": sets}


def check_folder(folder: Path, names: Sequence[str], *, overwrite: bool) -> None:
    """Refuse a folder in which results would replace files.

    Raises:
        ConfigError: if it is a file, or holds one of the names and `overwrite` is not set.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"`{folder}` is a file; wanted a folder for the results.")
    there = [name for name in names if (folder / name).exists()]
    if there and not overwrite:
        raise ConfigError(f"`{folder}` already holds {shortened(there)}.", hint="`overwrite=True` replaces them")


def write_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """Write all of `FILES`, each whole or not at all.

    Raises:
        MissingExtra: if matplotlib is not installed; nothing is written then.
        DataError: if a file cannot be written.
    """
    table, title = evaluation.table(), f"Evaluation of {evaluation.label}"
    notes = evaluation.notes()
    text = "\n\n".join([f"# {title}", markdown(table), AVERAGING, *notes]) + "\n"
    contents = {
        "report.html": html_report(title, evaluation.results, table, notes),
        "per_image.csv": per_image_csv(evaluation.results, evaluation.columns),
        "evaluation.json": json.dumps(evaluation.to_dict(), indent=2) + "\n",
        "table.md": text,
        "table.tex": latex({"": table}, title),
    }
    write_files(folder, contents)


def write_files(folder: Path, contents: Mapping[str, str]) -> None:
    """Write texts as UTF-8, each whole or not at all, into a folder that is made if need be.

    Raises:
        DataError: if a file cannot be written.
    """
    for name, content in contents.items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_text(folder / name, content)
        except OSError as error:
            raise DataError(f"Cannot write `{folder / name}`: {error.strerror or error}.") from error


def _set_facts(result: SetResult, columns: Sequence[str]) -> dict[str, Any]:
    values = result.summary.values
    return {
        "count": result.summary.count,
        "mean": {metric: values[metric] for metric in columns},
        "undefined": dict(result.summary.undefined),
        "inverted": result.looking("inverted"),
        "faint": result.looking("faint"),
        "per_image": {row.job.stem: {metric: row.values[metric] for metric in columns} for row in result.rows},
    }
