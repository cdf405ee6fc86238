"""TIFF in all the ways that programs of science, print and cameras write it."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.pixels.files import tiff, tiff_page

from birefnet.errors import PictureError
from birefnet.pixels.picture import read_picture

Y, X = np.mgrid[0:40, 0:70]
RGB = np.stack([X * 255 // 69, Y * 255 // 39, (X + 2 * Y) % 256], -1).astype(np.uint8)
GREY = RGB[..., 2:]

NUMBERS = {  # how 0..255 is written in other kinds of numbers
    "uint16": lambda a: a.astype(np.uint16) * 257,
    "uint32": lambda a: a.astype(np.uint32) * 16843009,
    "int8": lambda a: (a.astype(int) - 128).astype(np.int8),
    "int16": lambda a: (a.astype(int) * 257 - 32768).astype(np.int16),
    "int16 above 0": lambda a: np.rint(a / 255 * 32767).astype(np.int16),
    "half": lambda a: (a / 255).astype(np.float16),
    "float": lambda a: (a / 255).astype(np.float32),
    "double": lambda a: a / 255,
    "float to 255": lambda a: a.astype(np.float32),
    "float to 65535": lambda a: a.astype(np.float32) * 257,
}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("tile", [0, 16])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("kind", NUMBERS)
def test_every_kind_of_number(kind: str, planar: bool, tile: int, order: str) -> None:
    make = NUMBERS[kind]
    for pixels in (RGB, GREY):
        got = read_picture(tiff(make(pixels), order, planar=planar and pixels is RGB, tile=tile)).rgb
        assert np.abs(got.astype(int) - pixels).max() <= 1


@pytest.mark.parametrize("kind", ["uint16", "int16", "half", "float", "double"])
def test_white_is_zero(kind: str) -> None:
    got = read_picture(tiff(NUMBERS[kind](255 - GREY), t262=0)).rgb
    assert np.abs(got.astype(int) - GREY).max() <= 1


@pytest.mark.parametrize("kind", ["uint16", "float", "int16"])
@pytest.mark.parametrize("planar", [False, True])
def test_alpha(kind: str, planar: bool) -> None:
    share = (X / 69)[..., None]
    both = np.concatenate([RGB, np.rint(share * 255).astype(np.uint8)], -1)
    picture = read_picture(tiff(NUMBERS[kind](both), planar=planar, t338=2))
    assert picture.alpha is not None
    assert np.abs(picture.alpha - share[..., 0]).max() <= 1 / 254
    assert np.abs(picture.rgb.astype(int) - RGB).max() <= 1
    assert read_picture(tiff(NUMBERS[kind](both), planar=planar, t338=0)).alpha is None  # says nothing of transparency


def test_premultiplied_alpha() -> None:
    share = np.broadcast_to(X / 69, GREY.shape[:2])[..., None]
    picture = read_picture(tiff(np.concatenate([RGB / 255 * share, share], -1).astype(np.float32), t338=1))
    seen = share[..., 0] > 0.05
    assert np.abs(picture.rgb.astype(int) - RGB)[seen].max() <= 1


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float"])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("alpha", [False, True])
def test_cmyk(kind: str, planar: bool, alpha: bool) -> None:
    inks = np.zeros((40, 70, 5 if alpha else 4), np.uint8)
    inks[:20, :, 1:3] = 255  # red
    inks[30:, :, 3] = 255  # black
    if alpha:
        inks[:, :35, 4] = 255
    array = inks if kind == "uint8" else NUMBERS[kind](inks)
    picture = read_picture(tiff(array, planar=planar, t262=5, **({"t338": 2} if alpha else {})))
    for row, wanted in ((5, (255, 0, 0)), (25, (255, 255, 255)), (35, (0, 0, 0))):
        assert np.abs(picture.rgb[row, 5].astype(int) - wanted).max() < 12
    if alpha:
        assert picture.alpha is not None
        assert (picture.alpha[:, :35] == 1).all() and (picture.alpha[:, 35:] == 0).all()


@pytest.mark.parametrize("tile", [None, (16, 32)])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(  # predictor 2 is for whole numbers, 3 for others
    ("kind", "predictor"),
    [(kind, one) for kinds, own in ((("uint16", "int16"), 2), (("half", "float", "double"), 3))
     for kind in kinds for one in (1, own)],
)  # fmt: skip
def test_compression_and_predictors(kind: str, order: str, tile: Any, predictor: int) -> None:
    """Differences are undone here: the data that Pillow unpacks pretends to be grey."""
    values = NUMBERS[kind](RGB)
    data = predicted(values, order, predictor, tile)
    got = read_picture(data).rgb
    assert np.abs(got.astype(int) - RGB).max() <= 1


def predicted(values: np.ndarray, order: str, predictor: int, tile: tuple[int, int] | None) -> bytes:
    """An uncompressed TIFF whose blocks hold differences, as compressing writers make them, then deflated."""
    height, width, _ = values.shape
    rows, columns = tile or (height, width)
    padded = np.pad(values, ((0, -height % rows), (0, -width % columns), (0, 0)))
    blocks = []
    for y in range(0, padded.shape[0], rows):
        for x in range(0, padded.shape[1], columns):
            blocks.append(zlib.compress(_differences(padded[y : y + rows, x : x + columns], order, predictor)))
    offsets = np.cumsum([8, *map(len, blocks)])
    body = b"".join(blocks)
    body += bytes(len(body) % 2)
    bits, kind = 8 * values.dtype.itemsize, {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    where, sizes = (324, 325) if tile else (273, 279)
    tags: dict[int, Any] = {256: width, 257: height, 258: (bits,) * 3, 259: 8, 262: 2, 277: 3, 339: (kind,) * 3}
    tags |= {317: predictor, where: tuple(map(int, offsets[:-1])), sizes: tuple(map(len, blocks))}
    tags |= {322: columns, 323: rows} if tile else {278: rows}
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(body))
    return head + body + tiff_page(order, 8 + len(body), tags)


def _differences(block: np.ndarray, order: str, predictor: int) -> bytes:
    size = block.dtype.itemsize
    if predictor == 1:
        return block.astype(block.dtype.newbyteorder(order)).tobytes()
    if predictor == 2:
        whole = np.ascontiguousarray(block).view(f"u{size}")
        apart = np.diff(whole, axis=1, prepend=np.zeros_like(whole[:, :1]))
        return apart.astype(f"{order}u{size}").tobytes()
    flat = np.ascontiguousarray(block.astype(block.dtype.newbyteorder(">"))).view(np.uint8)
    planes = flat.reshape(block.shape[0], -1, size).swapaxes(1, 2).reshape(block.shape[0], -1, block.shape[2])
    return np.diff(planes, axis=1, prepend=np.zeros_like(planes[:, :1])).tobytes()


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_odd_depths(bits: int) -> None:
    for pixels, kind in ((GREY, 1), (RGB, 2)):
        numbers = np.rint(pixels / 255 * (2**bits - 1)).astype(np.uint16)
        rows = numbers.reshape(40, -1)
        packed = np.packbits(
            ((rows[..., None] >> np.arange(bits - 1, -1, -1)) & 1).astype(np.uint8).reshape(40, -1), axis=-1
        )
        samples = pixels.shape[2]
        data = packed.tobytes()
        tags: dict[int, Any] = {256: 70, 257: 40, 258: (bits,) * samples, 259: 1, 262: kind, 277: samples}
        tags |= {273: 8, 279: len(data), 278: 40}
        whole = b"II*\0" + struct.pack("<I", 8 + len(data)) + data + tiff_page("<", 8 + len(data), tags)
        assert np.abs(read_picture(whole).rgb.astype(int) - pixels).max() <= 1


@pytest.mark.parametrize("overshoot", [1.0001, 1.5, 40.0, -0.0001])
def test_a_few_values_beyond_white_do_not_make_the_picture_black(overshoot: float) -> None:
    values = (RGB / 255).astype(np.float32)
    values[3, 4, 1] = overshoot
    wanted = RGB.copy()
    wanted[3, 4, 1] = 255 if overshoot > 0 else 0
    assert np.abs(read_picture(tiff(values)).rgb.astype(int) - wanted).max() <= 1
    grey = (GREY / 255).astype(np.float32)
    grey[3, 4] = overshoot
    stream = io.BytesIO()
    Image.fromarray(grey[..., 0]).save(stream, "TIFF")
    got = read_picture(stream.getvalue()).rgb[..., :1].astype(int)
    assert np.abs(got - GREY)[np.arange(40) != 3].max() <= 1


def test_numbers_without_a_known_white() -> None:
    for bad in (RGB.astype(np.float32) * 1e6, RGB / 255 - 0.5, np.full((4, 4, 3), np.nan)):
        with pytest.raises(PictureError, match="white"):
            read_picture(tiff(bad))


@pytest.mark.parametrize("depth", [1, 257])
def test_colour_maps_of_8_and_16_bits(depth: int) -> None:
    image = Image.fromarray(RGB).quantize(200)
    stream = io.BytesIO()
    image.save(stream, "TIFF")
    data = stream.getvalue()
    wanted = np.asarray(image.convert("RGB"))
    colours = np.zeros(768, np.uint16)
    colours.reshape(3, 256)[:, : len(image.getpalette() or []) // 3] = np.reshape(image.getpalette() or [], (-1, 3)).T
    order = "<" if data[:2] == b"II" else ">"
    for written in (colours * 256, colours * 257):
        at = data.find(written.astype(f"{order}u2").tobytes())
        if at > 0:
            break
    assert at > 0
    changed = data[:at] + (colours * depth).astype(f"{order}u2").tobytes() + data[at + 1536 :]
    np.testing.assert_array_equal(read_picture(changed).rgb, wanted)


def pages(*pages_: tuple[np.ndarray, dict[int, Any]], magic: bytes = b"II*\0", below: tuple[int, ...] = ()) -> bytes:
    """A TIFF of several uncompressed 8-bit pages; those whose index is in `below` are sub-pages of the first."""
    body, starts = b"", []
    data = []
    for array, _ in pages_:
        data.append(8 + len(body))
        body += array.tobytes() + bytes(array.size % 2)
    tags = []
    for (array, more), start in zip(pages_, data, strict=True):
        height, width, samples = array.shape
        base: dict[int, Any] = {256: width, 257: height, 258: (8,) * samples, 259: 1, 262: 2 if samples == 3 else 1}
        tags.append(base | {273: start, 277: samples, 278: height, 279: array.size} | more)
    if below:
        tags[0][330] = tuple(0 for _ in below)
    at = 8 + len(body)
    for page in tags:
        starts.append(at)
        at += len(tiff_page("<", 0, page))
    if below:
        tags[0][330] = tuple(starts[n] for n in below)
    chain = [n for n in range(len(tags)) if n not in below]
    out = b""
    for n, page in enumerate(tags):
        raw = tiff_page("<", starts[n], page)
        behind = chain[chain.index(n) + 1 :] if n in chain else []
        end = 2 + 12 * len(page)
        following = starts[behind[0]] if behind else 0
        out += raw[:end] + struct.pack("<I", following) + raw[end + 4 :]
    return magic + struct.pack("<I", starts[0]) + body + out


SMALL = RGB[::4, ::4].copy()


def test_a_first_page_that_is_marked_as_thumbnail() -> None:
    for mark in ({254: 1}, {254: 4}, {255: 2}):
        np.testing.assert_array_equal(read_picture(pages((SMALL, mark), (RGB, {254: 0}))).rgb, RGB)
        np.testing.assert_array_equal(read_picture(pages((SMALL, mark), (RGB, {}), below=(1,))).rgb, RGB)
    np.testing.assert_array_equal(read_picture(pages((RGB, {}), (SMALL, {254: 1}))).rgb, RGB)
    np.testing.assert_array_equal(read_picture(pages((SMALL, {}), (RGB, {}))).rgb, SMALL)  # pages of a document
    np.testing.assert_array_equal(read_picture(pages((SMALL, {254: 1}), (RGB, {254: 1}))).rgb, RGB)


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (lambda: pages((SMALL, {254: 1, 50706: b"\1\4\0\0"})), "DNG"),
        (lambda: pages((SMALL, {254: 1, 50706: b"\1\4\0\0"}), (GREY, {262: 32803}), below=(1,)), "DNG"),
        (lambda: pages((SMALL, {254: 1, 50706: b"\1\4\0\0"}), (RGB, {262: 34892}), below=(1,)), "DNG"),
        (lambda: pages((SMALL, {254: 1}), (GREY, {262: 32803, 259: 34713}), below=(1,)), "raw file"),
        (lambda: pages((SMALL, {}), (GREY, {262: 32803})), "raw file"),
        (lambda: b"II*\0\x10\0\0\0CR\2\0" + bytes(4) + pages((SMALL, {}))[16:], "CR2"),
    ],
)
def test_raw_files_of_cameras_say_what_they_are(made: Any, kind: str) -> None:
    data = made()
    if kind == "CR2":
        page = tiff_page("<", 16, {256: 5, 257: 4, 258: (8, 8, 8), 259: 1, 262: 2, 273: 400, 277: 3, 278: 4, 279: 60})
        data = b"II*\0\x10\0\0\0CR\2\0" + bytes(4) + page.ljust(384, b"\0") + bytes(60)
    with pytest.raises(PictureError, match="raw file") as caught:
        read_picture(data)
    assert kind in str(caught.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (tiff(np.zeros((4, 4, 3), np.uint8), t259=34712), "method 34712"),
        (tiff(np.zeros((4, 4, 3), np.uint16), t262=8), "CIELab"),
        (tiff(np.zeros((4, 4, 2), np.complex64).view(np.float32), t339=6), "complex"),
        (tiff(np.zeros((4, 4, 2), np.uint16), t262=2), "2 samples of 16 bits"),
    ],
)
def test_what_is_not_supported_is_said_and_not_called_damaged(data: bytes, words: str) -> None:
    with pytest.raises(PictureError, match="not supported") as caught:
        read_picture(data)
    assert words in str(caught.value) and "damaged" not in str(caught.value)


def test_orientation_and_profile_of_what_pillow_does_not_read() -> None:
    turned = read_picture(tiff(NUMBERS["float"](RGB), t274=6)).rgb
    assert np.abs(turned.astype(int) - np.rot90(RGB, -1)).max() <= 1
    both = np.concatenate([RGB, GREY], -1)
    picture = read_picture(tiff(NUMBERS["float"](both), t274=6, t338=2))
    assert picture.alpha is not None
    assert np.abs(picture.alpha * 255 - np.rot90(GREY[..., 0], -1)).max() <= 1


def test_cut_files_are_damaged() -> None:
    for data in (tiff(NUMBERS["float"](RGB)), tiff(NUMBERS["uint16"](RGB), planar=True, tile=16)):
        for kept in (12, len(data) // 2):
            with pytest.raises(PictureError):
                read_picture(data[:kept])
    wrong = tiff(NUMBERS["float"](RGB), t273=40_000)  # its data would lie behind the end of the file
    with pytest.raises(PictureError):
        read_picture(wrong)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("samples", ["grey", "grey, alpha", "RGB", "RGBA", "RGB and one more", "CMYK"])
def test_8_bits(samples: str, planar: bool) -> None:
    more = (X * 3 % 256).astype(np.uint8)[..., None]
    array, tags = {
        "grey": (GREY, {}),
        "grey, alpha": (np.concatenate([GREY, more], -1), {"t338": 2, "t262": 1}),
        "RGB": (RGB, {}),
        "RGBA": (np.concatenate([RGB, more], -1), {"t338": 2}),
        "RGB and one more": (np.concatenate([RGB, more], -1), {"t338": 0}),
        "CMYK": (np.concatenate([255 - RGB, 0 * more], -1), {"t262": 5}),
    }[samples]
    picture = read_picture(tiff(array, planar=planar and array.shape[2] > 1, **tags))
    wanted = GREY if samples.startswith("grey") else RGB
    assert np.abs(picture.rgb.astype(int) - wanted).max() <= 1
    if samples in ("RGBA", "grey, alpha"):
        assert picture.alpha is not None and np.abs(picture.alpha * 255 - more[..., 0]).max() <= 1
    else:
        assert picture.alpha is None


def test_white_is_zero_with_alpha() -> None:
    both = np.concatenate([255 - GREY, np.broadcast_to(np.uint8(100), GREY.shape)], -1)
    picture = read_picture(tiff(both, t262=0, t338=2))
    np.testing.assert_array_equal(picture.rgb[..., :1], GREY)
    assert picture.alpha is not None and np.abs(picture.alpha - 100 / 255).max() < 1e-6


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("kind", [None, *NUMBERS])
def test_big_tiff(kind: str | None, planar: str, order: str) -> None:
    tifffile = pytest.importorskip("tifffile")
    array = RGB if kind is None else NUMBERS[kind](RGB)
    stream = io.BytesIO()
    pixels = array if planar == "contig" else array.transpose(2, 0, 1)
    tifffile.imwrite(stream, pixels, bigtiff=True, byteorder=order, planarconfig=planar, photometric="rgb")
    assert np.abs(read_picture(stream.getvalue()).rgb.astype(int) - RGB).max() <= 1


def test_big_tiff_that_is_not_supported_is_not_called_damaged() -> None:
    tifffile = pytest.importorskip("tifffile")
    stream = io.BytesIO()
    colours = np.zeros((3, 256), np.uint16)
    tifffile.imwrite(stream, GREY[..., 0], bigtiff=True, byteorder=">", photometric="palette", colormap=colours)
    with pytest.raises(PictureError, match="supported in little-endian files only: palette"):
        read_picture(stream.getvalue())
