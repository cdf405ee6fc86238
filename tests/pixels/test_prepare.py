"""What the network is fed equals what the released models were trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from birefnet.errors import ConfigError, InputError
from birefnet.pixels import prepare as module
from birefnet.pixels import strips
from birefnet.pixels.picture import read_picture
from birefnet.pixels.prepare import Frame, InputSpec, native_size, prepare, squash

GOLDEN = Path(__file__).parents[1] / "golden" / "pixels"


def test_equals_the_reference_at_128() -> None:
    rgb = read_picture(GOLDEN / "picture.png").rgb
    batch, frame = prepare(rgb, InputSpec(width=128, height=128))
    wanted = np.load(GOLDEN / "preprocessed_128.npz")["x"]
    assert batch.shape == (1, 3, 128, 128)
    assert batch.dtype == np.float32
    assert np.abs(batch[0] - wanted).max() < 1e-5
    assert frame == Frame(240, 360)


def test_equals_the_reference_when_one_side_grows() -> None:
    rgb = read_picture(GOLDEN / "picture.png").rgb
    batch, _ = prepare(rgb, InputSpec(width=448, height=320))
    wanted = np.load(GOLDEN / "preprocessed_320x448_every_4th.npz")["x"]  # stored in half precision
    assert np.abs(batch[0, :, ::4, ::4] - wanted).max() < 2e-3


@pytest.mark.parametrize("shape", [(700, 500), (1, 1), (1, 3000), (3000, 1), (64, 64), (33, 1025)])
def test_strips_change_no_bit(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "STRIP_PIXELS", 5000)
    rgb = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    whole = Image.fromarray(rgb).resize((96, 64), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(squash(rgb, 64, 96), np.asarray(whole))


def test_mean_and_std_are_the_specs() -> None:
    rgb = np.full((10, 10, 3), (255, 128, 0), np.uint8)
    spec = InputSpec(width=32, height=32, mean=(0.5, 0.5, 0.5), std=(1, 0.5, 2))
    batch, _ = prepare(rgb, spec)
    np.testing.assert_allclose(batch[0, :, 5, 5], [0.5, (128 / 255 - 0.5) * 2, -0.25], atol=1e-6)


def test_arrays_that_are_views() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    spec = InputSpec(width=32, height=32)
    np.testing.assert_array_equal(prepare(rgb[::-1, ::2], spec)[0], prepare(rgb[::-1, ::2].copy(), spec)[0])


@pytest.mark.parametrize(
    "array", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_wrong_arrays(array: np.ndarray) -> None:
    with pytest.raises(InputError, match="Wanted a picture"):
        prepare(array, InputSpec(width=32, height=32))


def test_a_spec_is_checked_at_birth() -> None:
    with pytest.raises(ConfigError, match="nearest: 992x992"):
        InputSpec(width=1000, height=1000)
    with pytest.raises(ConfigError, match="nearest: 32x32"):
        InputSpec(width=0, height=5)
    with pytest.raises(ConfigError, match="positive std"):
        InputSpec(width=32, height=32, std=(0, 1, 1))
    with pytest.raises(ConfigError, match="upsample"):
        InputSpec(width=32, height=32, upsample="cubic")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("picture", "wanted"),
    [
        ((1080, 1920), (1088, 1920)),
        ((512, 512), (512, 512)),
        ((3000, 4000), (1728, 2304)),  # brought down to what the models have seen
        ((100, 100), (256, 256)),  # and up
        ((100, 1000), (256, 2304)),
        ((1, 5000), (256, 2304)),
        ((9000, 12000), (1728, 2304)),
    ],
)
def test_native_size(picture: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert native_size(*picture) == wanted
    assert all(side % module.MULTIPLE == 0 for side in wanted)
