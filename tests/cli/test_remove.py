"""`birefnet remove`: options, pipes, exit codes, and what is said where."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from birefnet.cli.options import parse_size
from birefnet.errors import ConfigError
from tests.brightness import brightness_model
from tests.cli.test_nasty import disc

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with `cat.jpg` and `trip/{dog,owl}.jpg`: bright discs on dark."""
    monkeypatch.chdir(tmp_path)
    Path("trip").mkdir()
    for name in ("cat.jpg", "trip/dog.jpg", "trip/owl.jpg"):
        Image.fromarray(disc()).save(name, quality=95)
    return tmp_path


def test_one_picture_and_no_words_on_stdout(here: Path, standin: Path, birefnet: Run) -> None:
    code, out, err = birefnet("remove", "cat.jpg", "-m", standin)
    assert (code, out) == (0, "")
    assert err.startswith("cat.jpg -> cat.png")
    assert Image.open("cat.png").mode == "RGBA"


def test_nothing_is_overwritten_unasked(here: Path, standin: Path, birefnet: Run) -> None:
    Path("cat.png").write_text("mine")
    code, _, err = birefnet("remove", "cat.jpg", "-m", standin)
    assert code == 1
    assert err.splitlines()[-2:] == ["error: `cat.png` exists.", "hint: --overwrite replaces it"]
    assert Path("cat.png").read_text() == "mine"
    assert birefnet("remove", "cat.jpg", "-m", standin, "--overwrite")[0] == 0
    assert Image.open("cat.png").mode == "RGBA"


def test_several_pictures_skip_what_exists(here: Path, standin: Path, birefnet: Run) -> None:
    assert birefnet("remove", "trip", "-o", "out", "-m", standin)[0] == 0
    stamp = Path("out/dog.png").stat().st_mtime_ns
    Path("out/owl.png").unlink()
    code, _, err = birefnet("remove", "trip", "-o", "out", "-m", standin)
    assert code == 0
    assert err.startswith("1 cut out, 1 skipped")
    assert Path("out/dog.png").stat().st_mtime_ns == stamp and Path("out/owl.png").exists()


def test_results_do_not_depend_on_the_company(here: Path, standin: Path, birefnet: Run) -> None:
    birefnet("remove", "trip", "cat.jpg", "-o", "many", "-m", standin)
    birefnet("remove", "cat.jpg", "-o", "one.png", "-m", standin)
    assert Path("many/cat.png").read_bytes() == Path("one.png").read_bytes()


def test_mask_only(here: Path, standin: Path, birefnet: Run) -> None:
    birefnet("remove", "cat.jpg", "-m", standin, "--mask-only", "-o", "mask.png")
    birefnet("remove", "cat.jpg", "-m", standin)
    mask = Image.open("mask.png")
    assert mask.mode == "L"
    np.testing.assert_array_equal(np.asarray(mask), np.asarray(Image.open("cat.png"))[..., 3])


@pytest.mark.parametrize(
    ("options", "name", "kind", "mode"),
    [
        (["-f", "webp"], "cat.webp", "WEBP", "RGBA"),
        (["-f", "tiff"], "cat.tiff", "TIFF", "RGBA"),
        (["-f", "jpg", "-b", "white"], "cat.cutout.jpg", "JPEG", "RGB"),
        (["-f", "jpg", "--mask-only"], "cat.cutout.jpg", "JPEG", "L"),
        (["-o", "x.webp"], "x.webp", "WEBP", "RGBA"),
        (["-o", "x.jpg", "-b", "blur"], "x.jpg", "JPEG", "RGB"),
        (["-b", "#ff880080"], "cat.png", "PNG", "RGBA"),
        (["-b", "trip/dog.jpg"], "cat.png", "PNG", "RGB"),
    ],
)
def test_formats_and_backgrounds(
    here: Path, standin: Path, birefnet: Run, options: list[str], name: str, kind: str, mode: str
) -> None:
    code, _, err = birefnet("remove", "cat.jpg", "-m", standin, *options)
    assert code == 0, err
    with Image.open(name) as image:
        assert (image.format, image.mode) == (kind, mode)


def test_a_colour_lies_behind_the_subject(here: Path, standin: Path, birefnet: Run) -> None:
    birefnet("remove", "cat.jpg", "-m", standin, "-b", "255,0,0")
    rgb = np.asarray(Image.open("cat.png"))
    assert rgb[2, 93].tolist() == [255, 0, 0]
    assert rgb[32, 32].min() > 220


def test_refined_edges(here: Path, standin: Path, birefnet: Run) -> None:
    birefnet("remove", "cat.jpg", "-m", standin)
    plain = np.asarray(Image.open("cat.png")).astype(int)
    for words in (["--refine"], ["--refine-method", "blur_fusion"], ["--refine", "--refine-method", "blur_fusion"]):
        code, _, err = birefnet("remove", "cat.jpg", "-m", standin, "-o", "refined.png", "--overwrite", *words)
        assert code == 0, err
        refined = np.asarray(Image.open("refined.png")).astype(int)
        np.testing.assert_array_equal(refined[..., 3], plain[..., 3])
        faint = (plain[..., 3] > 10) & (plain[..., 3] < 128)
        assert (refined[faint][:, :3].sum(-1) > plain[faint][:, :3].sum(-1)).mean() > 0.9  # the ground was dark


def test_a_background_that_is_no_picture_is_said_once(here: Path, standin: Path, birefnet: Run) -> None:
    Path("bad.jpg").write_text("x")
    code, _, err = birefnet("remove", "trip", "-o", "out", "-m", standin, "-b", "bad.jpg")
    assert code == 1 and err.startswith("error: `bad.jpg` is not a picture")
    assert err.count("error:") == 1 and not Path("out").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nothing.jpg"], "No such file or folder: `nothing.jpg`"),
        (["cat.jpg", "-f", "bmp"], "Cannot write the format `bmp`"),
        (["cat.jpg", "-o", "x.bmp"], "Cannot tell a format"),
        (["cat.jpg", "-f", "jpg"], "JPEG holds no transparency"),
        (["cat.jpg", "-o", "x.jpg", "-b", "#fff8"], "JPEG holds no transparency"),
        (["cat.jpg", "-b", "no-colour"], "`no-colour` is not a colour"),
        (["cat.jpg", "-b", "beach.jpg"], "`beach.jpg` is not a colour"),
        (["cat.jpg", "-b", "white", "--mask-only"], "no background"),
        (["cat.jpg", "--refine", "--mask-only"], "no colours"),
        (["cat.jpg", "--refine-method", "magic"], "known: blur_fusion, closed_form, multi_level"),
        (["cat.jpg", "--size", "big"], "`big` is not a size"),
        (["cat.jpg", "--size", "100"], "multiples of 32"),
        (["cat.jpg", "--size", "1024"], "64x64 only"),
        (["cat.jpg", "--device", "toaster"], "toaster"),
        (["cat.jpg", "trip", "-o", "x.png"], "several pictures need a folder"),
        (["cat.jpg", "-o", "cat.jpg", "-b", "white"], "the picture itself"),
        (["-", "cat.jpg"], "one picture"),
        (["-", "--json"], "report cannot"),
        (["cat.jpg", "--nonsense"], "No such option"),
        (["cat.jpg", "--max-pixels", "0"], "max-pixels"),
        ([], "Missing argument"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_code_2(
    here: Path, standin: Path, birefnet: Run, words: list[str], sentence: str
) -> None:
    before = sorted(here.rglob("*"))
    code, out, err = birefnet("remove", *words, "-m", standin)
    assert code == 2, err
    assert out == ""
    first, *hints = err.splitlines()
    assert first.startswith("error: ") and sentence in first
    assert all(line.startswith("hint: ") for line in hints)
    assert sorted(here.rglob("*")) == before


def test_the_limit_on_pixels(here: Path, standin: Path, birefnet: Run) -> None:
    code, _, err = birefnet("remove", "cat.jpg", "-m", standin, "--max-pixels", "1000")
    assert code == 1 and "too large" in err


def test_no_subject_is_said(here: Path, birefnet: Run) -> None:
    model = brightness_model(here / "blind.onnx", bias=-100)
    code, out, err = birefnet("remove", "trip", "-o", "out", "-m", model, "--json")
    assert code == 0
    assert "no subject found in trip/dog.jpg" in err
    assert [row["has_foreground"] for row in json.loads(out)["pictures"]] == [False, False]


def test_quiet_says_nothing_but_errors(here: Path, standin: Path, birefnet: Run) -> None:
    Path("trip/bad.jpg").write_text("x")
    code, out, err = birefnet("remove", "trip", "-o", "out", "-m", standin, "-q")
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1 and err.startswith("error: ") and "trip/bad.jpg" in err


def test_the_report(here: Path, standin: Path, birefnet: Run) -> None:
    Path("trip/bad.jpg").write_text("x")
    code, out, _ = birefnet("remove", "trip", "-o", "out", "-m", standin, "--json")
    report = json.loads(out)
    assert code == 1
    assert {k: report[k] for k in ("model", "device", "total", "done", "skipped", "failed")} == {
        "model": standin.stem, "device": "cpu", "total": 3, "done": 2, "skipped": 0, "failed": 1
    }  # fmt: skip
    bad, dog, owl = report["pictures"]
    assert bad["status"] == "failed" and "trip/bad.jpg" in bad["error"]
    assert dog.pop("seconds") > 0
    assert dog == {
        "input": "trip/dog.jpg", "output": "out/dog.png", "status": "done", "width": 96, "height": 64,
        "has_foreground": True, "error": None, "hint": None,
    }  # fmt: skip
    assert owl["input"] == "trip/owl.jpg"


def piped(*words: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the program itself, with `data` on its stdin."""
    return subprocess.run([sys.executable, "-m", "birefnet", *words], input=data, capture_output=True, timeout=120)


def test_a_pipe(here: Path, standin: Path, birefnet: Run) -> None:
    result = piped("remove", "-", "-m", str(standin), data=Path("cat.jpg").read_bytes())
    assert (result.returncode, result.stderr) == (0, b"")
    birefnet("remove", "cat.jpg", "-m", standin)
    assert result.stdout == Path("cat.png").read_bytes()


def test_half_pipes(here: Path, standin: Path) -> None:
    data, model = Path("cat.jpg").read_bytes(), str(standin)
    assert piped("remove", "-", "-o", "a.webp", "-m", model, data=data).returncode == 0
    assert Image.open("a.webp").format == "WEBP"
    assert piped("remove", "-", "-o", "a.webp", "-m", model, data=data).returncode == 2  # it exists
    out = piped("remove", "cat.jpg", "-o", "-", "-f", "webp", "-m", model).stdout
    assert Image.open(io.BytesIO(out)).format == "WEBP"


@pytest.mark.parametrize("data", [b"", b"no picture"])
def test_a_bad_pipe_gives_no_bytes(here: Path, standin: Path, data: bytes) -> None:
    result = piped("remove", "-", "-m", str(standin), data=data)
    assert (result.returncode, result.stdout) == (1, b"")
    assert result.stderr.startswith(b"error: ") and b"Traceback" not in result.stderr


def test_ctrl_c_leaves_whole_files_and_the_same_command_goes_on(here: Path, standin: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (400, 500, 3)).astype(np.uint8)
    Path("many").mkdir()
    for i in range(40):
        Image.fromarray(noise).save(f"many/{i:02}.jpg", quality=50)
    command = [sys.executable, "-m", "birefnet", "remove", "many", "-o", "out", "-m", str(standin)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(Path("out").glob("*.png")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "error: Interrupted." in err and "the same command goes on" in err and "Traceback" not in err
    done = sorted(os.listdir("out"))
    assert 0 < len(done) < 40
    assert all(name.endswith(".png") and not name.startswith(".") for name in done)
    for name in done:
        Image.open(f"out/{name}").load()  # whole
    again = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=120)
    report = json.loads(again.stdout)
    assert again.returncode == 0
    assert (report["skipped"], report["done"]) == (len(done), 40 - len(done))


def test_sizes() -> None:
    assert parse_size(None) is None
    assert parse_size("native") == "native"
    assert parse_size("1024") == 1024
    assert parse_size("1024x768") == parse_size("1024X768") == (1024, 768)
    for text in ("", "x", "12x", "1x2x3", "-32", "1.5", "large"):
        with pytest.raises(ConfigError, match="is not a size"):
            parse_size(text)
