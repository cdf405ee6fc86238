"""The report is one file that needs nothing else and says what the numbers say."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from birefnet.errors import ConfigError
from birefnet.evaluation.curves import histogram, line_chart
from birefnet.evaluation.files import find_sets, match
from birefnet.evaluation.outcome import FILES, Evaluation, check_folder, write_evaluation
from birefnet.evaluation.run import Settings, measure_sets
from birefnet.evaluation.thumbnails import EXTRA, MISSED, SIDE, difference, strip, worst
from tests.evaluation.drawn import disc, draw_set

pytest.importorskip("matplotlib")
COLUMNS = ("S", "MAE", "maxF", "meanE")
VOID = {"meta", "img", "br", "link"}


class Balanced(HTMLParser):
    """Fails where an element is not closed by its own end; gathers identifiers and addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.note(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.note(attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def note(self, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.ids += [found["id"]] if "id" in found else []
        self.addresses += [found[name] for name in ("src", "href", "xlink:href") if name in found]


def judged(root: Path, *names: str, count: int = 3) -> Evaluation:
    for name in names:
        draw_set(root, name, count)
    sets = find_sets([root / name for name in names])
    jobs = match(root / "predictions", sets, resize=False, allow_extra=False)
    return Evaluation(
        label="a <b> & c", columns=COLUMNS, results=tuple(measure_sets(jobs, Settings(metrics=COLUMNS), workers=1))
    )


@pytest.mark.parametrize("names", [("one",), ("one", "two")])
def test_the_page_is_whole_and_needs_nothing_else(tmp_path: Path, names: tuple[str, ...]) -> None:
    evaluation = judged(tmp_path, *names)
    write_evaluation(evaluation, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(FILES)
    text = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    page = Balanced()
    page.feed(text)
    page.close()
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    outside = [address for address in page.addresses if not address.startswith(("#", "data:image/"))]
    assert not outside and "@import" not in text and "url(http" not in text
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= set(page.ids)
    pictures = [address for address in page.addresses if address.startswith("data:")]
    assert len(pictures) == 4 * 3 * len(names)  # photo, truth, prediction, difference
    with Image.open(io.BytesIO(base64.b64decode(pictures[1].partition(",")[2]))) as image:
        assert image.size == (60, 40)
    assert "a &lt;b&gt; &amp; c" in text and "<b> &" not in text
    for value in evaluation.results[0].summary.values.values():
        assert f"<td>{value:.3f}</td>" in text
    assert "highest point of the mean curve" in text
    assert ('class="mean"' in text) == (len(names) > 1)


def test_files_that_exist_are_not_replaced_unasked(tmp_path: Path) -> None:
    check_folder(tmp_path / "new", FILES, overwrite=False)
    (tmp_path / "table.md").write_text("mine")
    with pytest.raises(ConfigError, match=r"already holds `table.md`\.$"):
        check_folder(tmp_path, FILES, overwrite=False)
    check_folder(tmp_path, FILES, overwrite=True)
    with pytest.raises(ConfigError, match="is a file; wanted a folder"):
        check_folder(tmp_path / "table.md", FILES, overwrite=True)


def test_charts_take_their_colours_from_the_page_and_are_the_same_every_time() -> None:
    x = np.linspace(0, 1, 256)
    svg = line_chart({"a": (x, x), "b": (x, 1 - x)}, "recall", "precision", name="pr")
    assert svg == line_chart({"a": (x, x), "b": (x, 1 - x)}, "recall", "precision", name="pr")
    assert svg.startswith('<svg viewBox="') and svg.rstrip().endswith("</svg>")
    assert "var(--series-1)" in svg and "var(--series-2)" in svg and "var(--ink)" in svg
    assert not re.search(r"#[0-9a-f]{6}\b", svg)
    assert ">precision</text>" in svg


def test_a_histogram_counts_every_picture_once() -> None:
    svg = histogram({"a": [0.1, 0.2, 0.9], "b": [0.15]}, "S", name="s", bins=4)
    assert "var(--series-1)" in svg and "var(--series-2)" in svg
    assert "pictures" in histogram({"a": [0.5, 0.5]}, "S", name="s")
    assert "pictures" in histogram({"a": []}, "S", name="s")  # nothing is defined


def test_the_worst_come_first_and_undefined_ones_not_at_all(tmp_path: Path) -> None:
    rows = judged(tmp_path, "one", count=6).results[0].rows
    by_s = sorted(rows, key=lambda row: row.values["S"] or 0)
    assert worst(rows, "S", higher_is_better=True, count=2) == by_s[:2]
    by_mae = sorted(rows, key=lambda row: -(row.values["MAE"] or 0))
    assert worst(rows, "MAE", higher_is_better=False, count=2) == by_mae[:2]
    assert worst([type(rows[0])(rows[0].job, {"S": None})], "S", higher_is_better=True, count=2) == []


def test_differences_have_their_colours() -> None:
    prediction, truth = np.array([[0, 255, 255, 0]], np.uint8), np.array([[0, 255, 0, 255]], np.uint8)
    ground, subject, extra, missed = difference(prediction, truth)[0].tolist()
    assert tuple(extra) == EXTRA and tuple(missed) == MISSED
    assert len(set(ground)) == len(set(subject)) == 1 and ground < subject


def test_large_pictures_become_small(tmp_path: Path) -> None:
    predictions, home = draw_set(tmp_path, count=1)
    Image.fromarray(disc(width=900, height=600)).save(home / "gt/00.png")
    (home / "im/00.jpg").write_text("damaged")  # only shown: no reason to stop
    (job,) = match(predictions, find_sets([home]), resize=True, allow_extra=False)["set"]
    small = strip(job)
    assert (small.width, small.height, small.photo) == (SIDE, 213, None)
