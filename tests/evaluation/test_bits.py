"""Packed masks do what plain ones do."""

from __future__ import annotations

import numpy as np
import pytest

from birefnet.evaluation import bits

SIZES = [(1, 1), (1, 64), (5, 65), (7, 63), (30, 200), (3, 128)]


def plain_dilate(mask: np.ndarray, times: int) -> np.ndarray:
    for _ in range(times):
        wide = np.pad(mask, 1)
        mask = wide[1:-1, 1:-1] | wide[:-2, 1:-1] | wide[2:, 1:-1] | wide[1:-1, :-2] | wide[1:-1, 2:]
    return mask


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("share", [0.03, 0.5, 0.97])
def test_packed_masks(height: int, width: int, share: float) -> None:
    random = np.random.default_rng(height * width)
    mask = random.random((height, width)) < share
    words, whole = bits.pack(mask), bits.full(height, width)
    assert (bits.unpack(words, width) == mask).all()
    assert (bits.unpack(whole, width)).all()
    assert bits.count(words) == np.count_nonzero(mask)
    assert bits.count(whole) == mask.size
    rows, columns = random.integers(0, height, 50), random.integers(0, width, 50)
    assert (bits.at(words, rows, columns) == mask[rows, columns]).all()
    for times in (1, 4):
        dilated, eroded = bits.dilate(words, whole, times), bits.erode(words, whole, times)
        assert (bits.unpack(dilated, width) == plain_dilate(mask, times)).all()
        assert (bits.unpack(eroded, width) == ~plain_dilate(~mask, times)).all()
        assert bits.count(dilated) == np.count_nonzero(plain_dilate(mask, times))  # nothing past the last column


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_disks_of_any_size(height: int, width: int) -> None:
    mask = np.random.default_rng(1).random((height, width)) < 0.02
    mask[height // 2, width // 2] = True
    disks = [[1, 0], [3, 3, 2, 0], [70] * 9]
    results = bits.dilate_disks(bits.pack(mask), bits.full(height, width), disks)
    for disk, result in zip(disks, results, strict=True):
        wanted = np.zeros_like(mask)
        for y, x in np.argwhere(mask):
            for row in range(max(0, y - len(disk) + 1), min(height, y + len(disk))):
                reach = disk[abs(row - y)]
                wanted[row, max(0, x - reach) : x + reach + 1] = True
        assert (bits.unpack(result, width) == wanted).all()


def test_counting_needs_no_new_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.random.default_rng(2).random((20, 130)) < 0.4
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert bits.count(bits.pack(mask)) == np.count_nonzero(mask)
