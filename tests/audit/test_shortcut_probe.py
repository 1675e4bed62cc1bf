import numpy as np
import pytest

from tests.audit.facts import Row, dataset, scene
from tumorboard.audit.dataset_facts import DatasetFacts
from tumorboard.audit.findings import NotApplicable
from tumorboard.audit.shortcut_probe import OneVersusRest, ProbeResult, Proportion, find_shortcut, probe


def _two_classes(n: int, **more: object) -> DatasetFacts:
    return dataset(Row(label="ab"[i % 2], **more) for i in range(n))  # type: ignore[arg-type]


def _noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 4))


def test_a_feature_that_is_the_class_predicts_it_every_time() -> None:
    result = probe(_two_classes(60), np.array([[i % 2] for i in range(60)], float))
    assert isinstance(result, ProbeResult)
    assert (result.accuracy.k, result.accuracy.n, result.majority) == (60, 60, 0.5)
    assert result.is_predictable
    assert result.classes["a"].youden == 1


@pytest.mark.parametrize("seed", range(5))
def test_noise_predicts_nothing(seed: int) -> None:
    assert find_shortcut(_two_classes(200), lambda _: _noise(200, seed), "noise", "", "") == ()


def test_labels_of_test_are_not_looked_at() -> None:
    rows = [Row(label="ab"[i % 2]) for i in range(60)]
    hidden = [Row("test", label="ab"[i % 2]) for i in range(60)]
    turned = [Row("test", label="ba"[i % 2]) for i in range(60)]
    features = _noise(120)
    assert probe(dataset(rows + hidden), features) == probe(dataset(rows + turned), features)


def test_duplicates_cannot_be_recognised() -> None:
    """Twenty pictures, each ten times: noise told them apart perfectly if copies were in both halves."""
    rows = [Row(label="ab"[i % 2], digest=str(i), thumbnail=scene(i)) for i in range(20)] * 10
    features = np.tile(_noise(20), (10, 1))
    result = probe(dataset(rows), features)
    assert isinstance(result, ProbeResult)
    assert result.accuracy.n == 20
    assert not result.is_predictable


def test_members_of_a_group_cannot_be_recognised() -> None:
    """Each patient has one class and features of his own."""
    patients = np.repeat(np.arange(20), 10)
    rows = [Row(label="ab"[p % 2], group=f"p{p}") for p in patients]
    result = probe(dataset(rows), _noise(20)[patients])
    assert isinstance(result, ProbeResult)
    assert result.accuracy.value < 0.9
    alone = probe(dataset(Row(label=row.label) for row in rows), _noise(20)[patients])
    assert isinstance(alone, ProbeResult)
    assert alone.accuracy.value > 0.97


def test_a_rare_class_that_is_predictable_is_reported_though_accuracy_hardly_moves() -> None:
    labels = np.array([i % 20 == 0 for i in range(400)])
    rows = [Row(label="rare" if rare else "common") for rare in labels]
    result = probe(dataset(rows), labels[:, np.newaxis].astype(float))
    assert isinstance(result, ProbeResult)
    assert result.classes["rare"] == OneVersusRest(Proportion(20, 20), Proportion(0, 380))
    assert result.classes["rare"].is_predictable


@pytest.mark.parametrize("rows", [
    [Row(label="a")] * 50,
    [Row(label="a")] * 50 + [Row(label="b")] * 9,
    [Row(label="ab"[i % 2], group=f"g{i % 4}") for i in range(100)],
])  # fmt: skip
def test_too_little_to_learn_from_is_said(rows: list[Row]) -> None:
    outcome = find_shortcut(dataset(rows), lambda _: _noise(len(rows)), "noise", "", "")
    assert isinstance(outcome, NotApplicable)


def test_a_class_too_small_is_left_out() -> None:
    rows = [Row(label="ab"[i % 2]) for i in range(60)] + [Row(label="few")] * 3
    result = probe(dataset(rows), _noise(63))
    assert isinstance(result, ProbeResult)
    assert set(result.classes) == {"a", "b"}


def test_the_same_study_gives_the_same_probe() -> None:
    facts, features = _two_classes(60), _noise(60)
    assert probe(facts, features) == probe(facts, features)


def test_numbers_are_plain_and_hold_intervals() -> None:
    features = np.array([[i % 2] for i in range(60)], float)
    (found,) = find_shortcut(_two_classes(60), lambda _: features, "the feature", "So what.", "Do this.")
    assert found.title.startswith(
        "The class can be predicted from the feature alone: accuracy 1.00 (95% CI 0.94-1.00, majority class"
        " 0.50)"
    )
    assert {type(value) for value in found.numbers.values()} == {int, float}
    assert found.numbers["accuracy, low"] == pytest.approx(0.9398, abs=1e-4)
