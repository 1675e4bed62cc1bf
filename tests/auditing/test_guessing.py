import numpy as np
import pytest

from tests.auditing.studies import Row, scene, study
from tumorboard.auditing.guessing import Guess, OneClass, Share, guess, guessing
from tumorboard.auditing.outcome import NotApplicable
from tumorboard.auditing.study import Study


def _two_classes(n: int, **more: object) -> Study:
    return study(Row(label="ab"[i % 2], **more) for i in range(n))  # type: ignore[arg-type]


def _noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 4))


def test_a_clue_that_is_the_class_is_guessed_every_time() -> None:
    made = guess(_two_classes(60), np.array([[i % 2] for i in range(60)], float))
    assert isinstance(made, Guess)
    assert (made.right.k, made.right.n, made.chance) == (60, 60, 0.5)
    assert made.telling
    assert made.classes["a"].gain == 1


@pytest.mark.parametrize("seed", range(5))
def test_noise_tells_nothing(seed: int) -> None:
    assert guessing(_two_classes(200), _noise(200, seed), "noise", "", "") == ()


def test_labels_of_test_are_not_looked_at() -> None:
    rows = [Row(label="ab"[i % 2]) for i in range(60)]
    hidden = [Row("test", label="ab"[i % 2]) for i in range(60)]
    turned = [Row("test", label="ba"[i % 2]) for i in range(60)]
    features = _noise(120)
    assert guess(study(rows + hidden), features) == guess(study(rows + turned), features)


def test_twins_cannot_be_recognised() -> None:
    """Twenty pictures, each ten times: noise told them apart perfectly if copies were in both halves."""
    rows = [Row(label="ab"[i % 2], digest=str(i), thumbnail=scene(i)) for i in range(20)] * 10
    features = np.tile(_noise(20), (10, 1))
    made = guess(study(rows), features)
    assert isinstance(made, Guess)
    assert made.right.n == 20
    assert not made.telling


def test_members_of_a_group_cannot_be_recognised() -> None:
    """Each patient has one class and features of his own."""
    patients = np.repeat(np.arange(20), 10)
    rows = [Row(label="ab"[p % 2], group=f"p{p}") for p in patients]
    made = guess(study(rows), _noise(20)[patients])
    assert isinstance(made, Guess)
    assert made.right.value < 0.9
    alone = guess(study(Row(label=row.label) for row in rows), _noise(20)[patients])
    assert isinstance(alone, Guess)
    assert alone.right.value > 0.97


def test_a_rare_class_that_is_told_is_found_though_accuracy_hardly_moves() -> None:
    labels = np.array([i % 20 == 0 for i in range(400)])
    rows = [Row(label="rare" if rare else "common") for rare in labels]
    made = guess(study(rows), labels[:, np.newaxis].astype(float))
    assert isinstance(made, Guess)
    assert made.classes["rare"] == OneClass(Share(20, 20), Share(0, 380))
    assert made.classes["rare"].telling


@pytest.mark.parametrize("rows", [
    [Row(label="a")] * 50,
    [Row(label="a")] * 50 + [Row(label="b")] * 9,
    [Row(label="ab"[i % 2], group=f"g{i % 4}") for i in range(100)],
])  # fmt: skip
def test_too_little_to_learn_from_is_said(rows: list[Row]) -> None:
    outcome = guessing(study(rows), _noise(len(rows)), "noise", "", "")
    assert isinstance(outcome, NotApplicable)


def test_a_class_too_small_is_left_out() -> None:
    rows = [Row(label="ab"[i % 2]) for i in range(60)] + [Row(label="few")] * 3
    made = guess(study(rows), _noise(63))
    assert isinstance(made, Guess)
    assert set(made.classes) == {"a", "b"}


def test_the_same_study_gives_the_same_guess() -> None:
    facts, features = _two_classes(60), _noise(60)
    assert guess(facts, features) == guess(facts, features)


def test_numbers_are_plain_and_hold_intervals() -> None:
    features = np.array([[i % 2] for i in range(60)], float)
    (found,) = guessing(_two_classes(60), features, "the clue", "So what.", "Do this.")
    assert found.title.startswith("the clue alone guesses the class with accuracy 1.000 (0.940 to 1.000)")
    assert {type(value) for value in found.numbers.values()} == {int, float}
    assert found.numbers["accuracy, low"] == pytest.approx(0.9398, abs=1e-4)
