import numpy as np

from birefnet.data import augment


def _scene() -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros((80, 120), np.uint8)
    mask[30:60, 50:90] = 255
    return np.dstack([mask // 2 + 40] * 3), mask


def test_a_crop_keeps_most_of_the_subject() -> None:
    _, mask = _scene()
    for seed in range(50):
        left, top, right, bottom = augment.crop_box(np.random.default_rng(seed), mask, 0.4, keep=0.7)
        assert 0 <= left < right <= 120 and 0 <= top < bottom <= 80
        kept = mask[round(top) : round(bottom), round(left) : round(right)].sum() / mask.sum()
        assert kept > 0.55  # 0.7 on the coarse mask, less its rounding


def test_a_free_box_holds_no_subject_or_is_none() -> None:
    _, mask = _scene()
    found = [augment.free_box(np.random.default_rng(seed), mask) for seed in range(50)]
    boxes = [box for box in found if box is not None]
    assert boxes
    for left, top, right, bottom in boxes:
        assert not mask[int(top) : int(bottom), int(left) : int(right)].any()
    assert augment.free_box(np.random.default_rng(0), np.full((80, 80), 255, np.uint8)) is None


def test_picture_and_mask_turn_together() -> None:
    picture, mask = _scene()
    turned, turned_mask = augment.rotate(picture, mask, 20)
    assert turned.shape == picture.shape and turned_mask.shape == mask.shape
    bright = turned[..., 0] > 100
    assert (bright == (turned_mask > 120)).mean() > 0.99
    assert not np.array_equal(turned_mask, mask)


def test_colours_and_damage_leave_shape_and_type_alone() -> None:
    picture, _ = _scene()
    changed = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        out = augment.degrade(rng, augment.jitter_colours(rng, picture))
        assert out.shape == picture.shape and out.dtype == np.uint8
        changed += not np.array_equal(out, picture)
    assert changed == 40
