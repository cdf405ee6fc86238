"""What the options of `birefnet remove` mean, checked before any work is done."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from birefnet.cli.plan import is_file_target, names_folder
from birefnet.errors import ConfigError
from birefnet.files import is_stream
from birefnet.pixels.writing import WRITABLE_SUFFIXES, output_format

PIPE = "-"
_STDIN = ("/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
_STDOUT = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


def name_pipes(inputs: Sequence[str], output: str | None) -> tuple[list[str], str | None]:
    """The words of the command line, with `-` for the other names that stdin and stdout have."""
    return [PIPE if name in _STDIN else name for name in inputs], PIPE if output in _STDOUT else output


def check_pipe(inputs: Sequence[str], output: str | None, *, report: bool) -> None:
    """Refuse what a pipe cannot do."""
    if len(inputs) > 1:
        raise ConfigError("A pipe takes one picture: `-` or `-o -` cannot stand beside other inputs.")
    to_stdout = output in (None, PIPE)
    if to_stdout and report:
        raise ConfigError("The picture goes to stdout, so the report cannot.", hint="give the picture a file with -o")
    if to_stdout and sys.stdout.isatty():
        raise ConfigError("A picture would be printed to the terminal.", hint="> cat.png or -o cat.png")


def find_format(inputs: Sequence[str], target: str | None, format: str | None) -> str:
    """The format asked for, by its name or by that of the one file to be written.

    Raises:
        ConfigError: if there is none such, or a file is named where several pictures need a folder.
    """
    one_file = target is not None and (inputs[0] == PIPE or is_file_target(inputs, target))
    if target is not None and one_file and is_stream(target):
        return output_format(None, format)
    named = Path(target) if target is not None and one_file else None
    if target and not named and not names_folder(target) and Path(target).suffix.lower() in WRITABLE_SUFFIXES:
        raise ConfigError(f"`{target}` names one file, and several pictures need a folder.")
    return output_format(named, format)
