"""The one reader of masks: their numbers, and everything about a file that one use or another refuses.

A mask is numbers, not colours: no profile is applied, soft values stay soft, and what is no plain grey mask is noted,
never guessed at. Who reads one says what it is for; the table `REFUSED` says which oddities that use refuses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from birefnet.data.reading import Array, orientation, unreadable
from birefnet.errors import DataError, PictureError
from birefnet.pixels.colour import WIDE_MODES, has_alpha, narrow
from birefnet.pixels.kinds import open_kind
from birefnet.pixels.picture import MAX_PIXELS

ROUNDING = 3  # grey saved as colour JPEG comes back with channels so far apart; more is a tint
COLOUR_TOLERANCE = 16  # grey that went through JPEG more than once; more is a colour
DIMMEST = 64  # a mask that never gets brighter holds class numbers, or 0 and 1, not alpha
PLAIN_MODES = ("1", "L")  # Pillow's modes that hold neither colours nor transparency, nor more than 8 bits
_WHITES = (1, 255, 65535)  # what can be white in a file of more than 8 bits
_BLOCK = 3  # pixels: class numbers fill areas; noise and the steps of a soft edge do not

Kind = Literal[
    "deep-mask",
    "tinted-mask",
    "colour-mask",
    "transparent-mask",
    "turned-mask",
    "dim-mask",
    "class-mask",
    "trimap",
]
Use = Literal["training", "calibration", "truth", "prediction"]

# What is wanted in place of each oddity: the end of a sentence.
WANTED: Mapping[Kind, str] = MappingProxyType(
    {
        "deep-mask": "save masks with 8 bits, 0 to 255",
        "tinted-mask": "wanted grey; a JPEG in colour smears it, PNG does not",
        "colour-mask": "wanted grey: white where the subject is, black elsewhere",
        "transparent-mask": "save the alpha itself as a grey picture",
        "turned-mask": "it is read upright, as its EXIF data says",
        "dim-mask": "white (255) should be where the subject is",
        "class-mask": "make the class that is the subject 255 and everything else 0",
        "trimap": "grey is taken as half covered, not as unknown",
    }
)

_NO_ALPHA: frozenset[Kind] = frozenset({"colour-mask", "transparent-mask", "dim-mask", "class-mask"})
_CONVERTED: frozenset[Kind] = frozenset({"deep-mask", "tinted-mask"})
_FAINT: frozenset[Kind] = frozenset({"dim-mask"})
# Published figures rest on 8-bit grey files: what would have to be converted is refused where one judges by it.
# A prediction may be dim: a network that sees nothing writes nearly black. `evaluation.inverted` looks at whole sets.
REFUSED: Mapping[Use, frozenset[Kind]] = MappingProxyType(
    {
        "training": _NO_ALPHA,
        "calibration": _NO_ALPHA,
        "truth": _NO_ALPHA | _CONVERTED,
        "prediction": (_NO_ALPHA | _CONVERTED) - _FAINT,
    }
)


class Oddity(NamedTuple):
    """Something about a mask's file that a plain grey mask has not.

    Attributes:
        kind: key of `WANTED`, and of `birefnet.data.findings.KINDS`.
        text: what it is like, after "the mask ...": "holds 0 and 1".
    """

    kind: Kind
    text: str


class MaskError(DataError):
    """A mask that is refused for what it is used for.

    Attributes:
        path: of the file.
        kind: of the oddity; "unreadable" where nothing could be decoded.
        detail: what can be said of this file beyond its kind; may be empty.
    """

    def __init__(self, path: Path, oddity: Oddity) -> None:
        super().__init__(f"`{path}` {oddity.text}; {WANTED[oddity.kind]}")
        self.path, self.kind = path, oddity.kind
        self.detail = f"it {oddity.text}" if oddity.kind in ("dim-mask", "class-mask") else ""


class MaskFile(NamedTuple):
    """A mask as it was read.

    Attributes:
        path: of the file.
        array: (H, W) uint8, upright, white is the subject; more than 8 bits are scaled, a palette is resolved.
        oddities: what a plain grey mask has not, in the order of `WANTED`.
    """

    path: Path
    array: Array
    oddities: tuple[Oddity, ...] = ()

    def refused(self, use: Use) -> list[MaskError]:
        """What speaks against this use; empty if nothing does."""
        return [MaskError(self.path, oddity) for oddity in self.oddities if oddity.kind in REFUSED[use]]

    def accepted(self, use: Use) -> Array:
        """The array, (H, W) uint8, if it can be used so.

        Raises:
            MaskError: for the first thing that speaks against it.
        """
        for error in self.refused(use):
            raise error
        return self.array


def read_mask(path: Path) -> MaskFile:
    """Read a mask, whatever it is like.

    Raises:
        DataError: if it is no picture, damaged, or too large.
    """
    try:
        with path.open("rb") as stream, open_kind(stream, f"`{path}`") as image:
            if image.width * image.height > MAX_PIXELS:
                raise PictureError(f"`{path}` is too large: {image.width}x{image.height}")
            turned = orientation(image) != 1
            image.load()
            # Asked again after loading: for TIFF and HEIC the decoder has then turned the picture.
            array, oddities = _decode(image)
            found = [*oddities, *([Oddity("turned-mask", "has an EXIF turn")] if turned else [])]
            order = list(WANTED)
            found.sort(key=lambda oddity: order.index(oddity.kind))
            return MaskFile(path, upright(array, orientation(image)), tuple(found))
    except Exception as error:  # decoders answer damaged data with almost any exception
        raise unreadable(path, error) from error


def _decode(image: Image.Image) -> tuple[Array, list[Oddity]]:
    """A loaded picture -> its grey values, not turned, and what is odd about them."""
    oddities: list[Oddity] = []
    if image.mode in WIDE_MODES:
        values = np.asarray(image)
        oddities.append(Oddity("deep-mask", "has more than 8 bits"))
        to_bytes = narrow(image.mode, image.format, (float(values.min()), float(values.max())))
        white = next(white for white in _WHITES if to_bytes(np.array([white], values.dtype))[0] == 255)
        if "transparency" in image.info and (values == image.info["transparency"]).any():
            oddities.append(_TRANSPARENT)
        return to_bytes(values), [*oddities, *_values(values, white)]
    if has_alpha(image):
        rgba = image.convert("RGBA")
        if np.asarray(rgba)[..., 3].min() < 255:
            oddities.append(_TRANSPARENT)
        image = rgba.convert("RGB")
    if image.mode not in ("1", "L"):
        image = image.convert("RGB")
        oddities += _colours(np.asarray(image))
    array = np.asarray(image.convert("L"))
    # Of colours nothing more is said: their brightness means nothing.
    return array, oddities if any(one.kind == "colour-mask" for one in oddities) else [*oddities, *_values(array, 255)]


_TRANSPARENT = Oddity("transparent-mask", "is a mask with transparency")


def _colours(rgb: Array) -> Iterator[Oddity]:
    spread = int((rgb.max(axis=2) - rgb.min(axis=2)).max())
    if spread > COLOUR_TOLERANCE:
        yield Oddity("colour-mask", "is a mask in colour")
    elif spread > ROUNDING:
        yield Oddity("tinted-mask", f"is a mask with a tint: its channels are up to {spread} levels apart")


def _values(values: NDArray[np.generic], white: int) -> Iterator[Oddity]:
    """What the values say as numbers; `white` is the largest that the file could hold."""
    brightest = float(values.max())
    if 0 < brightest < DIMMEST / 255 * white:
        what = "holds 0 and 1" if brightest == 1 else f"is never brighter than {brightest:g} of {white}"
        yield Oddity("dim-mask", what)
    elif white > 1 and brightest == white:
        yield from _classes(values, white)


def _classes(values: NDArray[np.generic], white: int) -> Iterator[Oddity]:
    """Whether values are numbers of classes with white for "ignore", or the three of a trimap."""
    present = _present(values)
    low, middle = [v for v in present if v < DIMMEST], [v for v in present if DIMMEST <= v < white]
    if not middle and len(low) > 1:
        filled = [v for v in low if v > 0 and _fills(values, v)]
        if filled:
            shown = ", ".join(f"{v:g}" for v in low[:6]) + (", ..." if len(low) > 6 else "")
            yield Oddity("class-mask", f"holds {shown} and {white}, as numbers of classes do")
    elif low == [0] and len(middle) == 1 and _fills(values, middle[0], 2 * _BLOCK + 1):
        yield Oddity("trimap", f"holds 0, {middle[0]:g} and {white} only, as a trimap does")


def _present(values: NDArray[np.generic]) -> list[float]:
    """The distinct values, ascending; of more than a few the first few and the last."""
    if values.dtype.kind == "u" and values.dtype.itemsize <= 2:  # many times faster than sorting
        return [float(v) for v in np.flatnonzero(np.bincount(values.ravel()))]
    return [float(v) for v in np.unique(values)]


def _fills(values: NDArray[np.generic], value: float, side: int = _BLOCK) -> bool:
    """Whether there is a square of `side` pixels with this value alone."""
    there = Image.fromarray((values == value).astype(np.uint8) * np.uint8(255))
    if min(there.size) < side:
        return True
    inner = slice(side // 2, -(side // 2))  # at the rim the filter sees less
    return bool(np.asarray(there.filter(ImageFilter.MinFilter(side)))[inner, inner].any())


def upright(array: Array, turn: int) -> Array:
    """Apply what an EXIF orientation says; 1 is upright already."""
    if turn in (5, 6, 7, 8):
        array = array.T
    flips = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
    down, across = flips.get(turn, (1, 1))
    return np.ascontiguousarray(array[::down, ::across])
