"""`birefnet compare PRED_OR_CHECKPOINT... --sets GT`: which of several is best over several test sets."""

from __future__ import annotations

import json
from dataclasses import replace
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
    bars,
    terminal_width,
)
from birefnet.cli.messages import say
from birefnet.cli.options import Device, Json, Offline, Overwrite, Quiet, SizeText, Workers
from birefnet.errors import ConfigError, require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from birefnet.evaluation.compare import Comparison
    from birefnet.evaluation.files import TruthSet
    from birefnet.evaluation.source import Source


def compare(
    methods: Annotated[
        list[str],
        typer.Argument(
            metavar="PRED...",
            help="Folders of predictions, weights, models' names, or runs' folders, which stand for all they hold.",
            show_default=False,
        ),
    ],
    sets: Annotated[
        list[Path],
        typer.Option(
            "--sets", metavar="GT", help="A test set, a folder of masks or a folder of test sets; may be repeated."
        ),
    ],
    output: Output = None,
    report: Json = False,
    by: Annotated[
        str, typer.Option("--by", metavar="WHAT", help="What decides: rank, or a metric's mean over the sets.")
    ] = "rank",
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
    """Judge several predictions or checkpoints on the same test sets and name the best.

    \b
    birefnet compare preds/a preds/b --sets DIS-VD --task dis5k
    birefnet compare runs/mine --sets test_sets/ --by S        which checkpoint of a run
    birefnet compare general lite --sets DIS-TE1 --sets DIS-TE2 -o out/

    Exit codes: 0 done, 1 something is wrong with the files, 2 wrong use, 130 interrupted.
    """
    from birefnet.evaluation.columns import choose_metrics
    from birefnet.evaluation.compare import FILES, Comparison, check_by, write_comparison
    from birefnet.evaluation.files import find_sets
    from birefnet.evaluation.judge import Judging, judge, require_for
    from birefnet.evaluation.outcome import check_folder
    from birefnet.runtimes.options import RuntimeOptions
    from birefnet.runtimes.select import parse_size

    columns = choose_metrics(task, metrics)
    check_by(by, columns)
    require_for(columns, resize=resize)
    if output is not None:
        require("matplotlib", "evaluate")
        check_folder(output, FILES, overwrite=overwrite)
    found = find_sets(sets)
    sources = _sources(methods, found)
    if any(source.predictions is None for source in sources):
        found = find_sets(sets, with_pictures=True)
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
    evaluations = []
    for number, source in enumerate(sources, 1):
        if not quiet:
            say(f"{number} of {len(sources)}: {source.label}")
        keep = output / "predictions" / source.label.replace("/", "-") if output else None
        with bars(quiet=quiet) as (progress, fetching):
            evaluations.append(judge(source, found, how, keep=keep, progress=progress, fetching=fetching))
    comparison = Comparison(tuple(evaluations), by)
    if output is not None:
        write_comparison(comparison, output)
    _print(comparison, sources, output, as_json=report, quiet=quiet)


def _sources(methods: Sequence[str], sets: Sequence[TruthSet]) -> list[Source]:
    """All that the words name, with labels that tell them apart.

    Raises:
        ConfigError: if there are fewer than two.
    """
    from birefnet.evaluation.source import find_sources

    for name in methods:
        if (Path(name) / "gt").is_dir():
            raise ConfigError(f"`{name}` is a test set.", hint=f"every set needs its own --sets: --sets {name}")
    found = {source.where: source for name in methods for source in find_sources(name, sets)}
    sources = list(found.values())
    if len(sources) < 2:
        raise ConfigError(f"A comparison needs two or more, got {', '.join(one.label for one in sources)}.")
    labels = [source.label for source in sources]
    return [replace(source, label=source.where) if labels.count(source.label) > 1 else source for source in sources]


def _print(
    comparison: Comparison, sources: Sequence[Source], output: Path | None, *, as_json: bool, quiet: bool
) -> None:
    from birefnet.evaluation.columns import AVERAGING
    from birefnet.evaluation.compare import RANKING
    from birefnet.evaluation.tables import text

    order, ranks = comparison.order(), comparison.ranks()
    where = {source.label: source.where for source in sources}
    if as_json:
        typer.echo(json.dumps({**comparison.to_dict(), "paths": where}, indent=2))
    else:
        for name, table in comparison.tables().items():
            typer.echo(f"{name}\n{text(table, width=terminal_width())}\n")
        width = max(map(len, order))
        typer.echo("\n".join(f"{label:{width}}  rank {ranks[label]:.2f}" for label in order))
        typer.echo(f"\nbest by {comparison.by}: {where[order[0]]}")
    if not quiet:
        say(AVERAGING)
        say(RANKING)
        if output is not None:
            say(f"report: {output / 'comparison.html'}")
