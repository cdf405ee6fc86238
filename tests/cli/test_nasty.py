"""A folder of nasty files: each gets the right result or one clear sentence, and the batch goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image

from tests.brightness import brightness_model
from tests.pixels.test_picture import P3

Run = Callable[..., tuple[int, str, str]]

WIDTH, HEIGHT = 96, 64


def disc(width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """A bright disc left of the middle on a dark ground, (H, W, 3): the stand-in takes it for the subject."""
    y, x = np.mgrid[:height, :width]
    inside = (x - width / 3) ** 2 + (y - height / 2) ** 2 < (min(width, height) / 4) ** 2
    return np.where(inside[..., None], (250, 240, 230), (10, 20, 30)).astype(np.uint8)


def text(path: Path) -> None:
    path.write_text("this is no picture\n" * 20)


def truncated(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    Image.fromarray(noise).save(path, quality=90)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def animation(path: Path) -> None:
    frames = [Image.fromarray(disc()), Image.new("RGB", (WIDTH, HEIGHT), "red")]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, loop=0)


def palette(path: Path) -> None:
    """Index 0, the ground, is transparent."""
    bright = (disc()[..., 0] > 128).astype(np.uint8)
    image = Image.fromarray(bright, "L").convert("P")
    image.putdata(bright.ravel().tolist())
    image.putpalette([0, 255, 0, 250, 240, 230])
    image.save(path, transparency=0)


def sideways(orientation: int) -> Callable[[Path], None]:
    """The disc stored turned, and the EXIF entry that turns it upright."""
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }

    def write(path: Path) -> None:
        image, exif = Image.fromarray(disc()), Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        if orientation in back:
            image = image.transpose(back[orientation])
        image.save(path, exif=exif, quality=95)

    return write


def bomb(path: Path) -> None:
    """A PNG header that promises 100,000 x 100,000 pixels."""
    Image.new("1", (8, 8)).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = (100_000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    path.write_bytes(data)


# Name -> how it is written, and the size of the result; or the sentence that must come.
GOOD: dict[str, tuple[Callable[[Path], object], tuple[int, int]]] = {
    "plain.jpg": (lambda p: Image.fromarray(disc()).save(p, quality=95), (WIDTH, HEIGHT)),
    "really_a_jpeg.png": (lambda p: Image.fromarray(disc()).save(p, "JPEG", quality=95), (WIDTH, HEIGHT)),
    "one.png": (lambda p: Image.new("RGB", (1, 1), "white").save(p), (1, 1)),
    "tall.png": (lambda p: Image.fromarray(disc(1, 5000)).save(p), (1, 5000)),
    "wide.png": (lambda p: Image.fromarray(disc(5000, 1)).save(p), (5000, 1)),
    "grey16.png": (lambda p: Image.fromarray(disc()[..., 0].astype(np.uint16) * 257).save(p), (WIDTH, HEIGHT)),
    "bits.png": (lambda p: Image.fromarray(disc()[..., 0] > 128).save(p), (WIDTH, HEIGHT)),
    "cmyk.jpg": (lambda p: Image.fromarray(disc()).convert("CMYK").save(p, quality=95), (WIDTH, HEIGHT)),
    "palette.png": (palette, (WIDTH, HEIGHT)),
    "grey_alpha.png": (lambda p: Image.fromarray(disc()).convert("LA").save(p), (WIDTH, HEIGHT)),
    "p3.jpg": (lambda p: Image.fromarray(disc()).save(p, quality=95, icc_profile=P3), (WIDTH, HEIGHT)),
    "moving.gif": (animation, (WIDTH, HEIGHT)),
    "moving.webp": (animation, (WIDTH, HEIGHT)),
    **{f"turned{n}.jpg": (sideways(n), (WIDTH, HEIGHT)) for n in range(1, 9)},
    "same/name.jpg": (lambda p: Image.fromarray(disc()).save(p), (WIDTH, HEIGHT)),
    "other/name.jpg": (lambda p: Image.new("RGB", (20, 10), "white").save(p), (20, 10)),
}
BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated.jpg": (truncated, r"cut short: about \d+% of the picture is missing"),
    "text.png": (text, "not a picture"),
    "empty.jpg": (lambda p: p.touch(), "empty"),
    "bomb.png": (bomb, "too large"),
    "folder_in_the_way.jpg": (lambda p: Image.fromarray(disc()).save(p), "is a folder"),
    "file_in_the_way/a.jpg": (lambda p: Image.fromarray(disc()).save(p), "Cannot make the folder"),
}


@pytest.fixture
def nasty(tmp_path: Path) -> Path:
    """The folder `in`, and in `out` what makes two of its results unwritable (also for root)."""
    for name, (write, _) in {**GOOD, **BAD}.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
    (tmp_path / "out" / "folder_in_the_way.png").mkdir(parents=True)
    (tmp_path / "out" / "file_in_the_way").touch()
    return tmp_path


def result_of(name: str) -> str:
    """The result's name; `moving` is there twice, so both keep their whole names."""
    return f"{name}.png" if name.startswith("moving") else str(Path(name).with_suffix(".png"))


def test_each_file_gets_its_result_or_a_sentence(nasty: Path, standin: Path, birefnet: Run) -> None:
    code, out, err = birefnet("remove", nasty / "in", "-o", nasty / "out", "-m", standin, "--json")
    assert code == 1
    assert "Traceback" not in err
    report = json.loads(out)
    rows = {str(Path(row["input"]).relative_to(nasty / "in")): row for row in report["pictures"]}
    assert set(rows) == {*GOOD, *BAD}
    assert (report["total"], report["done"], report["failed"]) == (len(rows), len(GOOD), len(BAD))

    for name, (_, size) in GOOD.items():
        row, path = rows[name], nasty / "out" / result_of(name)
        assert row["status"] == "done", f"{name}: {row['error']}"
        assert Path(row["output"]) == path
        with Image.open(path) as image:
            assert (image.mode, image.size) == ("RGBA", size), name
        assert (row["width"], row["height"]) == size
        assert row["has_foreground"] is True or size == (1, 5000) or size == (5000, 1), name

    for name, (_, sentence) in BAD.items():
        row = rows[name]
        assert row["status"] == "failed" and row["width"] is None
        assert re.search(sentence, row["error"]), f"{name}: {row['error']}"
        told = [line for line in err.splitlines() if line.startswith("error: ") and name in line]
        assert len(told) == 1, f"{name} is told {len(told)} times"

    left = {str(path.relative_to(nasty / "out")) for path in (nasty / "out").rglob("*") if path.is_file()}
    assert left == {*map(result_of, GOOD), "file_in_the_way"}  # nothing half-written stays


def test_the_disc_is_cut_out_of_every_kind_of_file(nasty: Path, standin: Path, birefnet: Run) -> None:
    birefnet("remove", nasty / "in", "-o", nasty / "out", "-m", standin, "-q")
    kinds = [name for name, (_, size) in GOOD.items() if size == (WIDTH, HEIGHT)]
    assert len(kinds) == 19
    for name in kinds:
        rgba = np.asarray(Image.open(nasty / "out" / result_of(name)))
        middle, corner = rgba[HEIGHT // 2, WIDTH // 3], rgba[2, WIDTH - 3]
        assert middle[3] > 250 and corner[3] < 5, f"{name}: {middle}, {corner}"
        assert np.abs(middle[:3].astype(int) - (250, 240, 230)).max() < 30, f"{name}: {middle}"


def test_a_run_that_is_started_again_goes_on(nasty: Path, standin: Path, birefnet: Run) -> None:
    command = ("remove", nasty / "in", "-o", nasty / "out", "-m", standin, "--json")
    birefnet(*command)
    (nasty / "out" / "plain.png").unlink()
    code, out, _ = birefnet(*command)
    report = json.loads(out)
    assert code == 1  # the bad ones are bad still
    assert (report["done"], report["skipped"], report["failed"]) == (1, len(GOOD) - 1, len(BAD))


def test_a_picture_of_108_megapixels(
    tmp_path: Path, standin: Path, birefnet: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # of Pillow, for this test's own reading
    Image.new("L", (12_000, 9_000), 255).save(tmp_path / "huge.png")
    code, _, err = birefnet("remove", tmp_path / "huge.png", "-m", standin, "--mask-only", "-o", tmp_path / "out.png")
    assert code == 0, err
    with Image.open(tmp_path / "out.png") as image:
        assert (image.mode, image.size) == ("L", (12_000, 9_000))


def test_weights_that_give_nan(nasty: Path, birefnet: Run) -> None:
    model = brightness_model(nasty / "nan.onnx", bias=float("nan"))
    code, _, err = birefnet("remove", nasty / "in" / "plain.jpg", "-m", model)
    assert code == 1
    assert re.search(r"^error: .*not finite", err, re.M)
    assert not (nasty / "in" / "plain.png").exists()  # no black square


@pytest.mark.parametrize(
    ("model", "code", "sentence"),
    [
        ("no_such_model", 2, "No model named"),
        ("missing.onnx", 2, "no file"),
        ("text.onnx", 1, "damaged or no ONNX network"),
        ("text.safetensors", 1, "damaged|not a|header|No file|checkpoint"),
        ("empty.pth", 1, "damaged|empty|not a"),
        ("other_net.onnx", 1, "does not fit"),
    ],
)
def test_wrong_checkpoints(nasty: Path, birefnet: Run, model: str, code: int, sentence: str) -> None:
    if not model.endswith(".onnx") and model != "no_such_model":
        pytest.importorskip("torch")
    for name in ("text.onnx", "text.safetensors"):
        text(nasty / name)
    (nasty / "empty.pth").touch()
    _other_net(nasty / "other_net.onnx")
    named = model if model == "no_such_model" else nasty / model
    got, _, err = birefnet("remove", nasty / "in", "-o", nasty / "out", "-m", named)
    assert got == code, err
    assert re.search(f"^error: .*({sentence})", err, re.M), err
    assert err.count("error:") == 1  # said once, before any picture
    assert not (nasty / "out" / "plain.png").exists()


def _other_net(path: Path) -> None:
    """An ONNX file of something else: it takes a vector."""
    import onnx
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "other", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
