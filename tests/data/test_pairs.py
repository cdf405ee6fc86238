from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from birefnet.data.pairs import find_pairs, find_pictures
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
