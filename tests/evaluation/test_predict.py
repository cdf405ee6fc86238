"""A model's predictions: those of `birefnet remove`, made once, never mixed with another model's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import birefnet
from birefnet.errors import ConfigError, PictureError
from birefnet.evaluation.files import find_sets
from birefnet.evaluation.predict import MADE_BY, identity_of, predict_sets
from birefnet.remover import Remover
from birefnet.runtimes.base import Batch, Logits, Runtime
from tests.brightness import brightness_model
from tests.evaluation.drawn import draw_set


def test_predictions_are_the_masks_of_remove_and_are_made_once(tmp_path: Path, standin: Path) -> None:
    _, home = draw_set(tmp_path)
    sets, out, steps = find_sets([home], with_pictures=True), tmp_path / "out", []
    remover = Remover(standin)
    predict_sets(remover, sets, out, progress=lambda: steps.append(1))
    assert len(steps) == 3 and sorted(path.name for path in out.iterdir()) == [MADE_BY, "set"]
    made = np.asarray(Image.open(out / "set/01.png"))
    np.testing.assert_array_equal(made, Remover(standin)(home / "im/01.jpg").mask)
    stamp = (out / "set/01.png").stat().st_mtime_ns
    (out / "set/02.png").unlink()
    predict_sets(remover, sets, out)  # goes on
    assert (out / "set/02.png").exists() and (out / "set/01.png").stat().st_mtime_ns == stamp
    predict_sets(remover, sets, out, overwrite=True)
    assert (out / "set/01.png").stat().st_mtime_ns > stamp


def test_another_model_or_size_needs_another_folder(tmp_path: Path, standin: Path) -> None:
    _, home = draw_set(tmp_path, count=1)
    sets, out = find_sets([home], with_pictures=True), tmp_path / "out"
    predict_sets(Remover(standin), sets, out)
    other = brightness_model(tmp_path / standin.name, bias=1.0)
    with pytest.raises(ConfigError, match="holds predictions of another model, or made with other options"):
        predict_sets(Remover(other), sets, out)
    predict_sets(Remover(other), sets, out, overwrite=True)
    assert "sha256" in json.loads((out / MADE_BY).read_text())
    (out / MADE_BY).unlink()  # whose are these?
    with pytest.raises(ConfigError, match="holds predictions of another"):
        predict_sets(Remover(other), sets, out)


def test_native_size(tmp_path: Path) -> None:
    _, home = draw_set(tmp_path, count=1)
    any_size = brightness_model(tmp_path / "any.onnx", size=None)
    predict_sets(Remover(any_size, size="native"), find_sets([home], with_pictures=True), tmp_path / "out")
    assert json.loads((tmp_path / "out" / MADE_BY).read_text())["size"] == "native"
    assert Image.open(tmp_path / "out/set/00.png").size == (60, 40)


def test_a_damaged_picture_stops_and_leaves_no_half_file(tmp_path: Path, standin: Path) -> None:
    _, home = draw_set(tmp_path)
    (home / "im/01.jpg").write_bytes((home / "im/01.jpg").read_bytes()[:300])
    with pytest.raises(PictureError, match=r"01.jpg"):
        predict_sets(Remover(standin), find_sets([home], with_pictures=True), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out/set").iterdir()] == ["00.png"]


@pytest.mark.parametrize("options", [{"size": 96}, {"size": "native"}, {"sharpen": True}])
def test_what_decides_a_mask_decides_whose_predictions_they_are(tmp_path: Path, options: dict[str, object]) -> None:
    _, home = draw_set(tmp_path, count=1)
    model = brightness_model(tmp_path / "any.onnx", size=None)
    sets, out = find_sets([home], with_pictures=True), tmp_path / "out"
    predict_sets(Remover(model, size=64), sets, out)
    predict_sets(Remover(model, size=(64, 64)), sets, out)  # the same in other words
    with pytest.raises(ConfigError, match="made with other options"):
        predict_sets(Remover(model, **{"size": 64, **options}), sets, out)  # type: ignore[arg-type]


def test_the_type_that_is_computed_in_decides_too(tmp_path: Path) -> None:
    class Half:
        name, device, dynamic, dtype = "net", "cuda:1", True, "float16"

        def __init__(self, runtime: Runtime) -> None:
            self.spec, self.run = runtime.spec, runtime

        def __call__(self, batch: Batch) -> Logits:
            return self.run(batch)

    inner = Remover(brightness_model(tmp_path / "any.onnx", size=None), size=64).runtime
    half, full = Half(inner), Half(inner)
    full.dtype = "float32"
    found = [identity_of(Remover.from_runtime(one), None) for one in (half, full)]
    assert found[0] != found[1] and found[0]["device"] == "cuda"


def test_transparency_and_guided_enlargement_are_those_of_remove(tmp_path: Path) -> None:
    """What a model is judged by is what it cuts out, bit for bit."""
    home = tmp_path / "set"
    for part in ("im", "gt"):
        (home / part).mkdir(parents=True)
    random = np.random.default_rng(0)
    rgba = np.dstack([random.integers(0, 256, (90, 70, 3)), np.tile(np.linspace(0, 255, 70), (90, 1))]).astype(np.uint8)
    rgba[:20, :, :3], rgba[:20, :, 3] = 255, 0  # bright, and hidden
    Image.fromarray(rgba).save(home / "im/a.png")
    Image.fromarray(random.integers(0, 256, (120, 90, 3), np.uint8)).save(home / "im/b.png")
    for name, size in (("a", (70, 90)), ("b", (90, 120))):
        Image.new("L", size, 255).save(home / f"gt/{name}.png")
    metadata = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "activation": "sigmoid", "size": [64, 64]}
    model = brightness_model(tmp_path / "guided.onnx", metadata={**metadata, "upsample": "guided"})
    birefnet.evaluate(model, home, metrics="MAE", keep=tmp_path / "kept")
    for name in ("a", "b"):
        made = np.asarray(Image.open(tmp_path / f"kept/set/{name}.png"))
        np.testing.assert_array_equal(made, birefnet.remove(home / f"im/{name}.png", model).mask)
    assert not np.asarray(Image.open(tmp_path / "kept/set/a.png"))[:20].any()
