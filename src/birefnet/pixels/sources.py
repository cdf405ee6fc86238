"""What people hand over as a picture -> a stream, an image of Pillow or an array; or a sentence about what is taken."""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from birefnet.errors import InputError, PictureError


class Tensor(Protocol):
    """A tensor of PyTorch, which need not be installed."""

    def detach(self) -> Tensor: ...

    def cpu(self) -> Tensor: ...

    def numpy(self) -> NDArray[Any]: ...


Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | NDArray[Any] | Tensor

_WANTED = "a path, bytes, a binary stream, a Pillow image, an array or a tensor"


def name_of(source: object) -> str:
    """What an error calls a picture."""
    if isinstance(source, (str, os.PathLike)):
        return f"`{os.fsdecode(source)}`"
    return "the image" if isinstance(source, Image.Image) else "the picture"


def is_path(source: object) -> bool:
    """Whether a source names a file."""
    return isinstance(source, (str, os.PathLike))


def to_array(source: object) -> NDArray[Any] | None:
    """The array that an array or a tensor is, on whichever device; None for anything else.

    Raises:
        InputError: for a tensor that no array can hold.
    """
    if isinstance(source, np.ndarray):
        return source
    if not (hasattr(source, "detach") and hasattr(source, "cpu")):
        return None
    tensor = cast(Tensor, source)
    try:
        return tensor.detach().cpu().numpy()
    except (TypeError, RuntimeError) as error:
        raise InputError(
            f"Wanted a tensor of (height, width[, 1, 3 or 4]) uint8, got one of {kind_of(source)}."
        ) from error


def kind_of(source: object) -> str:
    """The shape and type of an array or a tensor, for a sentence."""
    return f"{tuple(getattr(source, 'shape', ()))} {getattr(source, 'dtype', '')}".replace("torch.", "")


def to_stream(source: object) -> BinaryIO:
    """The stream that bytes are, or what is left of another one.

    Raises:
        InputError: for what is no picture at all.
        PictureError: for a stream that cannot be read.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return io.BytesIO(source)
    if isinstance(source, io.TextIOBase):
        raise InputError("The stream is open as text, and a picture is none.", hint='open the file with `mode="rb"`')
    read = getattr(source, "read", None)
    if not callable(read):
        raise InputError(f"Wanted a picture ({_WANTED}), got {_described(source)}.", hint=_hint(source))
    try:
        data = read()
    except (OSError, ValueError) as error:  # a closed one is a ValueError
        raise PictureError(f"Cannot read the picture: {getattr(error, 'strerror', None) or error}.") from error
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise InputError(f"Wanted a stream of bytes, but it gives {_described(data)}.")
    return io.BytesIO(data)


def _described(value: object) -> str:
    if value is None:
        return "None"
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _hint(source: object) -> str | None:
    if isinstance(source, (list, tuple)):
        return "one picture at a time; of rows of numbers, `numpy.asarray(rows, numpy.uint8)` is one"
    return None
