"""Which of several is best: places, means, and what decides between equals."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from birefnet.errors import ConfigError
from birefnet.evaluation.compare import FILES, Comparison, write_comparison
from birefnet.evaluation.measure import Summary
from birefnet.evaluation.outcome import Evaluation
from birefnet.evaluation.run import SetResult


def judged(label: str, **sets: tuple[float | None, float]) -> Evaluation:
    """An evaluation with these values of S and MAE."""
    results = [
        SetResult(name, (), Summary(values={"S": s, "MAE": mae}, undefined={}, curves={}, count=4))
        for name, (s, mae) in sets.items()
    ]
    return Evaluation(label=label, columns=("S", "MAE"), results=tuple(results))


A = judged("a", x=(0.90, 0.05), y=(0.80, 0.10))
B = judged("b", x=(0.89, 0.04), y=(0.82, 0.08))
C = judged("c", x=(0.95, 0.05), y=(None, 0.20))


def test_ranks_are_mean_places_and_equal_values_share_theirs() -> None:
    comparison = Comparison((A, B, C))
    # S of x: c a b; MAE of x: b, then a and c; S of y: b a, c has none; MAE of y: b a c
    assert comparison.ranks() == {
        "a": (2 + 2.5 + 2 + 2) / 4, "b": (3 + 1 + 1 + 1) / 4, "c": (1 + 2.5 + 3 + 3) / 4
    }  # fmt: skip
    assert comparison.order() == ["b", "a", "c"]


def test_a_metric_may_decide_by_its_mean_over_sets() -> None:
    assert Comparison((A, B, C), by="S").order() == ["c", "b", "a"]
    assert Comparison((A, B, C), by="MAE").order() == ["b", "a", "c"]
    assert Comparison((A, B, C)).tables()["mean of sets"].rows[0] == (
        "a",
        {"S": pytest.approx(0.85), "MAE": pytest.approx(0.075)},
    )


def test_equals_stay_in_order() -> None:
    twin = judged("twin", x=(0.90, 0.05), y=(0.80, 0.10))
    assert Comparison((A, twin)).order() == ["a", "twin"]
    assert Comparison((twin, A)).order() == ["twin", "a"]


def test_what_cannot_be_compared() -> None:
    with pytest.raises(ConfigError, match="two or more"):
        Comparison((A,))
    with pytest.raises(ConfigError, match="`--by HCE`: wanted `rank` or a metric that is measured: S, MAE"):
        Comparison((A, B), by="HCE")


def test_files(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_comparison(Comparison((A, B, C)), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    facts = json.loads((tmp_path / "comparison.json").read_text())
    assert facts["best"] == "b" and facts["methods"]["c"]["sets"]["y"] == {"S": None, "MAE": 0.2}
    rows = list(csv.DictReader(io.StringIO((tmp_path / "comparison.csv").read_text())))
    assert len(rows) == 6 and rows[5] == {"method": "c", "set": "y", "S": "", "MAE": "0.2"}
    assert "**0.950**" in (tmp_path / "comparison.md").read_text()
    tex = (tmp_path / "comparison.tex").read_text()
    assert r"\multicolumn{2}{c}{x} & \multicolumn{2}{c}{y}" in tex
    assert r"b & .890 & \textbf{.040} & \textbf{.820} & \textbf{.080} \\" in tex
    page = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert "Best by rank: b" in page and "<b>0.950</b>" in page
