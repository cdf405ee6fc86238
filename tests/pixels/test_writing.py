"""A file is written whole or not at all, and holds what was given."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from birefnet.errors import ConfigError, InputError, PictureError
from birefnet.files import write_whole
from birefnet.pixels.picture import read_picture
from birefnet.pixels.writing import write_picture

Y, X = np.mgrid[0:40, 0:60]
RGB = np.stack([X * 4, Y * 6, X + Y], -1).astype(np.uint8)
RGBA = np.dstack([RGB, (X * 4).astype(np.uint8)])
GREY = (X * 4).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".tif", ".tiff"])
@pytest.mark.parametrize("array", [GREY, RGB, RGBA], ids=["grey", "rgb", "rgba"])
def test_lossless(suffix: str, array: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / f"out{suffix}"
    write_picture(array, path)
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), array)
        assert image.getexif().get(0x0112) in (None, 1)
    assert os.listdir(tmp_path) == [path.name]


def test_webp_is_exact_in_alpha_and_masks(tmp_path: Path) -> None:
    write_picture(RGBA, tmp_path / "a.webp")
    with Image.open(tmp_path / "a.webp") as image:
        got = np.asarray(image)
    np.testing.assert_array_equal(got[..., 3], RGBA[..., 3])
    assert np.abs(got[..., :3].astype(int) - RGB)[RGBA[..., 3] > 0].mean() < 6
    write_picture(GREY, tmp_path / "m.webp")
    assert (read_picture(tmp_path / "m.webp").rgb == GREY[..., None]).all()


def test_jpeg_takes_what_is_opaque(tmp_path: Path) -> None:
    for array in (GREY, RGB):
        write_picture(array, tmp_path / "a.jpg", quality=95)
        with Image.open(tmp_path / "a.jpg") as image:
            assert np.abs(np.asarray(image).astype(int) - array).mean() < 3
    with pytest.raises(ConfigError, match="no transparency"):
        write_picture(RGBA, tmp_path / "b.jpg")


def test_streams_and_formats() -> None:
    stream = io.BytesIO()
    write_picture(RGBA, stream)
    assert stream.getvalue()[:4] == b"\x89PNG"
    stream = io.BytesIO()
    write_picture(RGB, stream, format="jpg")
    assert stream.getvalue()[:2] == b"\xff\xd8"


def test_a_format_beats_the_suffix(tmp_path: Path) -> None:
    write_picture(RGB, tmp_path / "a.png", format="webp")
    assert (tmp_path / "a.png").read_bytes()[8:12] == b"WEBP"


@pytest.mark.parametrize("name", ["out.gif", "out", "out.xyz"])
def test_unknown_suffix(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.png, \.webp"):
        write_picture(RGB, tmp_path / name)
    with pytest.raises(ConfigError, match="known: png"):
        write_picture(RGB, tmp_path / "a.png", format="gif")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"Cannot write.*No such file"):
        write_picture(RGB, tmp_path / "missing" / "a.png")


def test_a_folder_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(PictureError, match="Cannot write"):
        write_picture(RGB, tmp_path / "a.png")
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PictureError, match="Permission denied"):
        write_picture(RGB, tmp_path / "a.png")


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError, MemoryError])
def test_an_interrupted_write_leaves_the_old_file(interruption: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def save(stream: io.BufferedWriter) -> None:
        stream.write(b"half")
        raise interruption

    with pytest.raises(interruption):
        write_whole(path, save)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.png"]


def test_ctrl_c_while_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Image.Image, stream: io.BufferedWriter, *_: object, **__: object) -> None:
        stream.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_picture(RGB, tmp_path / "a.png")
    assert not os.listdir(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="links and modes of POSIX")
def test_links_modes_and_devices(tmp_path: Path) -> None:
    (tmp_path / "real.png").write_bytes(b"old")
    (tmp_path / "link.png").symlink_to("real.png")
    write_picture(RGB, tmp_path / "link.png")
    assert (tmp_path / "link.png").is_symlink()
    assert (tmp_path / "real.png").read_bytes()[:4] == b"\x89PNG"
    mask = os.umask(0o022)
    try:
        write_picture(RGB, tmp_path / "new.png")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "new.png").stat().st_mode) == 0o644
    write_picture(RGB, "/dev/null", format="png")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_too_long_for_the_format(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="Cannot write"):
        write_picture(np.zeros((1, 20_000, 3), np.uint8), tmp_path / "a.webp")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("array", [RGB.astype(float), RGB[..., :2], np.zeros((0, 3, 3), np.uint8), RGB[None]])
def test_wrong_arrays(array: np.ndarray) -> None:
    with pytest.raises(InputError, match="Wanted an array"):
        write_picture(array, io.BytesIO())


def test_quality_is_checked() -> None:
    with pytest.raises(ConfigError, match="1 to 100"):
        write_picture(RGB, io.BytesIO(), quality=0)
