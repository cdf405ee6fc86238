"""Columns of the tasks, and tables as text, Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io

import pytest

from birefnet.errors import ConfigError
from birefnet.evaluation.columns import EVERYTHING, TASKS, choose_metrics, format_value
from birefnet.evaluation.measure import METRICS, STANDARD
from birefnet.evaluation.tables import Table, latex, markdown, mean_of_sets, text

TABLE = Table(
    "method",
    ("S", "MAE", "HCE"),
    (
        ("one_a", {"S": 0.90849, "MAE": 0.0402, "HCE": 1234.4}),
        ("two|b", {"S": 0.90851, "MAE": 0.0398, "HCE": None}),
        ("three", {"S": 1.00001, "MAE": 0.5, "HCE": 1234.0}),
    ),
    mark_best=True,
)


def test_tasks_have_known_columns_and_without_one_all_are_shown() -> None:
    assert set(EVERYTHING) == set(STANDARD)
    for columns in TASKS.values():
        assert set(columns) <= set(METRICS) and len(set(columns)) == len(columns)
    assert choose_metrics("dis5k", None) == ("maxF", "WF", "MAE", "S", "meanE", "HCE")
    assert choose_metrics("cod", None) == ("S", "WF", "meanF", "meanE", "maxE", "MAE")
    assert choose_metrics(None, None) == EVERYTHING
    assert set(choose_metrics(None, "all")) == set(METRICS)
    assert choose_metrics("cod", "mae, s,MAE,hce") == ("MAE", "S", "HCE")


def test_unknown_names_are_told_the_nearest() -> None:
    with pytest.raises(ConfigError, match="There is no task `dis`; known: dis5k, cod"):
        choose_metrics("dis", None)
    with pytest.raises(ConfigError, match="There is no metric `meanG`") as caught:
        choose_metrics(None, "S,meanG")
    assert str(caught.value.hint).startswith("did you mean `mean")


def test_numbers() -> None:
    assert [format_value("S", 0.9084999), format_value("HCE", 40.3), format_value("MBA", None)] == ["0.908", "40", "-"]


def test_the_best_of_each_column_is_marked_at_the_printed_precision() -> None:
    assert TABLE.best("S") == {"three"}
    assert TABLE.best("MAE") == {"one_a", "two|b"}  # both are 0.040
    assert TABLE.best("HCE") == {"one_a", "three"}
    assert Table("set", TABLE.columns, TABLE.rows).best("S") == set()


def test_text_is_aligned_and_turned_where_it_is_too_wide() -> None:
    wide = text(TABLE).splitlines()
    assert wide == [
        "method    S ↑   MAE ↓   HCE ↓",
        "one_a   0.908   0.040*   1234*",
        "two|b   0.909   0.040*      -",
        "three   1.000*  0.500    1234*",
    ]
    assert text(TABLE, width=30).splitlines() == wide
    assert text(TABLE, width=29).splitlines() == [
        "method   one_a   two|b   three",
        "S ↑     0.908   0.909   1.000*",
        "MAE ↓   0.040*  0.040*  0.500",
        "HCE ↓    1234*      -    1234*",
    ]


def test_markdown() -> None:
    assert markdown(TABLE).splitlines() == [
        "| method | S ↑ | MAE ↓ | HCE ↓ |",
        "|---|---:|---:|---:|",
        "| one_a | 0.908 | **0.040** | **1234** |",
        r"| two\|b | 0.909 | **0.040** | - |",
        "| three | **1.000** | 0.500 | **1234** |",
    ]


def test_latex_has_a_group_of_columns_for_each_set() -> None:
    lines = latex({"DIS-TE1": TABLE, "R&D": TABLE}, "100 % of it").splitlines()
    assert r"\caption{100 \% of it}" in lines
    assert r"\begin{tabular}{lcccccc}" in lines
    assert r" & \multicolumn{3}{c}{DIS-TE1} & \multicolumn{3}{c}{R\&D} \\" in lines
    assert r"\cmidrule(lr){2-4} \cmidrule(lr){5-7}" in lines
    row = r".908 & \textbf{.040} & \textbf{1234}"
    assert rf"one\_a & {row} & {row} \\" in lines
    assert [line for line in lines if "rule" in line and "cmid" not in line] == [
        r"\toprule",
        r"\midrule",
        r"\bottomrule",
    ]
    body = "\n".join(lines)
    assert body.count("{") == body.count("}") and body.count("$") % 2 == 0


def test_a_mean_over_sets_leaves_out_what_is_not_defined() -> None:
    means = mean_of_sets([{"S": 0.5, "MBA": None}, {"S": 1.0, "MBA": 0.25}], ["S", "MBA"])
    assert means == {"S": 0.75, "MBA": 0.25}
    assert mean_of_sets([{"MBA": None}], ["MBA"]) == {"MBA": None}


def test_csv_can_be_read_again() -> None:
    from pathlib import Path

    from birefnet.evaluation.files import Job
    from birefnet.evaluation.measure import Summary
    from birefnet.evaluation.run import Row, SetResult
    from birefnet.evaluation.tables import per_image_csv

    job = Job('a,"b"', 'a,"b"', Path("p"), Path("t"))
    result = SetResult(
        "set", (Row(job, {"S": 1 / 3, "MBA": None}),), Summary(values={}, undefined={}, curves={}, count=1)
    )
    (head, row) = csv.reader(io.StringIO(per_image_csv([result], ["S", "MBA"])))
    assert head == ["set", "stem", "S", "MBA"]
    assert row == ["set", 'a,"b"', repr(1 / 3), ""]
