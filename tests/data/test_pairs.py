import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from birefnet.data.pairs import find_all_pairs, find_pairs, find_pictures, set_folders_in
from birefnet.errors import DataError


def _write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)


def test_pairs_are_matched_by_stem_whatever_the_suffix(tmp_path: Path) -> None:
    for name in ("im/b.jpg", "im/a.png", "gt/a.png", "gt/b.png"):
        _write(tmp_path / name)
    pairs = find_pairs(tmp_path)
    assert [(p.picture.name, p.mask.name) for p in pairs] == [("a.png", "a.png"), ("b.jpg", "b.png")]


def test_a_missing_partner_on_either_side_is_named(tmp_path: Path) -> None:
    for name in ("im/a.png", "im/lone.png", "gt/a.png", "gt/orphan.png"):
        _write(tmp_path / name)
    with pytest.raises(DataError, match=r"1 pictures without a mask: `lone`; 1 masks without a picture: `orphan`"):
        find_pairs(tmp_path)


def test_two_files_of_one_stem_are_refused(tmp_path: Path) -> None:
    for name in ("im/a.png", "im/a.jpg", "gt/a.png"):
        _write(tmp_path / name)
    with pytest.raises(DataError, match="share one stem"):
        find_pairs(tmp_path)


def test_only_takes_the_named_stems_and_misses_none(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        _write(tmp_path / name)
    assert [path.stem for path in find_pictures(tmp_path, ["b"])] == ["b"]
    with pytest.raises(DataError, match="`c`"):
        find_pictures(tmp_path, ["b", "c"])


@pytest.mark.parametrize("make", [False, True])
def test_a_missing_or_empty_folder_is_an_error(tmp_path: Path, make: bool) -> None:
    folder = tmp_path / "none"
    if make:
        folder.mkdir()
    with pytest.raises(DataError, match="none"):
        find_pictures(folder)


def test_what_all_folders_lack_is_one_error(tmp_path: Path) -> None:
    for name in ("a/im/x.png", "a/gt/y.png", "b/im/z.png", "c/im/ok.png", "c/gt/ok.png"):
        _write(tmp_path / name)
    with pytest.raises(DataError) as caught:
        find_all_pairs([(tmp_path / name, None) for name in "abcd"])
    text = str(caught.value)
    assert all(part in text for part in ("`x`", "`y`", "b/gt", "d/im")) and "ok" not in text


def test_long_lists_are_cut_with_a_count(tmp_path: Path) -> None:
    for index in range(14):
        _write(tmp_path / "im" / f"{index:02}.png")
    _write(tmp_path / "gt" / "00.png")
    with pytest.raises(DataError, match=r"13 pictures without a mask: `01`, .*`10` and 3 more"):
        find_pairs(tmp_path)


@pytest.mark.parametrize(("picture", "mask"), [("{}", "{}_mask"), ("{}-photo", "{}")])
def test_names_that_differ_by_an_ending_are_recognised(tmp_path: Path, picture: str, mask: str) -> None:
    for name in ("cat", "catfish", "dog"):
        _write(tmp_path / "im" / f"{picture.format(name)}.png")
        _write(tmp_path / "gt" / f"{mask.format(name)}.png")
    with pytest.raises(DataError, match=r"are called \.\.\.(_mask|-photo); rename"):
        find_pairs(tmp_path)


def test_hidden_files_do_not_count(tmp_path: Path) -> None:
    for name in ("im/a.png", "gt/a.png", "im/._a.png"):
        _write(tmp_path / name)
    assert len(find_pairs(tmp_path)) == 1


def test_sets_are_found_up_to_two_levels_below(tmp_path: Path) -> None:
    for name in ("one/im/a.png", "task/two/gt/a.png", "task/deep/er/im/a.png", ".hidden/im/a.png"):
        _write(tmp_path / name)
    assert [path.relative_to(tmp_path).as_posix() for path in set_folders_in(tmp_path)] == ["one", "task/two"]
    assert set_folders_in(tmp_path / "one") == [tmp_path / "one"]


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_pair_however_their_accents_are_written(tmp_path: Path, forms: tuple[str, str]) -> None:
    for part, form in zip(("im", "gt"), forms, strict=True):
        (tmp_path / part).mkdir()
        for name in ("Zoë", "한국어", "plain"):
            (tmp_path / part / f"{unicodedata.normalize(form, name)}.png").touch()
    pairs = find_pairs(tmp_path)
    assert len(pairs) == 3 and all(pair.picture.exists() and pair.mask.exists() for pair in pairs)  # none is renamed
    assert len(find_pairs(tmp_path, only=[unicodedata.normalize("NFD", "Zoë")])) == 1


def test_one_name_written_both_ways_is_one_name_twice(tmp_path: Path) -> None:
    for part in ("im", "gt"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "Zo\u00eb.png").touch()
    (tmp_path / "gt" / "Zoe\u0308.png").touch()
    if len(list((tmp_path / "gt").iterdir())) == 1:
        pytest.skip("this file system takes both for one name")
    with pytest.raises(DataError, match="share one stem"):
        find_pairs(tmp_path)
