"""`birefnet compare`: several judged on the same sets, and the best named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.brightness import brightness_model
from tests.evaluation.drawn import draw_set

Run = Callable[..., tuple[int, str, str]]

METRICS = ("--metrics", "S,MAE,maxF")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The sets `sets/one` and `sets/two`, and predictions `good` and `bad` of both."""
    monkeypatch.chdir(tmp_path)
    for grain, name in ((30, "good"), (120, "bad")):
        draw_set(Path(name), "one", 3, grain=grain)
        draw_set(Path(name), "two", 2, grain=grain, shift=0.03 if name == "good" else 0.1)
    Path("sets").mkdir()
    for name in ("one", "two"):
        shutil.move(Path("good") / name, "sets")
        shutil.rmtree(Path("bad") / name)
    return tmp_path


def test_folders_of_predictions(here: Path, birefnet: Run) -> None:
    code, out, err = birefnet("compare", "bad/predictions", "good/predictions", "--sets", "sets", *METRICS)
    assert code == 0, err
    assert out.splitlines()[-1] == "best by rank: good/predictions"
    assert [line for line in out.splitlines() if line in ("one", "two", "mean of sets")] == [
        "one",
        "two",
        "mean of sets",
    ]
    assert "good/predictions  rank 1.00" in out and "bad/predictions   rank 2.00" in out
    assert err.startswith("1 of 2: bad/predictions\n2 of 2: good/predictions\n") and "mean of its places" in err


def test_json_and_files(here: Path, birefnet: Run) -> None:
    pytest.importorskip("matplotlib")
    sets = ("--sets", "sets/one", "--sets", "sets/two")
    words = ("compare", "bad/predictions", "good/predictions", *sets, *METRICS, "--by", "MAE", "-o", "out")
    code, out, _ = birefnet(*words, "--json", "-q")
    assert code == 0
    facts = json.loads(out)
    assert (facts["best"], facts["by"]) == ("good/predictions", "MAE")
    assert facts["paths"] == {"bad/predictions": "bad/predictions", "good/predictions": "good/predictions"}
    single = json.loads(birefnet("evaluate", "bad/predictions", "sets", *METRICS, "--json")[1])
    assert facts["methods"]["bad/predictions"]["mean"] == single["mean"]
    assert {path.suffix for path in Path("out").iterdir()} == {".csv", ".json", ".md", ".tex", ".html"}
    assert birefnet(*words)[0] == 2  # nothing is overwritten unasked


def test_the_checkpoints_of_a_run(here: Path, birefnet: Run) -> None:
    pytest.importorskip("matplotlib")
    Path("run/checkpoints").mkdir(parents=True)
    for name, bias in (("checkpoints/epoch_9", 30.0), ("checkpoints/epoch_10", 0.0), ("last", -18.0)):
        brightness_model(Path(f"run/{name}.onnx"), bias=bias)
    code, out, err = birefnet("compare", "run", "--sets", "sets", *METRICS, "--by", "S", "-o", "out")
    assert code == 0, err
    assert out.splitlines()[-1] == "best by S: run/checkpoints/epoch_10.onnx"
    assert sorted(path.name for path in Path("out/predictions").iterdir()) == [
        "run-epoch_10",
        "run-epoch_9",
        "run-last",
    ]


def test_refusals(here: Path, birefnet: Run) -> None:
    code, out, err = birefnet("compare", "good/predictions", "--sets", "sets", *METRICS)
    assert (code, out) == (2, "") and "needs two or more, got good/predictions" in err
    code, out, err = birefnet("compare", "good/predictions", "sets/one", "--sets", "sets/two", *METRICS)
    assert (code, out) == (2, "") and "hint: every set needs its own --sets: --sets sets/one" in err
    code, out, err = birefnet(
        "compare", "good/predictions", "bad/predictions", "--sets", "sets", "--by", "HCE", *METRICS
    )
    assert (code, out) == (2, "") and "`--by HCE`: wanted `rank` or a metric that is measured" in err
    Path("bad/predictions/two/01.png").unlink()
    code, out, err = birefnet("compare", "good/predictions", "bad/predictions", "--sets", "sets", *METRICS)
    assert (code, out) == (1, "") and "1 prediction is missing: `two/01`." in err


def test_equal_names_are_told_apart(here: Path, birefnet: Run) -> None:
    words = ("compare", "bad/predictions/one", "good/predictions/one", "--sets", "sets/one", *METRICS)
    code, out, _ = birefnet(*words)
    assert code == 0 and out.splitlines()[-1] == "best by rank: good/predictions/one"
    assert "bad/predictions/one   rank 2.00" in out
