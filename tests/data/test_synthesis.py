import numpy as np
import pytest

from birefnet.data.synthesis import branching, compose, cut, plain_background


def _square(colour: tuple[int, int, int] = (250, 10, 10)) -> np.ndarray:
    out = np.zeros((60, 60, 4), np.uint8)
    out[10:50, 10:50] = (*colour, 255)
    return out


def test_the_mask_of_a_composite_is_where_the_picture_changed() -> None:
    for seed in range(12):
        rng = np.random.default_rng(seed)
        background = np.full((96, 96, 3), 90, np.uint8)
        picture, mask = compose(rng, background, [_square()])
        assert picture.shape == (96, 96, 3) and mask.shape == (96, 96)
        assert mask.max() == 255
        # Outside the subject only a shadow may fall, and a shadow never brightens.
        assert (picture[mask == 0].astype(int) <= 90).all()


def test_two_subjects_cover_at_least_as_much_as_each() -> None:
    one = compose(np.random.default_rng(5), np.zeros((64, 64, 3), np.uint8), [_square()])[1]
    two = compose(np.random.default_rng(5), np.zeros((64, 64, 3), np.uint8), [_square(), _square((0, 200, 0))])[1]
    assert one.sum() > 0 and two.sum() > 0


def test_soft_alpha_mixes_colours_exactly_and_nothing_bleeds() -> None:
    ghost = _square()
    ghost[..., 3] //= 2
    _, mask = compose(np.random.default_rng(2), np.zeros((96, 96, 3), np.uint8), [ghost])
    assert 110 <= mask.max() <= 130


def test_drawn_plants_are_thin_and_differ() -> None:
    plants = [branching(np.random.default_rng(seed), 128) for seed in range(6)]
    for plant in plants:
        assert plant.shape == (128, 128, 4)
        assert 0.003 < (plant[..., 3] > 127).mean() < 0.6
        assert ((plant[..., 3] > 0) & (plant[..., 3] < 255)).any()  # soft edges
    assert not np.array_equal(plants[0], plants[1])


def test_plain_backgrounds_are_smooth() -> None:
    for seed in range(8):
        plain = plain_background(np.random.default_rng(seed), (64, 64))
        assert plain.shape == (64, 64, 3)
        assert np.abs(np.diff(plain.astype(int), axis=0)).mean() < 12


@pytest.mark.parametrize("shape", [(20, 30), (40, 60)])
def test_cut_joins_picture_and_mask_of_any_size(shape: tuple[int, int]) -> None:
    out = cut(np.full((20, 30, 3), 7, np.uint8), np.full(shape, 200, np.uint8))
    assert out.shape == (20, 30, 4) and (out[..., 3] == 200).all() and (out[..., :3] == 7).all()
