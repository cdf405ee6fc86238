"""Everything that people hand over as a picture is taken, or answered by a sentence about what is taken."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from birefnet.errors import InputError, PictureError
from birefnet.pixels.picture import read_picture
from birefnet.pixels.writing import write_picture

RGB = np.random.default_rng(2).integers(0, 256, (12, 17, 3)).astype(np.uint8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_picture(RGB, tmp_path / "a b.png")
    return tmp_path / "a b.png"


class Named:
    """A path of somebody else's making."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


def test_every_kind_of_path_and_stream(path: Path) -> None:
    (entry,) = os.scandir(path.parent)
    data = path.read_bytes()
    streams = [io.BytesIO(data), path.open("rb")]
    for source in (path, str(path), Named(path), entry, data, bytearray(data), memoryview(data), *streams):
        np.testing.assert_array_equal(read_picture(source).rgb, RGB)  # type: ignore[arg-type]
    streams[1].close()
    for source in (Named(path.with_name("none.png")), path.with_name("none.png")):
        with pytest.raises(PictureError, match=r"Cannot read `.*none\.png`: No such file"):
            read_picture(source)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX pipes")
def test_a_pipe_is_read_to_its_end(path: Path) -> None:
    ours, theirs = os.pipe()
    os.write(theirs, path.read_bytes())
    os.close(theirs)
    try:
        np.testing.assert_array_equal(read_picture(f"/dev/fd/{ours}").rgb, RGB)
    finally:
        os.close(ours)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (None, "got None"),
        (7, "got an int"),
        ([1, 2], "got a list"),
        (RGB.tolist(), "got a list"),
        ((1, 2), "got a tuple"),
        ({"path": "a.png"}, "got a dict"),
        (io.StringIO("text"), "open as text"),
        (object, "got a type"),
    ],
)
def test_what_is_no_picture(source: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_picture(source)


def test_files_that_are_open_as_text_or_closed(path: Path) -> None:
    with path.open() as text, pytest.raises(InputError, match="open as text") as caught:
        read_picture(text)  # type: ignore[arg-type]
    assert "rb" in (caught.value.hint or "")
    closed = path.open("rb")
    closed.close()
    with pytest.raises(PictureError, match="closed"):
        read_picture(closed)

    class Texts:
        def read(self) -> str:
            return "text"

    with pytest.raises(InputError, match="stream of bytes"):
        read_picture(Texts())  # type: ignore[arg-type]


def test_tensors() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(RGB)
    np.testing.assert_array_equal(read_picture(tensor).rgb, RGB)
    np.testing.assert_array_equal(read_picture(tensor[..., 0]).rgb[..., 1], RGB[..., 0])
    for bad, words, hint in (
        (tensor.permute(2, 0, 1), r"got \(3, 12, 17\) uint8", "transpose"),
        (tensor / 255, r"\(12, 17, 3\) float32", "255"),
        (tensor[None], r"\(1, 12, 17, 3\)", "batch"),
        (tensor.bfloat16(), "bfloat16", ""),
        ((tensor / 255).requires_grad_(), "float32", "255"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            read_picture(bad)
        assert hint in (caught.value.hint or "")


# --- resolution ------------------------------------------------------------------------------------------------------

FORMATS = ["PNG", "JPEG", "TIFF", "WEBP"]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("dpi", [(300, 300), (72, 144), (240, 240)])
def test_resolution_is_kept_from_file_to_file(format: str, dpi: tuple[int, int], tmp_path: Path) -> None:
    write_picture(RGB, tmp_path / "first", format=format, dpi=dpi)
    read = read_picture(tmp_path / "first").dpi
    assert read is not None
    np.testing.assert_allclose(read, dpi, rtol=1e-3)
    with Image.open(tmp_path / "first") as image:
        assert ("dpi" in image.info) == (format != "WEBP")
    for other in FORMATS:
        write_picture(RGB, tmp_path / "second", format=other, dpi=read)
        np.testing.assert_allclose(read_picture(tmp_path / "second").dpi, dpi, rtol=2e-3)


def test_resolution_turns_with_the_picture_and_nonsense_is_none() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    Image.fromarray(RGB).save(stream, "PNG", exif=exif, dpi=(72, 144))
    np.testing.assert_allclose(read_picture(stream.getvalue()).dpi, (144, 72), rtol=1e-3)
    for dpi in ((0, 0), (1e9, 1e9)):
        stream = io.BytesIO()
        Image.fromarray(RGB).save(stream, "TIFF", dpi=dpi)
        assert read_picture(stream.getvalue()).dpi is None
    stream = io.BytesIO()
    Image.fromarray(RGB).save(stream, "PNG")
    assert read_picture(stream.getvalue()).dpi is None
    assert read_picture(RGB).dpi is None


@pytest.mark.parametrize("name", ["jpg", "jpeg", "JPEG", ".jpg", "tif", "tiff", "png", "webp"])
def test_formats_have_all_their_names(name: str, tmp_path: Path) -> None:
    write_picture(RGB, tmp_path / "a", format=name)
    with Image.open(tmp_path / "a") as image:
        assert str(image.format)[:3].lower() == name.lower().strip(".")[:3].replace("jpg", "jpe")
