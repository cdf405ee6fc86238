"""What can be wrong with pictures, masks and their pairs: one row per kind, for checking and judging alike."""

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
        one, many: what a list says of one file and of several: "file has colours"; for the kinds that are listed so.
    """

    title: str
    advice: str
    problem: bool = True
    one: str = ""
    many: str = ""


KINDS = {
    "no-folder": Kind("No pictures", "A set needs two folders, `im` and `gt`, both with pictures in them"),
    "no-mask": Kind("No mask", "Every picture in `im` needs a mask of the same name in `gt`"),
    "no-picture": Kind("No picture", "Every mask in `gt` needs a picture of the same name in `im`"),
    "same-stem": Kind("Same name twice", "Two files of one folder differ in their suffix only; keep one of them"),
    "unreadable": Kind(
        "Unreadable",
        "The file is no picture, or damaged; fetch it again or remove the pair",
        one="file cannot be read",
        many="files cannot be read",
    ),
    "size": Kind(
        "Sizes do not fit", "Mask and picture differ in their aspect; the mask may be that of another picture"
    ),
    "colour-mask": Kind(
        "Mask in colour",
        "A mask is grey, white where the subject is; `birefnet remove --mask-only` writes such ones",
        one="file has colours",
        many="files have colours",
    ),
    "transparent-mask": Kind(
        "Mask with transparency",
        "A mask is grey and opaque: save the alpha itself as a grey picture",
        one="file has transparency",
        many="files have transparency",
    ),
    "dim-mask": Kind(
        "Mask without white",
        "White is 255 in a mask; 0 and 1 must be multiplied by 255, numbers of classes told apart",
        one="mask is nowhere near white",
        many="masks are nowhere near white",
    ),
    "class-mask": Kind(
        "Mask of class numbers",
        "Such as 0, 1 and 255 for `ignore`: make the class that is the subject 255 and everything else 0",
        one="mask holds numbers of classes",
        many="masks hold numbers of classes",
    ),
    "unturned-mask": Kind(
        "Mask not turned as its picture",
        "The picture is turned by its EXIF data, the mask looks drawn before that; turn the mask too",
    ),
    "inverted": Kind("Looks inverted", "White should be the subject; if it is the background here, invert the mask"),
    "empty": Kind("Empty mask", "Nothing is marked; fine if there really is no subject"),
    "full": Kind("Full mask", "Everything is marked; fine if the subject really fills the picture"),
    "duplicate": Kind("Same picture twice", "Counts double in training, and makes a test set look better than it is"),
    "scaled-mask": Kind(
        "Mask of another size", "It is resized to its picture; fine edges are lost if it is smaller", False
    ),
    "deep-mask": Kind(
        "Mask of more than 8 bits",
        "Training scales it to 8 bits, judging refuses it: save masks with 8 bits, 0 to 255",
        False,
        "file has more than 8 bits",
        "files have more than 8 bits",
    ),
    "tinted-mask": Kind(
        "Mask with a tint",
        "Training takes its brightness, judging refuses it: save masks as grey PNG",
        False,
        "file has a tint",
        "files have a tint",
    ),
    "turned-mask": Kind(
        "Mask with an EXIF turn", "It is read upright, as its picture is; some programs ignore it", False
    ),
    "trimap": Kind(
        "Looks like a trimap", "Grey areas are taken as half covered, not as unknown; masks need alpha there", False
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
