"""Colours described by numbers instead of a profile come out as a colour-managed viewer shows them.

The values wanted are computed here, in float64, from the standards' own formulas: what is in a file is made of sRGB
colours, so that the right answer is known.
"""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image, features
from tests.pixels.files import broken, chromaticities, chunk, cicp, gamma, png

from birefnet.pixels.picture import read_picture
from birefnet.pixels.spaces import from_cicp

RANDOM = np.random.default_rng(11)
RGB = RANDOM.integers(0, 256, (16, 16, 3)).astype(np.uint8)
RGB[0] = np.linspace(0, 255, 16).round().astype(np.uint8)[:, None]
D65 = (0.3127, 0.329)
SRGB = (*D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
ADOBE = (*D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
P3 = (*D65, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
BT2020 = (*D65, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046)


def linear() -> np.ndarray:
    share = RGB / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def to_xyz(corners: tuple[float, ...]) -> np.ndarray:
    white, *primaries = np.reshape(corners, (4, 2))
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in primaries]).T
    return columns * np.linalg.solve(columns, [white[0] / white[1], 1, (1 - sum(white)) / white[1]])


def within(corners: tuple[float, ...]) -> np.ndarray:
    """The colours' linear light in a wider space, where none of them is negative."""
    return np.clip(linear() @ np.linalg.solve(to_xyz(corners), to_xyz(SRGB)).T, 0, 1)


def srgb_code(light: np.ndarray) -> np.ndarray:
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def pq_code(nits: np.ndarray) -> np.ndarray:
    power = (nits / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg_code(nits: np.ndarray) -> np.ndarray:
    """For a display of 1000 cd/m2, by the inverse of BT.2100's system gamma of 1.2."""
    luminance = nits @ to_xyz(BT2020)[1]
    scene = nits / 1000 * np.where(luminance > 0, (luminance / 1000), 1)[..., None] ** (1 / 1.2 - 1)
    high = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), high)


def stored(codes: np.ndarray, bits: int) -> np.ndarray:
    return np.rint(codes * (2**bits - 1)).astype(np.uint16 if bits == 16 else np.uint8)


# name -> code values, chunks
WRITTEN: dict[str, tuple[np.ndarray, tuple[bytes, ...]]] = {
    "linear": (linear(), (gamma(1),)),
    "gamma 1.8": (linear() ** (1 / 1.8), (gamma(1 / 1.8),)),
    "Adobe RGB": (within(ADOBE) ** (256 / 563), (gamma(256 / 563), chromaticities(*ADOBE))),
    "gamma 2.2, primaries of sRGB": (linear() ** (1 / 2.2), (gamma(1 / 2.2), chromaticities(*SRGB))),
    "Display P3": (srgb_code(within(P3)), (cicp(12, 13),)),
    "BT.2020, linear": (within(BT2020), (cicp(9, 8),)),
    "BT.709, shown by BT.1886": (linear() ** (1 / 2.4), (cicp(1, 1),)),
    "PQ": (pq_code(203 * within(BT2020)), (cicp(9, 16),)),
    "HLG": (hlg_code(203 * within(BT2020)), (cicp(9, 18),)),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_16_bit_colours(name: str) -> None:
    codes, chunks = WRITTEN[name]
    got = read_picture(png(stored(codes, 16), *chunks)).rgb.astype(int)
    assert np.abs(got - RGB).max() <= 1
    plain = read_picture(png(stored(codes, 16))).rgb.astype(int)
    assert np.abs(plain - RGB).max() > 5  # the numbers matter at all


@pytest.mark.parametrize("name", WRITTEN)
def test_8_bit_colours(name: str) -> None:
    codes, chunks = WRITTEN[name]
    got = read_picture(png(stored(codes, 8), *chunks)).rgb
    assert np.abs(got.astype(int) - RGB)[RGB > 100].mean() < 2  # below, 8 bits of linear light are few


def test_grey_and_alpha_take_part() -> None:
    grey = stored(linear()[..., :1], 16)
    assert np.abs(read_picture(png(grey, gamma(1))).rgb.astype(int) - RGB[..., :1]).max() <= 1
    for colours in (stored(linear(), 16), stored(linear(), 8)):
        alpha = RANDOM.integers(0, 256, (16, 16, 1)).astype(colours.dtype) * np.iinfo(colours.dtype).max // 255
        picture = read_picture(png(np.concatenate([colours, alpha.astype(colours.dtype)], -1), gamma(1)))
        assert picture.alpha is not None
        wanted = alpha[..., 0] / np.iinfo(colours.dtype).max
        assert np.abs(picture.alpha - wanted).max() <= 1 / 255
        assert np.abs(picture.rgb.astype(int) - RGB)[RGB > 100].max() <= 4


def test_what_says_no_more_than_srgb_changes_nothing() -> None:
    for chunks in (
        (gamma(1 / 2.2),),
        (gamma(0.45),),
        (cicp(1, 13),),
        (cicp(2, 2),),
        (cicp(12, 2),),
        (chromaticities(*ADOBE),),
        (gamma(0),),
        (gamma(1), chunk(b"sRGB", b"\0")),
        (chunk(b"cICP", bytes([12, 13, 0, 0])),),  # television's range
        (gamma(1), cicp(1, 13)),
        (broken(b"gAMA", struct.pack(">I", 100_000)),),
        (chromaticities(*[0.3] * 8), gamma(1 / 2.2)),  # no colours at all
    ):
        np.testing.assert_array_equal(read_picture(png(RGB, *chunks)).rgb, RGB)


def test_highlights_roll_off_and_the_rest_stays() -> None:
    nits = np.array([0, 1, 20, 60, 90, 150, 203, 400, 700, 1000.0])
    codes = stored(np.repeat(pq_code(nits)[None, :, None], 3, -1), 16)
    got = read_picture(png(codes, cicp(1, 16))).rgb[0, :, 0].astype(int)
    wanted = np.rint(srgb_code(nits / 203) * 255).astype(int)
    assert np.abs(got[:5] - wanted[:5]).max() <= 1  # below the knee
    assert (np.diff(got) >= 0).all() and got[6] < got[7] < got[8] == 255  # highlights are told apart
    hlg = stored(np.repeat(np.linspace(0, 1, 20)[None, :, None], 3, -1), 16)
    shown = read_picture(png(hlg, cicp(9, 18))).rgb[0, :, 0].astype(int)
    assert (np.diff(shown) >= 0).all() and shown[-4] < shown[-1] == 255


def test_light_keeps_its_hue_in_highlights() -> None:
    nits = np.array([[[1000.0, 500, 100]]])
    shown = read_picture(png(stored(pq_code(nits), 16), cicp(1, 16))).rgb[0, 0] / 255
    light = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(light / light[0], [1, 0.5, 0.1], atol=0.01)


def test_transfers_of_television_mean_srgb_in_video_containers() -> None:
    assert from_cicp(1, 1, video=True) is None
    assert from_cicp(1, 1) is not None
    assert from_cicp(12, 14, video=True) is not None


def boxed(format: str, codes: np.ndarray, primaries: int, transfer: int) -> bytes:
    """AVIF or HEIC of 8-bit codes that names its colours by numbers."""
    image, stream = Image.fromarray(np.repeat(np.repeat(codes, 4, 0), 4, 1)), io.BytesIO()
    if format == "AVIF":
        if not features.check("avif"):
            pytest.skip("this Pillow has no AVIF")
        image.save(stream, "AVIF", quality=100, subsampling="4:4:4")
    else:
        heif = pytest.importorskip("pillow_heif")
        heif.from_pillow(image).save(stream, quality=100, chroma=444)
    data = bytearray(stream.getvalue())
    at = data.index(b"colrnclx")
    data[at + 8 : at + 12] = struct.pack(">HH", primaries, transfer)
    return bytes(data)


@pytest.mark.parametrize("format", ["AVIF", "HEIC"])
@pytest.mark.parametrize(("name", "numbers"), [("Display P3", (12, 13)), ("PQ", (9, 16)), ("HLG", (9, 18))])
def test_avif_and_heic_with_nclx(format: str, name: str, numbers: tuple[int, int]) -> None:
    codes = WRITTEN[name][0]
    told, plain = (boxed(format, stored(codes, 8), *kind) for kind in (numbers, (1, 13)))
    got, ignored = (np.abs(read_picture(data).rgb[2::4, 2::4].astype(int) - RGB)[RGB > 60] for data in (told, plain))
    assert 3 * got.mean() < ignored.mean()  # what is left is what the compression does


def test_a_profile_is_better_than_numbers() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    stream: Any = io.BytesIO()
    Image.fromarray(RGB).save(stream, "PNG", icc_profile=profile)
    data = stream.getvalue()
    at = data.index(b"iCCP") - 4
    np.testing.assert_array_equal(read_picture(data[:at] + gamma(1) + data[at:]).rgb, RGB)
