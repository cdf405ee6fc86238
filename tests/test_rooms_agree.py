"""The same odd mask and the same odd picture through every door get the same answer, or the same sentence.

The same model through every door is in `tests/test_model_doors.py`. Networks are tiny but real (`tests/brightness.py`).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import birefnet as package
from birefnet.data.check import check_folder
from birefnet.data.config import DataConfig, Source
from birefnet.data.findings import KINDS
from birefnet.data.library import Library
from birefnet.data.masks import REFUSED, WANTED
from birefnet.errors import BiRefNetError, DataError
from birefnet.pixels.prepare import InputSpec
from tests.brightness import brightness_model
from tests.training.conftest import recipe_values  # noqa: F401

WIDTH, HEIGHT = 320, 288  # of the picture, upright; no smaller than `data check` wants them
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
HARD = np.hypot(COLUMNS - 150, ROWS - 120) < 70
MASK = HARD * np.uint8(255)
RING = np.where(HARD, np.uint8(1), MASK + np.uint8(255) * (np.hypot(COLUMNS - 150, ROWS - 120) < 80))


def turned(turn: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = turn
    return exif


def _palette(path: Path) -> None:
    image = Image.fromarray(HARD.astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(path)


def _colours(path: Path) -> None:
    image = Image.fromarray(HARD.astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 128, 0, 0])
    image.save(path)


def save(array: np.ndarray, **options: Any) -> Callable[[Path], object]:
    return lambda path: Image.fromarray(np.ascontiguousarray(array)).save(path, **options)


# mask -> (how it is written, its finding in `data check`)
MASKS: dict[str, tuple[Callable[[Path], object], str | None]] = {
    "plain": (save(MASK), None),
    "one bit": (save(HARD), None),
    "grey palette": (_palette, None),
    "opaque RGBA": (save(np.dstack([MASK, MASK, MASK, MASK * 0 + 255])), None),
    "grey RGB": (save(np.dstack([MASK] * 3)), None),
    "turned by EXIF": (save(np.rot90(MASK, 1), exif=turned(6)), "turned-mask"),
    "upside down by EXIF": (save(MASK[::-1, ::-1], exif=turned(3)), "turned-mask"),
    "16 bits": (save(MASK.astype(np.uint16) * 257), "deep-mask"),
    "tint": (save(np.dstack([MASK, MASK, MASK - np.uint8(8) * HARD])), "tinted-mask"),
    "half the size": (save(MASK[::2, ::2]), "scaled-mask"),
    "0 and 1": (save(HARD.astype(np.uint8)), "dim-mask"),
    "0 and 1 in 16 bits": (save(HARD.astype(np.uint16)), "dim-mask"),
    "0 to 255 in 16 bits": (save(MASK.astype(np.uint16)), "dim-mask"),
    "0, 1 and 255": (save(RING), "class-mask"),
    "colour": (save(np.dstack([MASK, MASK // 2, MASK])), "colour-mask"),
    "palette of colours": (_colours, "colour-mask"),
    "cut-out": (save(np.dstack([MASK] * 4)), "transparent-mask"),
}


@pytest.fixture(params=MASKS)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """The name of an odd mask, and a set `set` with it beside `predictions` that hold the plain one."""
    for folder in ("set/im", "set/gt", "predictions"):
        (tmp_path / folder).mkdir(parents=True)
    Image.fromarray(np.dstack([MASK // 2 + np.uint8(60)] * 3)).save(tmp_path / "set/im/a.png")
    MASKS[request.param][0](tmp_path / "set/gt/a.png")
    Image.fromarray(MASK).save(tmp_path / "predictions/a.png")
    return request.param, tmp_path


def by_training(root: Path) -> np.ndarray:
    library = Library.load(DataConfig(root=str(root), pairs=(Source(folder="set"),), longest=None))
    return library.pairs[0][1][0][1]


def by_training_unkept(root: Path) -> np.ndarray:
    """Masks that are read anew for every sample are checked before the run, too."""
    library = Library.load(DataConfig(root=str(root), pairs=(Source(folder="set"),), longest=None, cache="none"))
    return library.pairs[0][1][0][1]


def by_validation(root: Path) -> np.ndarray:
    pytest.importorskip("torch")
    from birefnet.training.config import ValidationConfig
    from birefnet.training.validation import Validation, read_truth

    config = ValidationConfig(root=str(root), sets=("set",), size=64)
    validation = Validation(config, config.metrics[0], InputSpec(width=64, height=64))
    return read_truth(validation.pairs[0][1])


def by_calibration(root: Path) -> np.ndarray:
    from birefnet.export.openvino_int8 import _mask_at

    found = _mask_at(root / "set/gt/a.png", InputSpec(width=WIDTH, height=HEIGHT))
    return np.rint(found[0, 0] * 255).astype(np.uint8)


@pytest.mark.parametrize("door", [by_training, by_training_unkept, by_validation, by_calibration])
def test_whoever_learns_from_a_mask_sees_the_same_or_says_the_same(
    pair: tuple[str, Path], door: Callable[[Path], np.ndarray]
) -> None:
    name, root = pair
    kind = MASKS[name][1]
    if kind in REFUSED["training"]:
        with pytest.raises(DataError) as caught:
            door(root)
        assert WANTED[kind] in str(caught.value) and "gt/a.png" in str(caught.value)  # type: ignore[index]
        return
    near = {"half the size": 8, "tint": 0.2}.get(name, 0)
    assert np.abs(door(root).astype(int) - MASK).mean() <= near


def test_the_check_of_a_folder_finds_just_what_is_odd(pair: tuple[str, Path]) -> None:
    name, root = pair
    kind = MASKS[name][1]
    report = check_folder(root / "set")
    deep = "deep-mask" if "16 bits" in name else None
    assert set(report.counts()) == {kind, deep} - {None}
    assert bool(report.problems) == (kind in REFUSED["training"])  # "no problems" means that training takes it
    if report.pairs[0].mask is not None:
        assert report.pairs[0].mask.covered == pytest.approx(HARD.mean(), abs=0.02)


@pytest.mark.parametrize("role", ["truth", "prediction"])
def test_judging_sees_the_same_or_lists_it_by_its_kind(pair: tuple[str, Path], role: str) -> None:
    name, root = pair
    truths, predictions = root / "set/gt", root / "predictions"
    if role == "prediction":
        truths, predictions = predictions, truths
    refused = {MASKS[name][1]} | ({"deep-mask"} if "16 bits" in name else set())
    listed = [KINDS[kind].one for kind in refused & REFUSED[role]]  # type: ignore[index]
    if name == "half the size":
        listed = ["prediction has another size than its truth"]
    if name == "0 and 1" and role == "prediction":
        listed = ["prediction holds 0 and a dark grey only"]
    if listed:
        with pytest.raises(DataError) as caught:
            package.evaluate(predictions, truths, metrics="MAE")
        assert any(f"1 {one}" in str(caught.value) for one in listed), str(caught.value)
        return
    found = package.evaluate(predictions, truths, metrics="MAE")
    assert found.mean["MAE"] == 0


# -- pictures ----------------------------------------------------------------------------------------------------------

random = np.random.default_rng(0)
SCENE = np.asarray(
    Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8)).resize((160, 120), Image.Resampling.BICUBIC)
)
ALPHA = np.tile(np.linspace(0, 255, 160).round().astype(np.uint8), (120, 1))

PICTURES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "plain": ("png", save(SCENE)),
    "RGBA": ("png", save(np.dstack([SCENE, ALPHA]))),
    "16-bit grey": ("png", save(SCENE[..., 0].astype(np.uint16) * 257)),
    "CMYK": ("jpg", lambda path: Image.fromarray(SCENE).convert("CMYK").save(path, "JPEG")),
    "turned": ("jpg", save(SCENE, exif=turned(6))),
    "turned TIFF": ("tif", save(SCENE, exif=turned(8))),
    "palette": ("png", lambda path: Image.fromarray(SCENE).convert("P").save(path)),
    "grey with alpha": ("png", save(np.dstack([SCENE[..., 0], ALPHA]))),
}


@pytest.fixture
def guided(tmp_path: Path) -> Path:
    """A network with a size of its own whose alpha is enlarged along the picture's edges."""
    metadata = {"mean": [0.5] * 3, "std": [0.25] * 3, "activation": "sigmoid", "size": [96, 64], "upsample": "guided"}
    return brightness_model(tmp_path / "guided.onnx", size=(96, 64), metadata=metadata)


@pytest.fixture(params=PICTURES)
def picture(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    suffix, write = PICTURES[request.param]
    path = tmp_path / "set/im" / f"a.{suffix}"
    path.parent.mkdir(parents=True)
    write(path)
    return path


def by_file(path: Path, model: Path, home: Path) -> np.ndarray:
    return package.remove(path, model).mask


def by_bytes(path: Path, model: Path, home: Path) -> np.ndarray:
    return package.Remover(model, threads=1)(io.BytesIO(path.read_bytes())).mask


def by_command(path: Path, model: Path, home: Path) -> np.ndarray:
    from birefnet.cli.main import run

    assert run(["remove", str(path), "-m", str(model), "--mask-only", "-o", str(home / "out.png"), "-q"]) == 0
    return np.asarray(Image.open(home / "out.png"))


def by_judging(path: Path, model: Path, home: Path) -> np.ndarray:
    _truth_for(path, home)
    package.evaluate(model, home / "set", metrics="MAE", keep=home / "kept")
    return np.asarray(Image.open(home / "kept/set/a.png"))


def by_server(path: Path, model: Path, home: Path) -> np.ndarray:
    for module in ("fastapi", "uvicorn", "prometheus_client", "python_multipart", "httpx"):
        pytest.importorskip(module)
    from starlette.testclient import TestClient

    from birefnet.runtimes.options import RuntimeOptions
    from birefnet.serving.app import create_app
    from birefnet.serving.service import Service
    from birefnet.serving.settings import Settings

    service = Service(Settings(models={"guided": str(model)}, options=RuntimeOptions(threads=1)))
    with TestClient(create_app(service)) as client:
        answer = client.post("/v1/remove", files={"image": (path.name, path.read_bytes())}, data={"mask_only": "true"})
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def _truth_for(path: Path, home: Path) -> None:
    (home / "set/gt").mkdir(exist_ok=True)
    height, width = package.read_picture(path).rgb.shape[:2]
    Image.new("L", (width, height), 255).save(home / "set/gt/a.png")


@pytest.mark.parametrize("door", [by_file, by_bytes, by_command, by_judging, by_server])
def test_whoever_cuts_a_picture_out_makes_the_same_mask(
    picture: Path, guided: Path, tmp_path: Path, door: Callable[[Path, Path, Path], np.ndarray]
) -> None:
    wanted = package.Remover(guided, threads=1)(picture).mask
    np.testing.assert_array_equal(door(picture, guided, tmp_path), wanted)


def test_validation_judges_what_is_cut_out(
    picture: Path,
    tmp_path: Path,
    recipe_values: dict[str, Any],  # noqa: F811
) -> None:
    torch = pytest.importorskip("torch")
    from birefnet.network import BiRefNet
    from birefnet.network.config import BiRefNetConfig
    from birefnet.training.config import ValidationConfig
    from birefnet.training.distributed import Team
    from birefnet.training.reading import parse_recipe
    from birefnet.training.validation import Validation
    from birefnet.weights.checkpoint import save_model
    from birefnet.weights.facts import from_spec

    torch.manual_seed(0)
    small = BiRefNetConfig(backbone="mobilenet_v2", inner_width=8, attention="none", squeeze="none", context=0)
    network, spec = BiRefNet(small).eval(), InputSpec(width=96, height=64, upsample="guided")
    saved = save_model(network, tmp_path / "run.safetensors", from_spec(spec))
    _truth_for(picture, tmp_path)
    config = ValidationConfig(root=str(tmp_path), sets=("set",), size=64, sheet=1)
    found = Validation(config, config.metrics[0], spec).run(
        network, Team(parse_recipe(recipe_values), "cpu"), sheet=True
    )
    assert found is not None
    wanted = package.Remover(saved, device="cpu", dtype="float32", threads=1)(picture).mask
    # The network in training is not rewritten for inference, so it rounds otherwise: by one level of 255 at most.
    assert np.abs(found.shown[0].prediction.astype(int) - wanted).max() <= 1


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"x" * 40])
def test_what_is_no_picture_is_said_alike(tmp_path: Path, guided: Path, content: bytes) -> None:
    path = tmp_path / "set/im/a.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(BiRefNetError) as caught:
        package.remove(path, guided)
    reason = str(caught.value).removeprefix(f"`{path}` ").rstrip(".")[:40]
    (tmp_path / "set/gt").mkdir()
    Image.fromarray(MASK).save(tmp_path / "set/gt/a.png")
    for door in (by_training, by_training_unkept):
        with pytest.raises(DataError) as said:
            door(tmp_path)
        assert reason in str(said.value)
    assert reason in check_folder(tmp_path / "set").findings[0].text
    with pytest.raises(DataError) as listed:
        package.evaluate(guided, tmp_path / "set", metrics="MAE")
    assert reason in str(listed.value)
