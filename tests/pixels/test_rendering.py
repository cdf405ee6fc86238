"""What is made of a cut-out is checked once, before any work, and in the same words at every door."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from birefnet.errors import ConfigError, PictureError
from birefnet.pixels.background import find_background, read_background
from birefnet.pixels.rendering import Rendering


def green_and_clear(format: str = "PNG") -> bytes:
    """A green picture whose right half is transparent; red is hidden there."""
    rgba = np.zeros((4, 8, 4), np.uint8)
    rgba[:, :4] = (0, 200, 0, 255)
    rgba[:, 4:] = (255, 0, 0, 0)
    stream = io.BytesIO()
    Image.fromarray(rgba).save(stream, format)
    return stream.getvalue()


@pytest.mark.parametrize(
    "given",
    ["red", "#f00", "255,0,0", (255, 0, 0), [255, 0, 0], [255, 0, 0, 255], np.array([255, 0, 0]), "rgb(255, 0, 0)"],
)
def test_colours_of_every_kind(given: Any) -> None:
    assert find_background(given) == (255, 0, 0, 255)
    assert Rendering(background=given).background == (255, 0, 0, 255)


def test_a_word_is_a_colour_even_where_a_file_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("white", "blur", "beach.png"):
        Path(name).write_bytes(green_and_clear())
    assert find_background("white") == (255, 255, 255, 255)
    assert find_background("blur") == find_background(" Blur") == "blur"
    assert find_background("beach.png") == Path("beach.png")
    assert find_background("./white") == Path("white")
    assert find_background(Path("blur")) == Path("blur")
    with pytest.raises(ConfigError, match="not a colour"):
        find_background("beach.png", files=False)


@pytest.mark.parametrize(
    ("given", "hint"),
    [("wite", "did you mean `white`?"), ("blurr", "did you mean `blur`?"), ("beach.jpg", "nor is there a picture")],
)
def test_a_text_that_means_nothing_gets_the_nearest(given: str, hint: str) -> None:
    with pytest.raises(ConfigError, match="not a colour") as caught:
        Rendering(background=given)
    assert hint in (caught.value.hint or "")


def test_numbers_that_are_no_colour() -> None:
    for bad in ((1, 2), [1, 2, 3, 4, 5], [256, 0, 0], np.array([1.5, 2, 3]), [], ["a", "b", "c"], [None] * 3):
        with pytest.raises(ConfigError, match="not a colour"):
            find_background(bad)  # type: ignore[arg-type]


def test_hidden_colours_of_a_background_stay_hidden() -> None:
    rgb = read_background(green_and_clear())
    assert (rgb[:, :4] == (0, 200, 0)).all()
    assert (rgb[:, 4:] == 255).all()


def test_what_does_not_go_together() -> None:
    with pytest.raises(ConfigError, match="no background"):
        Rendering(mask_only=True, background="white")
    for background in (None, "#fff8", (1, 2, 3, 4)):
        with pytest.raises(ConfigError, match="no transparency"):
            Rendering(format="jpg", background=background)
    for fine in ({"mask_only": True}, {"background": "white"}, {"background": "blur"}, {"background": b"file"}):
        assert Rendering(format="jpeg", **fine).opaque  # type: ignore[arg-type]
    assert not Rendering().opaque
    with pytest.raises(ConfigError, match="1 to 100"):
        Rendering(quality=0)


@pytest.mark.parametrize(
    ("name", "format"), [("jpg", "JPEG"), ("jpeg", "JPEG"), ("JPG", "JPEG"), ("tif", "TIFF"), ("tiff", "TIFF")]
)
def test_every_name_of_a_format(name: str, format: str) -> None:
    assert Rendering(format=name, background="white").format == format
    with pytest.raises(ConfigError, match="known: png"):
        Rendering(format=f"{name}x")


def test_a_picture_is_read_once_for_many() -> None:
    loaded = Rendering(background=green_and_clear()).loaded()
    assert isinstance(loaded.background, np.ndarray)
    for background in (None, "white", "blur"):
        rendering = Rendering(background=background)
        assert rendering.loaded() is rendering
    with pytest.raises(PictureError):
        Rendering(background=b"no picture").loaded()
    with pytest.raises(PictureError, match="too large"):
        Rendering(background=green_and_clear()).loaded(max_pixels=31)
