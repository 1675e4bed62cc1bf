import math

import numpy as np
import pytest

from tests.predictions_strategies import made, shuffled
from tumorboard.evaluation.error_agreement import compare_errors, correct_by_any, disagreement

LABELS = [0, 1, 2, 0, 1, 2]
FIRST = made([True, True, True, False, False, True], LABELS)
SECOND = made([True, False, True, False, True, True], LABELS)


def test_a_pair_is_counted_by_who_is_right() -> None:
    one = compare_errors(FIRST, SECOND)
    assert (one.both, one.only_first, one.only_second, one.neither, one.n) == (3, 1, 1, 1, 6)
    errors = [[0, 0, 0, 1, 1, 0], [0, 1, 0, 1, 0, 0]]
    assert one.correlation == pytest.approx(np.corrcoef(errors)[0, 1])


def test_rows_are_joined_by_id_and_not_by_place() -> None:
    assert compare_errors(FIRST, shuffled(SECOND, [5, 3, 1, 0, 2, 4])) == compare_errors(FIRST, SECOND)


def test_a_model_that_is_always_right_has_errors_that_correlate_with_nothing() -> None:
    assert compare_errors(made([True] * 6, LABELS), SECOND).correlation is None


def test_no_choice_among_answers_beats_the_oracle() -> None:
    assert correct_by_any({"a": FIRST, "b": SECOND}) == 5


def test_models_of_one_mind_do_not_disagree() -> None:
    assert disagreement({"a": FIRST, "b": FIRST}).max() == pytest.approx(0, abs=1e-12)
    divided = disagreement({"a": FIRST, "b": SECOND})
    differ = FIRST.predicted != SECOND.predicted
    assert divided[differ].min() > divided[~differ].max()
    assert divided.max() <= math.log(2) + 1e-12
