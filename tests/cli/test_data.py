import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Birefnet = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pairs without a fault."""
    y, x = np.mgrid[0:300, 0:300]
    for index in range(2):
        blocks = np.random.default_rng(index).integers(0, 256, (15, 15, 3)).astype(np.uint8)
        disc = ((y - 150) ** 2 + (x - 150) ** 2 < 6000).astype(np.uint8) * 255
        for part, array in (("im", blocks.repeat(20, 0).repeat(20, 1)), ("gt", disc)):
            (tmp_path / "pairs" / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(tmp_path / "pairs" / part / f"{index}.png")
    return tmp_path / "pairs"


def test_a_good_folder_is_fine(birefnet: Birefnet, folder: Path) -> None:
    code, out, _ = birefnet("data", "check", folder)
    assert code == 0
    assert "2 pairs, no problems" in out and "segmentation: bce 30, iou 0.5, ssim 10" in out
    assert "recipes/finetune.yaml from `general` at 512x512" in out


def test_problems_give_their_names_and_code_1(birefnet: Birefnet, folder: Path) -> None:
    (folder / "gt" / "1.png").unlink()
    code, out, _ = birefnet("data", "check", folder)
    assert code == 1
    assert "1 pair, 1 problem\n" in out and "problem: No mask, 1 (no-mask)." in out and "\n  1" in out
    assert birefnet("data", "check", folder, "--ignore", "no-mask")[0] == 0


def test_json_goes_to_stdout_alone(birefnet: Birefnet, folder: Path, tmp_path: Path) -> None:
    Image.new("L", (300, 300)).save(folder / "gt" / "1.png")
    code, out, err = birefnet("data", "check", folder, "--json", "-o", tmp_path / "check")
    report = json.loads(out)
    assert code == 1 and "index.html" in err
    assert report["pairs"] == 2 and report["problems"] == 1 and report["counts"] == {"empty": 1}
    assert report["findings"][0]["name"] == "1" and report["findings"][0]["problem"] is True
    assert report["sizes"]["median"] == [300, 300] and report["advice"]["size"] == [512, 512]
    assert report["softness"]["task"] == "segmentation"


def test_a_sheet_is_not_overwritten_unasked(birefnet: Birefnet, folder: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "new" / "check" / "index.html"
    assert birefnet("data", "check", folder, "-o", sheet.parent)[0] == 0
    before = sheet.read_bytes()
    assert before.startswith(b"<!doctype html>") and before.count(b"data:image/jpeg") == 4
    sheet.write_text("mine")
    code, _, err = birefnet("data", "check", folder, "-o", sheet.parent)
    assert code == 2 and "--overwrite" in err and sheet.read_text() == "mine"
    assert birefnet("data", "check", folder, "-o", sheet.parent, "--overwrite")[0] == 0
    assert sheet.read_bytes() == before


def test_wrong_use_gives_code_2(birefnet: Birefnet, tmp_path: Path) -> None:
    for words in (
        ["data", "check", tmp_path],
        ["data", "check", tmp_path / "absent"],
        ["data", "check"],
        ["data", "x"],
    ):
        code, out, err = birefnet(*words)
        assert code == 2 and out == "" and err, words
    assert "holds no set" in birefnet("data", "check", tmp_path)[2]


def test_help_is_there(birefnet: Birefnet) -> None:
    code, out, _ = birefnet("data", "check", "--help")
    assert code == 0 and "--ignore" in out and "Exit code" in out
    assert "check" in birefnet("data", "--help")[1]
