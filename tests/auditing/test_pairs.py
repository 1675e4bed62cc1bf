import numpy as np

from tests.auditing.studies import Row, scene, study
from tumorboard.auditing import pairs


def _darker(seed: int) -> np.ndarray:
    return (scene(seed) * 0.9).astype(np.uint8)


FACTS = study(
    [
        Row("train", "a", digest="one", thumbnail=scene(1)),
        Row("test", "a", digest="one", thumbnail=scene(1)),
        Row("test", "b", thumbnail=_darker(1)),
        Row("valid", "a", thumbnail=scene(2)),
        Row("test", "a", thumbnail=scene(3)),
        Row("test", "a", digest="four", thumbnail=scene(4)),
        Row("test", "a", digest="four", thumbnail=scene(4)),
    ]
)


def _ids(groups: tuple[pairs.Group, ...]) -> list[list[str]]:
    return [[sample.id for sample in group] for group in groups]


def test_exact_groups_hold_equal_pixels_only() -> None:
    assert _ids(pairs.groups(FACTS, "exact")) == [["0000", "0001"], ["0005", "0006"]]


def test_near_groups_hold_at_least_two_pictures_with_all_their_copies() -> None:
    assert _ids(pairs.groups(FACTS, "near")) == [["0000", "0001", "0002"]]


def test_apart_is_what_differs() -> None:
    assert _ids(pairs.apart(FACTS, "exact", lambda sample: sample.split)) == [["0000", "0001"]]
    assert _ids(pairs.apart(FACTS, "near", lambda sample: sample.label)) == [["0000", "0001", "0002"]]
    assert pairs.apart(FACTS, "exact", lambda sample: sample.label) == ()


def test_leaked_near_twins_are_those_that_are_not_leaked_exactly() -> None:
    assert [sample.id for sample in pairs.leaked(FACTS, "exact", "test")] == ["0001"]
    assert [sample.id for sample in pairs.leaked(FACTS, "near", "test")] == ["0002"]
    assert pairs.leaked(FACTS, "exact", "valid") == ()


def test_leaks_in_words_and_numbers() -> None:
    words, numbers = pairs.leaks(FACTS, "exact")
    assert words == "1 of 5 test images are in train or valid too (1 of 4 a)"
    assert numbers == {
        "test: a": 1, "test: twins": 1, "test: all": 5, "valid: twins": 0, "valid: all": 1,
    }  # fmt: skip


def test_a_valid_picture_that_is_in_test_leaks_into_test_only() -> None:
    facts = study([Row("valid", digest="one"), Row("test", digest="one")])
    assert [sample.id for sample in pairs.leaked(facts, "exact", "test")] == ["0001"]
    assert pairs.leaked(facts, "exact", "valid") == ()


def test_without_copies_each_picture_is_there_once_a_split() -> None:
    assert _ids(pairs.without_copies(FACTS, pairs.groups(FACTS, "near"))) == [["0000", "0001", "0002"]]
    assert _ids(pairs.without_copies(FACTS, pairs.groups(FACTS, "exact"))) == [["0000", "0001"], ["0005"]]
