"""Every kind of picture comes out upright, in 8-bit sRGB, with its alpha; what is no picture gets a sentence."""

from __future__ import annotations

import io
import logging
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin, features

from birefnet.errors import InputError, MissingExtra, PictureError
from birefnet.pixels import kinds, strips
from birefnet.pixels.picture import read_picture

ORIENTATION = 0x0112


def gradient(height: int = 24, width: int = 36) -> np.ndarray:
    """Smooth colours without symmetry, (height, width, 3) uint8."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // (width - 1), y * 255 // (height - 1), (x + 2 * y) * 2 % 256], -1).astype(np.uint8)


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def tagged(size: tuple[int, int] = (36, 24)) -> bytes:
    return encoded(Image.new("RGB", size, (200, 50, 50)), "PNG")


# --- formats ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "options", "tolerance"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}, 12),
        ("PNG", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {"compression": "tiff_adobe_deflate"}, 0),
        ("BMP", {}, 0),
        ("PPM", {}, 0),
    ],
)
def test_colour_formats(format: str, options: dict[str, Any], tolerance: int) -> None:
    rgb = gradient()
    picture = read_picture(encoded(Image.fromarray(rgb), format, **options))
    assert picture.rgb.dtype == np.uint8
    assert picture.alpha is None
    assert np.abs(picture.rgb.astype(int) - rgb).max() <= tolerance


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif() -> None:
    rgb = gradient(64, 64)
    picture = read_picture(encoded(Image.fromarray(rgb), "AVIF", quality=95))
    assert np.abs(picture.rgb.astype(int) - rgb).mean() < 6


def test_heic_and_its_orientation() -> None:
    heif = pytest.importorskip("pillow_heif")
    rgb = np.full((64, 96, 3), (200, 40, 60), np.uint8)
    rgb[:32, :48] = (20, 220, 90)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    stream = io.BytesIO()
    heif.from_bytes(mode="RGB", size=(96, 64), data=rgb.tobytes()).save(stream, quality=95, exif=exif.tobytes())
    picture = read_picture(stream.getvalue())
    turned = np.rot90(rgb, -1)
    assert picture.rgb.shape == turned.shape
    assert np.abs(picture.rgb.astype(int) - turned).mean() < 6


def test_heic_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = next(kind for kind in kinds.KINDS if kind.name == "HEIC")
    absent = kind._replace(module="absent_pillow_heif")
    monkeypatch.setattr(kinds, "KINDS", (*(other for other in kinds.KINDS if other != kind), absent))
    with pytest.raises(MissingExtra, match=r"birefnet\[heif\]"):
        read_picture(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))


def test_gif_and_animations_give_the_first_frame() -> None:
    first, second = Image.new("RGB", (20, 10), (255, 0, 0)), Image.new("RGB", (20, 10), (0, 0, 255))
    for format, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})):
        data = encoded(first, format, save_all=True, append_images=[second], **options)
        assert (read_picture(data).rgb == (255, 0, 0)).all(), format


def test_gif_with_transparency() -> None:
    image = Image.new("P", (4, 2), 1)
    image.putpalette([0, 0, 0, 250, 100, 50])
    image.putpixel((0, 0), 0)
    picture = read_picture(encoded(image, "GIF", transparency=0))
    assert picture.alpha is not None
    assert picture.alpha[0, 0] == 0
    assert (picture.alpha.ravel()[1:] == 1).all()
    assert tuple(picture.rgb[1, 1]) == (250, 100, 50)


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(Image.fromarray(gradient()), "BMP"))
    np.testing.assert_array_equal(read_picture(path).rgb, gradient())


def test_every_way_to_hand_a_picture_over(tmp_path: Path) -> None:
    data = encoded(Image.fromarray(gradient()), "PNG")
    path = tmp_path / "a b.png"
    path.write_bytes(data)
    with path.open("rb") as stream:
        sources = [
            path,
            str(path),
            data,
            bytearray(data),
            io.BytesIO(data),
            stream,
            Image.open(io.BytesIO(data)),
            gradient(),
        ]
        for source in sources:
            np.testing.assert_array_equal(read_picture(source).rgb, gradient())  # type: ignore[arg-type]


# --- orientation -----------------------------------------------------------------------------------------------------

UPRIGHT = {  # EXIF orientation -> what a viewer does to the stored pixels
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a.transpose(1, 0, 2), 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation(orientation: int, format: str) -> None:
    rgb = np.zeros((32, 48, 3), np.uint8)
    rgb[:16, :16] = (255, 0, 0)
    rgb[16:, :16] = (0, 255, 0)
    rgb[:16, 32:] = (0, 0, 255)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options: dict[str, Any] = {"quality": 95, "subsampling": 0} if format == "JPEG" else {}
    if format == "WEBP":
        options = {"lossless": True}
    picture = read_picture(encoded(Image.fromarray(rgb), format, exif=exif, **options))
    wanted = UPRIGHT[orientation](rgb)
    assert picture.rgb.shape == wanted.shape
    assert np.abs(picture.rgb.astype(int) - wanted).mean() < 3


def test_orientation_of_a_pillow_image_is_applied_and_the_image_is_left_alone() -> None:
    image = Image.fromarray(gradient())
    image.getexif()[ORIENTATION] = 6
    assert read_picture(image).rgb.shape == (36, 24, 3)
    assert image.size == (36, 24)


def test_broken_exif_is_ignored() -> None:
    data = encoded(Image.fromarray(gradient()), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff nonsense")
    assert read_picture(data).rgb.shape == (24, 36, 3)
    exif = Image.Exif()
    exif[ORIENTATION] = 99
    assert read_picture(encoded(Image.fromarray(gradient()), "PNG", exif=exif)).rgb.shape == (24, 36, 3)


# --- colour ----------------------------------------------------------------------------------------------------------


def fixed16(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def rgb_profile(primaries: list[tuple[float, float, float]], gamma: float) -> bytes:
    """An ICC version 2 display profile with the given XYZ (D50) of red, green and blue, and one power for all."""

    def xyz(values: tuple[float, float, float]) -> bytes:
        return b"XYZ " + bytes(4) + b"".join(fixed16(value) for value in values)

    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    name = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = [(b"desc", name), (b"wtpt", xyz((0.9642, 1.0, 0.8249))), (b"cprt", b"text" + bytes(4) + b"none\0")]
    tags += list(zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(xyz, primaries), strict=True))
    tags += [(key, curve) for key in (b"rTRC", b"gTRC", b"bTRC")]
    table, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for key, value in tags:
        value += bytes(-len(value) % 4)
        table += key + struct.pack(">II", start + len(body), len(value))
        body += value
    size = start + len(body)
    head = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02100000, b"mntr", b"RGB ", b"XYZ ") + bytes(12)
    head += b"acsp" + bytes(28) + b"".join(map(fixed16, (0.9642, 1.0, 0.8249))) + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + body


P3 = rgb_profile([(0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)], 2.2)
ADOBE = rgb_profile([(0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)], 2.19921875)


def linear(value: np.ndarray, gamma: float) -> np.ndarray:
    return (value / 255) ** gamma


def to_srgb(linear_rgb: np.ndarray) -> np.ndarray:
    low = np.clip(linear_rgb, 0, 1)
    return np.where(low <= 0.0031308, low * 12.92, 1.055 * low ** (1 / 2.4) - 0.055) * 255


# Linear RGB of the wide space -> linear sRGB (both D65).
P3_TO_SRGB = np.array([[1.2249, -0.2247, 0], [-0.0420, 1.0419, 0], [-0.0197, -0.0786, 1.0979]])
ADOBE_TO_SRGB = np.array([[1.3984, -0.3984, 0], [0, 1, 0], [0, -0.0429, 1.0429]])


@pytest.mark.parametrize(
    ("profile", "matrix", "gamma"),
    [(P3, P3_TO_SRGB, 2.2), (ADOBE, ADOBE_TO_SRGB, 2.2)],
    ids=["display-p3", "adobe-rgb"],
)
def test_wide_profiles_become_srgb(profile: bytes, matrix: np.ndarray, gamma: float) -> None:
    colours = np.array(
        [[(200, 120, 60), (60, 160, 90), (120, 130, 200), (128, 128, 128), (255, 255, 255), (0, 0, 0)]], np.uint8
    )
    wanted = to_srgb(linear(colours.astype(float), gamma) @ matrix.T)
    picture = read_picture(encoded(Image.fromarray(colours), "PNG", icc_profile=profile))
    assert np.abs(picture.rgb - wanted).max() < 4
    assert np.abs(picture.rgb[0, 0].astype(int) - colours[0, 0]).max() > 8  # the profile matters at all


def test_a_profile_of_srgb_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_array_equal(
        read_picture(encoded(Image.fromarray(gradient()), "PNG", icc_profile=profile)).rgb, gradient()
    )


def test_a_profile_keeps_alpha() -> None:
    rgba = np.dstack([gradient(), gradient()[..., 0]])
    picture = read_picture(encoded(Image.fromarray(rgba), "PNG", icc_profile=P3))
    assert picture.alpha is not None
    np.testing.assert_array_equal((picture.alpha * 255 + 0.5).astype(np.uint8), rgba[..., 3])


def test_a_broken_profile_is_ignored_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    for profile in (b"not a profile", P3[:200], P3[:140] + bytes(400)):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            picture = read_picture(encoded(Image.fromarray(gradient()), "PNG", icc_profile=profile))
        np.testing.assert_array_equal(picture.rgb, gradient())
        assert "profile" in caplog.text


def test_a_profile_of_another_kind_of_picture_is_ignored_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    image = Image.fromarray(gradient()).convert("CMYK")
    with caplog.at_level(logging.WARNING):
        picture = read_picture(encoded(image, "TIFF", icc_profile=P3))
    assert "profile" in caplog.text
    assert picture.rgb.shape == (24, 36, 3)


def cmyk() -> Image.Image:
    image = Image.new("CMYK", (16, 8), (0, 0, 0, 0))
    image.paste((0, 255, 255, 0), (0, 0, 8, 4))  # red
    image.paste((0, 0, 0, 255), (8, 4, 16, 8))  # black
    return image


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk(format: str) -> None:
    # Pillow writes, as Adobe does, CMYK JPEG upside down in value; read as written it would be a negative.
    rgb = read_picture(encoded(cmyk(), format)).rgb.astype(int)
    assert np.abs(rgb[1, 1] - (255, 0, 0)).max() < 12
    assert np.abs(rgb[6, 14] - 0).max() < 12
    assert np.abs(rgb[6, 2] - 255).max() < 12


def test_lab() -> None:
    image = Image.new("LAB", (4, 4), (255, 128, 128))
    image.paste((136, 208, 195), (0, 0, 2, 4))  # L* 53, a* 80, b* 67: sRGB's red
    rgb = read_picture(encoded(image, "TIFF")).rgb.astype(int)
    assert np.abs(rgb[0, 3] - 255).max() < 6
    assert rgb[0, 0, 0] > 235
    assert rgb[0, 0, 1:].max() < 30


def test_grey_with_its_own_gamma() -> None:
    grey = Image.fromarray(np.full((4, 4), 128, np.uint8))
    linear_grey = bytearray(rgb_profile([(1, 1, 1)] * 3, 1.0))
    linear_grey[16:20] = b"GRAY"
    data = bytes(linear_grey).replace(b"rTRC", b"kTRC")
    rgb = read_picture(encoded(grey, "PNG", icc_profile=data)).rgb
    assert abs(int(rgb[0, 0, 0]) - 188) <= 2  # linear 0.5 is 188 in sRGB
    assert (rgb == rgb[0, 0, 0]).all()


# --- depth, grey, palette, alpha -------------------------------------------------------------------------------------


def png16(array: np.ndarray, colour_type: int, extra: bytes = b"") -> bytes:
    """A 16-bit PNG, written by hand: Pillow writes only grey ones."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = array.shape[:2]
    rows = array.astype(">u2").reshape(height, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_16_bit_grey_png_and_tiff() -> None:
    grey = np.linspace(0, 65535, 5000).astype(np.uint16).reshape(50, 100)
    wanted = (grey.astype(float) / 257 + 0.5).astype(int)
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, "TIFF")
    for data in (png16(grey, 0), stream.getvalue()):
        rgb = read_picture(data).rgb
        assert np.abs(rgb[..., 0] - wanted).max() <= 1
        assert (rgb[..., 0] == rgb[..., 2]).all()
        assert (int(rgb.min()), int(rgb.max())) == (0, 255)


def test_big_endian_16_bit_tiff() -> None:
    grey = np.array([[0, 32896, 65535]], ">u2")
    image = Image.frombytes("I;16B", (3, 1), grey.tobytes())
    assert read_picture(image).rgb[0, :, 0].tolist() == [0, 128, 255]


def test_16_bit_colour_png() -> None:
    rgb = gradient().astype(np.uint16) * 257
    np.testing.assert_array_equal(read_picture(png16(rgb, 2)).rgb, gradient())
    rgba = np.dstack([rgb, rgb[..., 0]])
    picture = read_picture(png16(rgba, 6))
    assert picture.alpha is not None
    assert np.abs(picture.alpha * 255 - gradient()[..., 0]).max() < 1e-3


def test_float_and_32_bit_grey() -> None:
    unit = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    for data in (unit, unit * 255):
        rgb = read_picture(encoded(Image.fromarray(data), "TIFF")).rgb
        assert np.abs(rgb[..., 1] - unit * 255).max() <= 0.51
    wide = (unit * 65535).astype(np.int32)
    assert read_picture(encoded(Image.fromarray(wide), "TIFF")).rgb.max() == 255
    for bad in (unit * 1e6, unit - 0.5, unit * np.float32("nan")):
        with pytest.raises(PictureError, match="white"):
            read_picture(encoded(Image.fromarray(bad), "TIFF"))


def test_grey_and_one_bit() -> None:
    grey = gradient()[..., 0]
    assert (read_picture(encoded(Image.fromarray(grey), "PNG")).rgb == grey[..., None]).all()
    bits = Image.fromarray(grey).convert("1")
    assert set(np.unique(read_picture(encoded(bits, "PNG")).rgb)) == {0, 255}


def test_grey_with_alpha() -> None:
    both = np.dstack([gradient()[..., 0], gradient()[..., 1]])
    picture = read_picture(encoded(Image.fromarray(both), "PNG"))
    assert (picture.rgb == both[..., :1]).all()
    assert picture.alpha is not None
    assert picture.alpha.dtype == np.float32
    np.testing.assert_allclose(picture.alpha, both[..., 1] / 255, atol=1e-6)


def test_palette_with_transparency_of_each_entry() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.putdata([0, 1, 2])
    picture = read_picture(encoded(image, "PNG", transparency=bytes([0, 128, 255])))
    assert picture.rgb.tolist() == [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]]
    assert picture.alpha is not None
    np.testing.assert_allclose(picture.alpha, [[0, 128 / 255, 1]], atol=1e-6)


def test_one_transparent_colour() -> None:
    rgb = gradient()
    rgb[3, 5] = (1, 2, 3)
    picture = read_picture(encoded(Image.fromarray(rgb), "PNG", transparency=(1, 2, 3)))
    assert picture.alpha is not None
    assert picture.alpha[3, 5] == 0
    assert picture.alpha.sum() == rgb.shape[0] * rgb.shape[1] - 1
    grey = np.array([[0, 500, 65535]], np.uint16)
    chunk = b"tRNS" + struct.pack(">H", 500)
    extra = struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk))
    alpha = read_picture(png16(grey, 0, extra)).alpha
    assert alpha is not None
    assert alpha.tolist() == [[1, 0, 1]]


def test_modes_of_pillow_images() -> None:
    rgb = Image.fromarray(np.full((4, 4, 3), (153, 102, 51), np.uint8))  # of the web palette
    for mode in ("RGBX", "YCbCr", "HSV", "RGBA", "RGBa", "PA"):
        image = rgb.convert("RGBA").convert("RGBa") if mode == "RGBa" else rgb.convert("P" if mode == "PA" else mode)
        image = image.convert("PA") if mode == "PA" else image
        picture = read_picture(image)
        assert np.abs(picture.rgb.astype(int) - (153, 102, 51)).max() <= 3, mode
        assert picture.alpha is None, mode
        image.putalpha(40) if mode == "RGBA" else None
        assert (read_picture(image).alpha is not None) == (mode == "RGBA")


# --- arrays ----------------------------------------------------------------------------------------------------------


def test_arrays() -> None:
    rgb = gradient()
    assert np.shares_memory(read_picture(rgb).rgb, rgb)  # nothing to do, nothing copied
    np.testing.assert_array_equal(read_picture(rgb.astype(np.uint16) * 257).rgb, rgb)
    grey = read_picture(rgb[..., 0])
    assert (grey.rgb == rgb[..., :1]).all()
    four = read_picture(np.dstack([rgb, rgb[..., 0]]))
    assert four.alpha is not None
    assert four.rgb.flags.c_contiguous


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3)),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_wrong_arrays(array: np.ndarray) -> None:
    with pytest.raises(InputError, match="Wanted an array"):
        read_picture(array)


# --- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
def test_thin_pictures(size: tuple[int, int]) -> None:
    assert read_picture(tagged(size)).rgb.shape == (size[1], size[0], 3)


def test_too_large_is_refused_before_decoding() -> None:
    # A header that promises 100,000 x 100,000 pixels, and nothing behind it: whoever decodes first, fails differently.
    head = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    data += struct.pack(">I", 100) + b"IDAT"
    with pytest.raises(PictureError, match=r"100000x100000 is 10000 megapixels, the limit is 200"):
        read_picture(data)
    with pytest.raises(PictureError, match="too large"):
        read_picture(tagged(), max_pixels=36 * 24 - 1)
    assert read_picture(tagged(), max_pixels=36 * 24).rgb.size
    with pytest.raises(PictureError, match="too large"):
        read_picture(Image.new("L", (100, 100)), max_pixels=99)


def test_our_limit_applies_and_not_pillows(monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    monkeypatch.setattr(strips, "STRIP_PIXELS", 500)  # some versions of Pillow look at crops, too
    large = np.zeros((60, 50, 3), np.uint8)  # thrice Pillow's limit: opened by itself it would raise
    assert read_picture(encoded(Image.fromarray(large), "PNG")).rgb.shape == (60, 50, 3)
    assert not [w for w in recwarn if issubclass(w.category, Image.DecompressionBombWarning)]


# --- what is no picture ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.8])
def test_truncated(format: str, share: float, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), format)
    path = tmp_path / "broken.file"
    path.write_bytes(data[: max(17, int(len(data) * share))])
    with pytest.raises(PictureError, match=r"broken\.file"):
        read_picture(path)


def test_damaged_in_the_middle_never_gets_out_as_another_exception() -> None:
    random = np.random.default_rng(1)
    for format in ("PNG", "TIFF", "GIF", "WEBP", "BMP", "JPEG"):
        data = bytearray(encoded(Image.fromarray(gradient()), format))
        for _ in range(30):
            hurt = bytearray(data)
            for position in random.integers(10, len(hurt), 4):
                hurt[position] = random.integers(0, 256)
            try:
                read_picture(bytes(hurt))
            except PictureError as error:
                assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "0 bytes"),
        (b"hello, I am a text\n", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF", "not a picture"),
        (b"\xff", "not a"),
    ],
)
def test_not_a_picture(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "text.png"
    path.write_bytes(data)
    with pytest.raises(PictureError, match=words) as caught:
        read_picture(path)
    assert "text.png" in str(caught.value)
    with pytest.raises(PictureError, match=words):
        read_picture(io.BytesIO(data))


def test_no_such_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"Cannot read .*missing\.png.*No such file"):
        read_picture(tmp_path / "missing.png")
    with pytest.raises(PictureError, match="Cannot read"):
        read_picture(tmp_path)
    with pytest.raises(PictureError, match="Cannot read"):
        read_picture("with\0null.png")


def test_no_pixels() -> None:
    with pytest.raises(PictureError, match="no pixels"):
        read_picture(Image.new("RGB", (0, 5)))


def test_multiplane_tiff_with_an_odd_tag_is_read() -> None:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[37000] = "odd"
    np.testing.assert_array_equal(
        read_picture(encoded(Image.fromarray(gradient()), "TIFF", tiffinfo=info)).rgb, gradient()
    )
