import numpy as np
import pytest

from tumorboard.evaluation.calibration import fit_temperature, scale_predictions
from tumorboard.evaluation.patients import (
    UNCHOSEN,
    PatientRule,
    calibrated_per_patient,
    choose,
    combine,
    contributions,
    fit_rule,
    known_patients,
    per_patient,
    positive_class,
    score_patients,
)
from tumorboard.evaluation.scores import score
from tumorboard.predictions import Predictions

BINARY, THREE = ("NORMAL", "PNEUMONIA"), ("a", "b", "c")


def predictions(
    rows: list[tuple[str, int, tuple[float, ...]]], names: tuple[str, ...] = THREE
) -> Predictions:
    ids, labels, probabilities = zip(*rows, strict=True)
    return Predictions(tuple(ids), np.array(labels), names, np.array(probabilities))


def test_methods_by_hand() -> None:
    values = [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]
    np.testing.assert_allclose(combine(values, "mean"), [17 / 30, 13 / 30])
    odds = np.exp((np.log(0.9 / 0.1) + np.log(0.6 / 0.4) + np.log(0.2 / 0.8)) / 3)
    np.testing.assert_allclose(combine(values, "log_odds"), [odds / (1 + odds), 1 / (1 + odds)])
    np.testing.assert_allclose(combine(values, "any", positive=1), [0.2, 0.8])
    np.testing.assert_allclose(combine(values, "any", positive=0), [0.9, 0.1])


@pytest.mark.parametrize("method", ["mean", "log_odds", "any"])
def test_one_image_is_its_own_answer_and_certainty_stays_finite(method: str) -> None:
    np.testing.assert_allclose(combine([[0.3, 0.7]], method, positive=1), [0.3, 0.7])
    combined = combine([[1.0, 0.0], [0.0, 1.0]], method, positive=1)
    assert np.isfinite(combined).all()
    assert combined.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("names", "positive"),
    [
        (BINARY, 1),
        (("abnormal", "normal"), 0),
        (("benign", "malignant"), 1),
        (("No finding", "tumour"), 1),
        (("left", "right"), None),
        (("benign", "normal"), None),
        (("benign", "malignant", "normal"), None),
    ],
)
def test_the_positive_class_is_told_by_the_other_ones_name(
    names: tuple[str, ...], positive: int | None
) -> None:
    assert positive_class(names) == positive


def test_images_of_a_patient_become_one_case_and_others_stay() -> None:
    rows = [("1", 0, (0.6, 0.2, 0.2)), ("2", 0, (0.2, 0.6, 0.2)), ("3", 2, (0.1, 0.1, 0.8))]
    combined = per_patient(predictions(rows), {"1": "p", "2": "p"}, "mean")
    assert combined.ids == ("group:p", "image:3")
    assert combined.labels.tolist() == [0, 2]
    np.testing.assert_allclose(combined.probabilities, [[0.4, 0.4, 0.2], [0.1, 0.1, 0.8]])


def test_a_patient_with_any_positive_image_is_positive() -> None:
    rows = [("1", 0, (0.9, 0.1)), ("2", 1, (0.3, 0.7)), ("3", 0, (0.8, 0.2))]
    combined = per_patient(predictions(rows, BINARY), {"1": "p", "2": "p", "3": "q"}, "any")
    assert combined.labels.tolist() == [1, 0]
    np.testing.assert_allclose(combined.probabilities, [[0.3, 0.7], [0.8, 0.2]])


def test_a_patient_with_images_of_two_of_three_classes_counts_once_per_class() -> None:
    rows = [("1", 0, (0.6, 0.2, 0.2)), ("2", 1, (0.2, 0.6, 0.2)), ("3", 1, (0.1, 0.8, 0.1))]
    combined = per_patient(predictions(rows), dict.fromkeys("123", "p"), "mean")
    assert combined.ids == ("group:p (a)", "group:p (b)")
    assert combined.labels.tolist() == [0, 1]


def patients(sharp: bool) -> tuple[Predictions, dict[str, str]]:
    """Patients of four images; `sharp` ones have a single positive image, others a hint in each."""
    rng, rows, groups = np.random.default_rng(0), [], {}
    for patient in range(60):
        label = patient % 2
        for image in range(4):
            shown = label and image == 0 if sharp else label
            p = np.clip((0.95 if sharp else 0.55) * shown + 0.05 + 0.02 * rng.normal(), 0.01, 0.99)
            rows.append((f"{patient}/{image}", label, (1 - p, p)))
            groups[f"{patient}/{image}"] = str(patient)
    return predictions(rows, BINARY), groups


def test_validation_chooses_the_method() -> None:
    rule = choose(*patients(sharp=True))
    assert rule.method == "any"
    assert "log loss per patient on validation" in rule.reason
    assert choose(*patients(sharp=False)).method in ("mean", "log_odds", "any")
    three, groups = patients(sharp=True)
    unnamed = Predictions(three.ids, three.labels, ("left", "right"), three.probabilities)
    assert choose(unnamed, groups).method != "any"


def test_with_few_patients_the_mean_is_used() -> None:
    some, groups = patients(sharp=True)
    few = some.take(np.arange(36))
    assert choose(few, groups).method == "mean"
    assert "fewer than 10" in choose(few, groups).reason
    first = {name: group for name, group in groups.items() if group == groups[few.ids[0]]}
    assert choose(few, first).reason.startswith("validation has 1 patient of several images")


def test_an_empty_group_is_none() -> None:
    rows = [("1", 0, (0.6, 0.2, 0.2)), ("2", 1, (0.2, 0.6, 0.2))]
    assert per_patient(predictions(rows), {"1": "", "2": ""}, "mean").ids == ("image:1", "image:2")
    assert score_patients({"a": predictions(rows)}, {"1": "", "2": ""}) is None


def test_scores_per_patient_are_those_of_its_cases() -> None:
    images, groups = patients(sharp=True)
    scored = score_patients({"a": images, "b": images}, groups, {"a": PatientRule("any", "chosen")})
    assert scored is not None
    assert (scored.patients, scored.images, scored.alone, scored.found, scored.mixed) == (60, 240, 0, 0, ())
    assert scored.rules == {"a": PatientRule("any", "chosen"), "b": UNCHOSEN}
    assert scored.scores["a"] == score(per_patient(images, groups, "any"))
    assert scored.scores["b"] == score(per_patient(images, groups, "mean"))
    assert scored.scores["a"].accuracy.n == 60
    assert scored.scores["a"].accuracy.value == 1
    assert scored.scores["b"].accuracy.value == 0.5  # the mean overlooks a single positive image of four


def test_probabilities_are_calibrated_before_they_are_combined() -> None:
    images, groups = patients(sharp=True)
    scored = score_patients({"a": images}, groups, temperatures={"a": 2.0})
    assert scored is not None
    assert scored.scores["a"] == score(per_patient(scale_predictions(images, 2.0), groups, "mean"))
    assert scored.scores["a"] != score(per_patient(images, groups, "mean"))


def test_without_several_images_of_a_patient_there_is_nothing_to_add() -> None:
    images, _ = patients(sharp=True)
    assert score_patients({"a": images}, {}) is None
    assert score_patients({"a": images}, {name: name for name in images.ids}) is None


def test_images_without_a_patient_and_groups_of_file_names_are_counted() -> None:
    images, groups = patients(sharp=True)
    known = {name: f"name:{group}" for name, group in groups.items() if not name.startswith("7/")}
    scored = score_patients({"a": images}, known)
    assert scored is not None
    assert (scored.patients, scored.found, scored.alone) == (59, 59, 4)
    assert scored.scores["a"].n == 63
    assert scored.nearly_all  # 236 of 240
    fewer = score_patients({"a": images}, dict(list(known.items())[:200]))
    assert fewer is not None
    assert not fewer.nearly_all


def test_a_patient_who_counts_once_per_class_is_one_independent_unit() -> None:
    rng = np.random.default_rng(0)
    rows = [(f"{i}", i % 3, tuple(rng.dirichlet(np.ones(3)))) for i in range(60)]
    groups = {f"{i}": str(i // 3) for i in range(30)}
    images = predictions(rows)
    scored = score_patients({"a": images}, groups)
    assert scored is not None
    assert scored.mixed == tuple(sorted(map(str, range(10))))
    assert scored.positive == ""
    assert scored.scores["a"].n == 60  # ten patients of three classes, and thirty images of nobody
    assert scored.scores["a"].groups == 40
    binary = predictions([(name, min(label, 1), (p[0], 1 - p[0])) for name, label, p in rows], BINARY)
    positive = score_patients({"a": binary}, groups)
    assert positive is not None
    assert (positive.positive, len(positive.mixed), positive.scores["a"].n) == ("PNEUMONIA", 10, 40)
    assert positive.scores["a"].groups is None


def test_contributions_are_the_terms_of_which_the_answer_is_made():
    values = np.array([[0.2, 0.8], [0.6, 0.4], [0.9, 0.1]])
    assert contributions(values, "mean", 1).mean() == pytest.approx(combine(values, "mean")[1])
    joint = combine(values, "log_odds")
    half_odds = np.log(joint[0] / joint[1]) / 2
    assert contributions(values, "log_odds", 0).mean() == pytest.approx(half_odds)
    for predicted in (0, 1):  # whatever is predicted, the most suspicious image decides
        assert contributions(values, "any", predicted, 1).argmax() == 0


def drawn_patients(
    random: np.random.Generator, n: int, slices: int = 6
) -> tuple[Predictions, dict[str, str]]:
    """Patients of three classes, of whom half of what a model sees is the same in all images."""
    labels = np.repeat(random.integers(0, 3, n), slices)
    shared = np.repeat(random.normal(size=(n, 3)), slices, axis=0)
    logits = 1.5 * np.eye(3)[labels] + shared + random.normal(size=(n * slices, 3))
    shares = np.exp(logits)
    ids = tuple(f"{row // slices}-{row % slices}" for row in range(n * slices))
    made = Predictions(ids, labels, THREE, shares / shares.sum(axis=1, keepdims=True))
    return made, {name: name.split("-")[0] for name in ids}


def test_of_too_few_patients_nothing_is_promised() -> None:
    random = np.random.default_rng(0)
    for n, has_sets in ((8, False), (9, True)):  # 1 / (n + 1) <= 0.1
        rule = fit_rule(*drawn_patients(random, n), 1.0)
        assert (rule.n, rule.quantile is not None, rule.refer_below) == (n, has_sets, None)


def test_sets_of_patients_hold_the_class_as_often_as_promised() -> None:
    random, n, covered = np.random.default_rng(1), 39, []
    for _ in range(60):
        valid, groups = drawn_patients(random, n)
        T = fit_temperature(valid)
        rule = fit_rule(valid, groups, T)
        others, groups = drawn_patients(random, 100)
        found = calibrated_per_patient({"a": others}, groups, {"a": rule}, {"a": T})["a"]
        assert found.scores.n == 100
        covered.append(found.set_coverage["all"].value)
    assert 0.9 - 0.015 < np.mean(covered) < 0.9 + 1 / (n + 1) + 0.015


def test_a_patient_of_several_classes_calibrates_nothing() -> None:
    sure, unsure = (0.8, 0.1, 0.1), (0.2, 0.2, 0.6)
    rows = [("1", 0, sure), ("2", 1, sure), ("3", 2, unsure), ("4", 0, sure)]
    known = known_patients(predictions(rows), {"1": "x", "2": "x", "3": "y"}, "mean")
    assert known.ids == ("group:y",)
