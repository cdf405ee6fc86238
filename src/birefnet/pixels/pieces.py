"""A file that is put together from parts of another, without a copy."""

from __future__ import annotations

import bisect
import io
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Piece = bytes | tuple[int, int]  # these bytes, or those from one place of the file to another


def join(stream: BinaryIO, pieces: Sequence[Piece]) -> BinaryIO:
    """The pieces, one behind the other, as a file to be read; `stream` must be left alone meanwhile."""
    return io.BufferedReader(_Pieces(stream, pieces), 1 << 16)


class _Pieces(io.RawIOBase):
    def __init__(self, stream: BinaryIO, pieces: Sequence[Piece]) -> None:
        self._stream = stream
        self._pieces = pieces
        sizes = (len(piece) if isinstance(piece, bytes) else piece[1] - piece[0] for piece in pieces)
        self._starts = list(itertools.accumulate(sizes, initial=0))
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._starts[-1]}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        index = bisect.bisect_right(self._starts, self._at) - 1
        if index >= len(self._pieces):
            return 0
        piece, inside = self._pieces[index], self._at - self._starts[index]
        if isinstance(piece, bytes):
            data = piece[inside : inside + len(view)]
        else:
            start, stop = piece
            self._stream.seek(start + inside)
            data = self._stream.read(min(len(view), stop - start - inside))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)
