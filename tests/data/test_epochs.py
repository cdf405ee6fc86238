import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from birefnet.data.dataset import AugmentConfig, DataConfig, Epochs, Sample, Source, Stream, open_stream
from birefnet.data.epochs import read_classes
from birefnet.errors import DataError

COUNT = 7
STILL = AugmentConfig(flip=0, rotate=0, enhance=0, pepper=0)


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    """Seven pairs, each of one grey: the grey tells which pair a sample is of."""
    for index in range(COUNT):
        for part, array in (("im", np.full((40, 60, 3), 30 * index, np.uint8)), ("gt", _mask())):
            folder = tmp_path / ("one" if index < 4 else "two") / part
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(folder / f"1#Group#{index}#Class{index % 3}#{index}.png")
    return DataConfig(root=str(tmp_path), sets="one+two", order="epochs", augment=STILL)


def _mask() -> np.ndarray:
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 20:40] = 255
    return mask


def _numbers(stream: Stream, epoch: int) -> list[int]:
    samples = (stream.sample(epoch * COUNT + i, 32) for i in range(COUNT))
    return [int(sample.picture[0, 0, 0]) // 30 for sample in samples]


def test_every_pair_comes_once_in_each_epoch_in_a_new_order(config: DataConfig) -> None:
    stream = open_stream(config, seed=3)
    assert stream.epoch_length == COUNT
    orders = [_numbers(stream, epoch) for epoch in range(4)]
    assert all(sorted(order) == list(range(COUNT)) for order in orders)
    assert len({tuple(order) for order in orders}) > 1
    assert orders == [_numbers(open_stream(config, seed=3), epoch) for epoch in range(4)]
    assert orders != [_numbers(open_stream(config, seed=4), epoch) for epoch in range(4)]


def test_a_sample_depends_on_seed_number_and_size_alone(config: DataConfig) -> None:
    config = replace(config, augment=AugmentConfig(plain=0.3, crop=0.5))
    first, second = open_stream(config, 3), open_stream(config, 3)
    second.sample(20, 32)
    for number in (5, 12, 5):
        for a, b in zip(first.sample(number, (64, 32))[:2], second.sample(number, (64, 32))[:2], strict=True):
            np.testing.assert_array_equal(a, b)


def _digest(argument: tuple[DataConfig, int]) -> int:
    return int(open_stream(argument[0], 3).sample(argument[1], 48).picture.astype(np.int64).sum())


def test_samples_are_the_same_in_another_process(config: DataConfig) -> None:
    config = replace(config, augment=AugmentConfig())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(_digest, [(config, 9)]) == [_digest((config, 9))]


@pytest.mark.parametrize("size", [(96, 32), (32, 64), 48])
@pytest.mark.parametrize("style", ["reference", "strong"])
def test_samples_have_any_size_and_belong_to_the_caller(config: DataConfig, size: int, style: str) -> None:
    config = replace(config, augment=AugmentConfig(style=style, plain=0.2, crop=0.5, rotate=1.0))
    stream = open_stream(config, 1)
    width, height = (size, size) if isinstance(size, int) else size
    for number in range(8):
        sample = stream.sample(number, size)
        assert isinstance(sample, Sample)
        assert sample.picture.shape == (height, width, 3) and sample.mask.shape == (height, width)
        assert sample.picture.flags.writeable and sample.mask.flags.writeable and sample.label is None


def test_without_changes_a_sample_is_the_pair_as_inference_resizes_it(config: DataConfig) -> None:
    sample = open_stream(config, 1).sample(0, (30, 20))
    assert len(np.unique(sample.picture)) == 1
    wanted = np.asarray(Image.fromarray(_mask()).resize((30, 20), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(sample.mask, wanted)


def test_subjects_can_stand_before_other_backgrounds(config: DataConfig, tmp_path: Path) -> None:
    (tmp_path / "back").mkdir()
    Image.fromarray(np.full((50, 50, 3), (0, 255, 0), np.uint8)).save(tmp_path / "back" / "green.png")
    config = replace(config, backgrounds=(Source(folder="back"),), augment=replace(STILL, background=1.0))
    stream = open_stream(config, 1)
    for number in range(COUNT):
        picture, mask, _ = stream.sample(number, (60, 40))
        assert (picture[mask == 0] == (0, 255, 0)).all()
        assert (picture[mask == 255][:, 1] % 30 == 0).all()


def test_classes_are_sorted_names_and_labels_their_indices(config: DataConfig) -> None:
    stream = open_stream(replace(config, classes=True), 1)
    assert stream.class_names == ("Class0", "Class1", "Class2")
    for number in range(COUNT):
        sample = stream.sample(number, 32)
        assert sample.label == int(sample.picture[0, 0, 0]) // 30 % 3


def test_names_without_classes_are_listed() -> None:
    names, labels = read_classes(["2#B#1#Zebra#9_x", "1#A#1#Ant#7"])
    assert names == ("Ant", "Zebra") and labels == [1, 0]
    with pytest.raises(DataError, match="`cat`, `1#2#3`") as caught:
        read_classes(["1#A#1#Ant#7", "cat", "1#2#3"])
    assert "data.classes: false" in str(caught.value.hint)


def test_the_order_is_spread_evenly() -> None:
    class Fake(Epochs):
        def __init__(self) -> None:
            self.seed, self.places, self._shuffled = 5, [None] * 10, (-1, np.empty(0, np.int64))  # type: ignore[list-item]

    fake = Fake()
    first = [int(fake.order(epoch)[0]) for epoch in range(500)]
    counts = np.bincount(first, minlength=10)
    assert counts.min() > 25 and counts.max() < 80
