"""What is wrong with files, collected by kind, so that a person reads one error and not the first of many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from birefnet.errors import DataError

MOST_NAMES = 10  # of one kind, in an error's text


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: what is said of one file and of many, and the way out."""

    one: str
    many: str
    hint: str = ""


KINDS: Mapping[str, Kind] = {
    "folder": Kind("folder is missing", "folders are missing"),
    "empty": Kind("folder has no pictures", "folders have no pictures"),
    "missing": Kind("prediction is missing", "predictions are missing", "predict these pictures too; none is skipped"),
    "extra": Kind("prediction has no truth", "predictions have no truth", "--allow-extra leaves them out"),
    "twice": Kind("stem has two files", "stems have two files", "keep one file for each stem"),
    "unreadable": Kind("file cannot be read", "files cannot be read"),
    "size": Kind(
        "prediction has another size than its truth",
        "predictions have another size than their truth",
        "--resize brings predictions to the size of their truth, bilinearly",
    ),
    "lone": Kind("truth has no picture", "truths have no picture"),
    "unused": Kind("picture has no truth", "pictures have no truth"),
    "picture": Kind(
        "picture has another size than its truth", "pictures have another size than their truth", "mend the test set"
    ),
    "colour": Kind(
        "file has colours", "files have colours", "a mask is grey; `birefnet remove --mask-only` writes such ones"
    ),
    "transparent": Kind(
        "file has transparency", "files have transparency", "a mask is grey and opaque, white is the subject"
    ),
    "deep": Kind("file has more than 8 bits", "files have more than 8 bits", "save masks with 8 bits, 0 to 255"),
    "ones": Kind(
        "truth has 1 for white", "truths have 1 for white", "white is 255 in a mask: multiply these files by 255"
    ),
    "inverted": Kind(
        "prediction looks inverted",
        "predictions look inverted",
        "white is the subject, in predictions and truths; --allow-inverted judges them as they are",
    ),
}


class Problems:
    """Files that cannot be judged, by kind, in the order in which they were found."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, kind: str, name: str, detail: str = "") -> None:
        """Note one file: `kind` is of `KINDS`, `detail` what is wrong with this one."""
        assert kind in KINDS, kind
        self._found.setdefault(kind, []).append(f"`{name}` ({detail})" if detail else f"`{name}`")

    def check(self, what: str) -> None:
        """Raise if something was found.

        Args:
            what: the sentence's beginning, for example "The predictions cannot be judged".

        Raises:
            DataError: one sentence with every kind, how many files it is about and the first of them; then the hints.
        """
        if not self._found:
            return
        parts, hints = [], []
        for kind, row in KINDS.items():
            names = self._found.get(kind)
            if names:
                parts.append(f"{len(names)} {row.one if len(names) == 1 else row.many}: {some(names)}")
                hints += [f"hint: {row.hint}"] if row.hint else []
        raise DataError("\n".join([f"{what}: {'; '.join(parts)}.", *hints]))


def some(names: list[str], most: int = MOST_NAMES) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
