"""What the options of `birefnet remove` mean, checked before any work is done."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from birefnet.cli.plan import is_file_target, names_folder
from birefnet.errors import ConfigError
from birefnet.pixels.compose import parse_colour
from birefnet.pixels.picture import read_picture
from birefnet.pixels.writing import WRITABLE_SUFFIXES, output_format

if TYPE_CHECKING:
    from birefnet.remover import Background

PIPE = "-"


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
