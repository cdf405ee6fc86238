"""Predictions meet their truths by stem, and all that is amiss is said in one error."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from birefnet.errors import ConfigError, DataError
from birefnet.evaluation.files import check_pictures, find_sets, match
from tests.evaluation.drawn import draw_set


def test_a_set_a_folder_of_masks_and_a_folder_of_sets_are_understood(tmp_path: Path) -> None:
    draw_set(tmp_path / "all", "one", 2)
    draw_set(tmp_path / "all", "two", 3)
    shutil.rmtree(tmp_path / "all/predictions")
    both = find_sets([tmp_path / "all"])
    assert [(one.name, len(one.truths), len(one.pictures)) for one in both] == [("one", 2, 2), ("two", 3, 3)]
    assert find_sets([tmp_path / "all/one"]) == both[:1]
    (masks,) = find_sets([tmp_path / "all/two/gt"])
    assert (masks.name, len(masks.truths), len(masks.pictures)) == ("two", 3, 3)
    shutil.move(tmp_path / "all/two/gt", tmp_path / "plain")
    (plain,) = find_sets([tmp_path / "plain"])
    assert (plain.name, len(plain.truths), len(plain.pictures)) == ("plain", 3, 0)


def test_the_working_folder_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_set(tmp_path, "here")
    monkeypatch.chdir(tmp_path / "here/gt")
    (found,) = find_sets([Path()])
    assert found.name == "here" and len(found.pictures) == 3


def test_pairs_are_matched_by_stem_whatever_the_suffix(tmp_path: Path) -> None:
    predictions, home = draw_set(tmp_path)
    (predictions / "00.png").unlink()
    Image.new("L", (60, 40)).save(predictions / "00.bmp")
    (predictions / "notes.txt").write_text("not a picture")
    (predictions / ".hidden.png").write_text("not looked at")
    jobs = match(predictions, find_sets([home]), resize=False, allow_extra=False)["set"]
    assert [(job.stem, job.prediction.name, job.truth.name) for job in jobs] == [
        ("00", "00.bmp", "00.png"), ("01", "01.png", "01.png"), ("02", "02.png", "02.png")
    ]  # fmt: skip
    assert jobs[0].picture == home / "im/00.jpg"


def test_several_sets_have_folders_of_their_names(tmp_path: Path) -> None:
    draw_set(tmp_path, "one", 2)
    draw_set(tmp_path, "two", 1)
    sets = find_sets([tmp_path / "one", tmp_path / "two"])
    jobs = match(tmp_path / "predictions", sets, resize=False, allow_extra=False)
    assert [job.name for of_set in jobs.values() for job in of_set] == ["one/00", "one/01", "two/00"]


def test_one_error_lists_everything(tmp_path: Path) -> None:
    predictions, home = draw_set(tmp_path, count=17)
    Image.new("RGB", (60, 40), "red").save(home / "gt" / "16.png")
    for number in range(12):
        (predictions / f"{number:02d}.png").unlink()
    Image.new("L", (60, 40)).save(predictions / "stranger.png")
    Image.new("L", (30, 20)).save(predictions / "12.png")
    Image.new("I;16", (60, 40)).save(predictions / "13.png")
    (predictions / "14.png").write_text("not a picture")
    Image.new("L", (60, 40)).save(predictions / "15.bmp")
    with pytest.raises(DataError) as caught:
        match(predictions, find_sets([home]), resize=False, allow_extra=False)
    text = str(caught.value)
    listed = "`00`, `01`, `02`, `03`, `04`, `05`, `06`, `07`, `08`, `09` and 2 more"
    assert f"12 predictions are missing: {listed}; 1 prediction has no truth: `stranger`;" in text
    assert "1 stem has two files: `set/15` (15.bmp, 15.png)" in text
    assert "1 prediction has another size than its truth: `12` (30x20, truth 60x40)" in text
    assert "1 file has more than 8 bits: `set/13.png`" in text
    assert "1 file has colours: `gt/16.png`" in text
    assert "1 file cannot be read: `set/14.png` (`14.png` is not a picture" in text
    hint = str(caught.value.hint)
    assert "`resize=True`" in hint and "`allow_extra=True`" in hint


def test_what_may_be_asked_for(tmp_path: Path) -> None:
    predictions, home = draw_set(tmp_path, count=1)
    Image.new("L", (30, 20)).save(predictions / "00.png")
    Image.new("L", (30, 20)).save(predictions / "stranger.png")
    assert len(match(predictions, find_sets([home]), resize=True, allow_extra=True)["set"]) == 1


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda root: None, "does not exist; wanted a folder of masks"),
        (lambda root: (root / "gone").write_text(""), "is a file; wanted a folder"),
        (lambda root: (root / "gone").mkdir(), "is empty: it holds neither masks"),
        (lambda root: (root / "gone/gt").mkdir(parents=True), "1 folder has no pictures: `"),
    ],
)
def test_no_truths(tmp_path: Path, make: object, sentence: str) -> None:
    make(tmp_path)  # type: ignore[operator]
    with pytest.raises(DataError, match=sentence):
        find_sets([tmp_path / "gone"])


def test_no_predictions(tmp_path: Path) -> None:
    _, home = draw_set(tmp_path, "one")
    draw_set(tmp_path, "two")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"1 folder has no pictures: `.*empty`"):
        match(tmp_path / "empty", find_sets([home]), resize=False, allow_extra=False)
    shutil.rmtree(tmp_path / "predictions/two")
    sets = find_sets([home, tmp_path / "two"])
    with pytest.raises(DataError, match=r"1 folder is missing: `.*predictions/two`"):
        match(tmp_path / "predictions", sets, resize=False, allow_extra=False)


def test_sets_of_one_name_are_refused(tmp_path: Path) -> None:
    homes = [draw_set(tmp_path / parent)[1] for parent in ("a", "b")]
    with pytest.raises(ConfigError, match="Several test sets are called `set`"):
        find_sets(homes)


def test_a_model_needs_a_picture_of_the_right_size_for_every_truth(tmp_path: Path) -> None:
    _, home = draw_set(tmp_path)
    Image.new("RGB", (61, 40)).save(home / "im/00.jpg")
    with pytest.raises(DataError, match=r"1 picture has another size than its truth: `set/00` \(61x40, truth 60x40\)"):
        check_pictures(find_sets([home], with_pictures=True))
    (home / "im/00.jpg").rename(home / "im/odd.jpg")
    with pytest.raises(DataError, match="1 truth has no picture: `set/00`; 1 picture has no truth: `set/odd`"):
        find_sets([home], with_pictures=True)
    shutil.move(home / "gt", tmp_path / "plain")
    with pytest.raises(DataError, match="has no pictures to predict from"):
        find_sets([tmp_path / "plain"], with_pictures=True)


def test_names_meet_however_their_accents_are_written(tmp_path: Path) -> None:
    predictions, home = draw_set(tmp_path, count=1)
    (predictions / "00.png").rename(predictions / "Zo\u00eb.png")
    (home / "gt/00.png").rename(home / "gt/Zoe\u0308.png")
    (home / "im/00.jpg").rename(home / "im/Zo\u00eb.jpg")
    (job,) = match(predictions, find_sets([home]), resize=False, allow_extra=False)["set"]
    assert job.stem == "Zo\u00eb" and job.truth.exists() and job.prediction.exists() and job.picture is not None
    check_pictures(find_sets([home], with_pictures=True))
