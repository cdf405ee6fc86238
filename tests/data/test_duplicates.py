import io

import numpy as np
from PIL import Image, ImageFilter

from birefnet.data.duplicates import Twin, find_twins, fingerprint


def _photo(seed: int) -> np.ndarray:
    blocks = np.random.default_rng(seed).integers(0, 256, (12, 16, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(blocks).resize((320, 240), Image.Resampling.BICUBIC))


def _saved_again(picture: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(picture).resize((250, 190)).save(buffer, "JPEG", quality=40)
    return np.asarray(Image.open(buffer))


def test_copies_are_found_and_told_from_each_other() -> None:
    pictures = [_photo(0), _photo(1), _photo(0), _photo(2), _saved_again(_photo(1)), _saved_again(_photo(1))]
    assert list(find_twins([fingerprint(picture) for picture in pictures])) == [
        Twin(2, 0, True),
        Twin(4, 1, False),
        Twin(5, 4, True),
    ]


def test_different_pictures_are_no_twins_even_if_there_is_little_to_see() -> None:
    plain = [np.full((64, 64, 3), value, np.uint8) for value in (0, 90, 255)]
    spots = []
    for x in (10, 40):
        spot = np.full((64, 64, 3), 255, np.uint8)
        spot[20:40, x : x + 12] = 0
        spots.append(np.asarray(Image.fromarray(spot).filter(ImageFilter.GaussianBlur(2))))
    photos = [_photo(seed) for seed in range(40)]
    assert list(find_twins([fingerprint(picture) for picture in (*plain, *spots, *photos)])) == []
    assert list(find_twins([])) == []
