"""stdin, stdout and stderr, whatever a caller made of them: closed, full, or of a narrow encoding."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator

from birefnet.errors import BiRefNetError


def open_streams() -> None:
    """Make the three streams usable: called once, before anything else opens a file.

    - A letter that stdout's encoding lacks is written as its number (`\\u4e2d`): it must not end a command.
    - A stream that was closed (`>&-`) would give its number to the next file that is opened, and what is printed would
      go there. In its place stands the null device: opened for reading as stdin and stdout, so that writing to stdout
      fails as it should, and for writing as stderr.
    """
    for number, name, way in ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_RDONLY), (2, "stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            _open(number, name, way)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _Stdout.of(sys.stdout)


def to_nowhere() -> None:
    """Point stdout to the null device: what is left in its buffer would make Python complain as it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


class StdoutError(BiRefNetError):
    """What was to be printed could not be written."""


class _Stdout(io.TextIOWrapper):
    """stdout whose failures are told apart from those of any other file; a reader that left stays `BrokenPipeError`."""

    @classmethod
    def of(cls, stream: io.TextIOWrapper) -> _Stdout:
        encoding, lines, through = stream.encoding, stream.line_buffering, stream.write_through
        buffer = stream.detach()
        return cls(buffer, encoding, "backslashreplace", line_buffering=lines, write_through=through)

    def write(self, text: str) -> int:
        with telling_stdout():
            return super().write(text)

    def flush(self) -> None:
        with telling_stdout():
            super().flush()


@contextlib.contextmanager
def telling_stdout() -> Iterator[None]:
    """Inside, a failure to write is one of stdout.

    Raises:
        StdoutError: if what is inside could not be written.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StdoutError(f"Cannot write to stdout: {error.strerror}.") from error


def _open(number: int, name: str, way: int) -> None:
    handle = os.open(os.devnull, way)
    if handle != number:
        os.dup2(handle, number)
        os.close(handle)
    stream = os.fdopen(number, "r" if number == 0 else "w", encoding="utf-8", errors="backslashreplace")
    setattr(sys, name, stream)
