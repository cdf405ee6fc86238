"""A model's predictions of test sets, as 8-bit grey files; what is there already is not made again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from birefnet.errors import ConfigError
from birefnet.evaluation.files import TruthSet
from birefnet.files import write_text
from birefnet.pixels.alpha import finish
from birefnet.pixels.compose import to_mask
from birefnet.pixels.picture import read_picture
from birefnet.pixels.prepare import native_size, prepare
from birefnet.pixels.writing import write_picture
from birefnet.runtimes.base import Runtime
from birefnet.runtimes.select import resized

MADE_BY = "made-by.json"  # beside the predictions: which weights made them

Progress = Callable[[], None]


def predict_sets(
    runtime: Runtime,
    weights: Path | None,
    sets: Sequence[TruthSet],
    folder: Path,
    *,
    native: bool = False,
    overwrite: bool = False,
    progress: Progress = lambda: None,
) -> None:
    """Write `folder`/SET/STEM.png for every picture; predictions by the same weights are kept, so a broken run goes on.

    Args:
        runtime: the network.
        weights: its file, whose content tells whether predictions found are its own; None for a name that tells it.
        sets: every truth with its picture.
        folder: made if need be.
        native: give the network each picture at the size nearest to its own, not at one size.
        overwrite: make all predictions anew, also where the folder holds those of another model.
        progress: called after every picture.

    Raises:
        ConfigError: if the folder holds predictions by other weights.
        PictureError: if a picture cannot be read or a prediction not be written.
    """
    _claim(folder, _identity(runtime, weights, native=native), overwrite=overwrite)
    for one in sets:
        (folder / one.name).mkdir(parents=True, exist_ok=True)
        for stem in one.truths:
            target = folder / one.name / f"{stem}.png"
            if overwrite or not target.exists():
                _predict(runtime, one.pictures[stem], target, native=native)
            progress()


def _predict(runtime: Runtime, picture: Path, target: Path, *, native: bool) -> None:
    rgb = read_picture(picture).rgb
    spec = runtime.spec
    if native:
        height, width = native_size(*rgb.shape[:2])
        spec = resized(runtime, (width, height))
    batch, frame = prepare(rgb, spec)
    alpha = finish(runtime(batch), frame, rgb=rgb, sharpen=spec.upsample == "guided")  # as `birefnet remove` does
    write_picture(to_mask(alpha), target)


def _identity(runtime: Runtime, weights: Path | None, *, native: bool) -> dict[str, Any]:
    """What decides the predictions: the weights' content and the size the network sees."""
    facts: dict[str, Any] = {"model": runtime.name}
    if weights is not None and weights.is_file():
        with weights.open("rb") as stream:
            facts["sha256"] = hashlib.file_digest(stream, "sha256").hexdigest()
    size = "native" if native else f"{runtime.spec.width}x{runtime.spec.height}"
    return {**facts, "size": size, "upsample": runtime.spec.upsample}


def _claim(folder: Path, identity: dict[str, Any], *, overwrite: bool) -> None:
    """Note in the folder whose predictions it holds; refuse one that holds another's."""
    note = folder / MADE_BY
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        try:
            found = json.loads(note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = None
        if found != identity:
            raise ConfigError(
                f"`{folder}` holds predictions of another model or size.\nhint: choose another -o, or --overwrite"
            )
    folder.mkdir(parents=True, exist_ok=True)
    write_text(note, json.dumps(identity, indent=2) + "\n")
