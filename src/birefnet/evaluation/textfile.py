"""Text -> file, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from birefnet.pixels.writing import write_atomic


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 beside `path`, then give it that name.

    Raises:
        OSError: as the file system has it.
    """

    def save(stream: BinaryIO) -> None:
        stream.write(text.encode())

    write_atomic(path, save)
