"""The skeleton: thin, joined, equal to scikit-image's, and safely kept on disk."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from birefnet.evaluation import skeleton
from birefnet.evaluation.skeleton import cached_skeleton, skeletonize
from tests.evaluation.pairs import NAMES, odd_pairs, published, random_pairs


def test_a_bar_becomes_a_line() -> None:
    mask = np.zeros((9, 30), bool)
    mask[3:6, 2:28] = True
    thin = skeletonize(mask)
    assert thin[4, 4:26].all()
    assert thin[:, 4:25].sum(axis=0).max() == 1
    assert not (thin & ~mask).any()


def test_a_ring_stays_a_ring() -> None:
    y, x = np.ogrid[-30:31, -30:31]
    radius = np.hypot(y, x)
    thin = skeletonize((radius > 15) & (radius < 28))
    places = np.argwhere(thin) - 30
    angles = np.sort(np.arctan2(places[:, 0], places[:, 1]))
    assert np.diff(angles).max() < 0.15  # no gap
    assert np.abs(np.hypot(*places.T) - 21.5).max() < 2


def test_it_equals_that_of_scikit_image() -> None:
    other = pytest.importorskip("skimage.morphology").skeletonize
    random = np.random.default_rng(0)
    masks = [random.random(random.integers(1, 40, 2)) < share for share in (0.2, 0.5, 0.7, 0.9, 0.97) * 30]
    masks += [pair.foreground for pair in random_pairs(40, largest=200, seed=7)]
    masks += [pair.foreground for _, pair in odd_pairs()]
    masks += [published(name)[1] > 128 for name in NAMES]
    for mask in masks:
        assert (skeletonize(mask) == other(mask)).all()


def test_the_mask_is_left_alone() -> None:
    mask = np.ones((20, 20), bool)
    skeletonize(mask)
    assert mask.all()


def test_a_skeleton_is_computed_once_for_all_predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = published("04")[1] > 128
    wanted = skeletonize(mask)
    folder = tmp_path / "not" / "there yet"
    assert (cached_skeleton(mask, folder) == wanted).all()
    monkeypatch.setattr(skeleton, "skeletonize", lambda _: pytest.fail("computed again"))
    assert (cached_skeleton(mask, folder) == wanted).all()
    assert [path.suffix for path in folder.iterdir()] == [".skeleton"]


def test_masks_of_equal_bits_and_other_shapes_are_told_apart(tmp_path: Path) -> None:
    for shape in ((8, 16), (16, 8), (4, 32)):
        mask = np.ones(shape, bool)
        assert (cached_skeleton(mask, tmp_path) == skeletonize(mask)).all()
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("content", [b"", b"nonsense", "half"])
def test_a_damaged_file_is_made_anew(tmp_path: Path, content: bytes | str) -> None:
    mask = published("02")[1] > 128
    wanted = cached_skeleton(mask, tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if isinstance(content, str) else content)
    assert (cached_skeleton(mask, tmp_path) == wanted).all()
    assert path.read_bytes() == whole


def test_many_may_share_the_folder(tmp_path: Path) -> None:
    masks = [published(name)[1] > 128 for name in NAMES[:5]] * 4
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda mask: cached_skeleton(mask, tmp_path), masks))
    assert all((result == skeletonize(mask)).all() for result, mask in zip(results, masks, strict=True))
    assert len(list(tmp_path.iterdir())) == 5


def test_a_folder_that_cannot_be_written_to_costs_only_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mask = published("02")[1] > 128
    (tmp_path / "file").write_text("in the way")
    assert (cached_skeleton(mask, tmp_path / "file") == skeletonize(mask)).all()
    assert "could not be kept" in caplog.text
