"""What can be wrong with a folder of pairs: one row per kind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Kind(NamedTuple):
    """A kind of finding.

    Attributes:
        title: for a heading.
        advice: what it means and the way out, as a sentence without its full stop.
        problem: whether it should be mended before training; else it is worth knowing.
    """

    title: str
    advice: str
    problem: bool = True


KINDS = {
    "no-folder": Kind("No pictures", "A set needs two folders, `im` and `gt`, both with pictures in them"),
    "no-mask": Kind("No mask", "Every picture in `im` needs a mask of the same name in `gt`"),
    "no-picture": Kind("No picture", "Every mask in `gt` needs a picture of the same name in `im`"),
    "same-stem": Kind("Same name twice", "Two files of one folder differ in their suffix only; keep one of them"),
    "unreadable": Kind("Unreadable", "The file is no picture, or damaged; fetch it again or remove the pair"),
    "size": Kind(
        "Sizes do not fit", "Mask and picture differ in their aspect; the mask may be that of another picture"
    ),
    "colour-mask": Kind("Mask in colour", "A mask is grey: white where the subject is, black elsewhere"),
    "transparent-mask": Kind("Mask with transparency", "Save the alpha itself as a grey picture"),
    "dim-mask": Kind("Mask without white", "Such as 0 and 1 in place of 0 and 255, or numbers of classes; scale it"),
    "inverted": Kind("Looks inverted", "White should be the subject; if it is the background here, invert the mask"),
    "empty": Kind("Empty mask", "Nothing is marked; fine if there really is no subject"),
    "full": Kind("Full mask", "Everything is marked; fine if the subject really fills the picture"),
    "duplicate": Kind("Same picture twice", "Counts double in training, and makes a test set look better than it is"),
    "scaled-mask": Kind(
        "Mask of another size", "It is resized to its picture; fine edges are lost if it is smaller", False
    ),
    "jpeg-mask": Kind("Mask as JPEG", "JPEG smears noise around edges; PNG does not", False),
    "small": Kind("Small picture", "Below 256 pixels; it teaches little about fine edges", False),
    "other-file": Kind("Not a picture", "The file is not read", False),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing found.

    Attributes:
        kind: key of `KINDS`.
        set: name of the set.
        name: stem of the pair, or name of the file.
        text: the particulars, for a person; may be empty.
        picture, mask: the files, as far as there are any.
    """

    kind: str
    set: str
    name: str
    text: str = ""
    picture: Path | None = None
    mask: Path | None = None

    @property
    def problem(self) -> bool:
        """Whether it should be mended before training."""
        return KINDS[self.kind].problem


def count_of(number: int, what: str) -> str:
    """A number of things in words: "no pairs", "1 pair", "2 pairs"."""
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
