"""`birefnet evaluate`: the papers' numbers on stdout, words on stderr, every mistake in one error."""

from __future__ import annotations

import csv
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

from tests.evaluation.drawn import draw_set

Run = Callable[..., tuple[int, str, str]]

GOLDEN = Path(__file__).parent.parent / "golden/metrics"
NUMPY_ONLY = ("--metrics", "S,MAE,maxF")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the sets `one` (three pictures) and `two` (two), and `predictions` of both."""
    monkeypatch.chdir(tmp_path)
    draw_set(Path(), "one", 3)
    draw_set(Path(), "two", 2)
    return tmp_path


def test_the_published_numbers(birefnet: Run, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    expected = json.loads((GOLDEN / "expected.json").read_text())
    code, out, err = birefnet("evaluate", GOLDEN / "pred", GOLDEN / "gt", "--json")
    assert code == 0, err
    facts = json.loads(out)
    assert facts["per_image"].keys() == expected["per_image"].keys()
    for stem, values in expected["per_image"].items():
        for name, value in values.items():
            assert facts["per_image"][stem][name] == (
                None if value is None else pytest.approx(value, rel=1e-6, abs=1e-6)
            )
    assert facts["undefined"] == {"MBA": 2} and facts["count"] == 10
    for name, value in expected["set_all"].items():
        if value is not None:
            assert facts["mean"][name] == pytest.approx(value, rel=1e-6, abs=1e-6), name
    assert "MBA is not defined for 2 of 10 pictures; they are left out of its mean." in err


def test_a_table_on_stdout_and_the_averaging_on_stderr(here: Path, birefnet: Run) -> None:
    code, out, err = birefnet("evaluate", "predictions/one", "one", *NUMPY_ONLY)
    assert code == 0
    head, row = out.splitlines()
    assert head.split() == ["set", "S", "↑", "MAE", "↓", "maxF", "↑"]
    assert row.split()[0] == "one" and len(row.split()) == 4
    assert "means over its pictures" in err and "highest point of the mean curve" in err
    assert birefnet("evaluate", "predictions/one", "one", *NUMPY_ONLY, "-q") == (0, out, "")


def test_several_sets(here: Path, birefnet: Run) -> None:
    code, out, _ = birefnet("evaluate", "predictions", "one", "two", *NUMPY_ONLY, "--json", "--workers", 2)
    assert code == 0
    facts = json.loads(out)
    assert list(facts["sets"]) == ["one", "two"] and facts["sets"]["two"]["count"] == 2
    means = [one["mean"]["S"] for one in facts["sets"].values()]
    assert facts["mean"]["S"] == pytest.approx(sum(means) / 2)
    assert birefnet("evaluate", "predictions", "one", "two", *NUMPY_ONLY, "--json", "--workers", 1)[1] == out
    code, out, err = birefnet("evaluate", "predictions", "one/gt", "two/gt", *NUMPY_ONLY)
    assert [line.split()[0] for line in out.splitlines()] == ["set", "one", "two", "mean"]
    assert "weighs every set the same" in err


def test_files_of_an_output_folder(here: Path, birefnet: Run) -> None:
    pytest.importorskip("matplotlib")
    words = ("evaluate", "predictions/one", "one", *NUMPY_ONLY, "-o", "out")
    code, out, err = birefnet(*words)
    assert code == 0 and "report: out/report.html" in err
    facts = json.loads(Path("out/evaluation.json").read_text())
    rows = list(csv.DictReader(Path("out/per_image.csv").read_text().splitlines()))
    assert [row["stem"] for row in rows] == ["00", "01", "02"] == list(facts["per_image"])
    assert all(float(row["S"]) == facts["per_image"][row["stem"]]["S"] for row in rows)
    assert f"| one | {facts['mean']['S']:.3f} | {facts['mean']['MAE']:.3f} |" in Path("out/table.md").read_text()
    assert r"\toprule" in Path("out/table.tex").read_text()
    code, out, err = birefnet(*words)
    assert (code, out) == (2, "") and "hint: `--overwrite` replaces them" in err
    assert birefnet(*words, "--overwrite")[0] == 0


def test_the_columns_of_a_task(here: Path, birefnet: Run) -> None:
    pytest.importorskip("cv2")
    for task, columns in (("cod", "S WF meanF meanE maxE MAE"), ("matting", "SAD MAD MSD Grad Conn")):
        _, out, _ = birefnet("evaluate", "predictions/one", "one", "--task", task)
        heads = [word for word in out.splitlines()[0].split() if word not in "↑↓"]
        assert heads == ["set", *columns.split()]


def test_a_model_predicts_first(here: Path, standin: Path, birefnet: Run) -> None:
    pytest.importorskip("matplotlib")
    code, out, err = birefnet("evaluate", standin, "one", "two", *NUMPY_ONLY, "-o", "out", "--json")
    assert code == 0, err
    assert len(list(Path("out/predictions").rglob("*.png"))) == 5
    facts = json.loads(out)
    assert facts["predictions"] == "bright" and facts["mean"]["S"] > 0.9  # the subject is what is bright
    code, again, _ = birefnet("evaluate", standin, "one", "two", *NUMPY_ONLY, "--json")
    assert code == 0 and json.loads(again) == facts  # without a folder they go away
    code, again, _ = birefnet("evaluate", "out/predictions", "one", "two", *NUMPY_ONLY, "--json")
    assert json.loads(again)["sets"] == facts["sets"]


def recolour(path: str) -> None:
    colours = np.asarray(Image.open(path).convert("RGB")).copy()
    colours[..., 2] //= 2
    Image.fromarray(colours).save(path)


def spoil_all(where: str, spoil: Callable[[Image.Image], Image.Image]) -> None:
    for path in Path(where).glob("*.png"):
        spoil(Image.open(path)).save(path)


MISTAKES: list[tuple[Callable[[], object], list[str], int, str, str]] = [
    (lambda: Path("predictions/one/01.png").unlink(), [], 1, "1 prediction is missing: `01`.", "none is skipped"),
    (lambda: Path("one/gt/01.png").unlink(), [], 1, "1 prediction has no truth: `01`.", "--allow-extra"),
    (lambda: spoil_all("predictions/one", lambda i: i.resize((30, 20))), [], 1,
     "3 predictions have another size than their truth: `00` (30x20, truth 60x40), `01`", "--resize"),
    (lambda: recolour("predictions/one/01.png"), [], 1, "1 file has colours: `one/01.png`.", "remove --mask-only"),
    (lambda: recolour("one/gt/01.png"), [], 1, "1 file has colours: `gt/01.png`.", "a mask is grey"),
    (lambda: spoil_all("one/gt", lambda i: i.point(lambda v: 255 - v)), [], 1,
     "3 predictions look inverted: `00`, `01`, `02`.", "--allow-inverted"),
    (lambda: spoil_all("one/gt", lambda i: i.convert("I;16")), [], 1, "3 files have more than 8 bits", "8 bits"),
    (lambda: Path("one/gt/01.png").write_bytes(b"\x89PNG\r\n\x1a\n"), [], 1, "1 file cannot be read: `gt/01.png`", ""),
    (lambda: Path("one/gt/01.png").rename("one/gt/02.bmp"), [], 1, "1 stem has two files: `gt/02` (02.bmp, 02.png)",
     "one file for each"),
    (lambda: None, ["--task", "dis6k"], 2, "There is no task `dis6k`", ""),
    (lambda: None, ["--metrics", "S,FAE"], 2, "There is no metric `FAE`", "did you mean `MAE`?"),
    (lambda: None, ["three"], 1, "`three` does not exist", ""),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "words", "code", "sentence", "hint"), MISTAKES)
def test_every_mistake_is_one_error_without_a_table(
    here: Path, birefnet: Run, spoil: Callable[[], object], words: list[str], code: int, sentence: str, hint: str
) -> None:
    pytest.importorskip("matplotlib")
    spoil()
    got, out, err = birefnet("evaluate", "predictions/one", "one", "--metrics", "S", *words, "-o", "out")
    assert (got, out) == (code, ""), err
    assert err.count("error: ") == 1 and sentence in err and hint in err
    assert "Traceback" not in err and "fault of the program" not in err
    assert not Path("out").exists()


def test_options_lift_what_they_name(here: Path, birefnet: Run) -> None:
    pytest.importorskip("cv2")
    spoil_all("predictions/one", lambda image: image.resize((30, 20)))
    Image.new("L", (60, 40)).save("predictions/one/more.png")
    code, _, err = birefnet("evaluate", "predictions/one", "one", *NUMPY_ONLY, "--resize", "--allow-extra")
    assert code == 0 and "brought to the size of their truth" in err
    spoil_all("one/gt", lambda image: image.point(lambda value: 255 - value))
    words = ["--resize", "--allow-extra", "--allow-inverted"]
    code, _, err = birefnet("evaluate", "predictions/one", "one", *NUMPY_ONLY, *words)
    assert code == 0 and "3 predictions look inverted" in err


def test_a_missing_extra_is_named_before_any_work(here: Path, birefnet: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)  # importing it then fails as if it were not installed
    code, out, err = birefnet("evaluate", "predictions/one", "one", "--metrics", "WF")
    assert (code, out) == (1, "") and "pip install 'birefnet[evaluate]'" in err
    assert birefnet("evaluate", "predictions/one", "one", *NUMPY_ONLY)[0] == 0  # these need numpy alone


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for the workers where Linux lists them")
def test_ctrl_c_ends_cleanly(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    predictions, home = draw_set(tmp_path, count=2)
    for number in range(3000):  # links: much work from few files
        for folder in (predictions, home / "gt"):
            (folder / f"more{number:04d}.png").symlink_to(folder / "00.png")
    words = [sys.executable, "-m", "birefnet", "evaluate", str(predictions), str(home / "gt"), "--metrics", "S,MAE"]
    options = ["--workers", "2", "-o", str(tmp_path / "out")]
    process = subprocess.Popen(
        [*words, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while len(children.read_text().split()) < 3:  # two workers, and Python's own helper
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers hear it too
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.strip().splitlines()[-1] == "error: Interrupted." and "Traceback" not in err
    assert not (tmp_path / "out").exists()
