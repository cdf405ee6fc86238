"""Good files that decoders refuse or show otherwise than people see them, and bad ones that say what is wrong."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features
from tests.pixels.files import broken, chunk, gamma, png

from birefnet.errors import MissingExtra, PictureError
from birefnet.pixels import kinds
from birefnet.pixels.picture import read_picture

Y, X = np.mgrid[0:96, 0:128]
RGB = np.stack([X * 2, Y * 2, (X * 3 + Y * 5) % 256], -1).astype(np.uint8)


def saved(format: str, image: Any = RGB, **options: Any) -> bytes:
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, format, **options)
    return stream.getvalue()


# --- PNG -------------------------------------------------------------------------------------------------------------

TEXT = b"Comment\0hello"
HUGE = zlib.compress(bytes(3 << 20))


@pytest.mark.parametrize(
    "remark",
    [
        broken(b"tEXt", TEXT),
        broken(b"tIME", bytes(7)),
        broken(b"prVt", b"private"),
        broken(b"eXIf", b"II*\0\x08\0\0\0\0\0"),
        broken(b"pHYs", bytes(9)),
        broken(b"gAMA", struct.pack(">I", 100_000)),
        broken(b"iCCP", b"p\0\0" + zlib.compress(b"profile")),
        broken(b"acTL", struct.pack(">II", 2, 0)),
        chunk(b"zTXt", b"workflow\0\0" + HUGE),
        chunk(b"iTXt", b"workflow\0\1\0\0\0" + HUGE),
        chunk(b"iCCP", b"p\0\0" + HUGE),
        chunk(b"iCCP", b"p\0\0" + HUGE[:50]),
        chunk(b"tEXt", b"prompt\0" + bytes(3 << 20)),
        chunk(b"pHYs", b"\0"),
        chunk(b"gAMA", b"\0"),
        chunk(b"cHRM", b"\0") + gamma(1 / 2.2),
        chunk(b"cICP", b"\1"),
        chunk(b"eXIf", b"II"),
        chunk(b"zTXt", b"no end of the key"),
    ],
)
def test_remarks_in_a_png_never_matter(remark: bytes) -> None:
    for data in (png(RGB, remark), png(RGB, behind=remark), png(RGB, *[remark] * 3)):
        picture = read_picture(data)
        np.testing.assert_array_equal(picture.rgb, RGB)
        assert picture.alpha is None


def test_damage_in_the_picture_itself_still_counts() -> None:
    whole = png(RGB)
    at = whole.index(b"IDAT") + 100
    for data in (whole[: at + 300], whole[:20], whole.replace(b"IHDR", b"IHDX"), broken(b"IHDR", whole[16:29])):
        with pytest.raises(PictureError):
            read_picture(data if data.startswith(whole[:8]) else whole[:8] + data + whole[33:])


def test_a_profile_larger_than_pillow_takes() -> None:
    from tests.pixels.test_picture import ADOBE

    padded = ADOBE + bytes(3 << 20)
    padded = struct.pack(">I", len(padded)) + padded[4:]
    data = png(RGB, chunk(b"iCCP", b"p\0\0" + zlib.compress(padded)))
    np.testing.assert_array_equal(read_picture(data).rgb, read_picture(saved("PNG", icc_profile=ADOBE)).rgb)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("colours", [1, 3])
def test_one_transparent_colour(dtype: Any, colours: int) -> None:
    array = RGB.astype(dtype)[..., :colours] * (257 if dtype == np.uint16 else 1)
    if dtype == np.uint16:
        array[0, 0] += 1  # equal in its upper bytes only
        array[0, 1] = array[0, 0] - 1
    key = array[0, 1]
    picture = read_picture(png(array, chunk(b"tRNS", struct.pack(f">{colours}H", *map(int, key)))))
    wanted = (array != key).any(axis=-1)
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha, wanted)
    assert picture.alpha[0, 1] == 0
    if dtype == np.uint16:
        assert picture.alpha[0, 0] == 1


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_one_transparent_grey_of_few_bits(bits: int) -> None:
    values = np.arange(64).reshape(4, 16) % 2**bits
    packed = np.packbits(
        (values[..., None] >> np.arange(bits - 1, -1, -1) & 1).astype(np.uint8).reshape(4, -1), axis=-1
    )
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 4, bits, 0, 0, 0, 0)) + chunk(b"tRNS", b"\0\1")
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    data = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    picture = read_picture(data)
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha, values != 1)
    np.testing.assert_array_equal(picture.rgb[..., 0], values * 255 // (2**bits - 1))


def test_interlaced_16_bit_colours_with_a_transparent_one() -> None:
    array = RGB[:1, :1].astype(np.uint16) * 257 + 1
    whole = png(array, chunk(b"tRNS", struct.pack(">3H", *map(int, array[0, 0]))))
    head = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 1)
    data = whole[:8] + chunk(b"IHDR", head) + whole[33:]
    picture = read_picture(data)
    assert picture.alpha is not None and picture.alpha[0, 0] == 0


def test_apples_own_png_says_what_it_is(tmp_path: Path) -> None:
    data = png(RGB)
    (tmp_path / "icon.png").write_bytes(data[:8] + chunk(b"CgBI", b"\x50\0\x20\2") + data[8:])
    with pytest.raises(PictureError, match=r"Apple.*CgBI"):
        read_picture(tmp_path / "icon.png")


# --- JPEG ------------------------------------------------------------------------------------------------------------

JPEGS: dict[str, dict[str, Any]] = {
    "baseline": {"quality": 90},
    "progressive": {"quality": 90, "progressive": True},
    "full colour": {"quality": 95, "subsampling": 0},
    "restarts": {"quality": 90, "restart_marker_rows": 1},
    "optimised": {"quality": 60, "optimize": True},
}


@pytest.mark.parametrize("tail", [b"", b"\xff", b"\0" * 5000, b"\xff\xff\xff"])
@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_without_its_end_marker_is_taken(kind: str, tail: bytes) -> None:
    for image in (Image.fromarray(RGB), Image.fromarray(RGB[:, :, 0]), Image.fromarray(RGB).convert("CMYK")):
        data = saved("JPEG", image, **JPEGS[kind])
        assert data.endswith(b"\xff\xd9")
        np.testing.assert_array_equal(read_picture(data[:-2] + tail).rgb, read_picture(data).rgb)


@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_that_is_cut_is_refused_with_how_much_is_missing(kind: str) -> None:
    data = saved("JPEG", **JPEGS[kind])
    start = data.index(b"\xff\xda") + 20
    for kept in np.linspace(start, len(data) - 6, 12).astype(int):
        with pytest.raises(PictureError, match=r"cut short: (about \d+% of the picture|the scans)"):
            read_picture(data[:kept])
    for kept in (4, start // 2):
        with pytest.raises(PictureError):
            read_picture(data[:kept])


def test_how_much_is_missing() -> None:
    data = saved("JPEG", np.random.default_rng(3).integers(0, 256, (800, 200, 3)).astype(np.uint8), quality=90)
    start = data.index(b"\xff\xda")
    with pytest.raises(PictureError) as caught:
        read_picture(data[: start + (len(data) - start) // 4])
    missing = int(str(caught.value).split("about ")[1].split("%")[0])
    assert 73 <= missing <= 77


def test_a_jpeg_longer_than_decoders_take_says_so() -> None:
    data = bytearray(saved("JPEG", RGB))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 2] = struct.pack(">H", 65_501)
    with pytest.raises(PictureError, match=r"128x65501.*65500 pixels a side"):
        read_picture(bytes(data))


# --- GIF and BMP -----------------------------------------------------------------------------------------------------


def small_gif(canvas: tuple[int, int], corner: tuple[int, int], *, background: int = 2) -> bytes:
    """A GIF whose first frame, 10x8 and green, lies somewhere on a canvas; others fill that with colour 2, blue."""
    frame = Image.new("P", (10, 8), 1)
    frame.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255] + [0] * 759)
    data = bytearray(saved("GIF", frame))
    data[6:10] = struct.pack("<HH", *canvas)
    data[11] = background
    at = data.index(b",\0\0\0\0\x0a\0\x08\0")
    data[at + 1 : at + 5] = struct.pack("<HH", *corner)
    return bytes(data)


def test_outside_a_gifs_frame_its_canvas_is_transparent() -> None:
    picture = read_picture(small_gif((20, 16), (3, 4)))
    inside = np.zeros((16, 20), bool)
    inside[4:12, 3:13] = True
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha, inside)
    assert (picture.rgb[inside] == (0, 255, 0)).all()
    whole = read_picture(small_gif((10, 8), (0, 0)))
    assert whole.alpha is None and (whole.rgb == (0, 255, 0)).all()


@pytest.mark.parametrize("alpha", [0, 100, 255])
def test_bmp_with_alpha(alpha: int) -> None:
    """Where all of a BMP's alpha is 0 it was written by a program that knows nothing of alpha, as Chromium has it."""
    pixels = np.zeros((4, 6, 4), np.uint8)
    pixels[..., :3], pixels[..., 3] = (10, 20, 200), alpha  # blue, green, red
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    head = struct.pack("<IiiHHIIiiII", 124, 6, -4, 1, 32, 3, pixels.size, 2835, 2835, 0, 0) + masks + b"BGRs"
    data = b"BM" + struct.pack("<IHHI", 138 + pixels.size, 0, 0, 138) + head.ljust(124, b"\0") + pixels.tobytes()
    picture = read_picture(data)
    assert (picture.rgb == (200, 20, 10)).all()
    if alpha == 100:
        assert picture.alpha is not None and np.abs(picture.alpha - 100 / 255).max() < 1e-6
    else:
        assert picture.alpha is None


# --- what viewers disagree about -------------------------------------------------------------------------------------


def test_cmyk_jpeg_without_adobes_marker_is_read_as_with_it() -> None:
    data = saved("JPEG", Image.new("CMYK", (32, 32), (0, 255, 255, 0)), quality=95)
    at = data.index(b"Adobe") - 4
    without = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    assert b"Adobe" not in without
    np.testing.assert_array_equal(read_picture(without).rgb, read_picture(data).rgb)
    assert np.abs(read_picture(without).rgb[16, 16].astype(int) - (255, 0, 0)).max() < 12


def test_exifs_name_of_a_colour_space_is_no_profile() -> None:
    exif = Image.Exif()
    exif[0x8769] = {0xA001: 0xFFFF}
    exif[0xA005] = {1: "R03"}
    data = saved("JPEG", quality=95, exif=exif)
    np.testing.assert_array_equal(read_picture(data).rgb, read_picture(saved("JPEG", quality=95)).rgb)


# --- AVIF and HEIC ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("brand", [b"mif1", b"miaf", b"msf1", b"MA1B", b"avif"])
def test_avif_under_other_brands(brand: bytes, listed: bool, tmp_path: Path) -> None:
    data = bytearray(saved("AVIF", quality=90))
    data[8:12] = brand
    if not listed and brand != b"avif":  # nor among those it is compatible with
        data[16 : int.from_bytes(data[:4], "big")] = b"".join(
            [b"mif1", b"miaf", b"MA1B", b"mif1"][: (data[3] - 16) // 4]
        )
    wanted = read_picture(saved("AVIF", quality=90)).rgb
    np.testing.assert_array_equal(read_picture(bytes(data)).rgb, wanted)
    (tmp_path / "a.avif").write_bytes(data)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.avif").rgb, wanted)
    assert kinds.find_kind(bytes(data[: kinds.HEAD])).name == "AVIF"  # type: ignore[union-attr]


def test_heic_under_a_container_brand_asks_for_its_own_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    start = b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic"
    assert kinds.find_kind(start).name == "HEIC"  # type: ignore[union-attr]
    heic = next(kind for kind in kinds.KINDS if kind.name == "HEIC")
    absent = heic._replace(module="absent_pillow_heif")
    monkeypatch.setattr(kinds, "KINDS", (*(kind for kind in kinds.KINDS if kind != heic), absent))
    with pytest.raises(MissingExtra, match="heif"):
        read_picture(start + bytes(64))


def test_films_are_no_pictures() -> None:
    for brand in (b"isom", b"mp42", b"qt  "):
        with pytest.raises(PictureError, match="not a picture"):
            read_picture(b"\0\0\0\x18ftyp" + brand + bytes(4) + brand + bytes(64))
