"""What the options of `birefnet remove` mean, checked before any work is done."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from birefnet.cli.messages import bytes_bar
from birefnet.cli.plan import is_file_target, names_folder
from birefnet.errors import ConfigError
from birefnet.pixels.compose import parse_colour
from birefnet.pixels.picture import read_picture
from birefnet.pixels.writing import WRITABLE_SUFFIXES, output_format
from birefnet.weights import zoo
from birefnet.weights.download import fetch, find_cached
from birefnet.weights.entries import BundledFile

if TYPE_CHECKING:
    from birefnet.remover import Background
    from birefnet.runtimes.select import Size

PIPE = "-"


def parse_size(text: str | None) -> Size:
    """ "1024" -> 1024, "1024x768" -> (1024, 768), "native" and None as they are.

    Raises:
        ConfigError: if it is none of these.
    """
    if text is None or text == "native":
        return text  # type: ignore[return-value]
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError(f"`{text}` is not a size; wanted a side (1024), WIDTHxHEIGHT (1024x768) or native.")
    sides = [int(part) for part in parts]
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def fetch_model(model: str, device: str, *, offline: bool, quiet: bool) -> None:
    """Fetch a published model that is not on this disk, with a progress bar; anything else is left to the remover."""
    if Path(model).exists():
        return
    if not zoo.knows(model):
        if not set(model) & set("./\\"):  # neither a file nor a repository: a name, and said to be wrong at once
            zoo.find(model)
        return
    onnx = model.lower().endswith(".onnx")
    file = zoo.onnx_of(model) if onnx else zoo.weights_of(model)
    if isinstance(zoo.find(model).onnx, BundledFile) or find_cached(file) is not None:
        return
    if not onnx:  # what would not run here is not worth a download
        from birefnet.runtimes.torch import choose_device

        choose_device(device)
    with bytes_bar(hidden=quiet) as progress:
        fetch(file, offline=offline, progress=progress)


def read_background(text: str | None) -> Background | None:
    """A colour as (r, g, b, a), "blur" as it is, or a picture, read once for all: (H, W, 3) uint8.

    Raises:
        ConfigError: if it is none of these.
        PictureError: if the picture cannot be read.
    """
    if text is None or text == "blur":
        return text
    if Path(text).is_file():
        return read_picture(text).rgb
    try:
        return parse_colour(text)
    except ConfigError as error:
        raise ConfigError(f"{error}\nhint: nor is there a picture of that name") from error


def check_pipe(inputs: Sequence[str], output: str | None, *, report: bool) -> None:
    """Refuse what a pipe cannot do."""
    if len(inputs) > 1:
        raise ConfigError("A pipe takes one picture: `-` or `-o -` cannot stand beside other inputs.")
    to_stdout = output in (None, PIPE)
    if to_stdout and report:
        raise ConfigError("The picture goes to stdout, so the report cannot.\nhint: give the picture a file with -o")
    if to_stdout and sys.stdout.isatty():
        raise ConfigError("A picture would be printed to the terminal.\nhint: > cat.png or -o cat.png")


def check_format(inputs: Sequence[str], target: str | None, format: str | None, *, opaque: bool) -> str:
    """Check the format before any work; returns the suffix of files to be written."""
    named = Path(target) if target and (inputs[0] == PIPE or is_file_target(inputs, target)) else None
    if target and not named and not names_folder(target) and Path(target).suffix.lower() in WRITABLE_SUFFIXES:
        raise ConfigError(f"`{target}` names one file, and several pictures need a folder.")
    kind = output_format(named, format)
    if kind == "JPEG" and not opaque:
        raise ConfigError("JPEG holds no transparency.\nhint: --format webp, or --background white")
    return {"JPEG": ".jpg"}.get(kind, f".{kind.lower()}")
