"""transformers.js loads exported folders as its documentation says, and finds Python's alpha: in Node and in Chromium.

Equal within two grey levels where it is shown a picture of the network's size, or a tensor that was prepared by our
rules. Pictures of other sizes it resizes in its own way, and the alpha back: how far that takes it is bounded here and
told in docs/web-export.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from birefnet.pixels.picture import read_picture
from birefnet.pixels.prepare import InputSpec, prepare
from birefnet.remover import Remover
from birefnet.runtimes.onnx import OnnxRuntime
from birefnet.serving.nano import nano_files
from tests.web.transformers_clients import Found, in_chromium, in_node, need_library

pytestmark = pytest.mark.browser

PHOTO = Path(__file__).parents[2] / "examples" / "photos" / "astronaut.jpg"
SIDES = {"nano": 576, "lite": 256}
FILES = {None: "model_fp16.onnx", "fp32": "model.onnx", "q8": "model_quantized.onnx"}
LEVELS = 2 / 255

Ask = Callable[..., Found]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The small model in the box, and the lite network with seeded weights, exported for 256 pixels."""
    need_library()
    root = tmp_path_factory.mktemp("models")
    for path, source in nano_files().items():
        place = root / "nano" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(source if isinstance(source, bytes) else source.read_bytes())
    _export_lite(root / "lite")
    return {name: root / name for name in SIDES}


def _export_lite(path: Path) -> None:
    pytest.importorskip("onnxscript")
    from birefnet.export.options import ExportOptions
    from birefnet.export.web import export_web
    from birefnet.network import BiRefNet
    from birefnet.network.config import BiRefNetConfig
    from tests.seeded import fill

    network = BiRefNet(BiRefNetConfig(backbone="swin_v1_t")).eval()
    network.load_state_dict(fill(network.state_dict()))
    side = SIDES["lite"]
    export_web(network, path, InputSpec(width=side, height=side), ExportOptions(size=(side, side)), source="lite")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A photo as PNG: as it is, and in the networks' sizes."""
    folder = tmp_path_factory.mktemp("pictures")
    with Image.open(PHOTO) as photo:
        whole = photo.convert("RGB")
    whole.save(folder / "photo.png")
    for name, side in SIDES.items():
        whole.resize((side, side)).save(folder / f"{name}.png")
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def node(models: dict[str, Path], pictures: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Ask:
    def ask(model: str, picture: str, **asked: Any) -> Found:
        return in_node(models[model], pictures[picture], tmp_path_factory.mktemp("job") / "job", **asked)

    return ask


@pytest.fixture(scope="module")
def page(chromium: Any, models: dict[str, Path], pictures: dict[str, Path]) -> Iterator[Ask]:
    with in_chromium(chromium, models, pictures) as ask:
        yield ask


@pytest.fixture(params=["node", "page"])
def client(request: pytest.FixtureRequest) -> Ask:
    ask: Ask = request.getfixturevalue(request.param)
    return ask


def remover_of(models: dict[str, Path], model: str, dtype: str | None) -> Remover:
    """Python with the very weights that transformers.js takes."""
    name = "model.onnx" if model == "nano" else FILES[dtype]
    return Remover.from_runtime(OnnxRuntime(models[model] / "onnx" / name))


def alpha(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


CASES = [("nano", None), ("lite", None), ("lite", "fp32"), ("lite", "q8")]


@pytest.mark.parametrize(("model", "dtype"), CASES)
def test_its_alpha_is_pythons(
    client: Ask, models: dict[str, Path], pictures: dict[str, Path], model: str, dtype: str | None
) -> None:
    picture = pictures[f"{model}.png"]
    remover = remover_of(models, model, dtype)
    ours = remover(picture).alpha
    height, width = ours.shape
    batch, _ = prepare(read_picture(PHOTO).rgb, remover.runtime.spec)

    found = client(model, picture.name, dtype=dtype, own=batch)

    seen, _ = prepare(read_picture(picture).rgb, remover.runtime.spec)
    assert np.abs(found["pixels"] - seen.ravel()).max() < 1e-5
    assert np.abs(found["mask"].reshape(height, width) / 255 - ours).max() <= LEVELS
    cutout = found["cutout"].reshape(height, width, 4)
    assert np.abs(cutout[..., 3] / 255 - ours).max() <= LEVELS
    assert np.array_equal(cutout[..., :3], read_picture(picture).rgb)
    assert np.abs(alpha(found["own"]) - alpha(remover.runtime(batch)).ravel()).max() < LEVELS


@pytest.mark.parametrize(("name", "most"), [("node", 5.0), ("page", 1.5)])
def test_pictures_of_other_sizes_are_cut_out_nearly_so(
    request: pytest.FixtureRequest, models: dict[str, Path], pictures: dict[str, Path], name: str, most: float
) -> None:
    ask: Ask = request.getfixturevalue(name)
    found = ask("nano", "photo.png")
    ours = remover_of(models, "nano", None)(pictures["photo.png"]).alpha
    theirs = found["cutout"].reshape(*ours.shape, 4)[..., 3] / 255
    assert np.abs(theirs - ours).mean() * 255 < most
    assert (np.abs(theirs - ours) > 0.5).mean() < 0.01
