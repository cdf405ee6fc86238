"""What is wrong with files, collected by kind, so that a person reads one error and not the first of many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from birefnet.data.findings import KINDS as OF_FILES
from birefnet.errors import DataError, shortened


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: what is said of one file and of many, and the way out."""

    one: str
    many: str
    hint: str = ""


# What concerns predictions and test sets; what can be wrong with a mask itself has its row in `data.findings`.
KINDS: Mapping[str, Kind] = {
    "folder": Kind("folder is missing", "folders are missing"),
    "empty": Kind("folder has no pictures", "folders have no pictures"),
    "missing": Kind("prediction is missing", "predictions are missing", "predict these pictures too; none is skipped"),
    "extra": Kind("prediction has no truth", "predictions have no truth", "`allow_extra=True` leaves them out"),
    "twice": Kind("stem has two files", "stems have two files", "keep one file for each stem"),
    "size": Kind(
        "prediction has another size than its truth",
        "predictions have another size than their truth",
        "`resize=True` brings predictions to the size of their truth, bilinearly",
    ),
    "lone": Kind("truth has no picture", "truths have no picture"),
    "unused": Kind("picture has no truth", "pictures have no truth"),
    "picture": Kind(
        "picture has another size than its truth", "pictures have another size than their truth", "mend the test set"
    ),
    **{
        kind: Kind(row.one, row.many, row.advice[0].lower() + row.advice[1:])
        for kind, row in OF_FILES.items()
        if row.one
    },
    "faint": Kind(
        "prediction holds 0 and a dark grey only",
        "predictions hold 0 and a dark grey only",
        "white is 255 in a prediction: multiply these files",
    ),
    "inverted": Kind(
        "prediction looks inverted",
        "predictions look inverted",
        "white is the subject, in predictions and truths; `allow_inverted=True` judges them as they are",
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
                parts.append(f"{len(names)} {row.one if len(names) == 1 else row.many}: {shortened(names, mark='')}")
                hints += [row.hint] if row.hint else []
        raise DataError(f"{what}: {'; '.join(parts)}.", hint="; ".join(hints) or None)
