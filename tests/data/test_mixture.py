import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from birefnet.data.dataset import AugmentConfig, Library, Mixture, open_stream
from birefnet.data.synthesis import join
from tests.data.scene import make_library

GOLDEN = Path(__file__).parents[1] / "golden" / "data" / "mixture.npz"


def test_the_samples_of_a_mixture_are_those_that_nano_was_trained_on(tmp_path: Path) -> None:
    config = make_library(tmp_path)
    mixture = Mixture(Library.load(config), config, seed=7)
    with np.load(GOLDEN) as golden:
        wanted_picture, wanted_mask, wanted_hash = golden["picture"], golden["mask"], str(golden["sha256"])
    samples = [mixture.sample(number, 48) for number in range(len(wanted_picture))]
    picture, mask = np.stack([s.picture for s in samples]), np.stack([s.mask for s in samples])
    if hashlib.sha256(picture.tobytes() + mask.tobytes()).hexdigest() == wanted_hash:
        return
    # Another processor or another JPEG library may round one value in thousands the other way, and no more.
    for ours, wanted in ((picture, wanted_picture), (mask, wanted_mask)):
        differs = np.abs(ours.astype(int) - wanted)
        assert (differs > 0).mean() < 0.002 and differs.max() <= 8


@pytest.mark.parametrize("style", ["strong", "reference"])
@pytest.mark.parametrize("size", [(96, 32), (32, 64)])
def test_samples_of_every_kind_have_any_size(tmp_path: Path, size: tuple[int, int], style: str) -> None:
    config = replace(make_library(tmp_path), augment=AugmentConfig(style=style, plain=0.2, background=0.2))
    stream = open_stream(config, seed=2)
    covered = []
    for number in range(40):
        picture, mask, label = stream.sample(number, size)
        assert picture.shape == (size[1], size[0], 3) and mask.shape == (size[1], size[0]) and label is None
        covered.append(mask.mean() / 255)
    assert min(covered) == 0 and 0.1 < np.mean(covered) < 0.7
    assert stream.epoch_length == 6 and stream.class_names == ()


def test_a_size_may_be_one_side(tmp_path: Path) -> None:
    stream = open_stream(make_library(tmp_path), seed=2)
    for number in range(6):
        for one, other in zip(stream.sample(number, 40)[:2], stream.sample(number, (40, 40))[:2], strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_composite_on_a_real_picture_keeps_that_picture_s_own_subject(tmp_path: Path) -> None:
    config = replace(make_library(tmp_path), composite=1.0, empty=0.0)
    library = Library.load(config)
    plain, pasted = Mixture(library, config, 3), Mixture(library, replace(config, pasted=1.0), 3)
    covered = [np.mean([m.sample(n, 64).mask.mean() for n in range(30)]) for m in (plain, pasted)]
    assert covered[1] > covered[0] + 10


def test_backgrounds_are_joined_from_two(tmp_path: Path) -> None:
    black, white = np.zeros((40, 60, 3), np.uint8), np.full((40, 60, 3), 255, np.uint8)
    for seed in range(5):
        both = join(np.random.default_rng(seed), black, white)
        assert both.shape == black.shape and both.dtype == np.uint8
        assert 0.3 < both.mean() / 255 < 0.7 and both.min() < 60 and both.max() > 195
    config = replace(make_library(tmp_path), composite=1.0, empty=0.0, joined=1.0)
    assert open_stream(config, seed=3).sample(0, 32).picture.shape == (32, 32, 3)
