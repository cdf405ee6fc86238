"""`birefnet evaluate PRED GT...`: judge predictions, or a model, by the true masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from birefnet.cli.judging import (
    AllowExtra,
    AllowInverted,
    JudgedDtype,
    Metrics,
    Output,
    Resize,
    Task,
    Truths,
    bars,
    terminal_width,
)
from birefnet.cli.messages import say
from birefnet.cli.options import Device, Json, Offline, Overwrite, Quiet, SizeText, Workers
from birefnet.errors import require

if TYPE_CHECKING:
    from birefnet.evaluation.outcome import Evaluation


def evaluate(
    predictions: Annotated[
        str,
        typer.Argument(
            metavar="PRED",
            help="A folder of predictions (with a sub-folder for each of several sets), or a model to make them with: "
            "its name, its weights or a run's folder.",
            show_default=False,
        ),
    ],
    truths: Truths,
    output: Output = None,
    report: Json = False,
    task: Task = None,
    metrics: Metrics = None,
    workers: Workers = None,
    resize: Resize = False,
    allow_extra: AllowExtra = False,
    allow_inverted: AllowInverted = False,
    overwrite: Overwrite = False,
    device: Device = "auto",
    size: SizeText = None,
    dtype: JudgedDtype = "float32",
    offline: Offline = False,
    quiet: Quiet = False,
) -> None:
    """Judge predictions by the true masks: the numbers of the papers, from one command.

    \b
    birefnet evaluate predictions/ masks/                      matched by stem
    birefnet evaluate predictions/ masks/ --task dis5k -o out/ tables, curves, the worst pictures
    birefnet evaluate predictions/ DIS-TE1 DIS-TE2             predictions/DIS-TE1/, predictions/DIS-TE2/
    birefnet evaluate general DIS-TE1 -o out/                  predicts first, into out/predictions/
    birefnet evaluate runs/mine test_sets/ --json > mine.json  the best weights of a run

    Predictions and masks are 8-bit grey, white is the subject. Whatever is missing, unreadable, of another size,
    coloured or inverted ends in one error that lists it, without a table.

    Exit codes: 0 done, 1 something is wrong with the files, 2 wrong use, 130 interrupted.
    """
    from birefnet.evaluation.columns import choose_metrics
    from birefnet.evaluation.files import find_sets
    from birefnet.evaluation.judge import Judging, judge, require_for
    from birefnet.evaluation.outcome import FILES, check_folder, write_evaluation
    from birefnet.evaluation.source import find_source
    from birefnet.runtimes.options import RuntimeOptions
    from birefnet.runtimes.select import parse_size

    columns = choose_metrics(task, metrics)
    require_for(columns, resize=resize)
    if output is not None:
        require("matplotlib", "evaluate")
        check_folder(output, FILES, overwrite=overwrite)
    how = Judging(
        columns=columns,
        task=task,
        workers=workers,
        resize=resize,
        allow_extra=allow_extra,
        allow_inverted=allow_inverted,
        overwrite=overwrite,
        size=parse_size(size),
        options=RuntimeOptions.parse(device=device, dtype=dtype, offline=offline),
    )
    sets = find_sets(truths)
    source = find_source(predictions, sets)
    if source.predictions is None:
        sets = find_sets(truths, with_pictures=True)
    keep = output / "predictions" if output else None
    with bars(quiet=quiet) as (progress, fetching):
        evaluation = judge(source, sets, how, keep=keep, progress=progress, fetching=fetching)
    if output is not None:
        write_evaluation(evaluation, output)
    _print(evaluation, output, as_json=report, quiet=quiet)


def _print(evaluation: Evaluation, output: Path | None, *, as_json: bool, quiet: bool) -> None:
    """The table or the JSON on stdout, words on stderr."""
    from birefnet.evaluation.columns import AVERAGING
    from birefnet.evaluation.tables import text

    if as_json:
        typer.echo(json.dumps(evaluation.to_dict(), indent=2))
    else:
        typer.echo(text(evaluation.table(), width=terminal_width()))
    if not quiet:
        for line in (AVERAGING, *evaluation.notes()):
            say(line)
        if output is not None:
            say(f"report: {output / 'report.html'}")
