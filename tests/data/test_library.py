import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from birefnet.data.budget import decoded_bytes
from birefnet.data.dataset import DataConfig, Library, Mixture, Source, open_stream
from birefnet.errors import DataError
from tests.data.scene import make_library


def test_the_cache_changes_no_sample(tmp_path: Path) -> None:
    config = make_library(tmp_path)
    whole = Mixture(Library.load(config), config, 7)
    for cache in ("none", 0, 1):
        other = replace(config, cache=cache)
        part = Mixture(Library.load(other), other, 7)
        for number in range(12):
            for ours, theirs in zip(part.sample(number, 32)[:2], whole.sample(number, 32)[:2], strict=True):
                np.testing.assert_array_equal(ours, theirs)


def test_a_relative_root_works_as_an_absolute_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("im", "gt"):
        (tmp_path / "mine" / "set" / part).mkdir(parents=True)
        Image.new("L", (8, 8), 200).save(tmp_path / "mine" / "set" / part / "a.png")
    monkeypatch.chdir(tmp_path)
    for root, sets in (("mine", "set"), ("mine/set", ".")):
        config = DataConfig(root=root, sets=sets, allow_inverted=True)
        assert len(Library.load(config).pairs[0][1]) == 1


def test_a_budget_keeps_as_many_as_fit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for index in range(4):
        for part, shape in (("im", (400, 400, 3)), ("gt", (400, 400))):
            (tmp_path / part).mkdir(exist_ok=True)
            Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(tmp_path / part / f"{index}.png")
    config = DataConfig(root=str(tmp_path), sets=".", cache=1)
    shelf = Library.load(config).pairs[0][1]
    assert decoded_bytes((400, 400), None) == 640_000  # one of them fits into a MiB
    assert sorted(shelf.kept) == [0] and len(shelf) == 4
    assert shelf[3][0].shape == (400, 400, 3) and len(shelf[1:3]) == 2
    assert not Library.load(replace(config, cache="none")).pairs[0][1].kept


def test_what_would_not_fit_into_memory_is_refused_before_it_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = replace(make_library(tmp_path), longest=None)
    with pytest.raises(DataError, match="memory are free") as caught:
        Library.load(config, available=100_000)
    assert "data.cache: none" in str(caught.value.hint) and "data.longest" in str(caught.value.hint)
    need = sum(decoded_bytes((w, h), None) for h, w in ((60, 80), (96, 64), (70, 70), (120, 100), (48, 64)))
    assert need == 4 * (4800 + 6144 + 4900 + 12000 + 3072)
    Library.load(config, available=400_000)
    with pytest.raises(DataError, match="each of 4 processes"):
        Library.load(config, processes=4, available=400_000)
    with caplog.at_level(logging.INFO, logger="birefnet"):
        Library.load(replace(config, cache="none"), available=1)
    assert "read at every sample" in caplog.text


def test_all_that_is_missing_in_all_sources_is_one_error(tmp_path: Path) -> None:
    config = make_library(tmp_path)
    (tmp_path / "pairs" / "gt" / "1.png").unlink()
    (tmp_path / "rough" / "im" / "0.bmp").unlink()
    wrong = replace(config, cutouts=(Source(folder="nowhere"),), backgrounds=(Source(folder="back", only=("z",)),))
    with pytest.raises(DataError) as caught:
        Library.load(wrong)
    text = str(caught.value)
    assert all(name in text for name in ("without a mask: `1`", "rough", "nowhere", "`z`")), text


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_all_that_cannot_be_used_is_one_error(tmp_path: Path, cache: str) -> None:
    config = replace(make_library(tmp_path), cache=cache)
    (tmp_path / "pairs" / "im" / "0.png").write_text("no picture")
    mask = np.asarray(Image.open(tmp_path / "pairs" / "gt" / "1.png"))
    Image.fromarray(np.dstack([mask, mask // 2, mask])).save(tmp_path / "pairs" / "gt" / "1.png")
    Image.fromarray(mask[:20]).save(tmp_path / "pairs" / "gt" / "2.png")
    (tmp_path / "back" / "1.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        Library.load(config)
    text = str(caught.value)
    for part in ("im/0.png", "gt/1.png` is a mask in colour", "im/2.png` is 70x70 but its mask is 64x20", "back/1.png"):
        assert text.count(part) == 1, text
    assert "birefnet data check" in str(caught.value.hint)


def _discs(folder: Path, count: int, inverted: int) -> None:
    y, x = np.mgrid[0:64, 0:64]
    for index in range(count):
        disc = ((y - 32) ** 2 + (x - 30 - index) ** 2 < 300).astype(np.uint8) * 255
        mask = 255 - disc if index < inverted else disc
        for part, array in (("im", np.dstack([disc] * 3)), ("gt", mask)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(folder / part / f"{index}.png")


def test_a_set_of_inverted_masks_is_refused_unless_they_are_meant(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _discs(tmp_path / "a", 6, inverted=4)
    config = DataConfig(root=str(tmp_path), sets="a")
    with pytest.raises(DataError, match="4 of 6 masks") as caught:
        Library.load(config)
    assert "`0`, `1`, `2`, `3`" in str(caught.value)
    Library.load(replace(config, allow_inverted=True))
    _discs(tmp_path / "b", 6, inverted=1)
    Library.load(replace(config, sets="b"))
    assert "look inverted" in caplog.text


def test_sets_are_joined_below_the_task_or_the_root(tmp_path: Path) -> None:
    _discs(tmp_path / "DIS5K" / "DIS-TR", 3, 0)
    _discs(tmp_path / "extra", 2, 0)
    stream = open_stream(DataConfig(root=str(tmp_path), task="DIS5K", sets="DIS-TR + extra"), seed=1)
    assert stream.epoch_length == 5 and stream.class_names == ()
    with pytest.raises(DataError, match="no set `DIS-TE`, `DIS-VD`; there are: `DIS-TR`"):
        open_stream(DataConfig(root=str(tmp_path), task="DIS5K", sets="DIS-TR+DIS-TE+DIS-VD"), seed=1)
    with pytest.raises(DataError, match="there are: `DIS-TR`, `extra`"):
        open_stream(DataConfig(root=str(tmp_path), sets="."), seed=1)
