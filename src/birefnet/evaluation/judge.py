"""Judging from one call: predict if need be, match with the truths, measure. What `birefnet evaluate` stands on.

```python
import birefnet
found = birefnet.evaluate("nano", "DIS-VD", task="dis5k")
found.mean             # {"maxF": 0.9, ...}
```
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from birefnet.cache import cache_folder
from birefnet.errors import ConfigError, require
from birefnet.evaluation.columns import choose_metrics
from birefnet.evaluation.files import TruthSet, check_pictures, find_sets, match
from birefnet.evaluation.measure import METRICS
from birefnet.evaluation.outcome import Evaluation
from birefnet.evaluation.predict import identity_of, predict_sets
from birefnet.evaluation.run import Settings, measure_sets
from birefnet.evaluation.source import Source, find_source
from birefnet.remover import Remover
from birefnet.runtimes.options import Dtype, RuntimeName, RuntimeOptions
from birefnet.runtimes.select import Size, open_model
from birefnet.weights.resolve import Model
from birefnet.weights.transfer import Progress as BytesProgress

Progress = Callable[[str, int, int], None]
"""Called with what is done ("predicting" or "judging"), the pictures done and all pictures."""

AS_TRAINED = RuntimeOptions(dtype="float32")
"""What is judged is the model, not the half precision of one machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """How to judge.

    Attributes:
        columns: metrics, in the order of tables.
        task: whose columns these are, or None.
        workers: processes that measure; None for all cores. The figures are the same for any number.
        resize: bring predictions of another size to that of their truth; else they are refused.
        allow_extra: leave out predictions without a truth; else they are refused.
        allow_inverted: judge sets that look inverted, or hold 1 for white, as they are; else they are refused.
        overwrite: make predictions anew that are kept from an earlier time.
        size: what a model sees, as for `Remover`.
        options: how a model runs.
    """

    columns: tuple[str, ...]
    task: str | None = None
    workers: int | None = 1
    resize: bool = False
    allow_extra: bool = False
    allow_inverted: bool = False
    overwrite: bool = False
    size: Size = None
    options: RuntimeOptions = field(default=AS_TRAINED)


def evaluate(
    model: Model | Remover,
    sets: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    task: str | None = None,
    metrics: str | Sequence[str] | None = None,
    workers: int | None = 1,
    resize: bool = False,
    allow_extra: bool = False,
    allow_inverted: bool = False,
    keep: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    size: Size = None,
    device: str = "auto",
    dtype: Dtype = "float32",
    runtime: RuntimeName = "auto",
    threads: int | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Judge a model, or predictions that are there already, by true masks.

    A model is judged by what `birefnet.remove` makes with it: of each picture the mask, the picture's own transparency
    and guided enlargement included.

    Args:
        model: what `birefnet.remove` takes; a `Remover`, which is judged as it is set; or a folder of predictions (with
            a sub-folder for each of several sets).
        sets: one or several of: a folder of masks, a test set (a folder with `im` and `gt`), a folder of test sets.
        task: columns as its papers print them: "dis5k", "cod", "hrsod", "general" or "matting".
        metrics: columns by name, as a sequence or joined by commas; "all" for every one. Goes before `task`.
        workers: processes that measure; None for all cores. More than one need a main module that can be imported
            (`if __name__ == "__main__":`). The figures are the same for any number.
        resize: bring predictions of another size to that of their truth, bilinearly.
        allow_extra: leave out predictions that have no truth.
        allow_inverted: judge a set even if its predictions look inverted, or hold 1 for white.
        keep: a folder where a model's predictions stay; those there of the same model and options are not made again.
        overwrite: make kept predictions anew.
        size, device, dtype, runtime, threads, offline: for a model, as for `Remover`, but that "float32" is the usual:
            figures should not depend on the machine. `dtype="auto"` judges what `remove` does here.
        progress: called with "predicting" or "judging", the pictures done and all pictures.

    Raises:
        DataError: one error that lists everything missing, unreadable, of another size, or no mask.
        UnknownModel, WeightsError: if `model` means nothing.
        ConfigError: for an unknown task or metric, an option that cannot be meant, or another model's predictions in
            `keep`.
        MissingExtra: if a metric needs a library that is not installed.
    """
    names = metrics if metrics is None or isinstance(metrics, str) else ",".join(metrics)
    columns = choose_metrics(task, names)
    require_for(columns, resize=resize)
    options = RuntimeOptions(runtime=runtime, device=device, dtype=dtype, threads=threads, offline=offline)
    paths = [Path(sets)] if isinstance(sets, (str, os.PathLike)) else [Path(one) for one in sets]
    found = find_sets(paths)
    if isinstance(model, Remover):
        if size is not None or options != AS_TRAINED:
            raise ConfigError("A `Remover` has its size and options already; leave them out here.")
        source = Source(str(model.model), remover=model)
    else:
        source = find_source(model, found)
    if source.predictions is None:
        found = find_sets(paths, with_pictures=True)
    how = Judging(
        columns=columns,
        task=task,
        workers=workers,
        resize=resize,
        allow_extra=allow_extra,
        allow_inverted=allow_inverted,
        overwrite=overwrite,
        size=size,
        options=options,
    )
    return judge(source, found, how, keep=None if keep is None else Path(keep), progress=progress)


def judge(
    source: Source,
    sets: Sequence[TruthSet],
    how: Judging,
    *,
    keep: Path | None = None,
    progress: Progress | None = None,
    fetching: BytesProgress | None = None,
) -> Evaluation:
    """Judge one source on all sets.

    Args:
        source: what `find_source` found.
        sets: what `find_sets` found; with pictures, if predictions are to be made.
        keep: where predictions that are made here stay; None for a folder that goes away afterwards.
        progress: as for `evaluate`.
        fetching: called with the bytes fetched so far and in all, where a model is fetched.

    Raises:
        BiRefNetError: as `evaluate`.
    """
    told = progress or (lambda what, done, total: None)
    if source.predictions is not None:
        return _measure(source.label, source.predictions, sets, how, told)
    if keep is not None:
        return _predict_and_measure(source, sets, keep, how, told, fetching)
    with tempfile.TemporaryDirectory(prefix="birefnet-") as folder:
        return _predict_and_measure(source, sets, Path(folder), how, told, fetching)


def _predict_and_measure(
    source: Source,
    sets: Sequence[TruthSet],
    folder: Path,
    how: Judging,
    told: Progress,
    fetching: BytesProgress | None,
) -> Evaluation:
    check_pictures(sets)
    remover, identity = _load(source, how, fetching)
    count, done = sum(len(one.truths) for one in sets), 0

    def step() -> None:
        nonlocal done
        done += 1
        told("predicting", done, count)

    predict_sets(remover, sets, folder, identity=identity, overwrite=how.overwrite, progress=step)
    # Made here, for these sets, in sub-folders: others may lie beside them, and white is 255.
    return _measure(source.label, folder, sets, replace(how, allow_extra=True), told, own=True)


def _load(source: Source, how: Judging, fetching: BytesProgress | None) -> tuple[Remover, dict[str, object]]:
    """The remover that is judged, and what makes its predictions its own."""
    if source.remover is not None:
        return source.remover, identity_of(source.remover, None)
    assert source.model is not None
    file = source.model.fetch(offline=how.options.offline, progress=fetching)
    runtime = open_model(replace(source.model, path=file.path), how.options, size=how.size)
    remover = Remover.from_runtime(runtime, size="native" if how.size == "native" else None)
    return remover, identity_of(remover, file.path)


def _measure(
    label: str, predictions: Path, sets: Sequence[TruthSet], how: Judging, told: Progress, *, own: bool = False
) -> Evaluation:
    jobs = match(predictions, sets, resize=how.resize, allow_extra=how.allow_extra)
    settings = Settings(metrics=how.columns, resize=how.resize, own=own, skeletons=cache_folder() / "skeletons")
    count, done = sum(map(len, jobs.values())), 0

    def step() -> None:
        nonlocal done
        done += 1
        told("judging", done, count)

    results = measure_sets(jobs, settings, workers=how.workers, allow_inverted=how.allow_inverted, progress=step)
    return Evaluation(label=label, columns=how.columns, results=tuple(results), task=how.task, resized=how.resize)


def require_for(columns: Sequence[str], *, resize: bool) -> None:
    """Say before the work, not after half of it, that OpenCV is missing where a metric needs it.

    Raises:
        MissingExtra: naming the extra.
    """
    if resize or any(METRICS[metric].needs for metric in columns):
        require("cv2", "evaluate")
