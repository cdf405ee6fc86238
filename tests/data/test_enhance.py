import numpy as np
import pytest

from birefnet.data import enhance
from birefnet.data.config import AugmentConfig


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _photo() -> np.ndarray:
    y, x = np.mgrid[0:48, 0:64]
    return np.dstack([x * 3, y * 4, (x + y) * 2 + 10 * (x % 2)]).astype(np.uint8)


def test_crops_lie_inside_and_near_the_centre() -> None:
    boxes = np.array([enhance.central_box(_rng(seed), (200, 100), 0.5) for seed in range(400)])
    left, top, right, bottom = boxes.T
    assert (left >= 0).all() and (right <= 200).all() and (top >= 0).all() and (bottom <= 100).all()
    assert ((right - left) >= 100).all() and ((bottom - top) >= 50).all()
    place = left / (200 - (right - left))  # 0 left, 1 right; an even draw would have a deviation of 0.29
    assert abs(place.mean() - 0.5) < 0.03 and place.std() < 0.23


def test_turns_stay_within_their_range_and_take_the_mask_along() -> None:
    mask = np.zeros((101, 101), np.uint8)
    mask[48:53, 10:91] = 255
    angles = []
    for seed in range(60):
        picture, turned = enhance.turn(_rng(seed), np.dstack([mask] * 3), mask, 15)
        np.testing.assert_array_equal(picture[..., 0], turned)
        rows = [np.average(np.arange(101), weights=turned[:, x].astype(float)) for x in (25, 75)]
        angles.append(np.degrees(np.arctan2(rows[0] - rows[1], 50)))
    assert max(angles) < 15.5 and min(angles) > -15.5 and max(angles) > 10 and min(angles) < -10
    assert turned[0, 0] == 0 and len(np.unique(turned)) > 20  # black comes in; edges are soft


@pytest.mark.parametrize("name", ["brightness", "contrast", "colour", "sharpness"])
def test_a_factor_of_one_changes_nothing_and_each_factor_does_its_part(name: str) -> None:
    still = {key: (1.0, 1.0) for key in ("brightness", "contrast", "colour", "sharpness")}
    photo = _photo()
    np.testing.assert_array_equal(enhance.enhance(_rng(), photo, AugmentConfig(**still)), photo)
    zero = enhance.enhance(_rng(), photo, AugmentConfig(**still | {name: (0.0, 0.0)}))
    spread = zero.max(axis=2).astype(int) - zero.min(axis=2)
    what = {
        "brightness": zero.max() == 0,
        "contrast": len(np.unique(zero)) == 1,
        "colour": spread.max() == 0 and len(np.unique(zero)) > 20,
        "sharpness": np.abs(zero.astype(int) - photo).mean() < 5 and not np.array_equal(zero, photo),
    }
    assert what[name]


def test_pepper_hits_its_part_of_the_pixels_with_black_and_white() -> None:
    photo = np.full((200, 300, 3), 100, np.uint8)
    out = enhance.pepper(_rng(), photo, 0.0015)
    hit = (out != photo).any(axis=2)
    assert 80 <= hit.sum() <= 90
    assert 20 < (out[hit] == 255).all(axis=1).sum() < 70 and set(np.unique(out)) == {0, 100, 255}
    np.testing.assert_array_equal(enhance.pepper(_rng(), photo, 0.0), photo)


def test_plain_colours_are_grey_near_the_subject_or_any() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = 255
    picture = np.full((40, 40, 3), (0, 0, 255), np.uint8)
    picture[mask > 0] = (200, 60, 20)
    colours = np.array([enhance.plain_colour(_rng(seed), picture, mask) for seed in range(600)]).astype(int)
    grey = np.ptp(colours, axis=1) == 0
    near = (np.abs(colours - (200, 60, 20)) <= 32).all(axis=1)
    assert 0.35 < grey.mean() < 0.45
    assert 0.35 < near.mean() < 0.46
    assert 0.14 < (~grey & ~near).mean() < 0.26


def test_a_subject_before_another_background_keeps_its_soft_edge() -> None:
    picture, mask = np.full((1, 3, 3), 200, np.uint8), np.array([[0, 102, 255]], np.uint8)
    out = enhance.before(picture, mask, np.array([100, 0, 50], np.uint8))
    np.testing.assert_array_equal(out[0], [[100, 0, 50], [140, 80, 110], [200, 200, 200]])


def test_a_plain_background_without_a_subject_has_some_colour() -> None:
    empty = np.zeros((8, 8), np.uint8)
    for seed in range(20):
        assert enhance.plain_colour(_rng(seed), np.zeros((8, 8, 3), np.uint8), empty).shape == (3,)
