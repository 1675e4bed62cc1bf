import dataclasses
import json

import numpy as np
import numpy.typing as npt
import pytest

from tests.audit.facts import Row, dataset, only, reason
from tumorboard.audit.group_checks import recognition_of_patients
from tumorboard.audit.leak_meter import LeakMeter, measure, neighbourhoods

Features = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


def independent(seed: int, n: int = 120) -> tuple[Features, Indices, list[str]]:
    """Images of two classes that nothing but the class ties together, in pairs by chance."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    features = rng.normal(size=(n, 16)) + 1.2 * labels[:, None] * (np.arange(16) < 3)
    return features.astype(np.float32), labels, [f"pair {row // 2}" for row in range(n)]


def patients(seed: int, count: int = 30, images: int = 8) -> tuple[Features, Indices, list[str]]:
    """Images of patients who look like themselves, with labels at random."""
    rng = np.random.default_rng(seed)
    looks = np.repeat(1.5 * rng.normal(size=(count, 64)), images, axis=0)
    features = looks + 0.5 * rng.normal(size=looks.shape)
    labels = np.repeat(rng.integers(0, 2, count), images)
    return features.astype(np.float32), labels, [f"patient {row // images}" for row in range(len(labels))]


def measured(features: Features, labels: Indices, groups: list[str], test: int = 0) -> LeakMeter:
    """Measure; the last `test` images are of test."""
    is_test = np.arange(len(labels)) >= len(labels) - test
    meter = measure(labels, groups, is_test, lambda rows: features[rows])
    assert isinstance(meter, LeakMeter)
    return meter


def sets_of_independent_images_that_hold_0(sets: int) -> int:
    intervals = [measured(*independent(seed)).inflation for seed in range(sets)]
    return sum((part.low or 0.0) <= 0 <= (part.high or 0.0) for part in intervals)


def test_independent_images_show_no_leak() -> None:
    assert sets_of_independent_images_that_hold_0(20) >= 18


@pytest.mark.slow
def test_intervals_of_independent_images_hold_0_in_93_of_100_sets() -> None:
    assert sets_of_independent_images_that_hold_0(100) >= 93


def test_with_random_labels_everything_is_recognition_of_patients() -> None:
    for seed in range(3):
        meter = measured(*patients(seed))
        assert (meter.at_random.value or 0) > 0.9
        assert abs((meter.together.value or 0) - 0.5) < 0.2
        assert meter.is_leak
        assert meter.groups == 30
        assert "are recognition of patients" in meter.sentence


def test_test_images_of_known_patients_are_told_from_those_of_new_ones() -> None:
    features, labels, groups = patients(0)
    order = np.argsort(np.arange(len(labels)) % 8 == 7, kind="stable")  # of every patient an image in test
    meter = measured(features[order], labels[order], [groups[row] for row in order], test=30)
    assert meter.test_new is None
    assert meter.test_known is not None
    assert meter.test_known.n == 30
    assert (meter.test_known.value or 0) > 0.9
    apart = measured(features, labels, groups, test=40)
    assert (apart.test_known, apart.test_new.n if apart.test_new else 0) == (None, 40)


def test_without_groups_near_identical_neighbours_take_their_place() -> None:
    features, labels, _ = patients(0)
    meter = measured(features, labels, [""] * len(labels))
    assert meter.is_estimate
    assert meter.groups == 30
    assert meter.is_leak
    assert "an estimate" in meter.sentence
    assert len(set(neighbourhoods(independent(0)[0]).tolist())) > 100


def test_too_few_groups_are_named_and_nothing_is_computed() -> None:
    def never(rows: Indices) -> Features:
        raise AssertionError(rows)

    labels = np.repeat([0, 1], 40)
    groups = [f"{row // 20}" for row in range(80)]
    assert "5 groups each" in str(measure(labels, groups, np.zeros(80, bool), never))
    assert "5 groups each" in str(measure(labels[:20], [""] * 20, np.zeros(20, bool), never))


def test_a_measurement_survives_json() -> None:
    meter = measured(*patients(1), test=16)
    assert LeakMeter.from_dict(json.loads(json.dumps(dataclasses.asdict(meter)))) == meter


def test_the_check_warns_if_test_has_images_of_known_patients() -> None:
    facts = dataset([Row()])
    assert "leak_meter.json" in reason(recognition_of_patients, facts)
    features, labels, groups = patients(0)
    apart = measured(features, labels, groups, test=40)
    assert only(recognition_of_patients, dataclasses.replace(facts, leaks=apart)).severity == "note"
    known = measured(features[::-1], labels[::-1], groups[::-1], test=4)
    finding = only(recognition_of_patients, dataclasses.replace(facts, leaks=known))
    assert finding.severity == "warning"
    assert finding.numbers["groups"] == 30
    nothing = only(recognition_of_patients, dataclasses.replace(facts, leaks=measured(*independent(0))))
    assert (nothing.severity, "no leak is measured" in nothing.title) == ("note", True)
