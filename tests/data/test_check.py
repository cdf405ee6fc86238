from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from birefnet.data.check import check_folder
from birefnet.data.findings import KINDS
from birefnet.data.sheet import overlay, write_sheet
from birefnet.errors import ConfigError


def _scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture (300, 400, 3) like no other, and the mask of a disc in it."""
    blocks = np.random.default_rng(seed).integers(0, 256, (15, 20, 3)).astype(np.uint8)
    picture = np.asarray(Image.fromarray(blocks).resize((400, 300), Image.Resampling.BICUBIC))
    y, x = np.mgrid[0:300, 0:400]
    return picture, ((y - 150) ** 2 + (x - 180 - 5 * seed) ** 2 < 6000).astype(np.uint8) * 255


def _save(array: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four pairs without a fault."""
    for seed, name in enumerate("abcd"):
        picture, mask = _scene(seed)
        _save(picture, tmp_path / "im" / f"{name}.png")
        _save(mask, tmp_path / "gt" / f"{name}.png")
    return tmp_path


def _mask(folder: Path, name: str = "b") -> np.ndarray:
    return np.asarray(Image.open(folder / "gt" / f"{name}.png"))


def _strip(folder: Path) -> np.ndarray:
    """What 255 or 128 may stand for "unknown" in: some columns beside the subject."""
    strip = np.zeros_like(_mask(folder))
    strip[:, 20:40] = 255
    return strip


def _turn_picture(folder: Path, turn: int) -> None:
    """Store the picture lying, as cameras do, with the turn in its EXIF data; the mask is of before that."""
    back = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}[turn]
    picture, mask = _scene(1)
    picture = np.where(mask[..., None] > 0, 255 - picture // 4, picture // 4)  # a subject that can be seen
    lying = Image.fromarray(picture).transpose(back)
    lying.save(folder / "im" / "b.png", exif=_turned(turn))
    Image.fromarray(_mask(folder)).transpose(back).save(folder / "gt" / "b.png")


def _turned(turn: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = turn
    return exif


FAULTS: dict[str, Callable[[Path], object]] = {
    "no-mask": lambda f: (f / "gt" / "b.png").unlink(),
    "no-picture": lambda f: (f / "im" / "b.png").unlink(),
    "same-stem": lambda f: _save(_scene(1)[0], f / "im" / "b.bmp"),
    "unreadable": lambda f: (f / "im" / "b.png").write_bytes((f / "im" / "b.png").read_bytes()[:5000]),
    "size": lambda f: _save(_mask(f)[:, :200], f / "gt" / "b.png"),
    "colour-mask": lambda f: _save(np.dstack([_mask(f), _mask(f) * 0, _mask(f)]), f / "gt" / "b.png"),
    "transparent-mask": lambda f: _save(np.dstack([_mask(f)] * 4), f / "gt" / "b.png"),
    "dim-mask": lambda f: _save(_mask(f) // 255, f / "gt" / "b.png"),
    "class-mask": lambda f: _save(np.where(_mask(f) > 0, np.uint8(1), _mask(f)) | _strip(f), f / "gt" / "b.png"),
    "trimap": lambda f: _save(np.where(_strip(f) > 0, np.uint8(128), _mask(f)), f / "gt" / "b.png"),
    "deep-mask": lambda f: _save(_mask(f).astype(np.uint16) * 257, f / "gt" / "b.png"),
    "tinted-mask": lambda f: _save(np.dstack([_mask(f) // 255 * v for v in (255, 255, 247)]), f / "gt" / "b.png"),
    "turned-mask": lambda f: Image.fromarray(_mask(f)[::-1, ::-1]).save(f / "gt" / "b.png", exif=_turned(3)),
    "unturned-mask": lambda f: _turn_picture(f, 3),
    "inverted": lambda f: _save(255 - _mask(f), f / "gt" / "b.png"),
    "empty": lambda f: _save(_mask(f) * 0, f / "gt" / "b.png"),
    "full": lambda f: _save(_mask(f) * 0 + 255, f / "gt" / "b.png"),
    "duplicate": lambda f: _save(np.asarray(Image.open(f / "im" / "a.png")), f / "im" / "b.png"),
    "scaled-mask": lambda f: _save(_mask(f)[::2, ::2], f / "gt" / "b.png"),
    "jpeg-mask": lambda f: (_save(_mask(f), f / "gt" / "b.jpg"), (f / "gt" / "b.png").unlink()),
    "small": lambda f: (
        _save(_scene(1)[0][:200, :200], f / "im" / "b.png"),
        _save(_mask(f)[:200, :200], f / "gt" / "b.png"),
    ),
    "other-file": lambda f: (f / "im" / "b.txt").write_text("notes"),
}


def test_a_good_folder_has_no_findings_and_good_advice(folder: Path) -> None:
    report = check_folder(folder)
    assert report.findings == () and report.problems == 0
    assert report.sets == {".": 4} and report.sizes == [(400, 300)] * 4
    assert report.softness is not None and report.softness.soft == 0
    assert report.advice is not None and report.advice.task == "segmentation" and report.advice.size == (576, 448)


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_is_found_and_nothing_else(folder: Path, kind: str) -> None:
    FAULTS[kind](folder)
    report = check_folder(folder)
    assert [(finding.kind, finding.name.rpartition("/")[2][0]) for finding in report.findings] == [(kind, "b")]
    assert report.problems == int(KINDS[kind].problem)
    assert report.counts() == {kind: 1}
    assert check_folder(folder, ignore=[kind]).findings == ()


def test_every_kind_has_its_fault_here() -> None:
    assert set(KINDS) - set(FAULTS) == {"no-folder"}


def test_a_set_without_masks_is_said_once(folder: Path) -> None:
    for path in (folder / "gt").iterdir():
        path.unlink()
    report = check_folder(folder)
    assert report.counts() == {"no-folder": 1} and "gt" in report.findings[0].text
    assert report.softness is None and report.advice is None and report.to_dict()["sizes"] is None


def test_sets_are_named_and_copies_found_across_them(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("root")
    (root / "train").symlink_to(folder)
    for part in ("im", "gt"):
        _save(np.asarray(Image.open(folder / part / "c.png")), root / "test" / part / "x.png")
    report = check_folder(root)
    assert report.sets == {"test": 1, "train": 4}
    (finding,) = report.findings
    assert (finding.kind, finding.set, finding.name) == ("duplicate", "train", "c")
    assert finding.text == "the same pixels as `x` of `test`"


def test_soft_masks_ask_for_the_losses_of_matting(folder: Path) -> None:
    for path in (folder / "gt").iterdir():
        soft = Image.open(path).filter(ImageFilter.GaussianBlur(6))
        soft.save(path)
    report = check_folder(folder)
    assert report.softness is not None and report.softness.task == "matting" and report.softness.edge > 5
    assert report.advice is not None and report.advice.losses["iou"] == 0 and report.advice.start == "matting"


def test_the_report_does_not_depend_on_the_number_of_threads(folder: Path) -> None:
    FAULTS["empty"](folder)
    seen: list[tuple[int, int]] = []
    one = check_folder(folder, workers=1, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert one == check_folder(folder, workers=5)


def test_a_folder_without_pairs_and_unknown_kinds_are_wrong_use(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(ConfigError, match="holds no set"):
        check_folder(tmp_path)
    with pytest.raises(ConfigError, match="no folder"):
        check_folder(tmp_path / "absent")
    with pytest.raises(ConfigError, match="`dull`; known: no-folder"):
        check_folder(tmp_path, ignore=["dull"])


def test_the_sheet_needs_nothing_else_and_shows_faults_first(folder: Path, tmp_path: Path) -> None:
    (folder / "im" / "a.png").rename(folder / "im" / "<a & b>.png")
    for kind in ("inverted", "unreadable"):
        FAULTS[kind](folder)
    FAULTS["size"](folder)
    report = check_folder(folder)
    target = tmp_path / "sheet.html"
    write_sheet(report, target)
    text = target.read_text(encoding="utf-8")
    assert not any(mark in text for mark in ("http://", "https://", "<script", "<link"))
    places = [text.index(f"> {KINDS[kind].title}</h2>") for kind in report.counts()]
    assert places == sorted(places) and places[-1] < text.index("Without problems")
    assert "&lt;a &amp; b&gt;" in text and "<a & b>" not in text
    assert text.count("<figure class=tile>") == 2 + 1 + 1 + 2  # no mask, no picture, unreadable, size; c and d
    assert "no mask" in text and "no picture" in text and "picture unreadable" in text
    assert [path.name for path in tmp_path.glob("*.part")] == []


def test_the_overlay_keeps_the_subject_and_dims_the_rest() -> None:
    picture, mask = _scene(0)
    out = overlay(picture, mask)
    np.testing.assert_array_equal(out[150, 150:200], picture[150, 150:200])
    outside = out[:60]
    assert outside.max() <= 255 * 0.35 + 18 and np.ptp(outside.astype(int), axis=2).max() == 0
    assert (out == (255, 45, 110)).all(axis=2).any()


@pytest.mark.parametrize("turn", [3, 6, 8])
@pytest.mark.parametrize("square", [False, True])
def test_a_mask_that_lacks_the_turn_of_its_picture(folder: Path, turn: int, square: bool) -> None:
    _turn_picture(folder, turn)
    if square:
        for part in ("im", "gt"):
            with Image.open(folder / part / "b.png") as image:
                image.resize((300, 300)).save(folder / part / "b.png", exif=image.getexif())
    assert check_folder(folder).counts() == {"unturned-mask": 1}
    with Image.open(folder / "gt" / "b.png") as mask:
        mask.save(folder / "gt" / "b.png", exif=_turned(turn))  # now it turns with its picture
    assert check_folder(folder).counts() == {"turned-mask": 1}


@pytest.mark.parametrize("turn", [3, 6, 8])
def test_an_upright_mask_of_a_turned_picture_is_right(folder: Path, turn: int) -> None:
    upright = Image.fromarray(_mask(folder))
    _turn_picture(folder, turn)
    upright.save(folder / "gt" / "b.png")
    assert check_folder(folder).findings == ()
