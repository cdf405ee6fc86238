"""The check of a folder as one HTML file that needs nothing else: what was found, and the pictures with their masks.

Pictures are read again, one by one, and only those that are shown: all with a fault, up to a limit, and an
even choice of the others.
"""

from __future__ import annotations

import base64
import html
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from birefnet.data.augment import Array
from birefnet.data.check import PairReport, Report
from birefnet.data.findings import KINDS, Finding, count_of
from birefnet.data.masks import read_mask
from birefnet.data.reading import read_rgb
from birefnet.errors import BiRefNetError
from birefnet.files import to_bytes, write_whole

HEIGHT = 220  # of a thumbnail, in pixels; twice what is shown, for dense screens
WIDEST = 440
MOST_PER_KIND = 60
MOST_OTHERS = 60
_OUTLINE = (255, 45, 110)


class Tile(NamedTuple):
    """One picture of the sheet."""

    name: str
    notes: tuple[str, ...]
    picture: Path | None
    mask: Path | None
    alone: bool = False  # a file whose partner is not missing but of no interest here


def write_sheet(report: Report, target: Path) -> None:
    """Write the report as an HTML file, whole or not at all.

    Raises:
        OSError: as the file system has it.
    """
    write_whole(target, lambda stream: stream.writelines(to_bytes(text) for text in _page(report)))


def _page(report: Report) -> Iterator[str]:
    """The page, part by part: thousands of thumbnails need not be in memory at once."""
    home = resources.files("birefnet.data")
    style = (home / "sheet.css").read_text(encoding="utf-8")
    name = html.escape(report.folder.resolve().name)
    yield (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}: check of the data</title><style>{style}</style>\n"
    )
    yield f"<header><h1>{name}</h1><p class=verdict>{_verdict(report)}</p></header>\n"
    yield from _summary(report)
    yield "<main>"
    for kind in report.counts():
        findings = [finding for finding in report.findings if finding.kind == kind]
        yield from _section_of(kind, findings)
    flagged = {(finding.set, finding.name) for finding in report.findings if finding.problem}
    yield from _others([one for one in report.pairs if (one.set, one.pair.picture.stem) not in flagged])
    yield (
        "</main><footer>Colour and an outline show what the mask keeps; what it leaves out is grey and dark. "
        "Point at a picture to see it without its mask.</footer></html>\n"
    )


def _verdict(report: Report) -> str:
    where = f"in {count_of(len(report.pairs), 'pair')}"
    if not report.problems:
        return f'<span class="badge good">no problems</span> {where}'
    kinds = sum(KINDS[kind].problem for kind in report.counts())
    found = count_of(report.problems, "problem")
    return f'<span class="badge bad">{found}</span> of {count_of(kinds, "kind")} {where}'


def _summary(report: Report) -> Iterator[str]:
    """The numbers, what to train with, and three small histograms."""
    values = report.to_dict()
    rows = [("Pairs", str(len(report.pairs)))]
    if list(report.sets) != ["."]:
        rows.append(("Sets", ", ".join(f"{html.escape(name)} ({count})" for name, count in report.sets.items())))
    if sizes := values["sizes"]:
        shown = " · ".join(f"{sizes[key][0]}x{sizes[key][1]}" for key in ("min", "median", "max"))
        aspect = " · ".join(f"{sizes['aspect'][key]:.2f}" for key in ("min", "median", "max"))
        rows += [("Smallest, median, largest", shown), ("Aspect, width to height", aspect)]
    if report.softness:
        rows.append(("Masks", report.softness.words))
    if advice := report.advice:
        losses = ", ".join(f"{term} {weight:g}" for term, weight in advice.losses.items())
        start = f", start from <b>{advice.start}</b>" if advice.start else ""
        rows += [
            ("Losses that fit", f"<b>{advice.task}</b>: {losses}"),
            ("Suggested", f"recipe <b>{advice.recipe}</b>{start}, size <b>{advice.size[0]}x{advice.size[1]}</b>"),
            ("Because", _prose("; ".join(advice.reasons))),
        ]
    cells = "".join(f"<tr><th>{title}<td>{text}" for title, text in rows)
    yield f"<section class=summary><table>{cells}</table><div class=charts>"
    masks = [one.mask for one in report.pairs if one.mask]
    yield _chart("covered by the mask", [mask.covered for mask in masks], 0, 1, "0", "100 %")
    yield _chart("width of the soft edge", [mask.edge for mask in masks], 0, 10, "0", "10 px")
    yield _chart("longer side", [float(max(size)) for size in report.sizes], 0, 4096, "0", "4096 px")
    yield "</div></section>\n"


def _chart(title: str, values: Sequence[float], low: float, high: float, left: str, right: str, bins: int = 24) -> str:
    """A histogram as inline SVG; what lies beyond the ends is counted in the first and last bar."""
    counts, _ = np.histogram(np.clip(values, low, high), bins, (low, high))
    most = max(1, int(counts.max()))
    bars = "".join(
        f'<rect x="{8 * i}" y="{48 - 46 * count / most:.1f}" width="7" height="{46 * count / most:.1f}"/>'
        for i, count in enumerate(counts)
        if count
    )
    return (
        f'<figure><svg viewBox="0 0 {8 * bins} 50" role="img" aria-label="{title}">{bars}'
        f'<path d="M0 49H{8 * bins}"/></svg><figcaption><span>{left}</span>{title}<span>{right}</span></figure>'
    )


def _section_of(kind: str, findings: Sequence[Finding]) -> Iterator[str]:
    """All findings of one kind, with pictures where there are any."""
    row = KINDS[kind]
    badge = "bad" if row.problem else "note"
    few = " class=few" if len(findings) == 1 else ""  # such sections stand side by side
    yield (
        f'<section{few}><h2><span class="badge {badge}">{len(findings)}</span> {row.title}</h2>'
        f"<p>{_prose(row.advice)}.{_more(len(findings), MOST_PER_KIND)}</p>"
    )
    tiles = [
        Tile(_label(one.set, one.name), (one.text,) if one.text else (), one.picture, one.mask, kind == "same-stem")
        for one in findings
    ]
    yield from _grid(tiles[:MOST_PER_KIND])
    yield "</section>\n"


def _others(pairs: Sequence[PairReport]) -> Iterator[str]:
    """An even choice of the pairs that nothing is wrong with."""
    if not pairs:
        return
    count = min(len(pairs), MOST_OTHERS)
    chosen = [pairs[i * len(pairs) // count] for i in range(count)]
    yield f'<section><h2><span class="badge good">{len(pairs)}</span> Without problems</h2>'
    yield f"<p>{f'An even choice of {count}.' if count < len(pairs) else ''}</p>"
    yield from _grid([Tile(_label(one.set, one.pair.picture.stem), _facts(one), *_files(one)) for one in chosen])
    yield "</section>\n"


def _files(one: PairReport) -> tuple[Path, Path]:
    return one.pair.picture, one.pair.mask


def _facts(one: PairReport) -> tuple[str, ...]:
    size = f"{one.size[0]}x{one.size[1]}" if one.size else ""
    return (f"{size}, {one.mask.covered:.0%} covered, edge {one.mask.edge:.1f} px",) if one.mask else (size,)


def _label(set_name: str, name: str) -> str:
    return name if set_name in (".", name) else f"{set_name}/{name}"


def _more(count: int, most: int) -> str:
    return f" The first {most} are shown." if count > most else ""


def _grid(tiles: Sequence[Tile]) -> Iterator[str]:
    yield "<div class=grid>"
    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="sheet") as pool:
        yield from pool.map(_tile, tiles)
    yield "</div>"


def _tile(tile: Tile) -> str:
    notes = "".join(f"<small>{_prose(note)}</small>" for note in tile.notes)
    caption = f"<figcaption><b>{html.escape(tile.name)}</b>{notes}</figcaption>"
    if tile.picture is None and tile.mask is None:
        return f'<figure class="tile bare">{caption}</figure>'
    picture, mask = _small(tile.picture, read_rgb), _small(tile.mask, _read_shown)
    if picture is None and mask is None:
        shown = "<div class=absent>cannot be read</div>"
    elif picture is None or mask is None or mask.shape != picture.shape[:2]:
        # They cannot be laid over each other, and that is what there is to see.
        parts = [_image(array, "single") for array in (picture, mask) if array is not None]
        missing = "" if mask is not None or tile.alone else _absent("mask", tile.mask)
        missing += "" if picture is not None or tile.alone else _absent("picture", tile.picture)
        shown = f"<div class=side>{''.join(parts)}{missing}</div>"
    else:
        shown = f"<div class=pair>{_image(picture, 'below')}{_image(overlay(picture, mask), 'above')}</div>"
    return f"<figure class=tile>{shown}{caption}</figure>"


def _prose(text: str) -> str:
    """Text with `names` as HTML."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(text))


def _absent(what: str, path: Path | None) -> str:
    return f"<div class=absent>{f'no {what}' if path is None else f'{what} unreadable'}</div>"


def overlay(picture: Array, mask: Array) -> Array:
    """What the mask keeps in colour with an outline, the rest grey and dark; (H, W, 3) and (H, W) uint8."""
    alpha = mask.astype(np.float32)[..., None] / 255
    grey = np.asarray(Image.fromarray(picture).convert("L"), np.float32)[..., None] * 0.35 + 18
    mixed = grey + (picture - grey) * alpha
    inside = Image.fromarray(np.where(mask > 127, np.uint8(255), np.uint8(0)))
    edge = np.asarray(inside.filter(ImageFilter.MaxFilter(3))) != np.asarray(inside.filter(ImageFilter.MinFilter(3)))
    mixed[edge] = _OUTLINE
    return mixed.astype(np.uint8)


def _read_shown(path: Path) -> Array:
    """A mask as grey, or, where it is none, as it looks: colours are worth seeing."""
    mask = read_mask(path)
    return (
        read_rgb(path) if any(one.kind in ("colour-mask", "transparent-mask") for one in mask.oddities) else mask.array
    )


def _small(path: Path | None, read: Callable[[Path], Array]) -> Array | None:
    """A thumbnail of a picture or mask; None if there is none to be had."""
    if path is None:
        return None
    try:
        array = read(path)
    except BiRefNetError:
        return None
    scale = min(HEIGHT / array.shape[0], WIDEST / array.shape[1])
    size = max(1, round(array.shape[1] * scale)), max(1, round(array.shape[0] * scale))
    return np.asarray(Image.fromarray(array).resize(size, Image.Resampling.BILINEAR))


def _image(array: Array, role: str) -> str:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "JPEG", quality=82)
    data = base64.b64encode(buffer.getvalue()).decode()
    height, width = array.shape[:2]
    return f'<img class={role} alt="" width={width} height={height} src="data:image/jpeg;base64,{data}">'
