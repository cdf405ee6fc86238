"""Looks through a folder of pairs and says all that is wrong with it, and what it is good for.

The files are read on all cores, one pair at a time; what is kept of each is a few numbers.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from birefnet.data.advice import Advice, Softness, advise, measure_softness
from birefnet.data.duplicates import Fingerprint, find_twins, fingerprint
from birefnet.data.facts import MaskFacts, measure_mask
from birefnet.data.findings import KINDS, Finding
from birefnet.data.masks import MaskFile, read_mask
from birefnet.data.pairs import PICTURE_SUFFIXES, Pair, match_pairs, set_folders_in
from birefnet.data.reading import Array, read_header, read_rgb, sizes_fit
from birefnet.data.turns import looks_unturned
from birefnet.errors import ConfigError, DataError

Progress = Callable[[int, int], None]

SMALL = 256  # pixels of the longer side


@dataclass(slots=True, kw_only=True)
class PairReport:
    """What is known of one pair.

    Attributes:
        set: name of its set.
        pair: its files.
        size: (width, height) of the picture, or None if it cannot be read.
        mask: the mask's measurements, or None if it is no mask.
        fingerprint: of the picture, or None if it cannot be read.
        findings: what is wrong with it.
    """

    set: str
    pair: Pair
    size: tuple[int, int] | None = None
    mask: MaskFacts | None = None
    fingerprint: Fingerprint | None = None
    findings: list[Finding] = field(default_factory=list)

    def add(self, kind: str, text: str = "") -> None:
        """Note a finding about this pair."""
        name, files = self.pair.picture.stem, {"picture": self.pair.picture, "mask": self.pair.mask}
        self.findings.append(Finding(kind=kind, set=self.set, name=name, text=text, **files))


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a folder of pairs holds.

    Attributes:
        folder: that was checked.
        sets: name and number of pairs of each set; "." is the folder itself.
        pairs: by set and stem.
        findings: of all pairs and files, problems first, by kind.
        softness: of the masks; None if there are none to judge by.
        advice: what to train with; None if nothing can be said.
    """

    folder: Path
    sets: dict[str, int]
    pairs: tuple[PairReport, ...]
    findings: tuple[Finding, ...]
    softness: Softness | None
    advice: Advice | None

    @property
    def problems(self) -> int:
        """Number of findings that should be mended."""
        return sum(finding.problem for finding in self.findings)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(width, height) of all pictures that can be read, by area."""
        return sorted((one.size for one in self.pairs if one.size), key=lambda size: size[0] * size[1])

    def counts(self) -> dict[str, int]:
        """Number of findings of each kind, in the order of `KINDS`."""
        counted = Counter(finding.kind for finding in self.findings)
        return {kind: counted[kind] for kind in KINDS if counted[kind]}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "folder": str(self.folder),
            "sets": self.sets,
            "pairs": len(self.pairs),
            "problems": self.problems,
            "counts": self.counts(),
            "sizes": _spread_sizes(self.sizes),
            "covered": _spread([one.mask.covered for one in self.pairs if one.mask]),
            "softness": None if self.softness is None else asdict(self.softness) | {"task": self.softness.task},
            "advice": None if self.advice is None else asdict(self.advice),
            "findings": [
                {key: str(value) if isinstance(value, Path) else value for key, value in asdict(finding).items()}
                | {"problem": finding.problem}
                for finding in self.findings
            ],
        }


def check_folder(
    folder: Path, *, ignore: Sequence[str] = (), workers: int | None = None, progress: Progress | None = None
) -> Report:
    """Read every picture and mask of a folder and report.

    Args:
        folder: holds `im` and `gt`, or sets that do, up to two levels below.
        ignore: kinds of findings (keys of `KINDS`) to leave out.
        workers: threads; None takes one per core.
        progress: called with the pairs done and all pairs.

    Raises:
        ConfigError: if there is no such folder, no set in it, or a kind to ignore is unknown.
    """
    for kind in ignore:
        if kind not in KINDS:
            raise ConfigError(f"There is no kind of finding `{kind}`; known: {', '.join(KINDS)}")
    if not folder.is_dir():
        raise ConfigError(f"There is no folder `{folder}`")
    sets = set_folders_in(folder)
    if not sets:
        raise ConfigError(f"`{folder}` holds no set: wanted the folders `im` and `gt` in it, or in folders below it")
    files, findings, counted = [], list[Finding](), {}
    for place in sets:
        name = place.relative_to(folder).as_posix()
        matched, loose = _match(place, name)
        files += [(name, pair) for pair in matched]
        findings += loose
        counted[name] = len(matched)
    pairs = list(_look(files, workers or os.cpu_count() or 1, progress or (lambda done, total: None)))
    _find_duplicates(pairs)
    findings += [finding for one in pairs for finding in one.findings]
    order = list(KINDS)
    findings.sort(key=lambda finding: order.index(finding.kind))
    softness = measure_softness([one.mask for one in pairs if one.mask])
    sizes = [one.size for one in pairs if one.size]
    return Report(
        folder=folder,
        sets=counted,
        pairs=tuple(pairs),
        findings=tuple(finding for finding in findings if finding.kind not in ignore),
        softness=softness,
        advice=advise(softness, sizes) if softness and sizes else None,
    )


def _match(place: Path, name: str) -> tuple[list[Pair], list[Finding]]:
    """The pairs of one set, and what is wrong with the files that are in none."""
    matched = match_pairs(place)
    findings = [Finding(kind="no-folder", set=name, name=name, text=text) for text in matched.absent]
    if not matched.absent:
        findings += [Finding(kind="no-mask", set=name, name=p.stem, picture=p) for p in matched.lone_pictures]
        findings += [Finding(kind="no-picture", set=name, name=p.stem, mask=p) for p in matched.lone_masks]
    for path in matched.twins:
        picture, mask = (path, None) if path.parent.name == "im" else (None, path)
        findings.append(Finding(kind="same-stem", set=name, name=path.name, picture=picture, mask=mask))
    for part in ("im", "gt"):
        if (place / part).is_dir():
            others = (p for p in (place / part).iterdir() if p.suffix.lower() not in PICTURE_SUFFIXES)
            findings += [
                Finding(kind="other-file", set=name, name=f"{part}/{path.name}")
                for path in sorted(others)
                if not path.name.startswith(".")
            ]
    return matched.pairs, findings


def _look(files: Sequence[tuple[str, Pair]], workers: int, progress: Progress) -> Iterator[PairReport]:
    with ThreadPoolExecutor(workers, thread_name_prefix="check") as pool:
        for done, report in enumerate(pool.map(_look_at, files), 1):
            progress(done, len(files))
            yield report


def _look_at(named: tuple[str, Pair]) -> PairReport:
    """Everything about one pair but whether there is another like it."""
    report = PairReport(set=named[0], pair=named[1])
    picture = None
    try:
        picture = read_rgb(report.pair.picture)
        report.size = picture.shape[1], picture.shape[0]
        report.fingerprint = fingerprint(picture)
        if max(report.size) < SMALL:
            report.add("small", f"{report.size[0]}x{report.size[1]}")
    except DataError as error:
        report.add("unreadable", _brief(error, report.pair.picture, "picture's file"))
    try:
        _judge_mask(report, read_mask(report.pair.mask), picture)
    except DataError as error:
        report.add("unreadable", _brief(error, report.pair.mask, "mask's file"))
    return report


def _brief(error: Exception, path: Path, what: str) -> str:
    """An error's sentence without the path, which the finding holds."""
    return str(error).replace(f"`{path}`", f"the {what}")


def _judge_mask(report: PairReport, mask: MaskFile, picture: Array | None) -> None:
    for oddity in mask.oddities:
        report.add(oddity.kind, f"it {oddity.text}")
    if mask.refused("training"):  # what it would show is not alpha
        return
    report.mask = measure_mask(mask.array)
    size = mask.array.shape[1], mask.array.shape[0]
    unturned = picture is not None and _is_unturned(report, mask, picture)
    if unturned:
        report.add("unturned-mask")
    elif report.size is not None and size != report.size:
        kind = "scaled-mask" if sizes_fit(report.size, size) else "size"
        report.add(kind, f"picture {report.size[0]}x{report.size[1]}, mask {size[0]}x{size[1]}")
    if report.mask.empty or report.mask.full:
        report.add("empty" if report.mask.empty else "full")
    elif report.mask.looks_inverted:
        report.add(
            "inverted", f"{report.mask.border:.0%} of the border is covered, {report.mask.centre:.0%} of the middle"
        )
    if read_header(report.pair.mask).format == "JPEG":
        report.add("jpeg-mask")


def _is_unturned(report: PairReport, mask: MaskFile, picture: Array) -> bool:
    """Whether a mask was drawn before the EXIF turn of its picture, which it lacks itself."""
    turn = read_header(report.pair.picture).turn
    if turn == 1 or any(oddity.kind == "turned-mask" for oddity in mask.oddities):
        return False
    sides, upright = mask.array.shape, picture.shape[:2]
    if sides != upright and sides == upright[::-1] and turn in (5, 6, 7, 8):
        return True
    return sizes_fit(upright[::-1], sides[::-1]) and looks_unturned(picture, mask.array, turn)


def _find_duplicates(pairs: Sequence[PairReport]) -> None:
    read = [(one, one.fingerprint) for one in pairs if one.fingerprint]
    for later, first, exact in find_twins([prints for _, prints in read]):
        one, other = read[later][0], read[first][0]
        place = "" if other.set == one.set else f" of `{other.set}`"
        like = "the same pixels as" if exact else "looks the same as"
        one.add("duplicate", f"{like} `{other.pair.picture.stem}`{place}")


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    return {"min": min(values), "median": median(values), "max": max(values)} if values else None


def _spread_sizes(sizes: Sequence[tuple[int, int]]) -> dict[str, Any] | None:
    """Smallest, middle and largest picture by area, and the spread of the aspects."""
    if not sizes:
        return None
    return {
        "min": list(sizes[0]),
        "median": list(sizes[len(sizes) // 2]),
        "max": list(sizes[-1]),
        "aspect": _spread([width / height for width, height in sizes]),
    }
