from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from birefnet.data.dataset import DataConfig, Library, Mixture, Source, parse_sources
from birefnet.errors import ConfigError, DataError


def test_a_sample_depends_on_seed_and_number_alone(folders: DataConfig) -> None:
    first, second = (Mixture(Library.load(folders), folders, seed=3) for _ in range(2))
    second.sample(8, 32)  # drawing another sample before must not matter
    for a, b in zip(first.sample(5, 64), second.sample(5, 64), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first.sample(5, 64)[0], first.sample(6, 64)[0])
    assert not np.array_equal(first.sample(5, 64)[0], Mixture(first.library, folders, seed=4).sample(5, 64)[0])


def test_samples_have_the_size_asked_for_and_masks_of_every_kind(folders: DataConfig) -> None:
    mixture = Mixture(Library.load(folders), folders, seed=1)
    shares = []
    for number in range(60):
        picture, mask, label = mixture.sample(number, 96)
        assert label is None
        assert picture.shape == (96, 96, 3) and picture.dtype == np.uint8
        assert mask.shape == (96, 96) and mask.dtype == np.uint8
        shares.append(mask.mean() / 255)
    assert min(shares) == 0  # an empty scene came
    assert 0.02 < np.median(shares) < 0.8


def test_only_empty_scenes_when_the_recipe_says_so(folders: DataConfig) -> None:
    config = replace(folders, empty=1.0, composite=0.0)
    mixture = Mixture(Library.load(config), config, seed=1)
    assert all(mixture.sample(number, 64)[1].max() == 0 for number in range(8))


def test_weight_zero_leaves_a_source_out(folders: DataConfig, tmp_path: Path) -> None:
    config = replace(folders, pairs=(*folders.pairs, Source(folder="absent", weight=0)))
    assert len(Library.load(config).pairs) == 1
    with pytest.raises(DataError, match="absent"):
        Library.load(replace(folders, pairs=(Source(folder="absent"),)))


def test_an_unreadable_picture_is_named(folders: DataConfig) -> None:
    bad = Path(folders.root) / "back" / "bad.png"
    bad.write_text("no picture")
    with pytest.raises(DataError, match=r"bad\.png"):
        Library.load(folders)


def test_long_pictures_are_reduced_and_masks_follow(folders: DataConfig) -> None:
    config = replace(folders, longest=32)
    for picture, mask in Library.load(config).pairs[0][1]:
        assert max(picture.shape) == 32 and mask.shape == picture.shape[:2]


def test_sources_are_parsed_and_mistakes_refused() -> None:
    a, b = parse_sources({"a": 2, "b": {"weight": 0.5, "only": [1, "x"], "cut": True}})
    assert (a.folder, a.weight) == ("a", 2.0)
    assert b.only == ("1", "x") and b.cut
    with pytest.raises(ConfigError, match="wieght"):
        parse_sources({"a": {"wieght": 1}})
    with pytest.raises(ConfigError, match="negative"):
        parse_sources({"a": -1})


@pytest.mark.parametrize(
    "change", [{"composite": 1.5}, {"zoom": 0.0}, {"pairs": ()}, {"cutouts": (), "pairs": (Source(folder="p"),)}]
)
def test_a_mixture_that_cannot_be_is_refused(folders: DataConfig, change: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        replace(folders, **change)  # type: ignore[arg-type]
