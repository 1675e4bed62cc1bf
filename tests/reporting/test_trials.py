import csv
import io
import json

import pytest

from tumorboard.evaluation.intervals import Estimate
from tumorboard.reporting import trials
from tumorboard.reporting.trials import Trial

LOSS, ACCURACY = Estimate(0.5, 20, 0.4, 0.6, "few"), Estimate(0.75, 20, 0.5, 0.9)
ALL = [
    Trial({"rate": 1e-3, "flip": "none"}, "complete", (0.7, 0.5), LOSS, ACCURACY),
    Trial({"rate": 0.1, "flip": "=cmd()"}, "failed", reason="@loss is no number"),
    Trial(
        {"rate": 0.1 + 0.2, "flip": "none"},
        "pruned",
        (0.9,),
        Estimate(0.9, 10, None, None, "refused"),
        ACCURACY,
    ),
    Trial({"rate": 1e-2, "flip": "none"}),
]


def test_a_record_comes_back_bit_for_bit():
    assert trials.from_json(json.loads(json.dumps(trials.to_json(ALL)))) == ALL


@pytest.mark.parametrize("content", [[{"trial": 1}], [3], [{"trial": 1, "values": {}, "more": 1}], 3])
def test_what_is_no_record_is_refused(content):
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        trials.from_json(content)


def test_the_best_is_complete_and_of_equal_ones_the_first():
    better = [
        Trial({}, state, (loss,)) for state, loss in (("complete", 2.0), ("pruned", 0.1), ("complete", 1.0))
    ]
    assert trials.best(better) == 2
    assert trials.best([*better, better[2]]) == 2


def test_the_table_has_every_figure_with_its_n_and_interval_and_no_formula():
    rows = list(csv.DictReader(io.StringIO(trials.to_csv(ALL))))
    assert [row["state"] for row in rows] == ["complete", "failed", "pruned", "begun"]
    assert [row["folds"] for row in rows] == ["2", "0", "1", "0"]
    figures = ("n", "log_loss", "log_loss_low", "log_loss_high", "accuracy", "accuracy_low", "accuracy_high")
    assert [float(rows[0][name]) for name in figures] == [20, 0.5, 0.4, 0.6, 0.75, 0.5, 0.9]
    assert [rows[1][name] for name in figures[1:]] == [""] * 6
    assert (rows[1]["flip"], rows[1]["reason"]) == ("'=cmd()", "'@loss is no number")
    assert float(rows[2]["rate"]) == 0.1 + 0.2


def test_settings_are_told_in_four_digits():
    assert trials.settings({"rate": 0.000217118, "epochs": 12345, "flip": "none"}) == (
        "rate = 0.0002171, epochs = 12345, flip = none"
    )
