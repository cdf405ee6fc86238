"""What `evaluate` and `compare` share: predict if need be, match, judge, and show how far it is."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from birefnet.cache import cache_folder
from birefnet.cli.messages import bytes_bar
from birefnet.cli.options import parse_size
from birefnet.evaluation.files import TruthSet, check_pictures, match
from birefnet.evaluation.outcome import Evaluation
from birefnet.evaluation.run import Progress, Settings, evaluate

if TYPE_CHECKING:
    from birefnet.evaluation.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The options that both commands have; see their help."""

    columns: tuple[str, ...]
    task: str | None
    workers: int | None
    resize: bool
    allow_extra: bool
    allow_inverted: bool
    overwrite: bool
    device: str
    size: str | None
    offline: bool
    quiet: bool


def judge(source: Source, sets: Sequence[TruthSet], keep: Path | None, choices: Choices) -> Evaluation:
    """Judge one source on all sets.

    Args:
        keep: where predictions that are made here are kept; None for a folder that goes away afterwards.

    Raises:
        BiRefNetError: of many kinds; see `birefnet.evaluation`.
    """
    if source.predictions is not None:
        return _judge(source.label, source.predictions, sets, choices)
    if keep is not None:
        _predict(source, sets, keep, choices)
        return _judge(source.label, keep, sets, choices, own=True)
    with tempfile.TemporaryDirectory(prefix="birefnet-") as folder:
        _predict(source, sets, Path(folder), choices)
        return _judge(source.label, Path(folder), sets, choices, own=True)


def _judge(
    label: str, predictions: Path, sets: Sequence[TruthSet], choices: Choices, *, own: bool = False
) -> Evaluation:
    """`own`: the predictions were made here, for these sets, in sub-folders; others may lie beside them."""
    jobs = match(predictions, sets, resize=choices.resize, allow_extra=choices.allow_extra or own)
    settings = Settings(metrics=choices.columns, resize=choices.resize, skeletons=cache_folder() / "skeletons")
    with _bar("judging", sum(map(len, jobs.values())), quiet=choices.quiet) as step:
        results = evaluate(
            jobs, settings, workers=choices.workers, allow_inverted=choices.allow_inverted, progress=step
        )
    return Evaluation(
        label=label, columns=choices.columns, results=tuple(results), task=choices.task, resized=choices.resize
    )


def _predict(source: Source, sets: Sequence[TruthSet], folder: Path, choices: Choices) -> None:
    from birefnet.evaluation.predict import predict_sets
    from birefnet.runtimes.options import RuntimeOptions
    from birefnet.runtimes.select import open_model

    assert source.model is not None
    check_pictures(sets)
    size = parse_size(choices.size)
    # In float32: what is judged is the model, not the half precision of this machine.
    options = RuntimeOptions(device=choices.device, offline=choices.offline, dtype="float32")
    with bytes_bar(hidden=choices.quiet) as fetched:
        runtime = open_model(source.model, options, size=size, progress=fetched)
    weights = source.model.path
    with _bar("predicting", sum(len(one.truths) for one in sets), quiet=choices.quiet) as step:
        predict_sets(
            runtime, weights, sets, folder, native=size == "native", overwrite=choices.overwrite, progress=step
        )


@contextmanager
def _bar(what: str, total: int, *, quiet: bool) -> Iterator[Progress]:
    """A progress bar on stderr where that is a terminal."""
    hidden = quiet or not sys.stderr.isatty()
    with tqdm(total=total, desc=what, unit="picture", delay=1, disable=hidden, file=sys.stderr) as bar:

        def step() -> None:
            bar.update()

        yield step
