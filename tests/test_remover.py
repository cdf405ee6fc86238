"""One picture in, its cut-out out."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import birefnet
from birefnet import remover as module
from birefnet.errors import ConfigError, InputError, PictureError, WeightsError
from birefnet.pixels import compose
from birefnet.pixels.picture import Picture
from birefnet.pixels.prepare import InputSpec
from birefnet.remover import Cutout, Remover, remove
from birefnet.weights import download
from tests.brightness import brightness_model


def scene(height: int = 240, width: int = 320) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc on a dark ground, and where it is."""
    y, x = np.mgrid[0:height, 0:width]
    inside = np.hypot(y - height / 2, x - width / 2) < min(height, width) * 0.3
    return np.where(inside[..., None], (250, 240, 230), (10, 30, 20)).astype(np.uint8), inside


@pytest.fixture
def remover(standin: Path) -> Remover:
    return Remover(standin, device="cpu", threads=1)


@pytest.fixture(autouse=True)
def _forget() -> None:
    module._kept.clear()


def iou(mask: np.ndarray, inside: np.ndarray) -> float:
    return float((mask & inside).sum() / (mask | inside).sum())


def test_it_cuts_out(remover: Remover) -> None:
    rgb, inside = scene()
    cutout = remover(rgb)
    assert cutout.alpha.shape == inside.shape
    assert cutout.alpha.dtype == np.float32
    assert iou(cutout.alpha > 0.5, inside) > 0.95
    assert cutout.has_foreground
    np.testing.assert_array_equal(cutout.image, rgb)
    np.testing.assert_array_equal(cutout.rgba[..., 3], cutout.mask)


def test_every_source_gives_the_same(remover: Remover, tmp_path: Path) -> None:
    rgb, _ = scene()
    Image.fromarray(rgb).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    first = remover(rgb).alpha
    for source in (tmp_path / "a.png", str(tmp_path / "a.png"), data, io.BytesIO(data), Image.fromarray(rgb)):
        np.testing.assert_array_equal(remover(source).alpha, first)


def test_one_pixel_and_thin_pictures(remover: Remover) -> None:
    for shape in ((1, 1), (1, 5000), (5000, 1)):
        cutout = remover(np.full((*shape, 3), 255, np.uint8))
        assert cutout.alpha.shape == shape
        assert cutout.alpha.min() > 0.99
        assert cutout.rgba.shape == (*shape, 4)


def test_an_empty_scene_is_a_result(remover: Remover) -> None:
    noise = np.random.default_rng(0).integers(0, 40, (100, 100, 3), np.uint8)
    cutout = remover(noise)
    assert not cutout.has_foreground
    assert cutout.alpha.max() < 0.01


def test_the_pictures_own_alpha_is_multiplied_in(remover: Remover) -> None:
    rgb, inside = scene()
    own = np.full(inside.shape, 255, np.uint8)
    own[:, 160:] = 128
    own[:60] = 0
    cutout = remover(np.dstack([rgb, own]))
    plain = remover(rgb)
    np.testing.assert_allclose(cutout.alpha[70:, :140], plain.alpha[70:, :140], atol=0.05)
    assert (cutout.alpha[:60] == 0).all()
    middle = cutout.alpha[120, 200]
    assert abs(middle - plain.alpha[120, 200] * 128 / 255) < 0.05


def test_colours_hidden_under_transparency_are_not_seen(remover: Remover) -> None:
    rgb = np.full((64, 64, 3), 255, np.uint8)  # all bright, but only a corner of it shows
    alpha = np.zeros((64, 64), np.float32)
    alpha[:32, :32] = 1
    seen = compose.visible(Picture(rgb, alpha))
    assert (seen[40:, 40:] == 128).all()
    assert (seen[:32, :32] == 255).all()
    assert compose.visible(Picture(rgb)) is rgb


def test_save(remover: Remover, tmp_path: Path) -> None:
    rgb, _ = scene()
    cutout = remover(rgb)
    cutout.save(tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), cutout.rgba)
    cutout.save(str(tmp_path / "m.png"), mask_only=True)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "m.png")), cutout.mask)
    cutout.save(tmp_path / "w.jpg", background="white", quality=100)
    white = np.asarray(Image.open(tmp_path / "w.jpg")).astype(int)
    assert (white[0, 0] >= 253).all()
    assert np.abs(white[120, 160] - rgb[120, 160]).max() < 6
    stream = io.BytesIO()
    cutout.save(stream, format="webp")
    assert stream.getvalue()[8:12] == b"WEBP"
    with pytest.raises(ConfigError, match="no transparency"):
        cutout.save(tmp_path / "b.jpg")
    with pytest.raises(ConfigError, match="no background"):
        cutout.save(tmp_path / "b.png", mask_only=True, background="white")
    with pytest.raises(ConfigError, match="format from the name"):
        cutout.save(tmp_path / "b.doc")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "m.png", "w.jpg"]


def test_backgrounds(tmp_path: Path) -> None:
    rgb, inside = scene()
    cutout = Cutout(image=rgb, alpha=inside.astype(np.float32))
    for colour in ("#ff0000", (255, 0, 0), "255,0,0", "red"):
        out = cutout.over(colour)
        assert (out[~inside] == (255, 0, 0)).all()
        np.testing.assert_array_equal(out[inside], rgb[inside])
    assert cutout.over((255, 0, 0, 100)).shape == (240, 320, 4)
    back = np.full((30, 30, 3), (9, 8, 7), np.uint8)
    Image.fromarray(back).save(tmp_path / "back.png")
    for source in (back, tmp_path / "back.png", str(tmp_path / "back.png")):
        out = cutout.over(source)
        assert (out[~inside] == (9, 8, 7)).all()
    blurred = cutout.over("blur")
    np.testing.assert_array_equal(blurred[inside], rgb[inside])
    with pytest.raises(ConfigError, match="`whitish` is not a colour"):
        cutout.over("whitish")
    with pytest.raises(ConfigError, match="not a colour"):
        cutout.over((1, 2))


def mixed() -> tuple[np.ndarray, np.ndarray]:
    """A green disc mixed into a red scene over a soft edge, and the alpha."""
    alpha = np.clip((70 - np.hypot(*np.mgrid[-120:120, -160:160])) / 10 + 0.5, 0, 1).astype(np.float32)
    rgb = np.array([20, 200, 60]) * alpha[..., None] + np.array([220, 10, 30]) * (1 - alpha[..., None])
    return np.rint(rgb).astype(np.uint8), alpha


def test_refined_cutouts_hold_nothing_of_the_old_background() -> None:
    rgb, alpha = mixed()
    plain = Cutout(image=rgb, alpha=alpha)
    refined = plain.refine()
    assert plain.foreground is None and refined.foreground is not None
    np.testing.assert_array_equal(refined.image, rgb)
    np.testing.assert_array_equal(refined.mask, plain.mask)
    soft = (alpha > 0.05) & (alpha < 0.95)
    blue = np.zeros((240, 320, 3), np.uint8) + np.array([0, 0, 255], np.uint8)
    red = {}
    for name, cutout in (("plain", plain), ("refined", refined)):
        views = cutout.rgba, cutout.over("#0000ff"), cutout.over((0, 0, 255, 128)), cutout.over(blue)
        red[name] = [int(view[soft][:, 0].max()) for view in views]
    assert min(red["plain"]) > 55 and max(red["refined"]) < 40  # of 220 in the scene, 20 in the subject
    blurred = refined.over("blur")
    np.testing.assert_array_equal(blurred[alpha == 0], plain.over("blur")[alpha == 0])  # the scene is the picture's
    assert (blurred[soft][:, 0] < plain.over("blur")[soft][:, 0]).mean() > 0.9
    with pytest.raises(ConfigError, match="magic"):
        plain.refine("magic")


def test_a_remover_refines_on_request(remover: Remover) -> None:
    rgb, _ = mixed()
    runtime = remover.runtime
    assert Remover.from_runtime(runtime)(rgb).foreground is None
    plain = Remover.from_runtime(runtime, refine=False)(rgb)
    for refine in (True, "blur_fusion"):
        got = Remover.from_runtime(runtime, refine=refine)(rgb)
        np.testing.assert_array_equal(got.foreground, plain.refine().foreground)
    with pytest.raises(ConfigError, match="known: blur_fusion"):
        Remover("nano", refine="magic")


def test_colours_of_transparent_pixels_are_unmixed_already(remover: Remover) -> None:
    rgb, _ = scene()
    own = np.full(rgb.shape[:2], 255, np.uint8)
    own[:, 160:] = 100
    cutout = Remover.from_runtime(remover.runtime, refine=True)(np.dstack([rgb, own]))
    np.testing.assert_array_equal(cutout.foreground[:, 160:], rgb[:, 160:])
    assert (cutout.foreground[:, :160] != rgb[:, :160]).any()


def test_the_model_is_loaded_once_and_late(standin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = module.open_model
    monkeypatch.setattr(module, "open_model", lambda *words, **options: calls.append(words) or real(*words, **options))
    remover = Remover(standin, device="cpu")
    assert not calls
    with pytest.raises(PictureError):
        remover(b"no picture")
    assert not calls  # a bad picture needs no model
    assert remover.load() is remover
    remover(scene()[0])
    assert len(calls) == 1


def test_many_threads_load_once_and_agree(standin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = module.open_model
    monkeypatch.setattr(module, "open_model", lambda *words, **options: calls.append(words) or real(*words, **options))
    remover = Remover(standin, device="cpu", threads=1)
    pictures = [scene(64 + 8 * i, 96)[0] for i in range(6)]
    alone = [Remover.from_runtime(remover.runtime)(picture).alpha for picture in pictures]
    calls.clear()
    remover = Remover(standin, device="cpu", threads=1)
    results: list[np.ndarray | None] = [None] * len(pictures)

    def work(i: int) -> None:
        results[i] = remover(pictures[i]).alpha

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(pictures))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    for got, wanted in zip(results, alone, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_remove_keeps_what_it_loaded(standin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rgb, inside = scene()
    first = remove(rgb, model=standin, device="cpu")
    assert iou(first.alpha > 0.5, inside) > 0.95
    kept = list(module._kept.values())
    remove(rgb, device="cpu", model=standin)
    assert list(module._kept.values()) == kept
    for threads in range(1, 8):
        remove(rgb, model=standin, threads=threads)
    assert len(module._kept) == module.KEPT_REMOVERS
    with pytest.raises(TypeError):
        remove(rgb, modell="x")
    assert birefnet.remove is remove


def test_nano_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "BUNDLED", tmp_path)
    brightness_model(tmp_path / "nano.onnx")
    assert Remover().load().runtime.name == "nano"


def test_native_size(tmp_path: Path) -> None:
    path = brightness_model(tmp_path / "any.onnx", size=None, metadata={"size": 64})
    sizes = []

    class Spy:
        name, device, dynamic, spec = "spy", "cpu", True, InputSpec(width=64, height=64)

        def __call__(self, batch: np.ndarray) -> np.ndarray:
            sizes.append(batch.shape[2:])
            return batch[:, :1]

    Remover.from_runtime(Spy(), size="native")(np.zeros((400, 600, 3), np.uint8))
    Remover.from_runtime(Spy())(np.zeros((400, 600, 3), np.uint8))
    assert sizes == [(384, 608), (64, 64)]
    rgb, inside = scene(300, 500)
    native = Remover(path, device="cpu", size="native")(rgb)
    coarse = Remover(path, device="cpu")(rgb)
    assert iou(native.alpha > 0.5, inside) > iou(coarse.alpha > 0.5, inside)


def test_sharpening_follows_the_model_unless_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    real = module.finish
    monkeypatch.setattr(module, "finish", lambda *a, **k: told.append(k["sharpen"]) or real(*a, **k))
    guided = brightness_model(tmp_path / "g.onnx", metadata={"upsample": "guided"})
    plain = brightness_model(tmp_path / "p.onnx")
    rgb, inside = scene()
    for model, sharpen in ((guided, None), (guided, False), (plain, None), (plain, True)):
        cutout = Remover(model, device="cpu", sharpen=sharpen)(rgb)
        assert iou(cutout.alpha > 0.5, inside) > 0.95
    assert told == [True, False, False, True]


def test_values_that_are_not_finite_are_an_error(tmp_path: Path) -> None:
    path = brightness_model(tmp_path / "nan.onnx", bias=float("nan"))
    with pytest.raises(WeightsError, match="not finite"):
        Remover(path, device="cpu")(scene()[0])


def test_wrong_options() -> None:
    with pytest.raises(ConfigError, match="nearest: 1024x1024"):
        Remover(size=1020)
    with pytest.raises(ConfigError, match="one side"):
        Remover(size="huge")  # type: ignore[arg-type]


def test_the_pixel_limit(standin: Path) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (100, 100)).save(stream, "PNG")
    with pytest.raises(PictureError, match="too large"):
        Remover(standin, max_pixels=9999)(stream.getvalue())


def test_wrong_arrays(remover: Remover) -> None:
    with pytest.raises(InputError):
        remover(np.zeros((4, 4, 3)))


BUNDLED = download.BUNDLED / "nano.onnx"


def test_the_model_in_the_box() -> None:
    assert BUNDLED.stat().st_size <= 15e6
    rgb, _ = scene(300, 400)
    cutout = remove(rgb, model="nano", offline=True)
    assert cutout.alpha.shape == (300, 400)
    assert 0 <= cutout.alpha.min() <= cutout.alpha.max() <= 1


def test_a_background_is_meant_as_on_the_command_line(tmp_path: Path) -> None:
    rgb, inside = scene()
    cutout = Cutout(image=rgb, alpha=inside.astype(np.float32))
    np.testing.assert_array_equal(cutout.over([255, 0, 0]), cutout.over("red"))
    with pytest.raises(ConfigError, match="not a colour") as caught:
        cutout.over("wite")
    assert caught.value.hint == "did you mean `white`?"


def test_blur_shows_nothing_that_the_picture_hid(remover: Remover) -> None:
    rgb, _ = scene()
    own = np.full(rgb.shape[:2], 255, np.uint8)
    own[:, 240:] = 0
    hidden = rgb.copy()
    hidden[:, 240:] = (255, 0, 0)
    for refine in (False, True):
        cut = Remover.from_runtime(remover.runtime, refine=refine)
        shown = cut(np.dstack([hidden, own])).over("blur")
        other = hidden.copy()
        other[:, 240:] = (0, 0, 255)
        np.testing.assert_array_equal(shown, cut(np.dstack([other, own])).over("blur"))
        assert (shown[:, 300:] > 200).all()  # white behind what is transparent


def test_resolution_is_kept(remover: Remover, tmp_path: Path) -> None:
    rgb, _ = scene()
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", dpi=(300, 300), quality=95)
    cutout = remover(stream.getvalue())
    assert cutout.dpi == (300, 300)
    cutout.refine().save(tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        np.testing.assert_allclose(image.info["dpi"], 300, rtol=1e-3)


def test_one_thread_is_one_thread(remover: Remover, monkeypatch: pytest.MonkeyPatch) -> None:
    from birefnet.pixels import foreground_fusion, upsample

    def refuse(*_: object) -> None:
        raise AssertionError("threads were started")

    for used in (foreground_fusion, upsample):
        monkeypatch.setattr(used, "ThreadPoolExecutor", refuse)
    one = Remover(remover.model, device="cpu", threads=1, sharpen=True, refine=True)
    assert one(scene()[0]).foreground is not None
    with pytest.raises(AssertionError, match="threads were started"):
        Remover(remover.model, device="cpu", threads=2, sharpen=True, refine=True)(scene()[0])
