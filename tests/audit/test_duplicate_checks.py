import numpy as np

from tests.audit.facts import Row, dataset, only, passes, reason, scene
from tumorboard.audit.duplicate_checks import (
    SampleGroup,
    count_leaks,
    duplicate_groups,
    groups_that_differ,
    identical_across_splits,
    identical_with_two_labels,
    identical_within_a_split,
    leaked,
    near_duplicates_across_splits,
    near_duplicates_with_two_labels,
    near_duplicates_within_a_split,
    repeats_within_splits,
    without_copies,
)
from tumorboard.data.pixels import Pixels


def _darker(seed: int) -> Pixels:
    return (scene(seed) * 0.9).astype(np.uint8)


def test_test_images_known_from_train_or_valid_are_counted_by_class() -> None:
    rows = [
        Row("train", "a", digest="one"),
        Row("valid", "b", digest="two"),
        Row("test", "a", digest="one"),
        Row("test", "b", digest="two"),
        Row("test", "b", digest="two"),
        Row("test", "b"),
    ]
    found = only(identical_across_splits, dataset(rows))
    assert found.severity == "error"
    assert (
        found.title == "identical pixels: 3 of 4 test images are also in train or valid (1 of 1 a, 2 of 3 b)"
    )
    assert found.files == (("0000", "0002"), ("0001", "0003", "0004"))
    assert found.numbers == {
        "test: a": 1,
        "test: b": 2,
        "test: duplicates": 3,
        "test: all": 4,
        "valid: duplicates": 0,
        "valid: all": 1,
    }


def test_duplicates_within_one_split_are_no_leak() -> None:
    rows = [Row("train", digest="one"), Row("train", digest="one"), Row("test")]
    assert passes(identical_across_splits, dataset(rows))


def test_a_single_split_has_no_identical_images_across_splits() -> None:
    assert "only one split" in reason(
        identical_across_splits, dataset([Row(digest="one"), Row(digest="one")])
    )


def test_repeats_are_counted_by_split_and_class() -> None:
    rows = (
        [Row(digest="one")] * 3
        + [Row("test", "b", digest="two")] * 2
        + [Row("test", "b", digest="one"), Row()]
    )
    found = only(identical_within_a_split, dataset(rows))
    assert found.severity == "warning"
    assert found.numbers == {"test: b": 1, "train: a": 2}
    assert "3 of 7 images" in found.title
    assert found.files == (("0000", "0001", "0002", "0005"), ("0003", "0004"))


def test_one_of_each_a_split_passes() -> None:
    assert passes(identical_within_a_split, dataset([Row(digest="one"), Row("test", digest="one")]))


def test_one_picture_in_two_classes_is_an_error() -> None:
    found = only(
        identical_with_two_labels,
        dataset([Row(label="a", digest="one"), Row(label="b", digest="one"), Row(digest="two")]),
    )
    assert (found.severity, found.files) == ("error", (("0000", "0001"),))
    assert "a and b" in found.title


def test_duplicates_of_one_class_pass() -> None:
    assert passes(identical_with_two_labels, dataset([Row(digest="one"), Row("test", digest="one")]))


def test_a_darker_and_a_rotated_copy_in_test_are_found() -> None:
    rows = [
        Row("train", thumbnail=scene(1)),
        Row("test", thumbnail=_darker(1)),
        Row("train", thumbnail=scene(2)),
        Row("test", thumbnail=np.rot90(scene(2))),
        Row("test"),
    ]
    found = only(near_duplicates_across_splits, dataset(rows))
    assert found.severity == "error"
    assert found.files == (("0000", "0001"), ("0002", "0003"))
    assert found.numbers["test: duplicates"] == 2


def test_what_is_there_exactly_is_not_told_twice() -> None:
    rows = [
        Row("train", thumbnail=scene(1), digest="one"),
        Row("train", thumbnail=_darker(1)),
        Row("test", thumbnail=scene(1), digest="one"),
    ]
    assert passes(near_duplicates_across_splits, dataset(rows))


def test_near_duplicates_within_a_split_and_other_pictures_pass() -> None:
    assert passes(
        near_duplicates_across_splits,
        dataset([Row(thumbnail=scene(1)), Row(thumbnail=_darker(1)), Row("test")]),
    )


def test_a_single_split_has_no_near_duplicates_across_splits() -> None:
    assert "only one split" in reason(
        near_duplicates_across_splits, dataset([Row(thumbnail=scene(1)), Row(thumbnail=_darker(1))])
    )


def test_near_duplicates_are_counted_without_their_exact_copies() -> None:
    rows = [
        Row(thumbnail=scene(1), digest="one"),
        Row(thumbnail=scene(1), digest="one"),
        Row(thumbnail=_darker(1)),
    ]
    found = only(near_duplicates_within_a_split, dataset(rows))
    assert found.numbers == {"train: a": 1}
    assert found.files == (("0000", "0002"),)


def test_exact_duplicates_alone_pass() -> None:
    assert passes(
        near_duplicates_within_a_split,
        dataset([Row(thumbnail=scene(1), digest="one"), Row(thumbnail=scene(1), digest="one")]),
    )


def test_near_duplicates_of_two_classes_are_found() -> None:
    found = only(
        near_duplicates_with_two_labels,
        dataset([Row(label="a", thumbnail=scene(1)), Row(label="b", thumbnail=_darker(1))]),
    )
    assert (found.severity, found.files) == ("warning", (("0000", "0001"),))


def test_near_duplicates_of_one_class_pass() -> None:
    assert passes(
        near_duplicates_with_two_labels, dataset([Row(thumbnail=scene(1)), Row(thumbnail=_darker(1))])
    )


FACTS = dataset(
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


def _ids(groups: tuple[SampleGroup, ...]) -> list[list[str]]:
    return [[sample.id for sample in group] for group in groups]


def test_exact_groups_hold_equal_pixels_only() -> None:
    assert _ids(duplicate_groups(FACTS, "identical")) == [["0000", "0001"], ["0005", "0006"]]


def test_near_groups_hold_at_least_two_pictures_with_all_their_copies() -> None:
    assert _ids(duplicate_groups(FACTS, "near")) == [["0000", "0001", "0002"]]


def test_apart_is_what_differs() -> None:
    assert _ids(groups_that_differ(FACTS, "identical", lambda sample: sample.split)) == [["0000", "0001"]]
    assert _ids(groups_that_differ(FACTS, "near", lambda sample: sample.label)) == [["0000", "0001", "0002"]]
    assert groups_that_differ(FACTS, "identical", lambda sample: sample.label) == ()


def test_leaked_near_duplicates_are_those_that_are_not_leaked_exactly() -> None:
    assert [sample.id for sample in leaked(FACTS, "identical", "test")] == ["0001"]
    assert [sample.id for sample in leaked(FACTS, "near", "test")] == ["0002"]
    assert leaked(FACTS, "identical", "valid") == ()


def test_leaks_in_words_and_numbers() -> None:
    words, numbers = count_leaks(FACTS, "identical")
    assert words == "1 of 5 test images are also in train or valid (1 of 4 a)"
    assert numbers == {
        "test: a": 1, "test: duplicates": 1, "test: all": 5, "valid: duplicates": 0, "valid: all": 1,
    }  # fmt: skip


def test_a_valid_picture_that_is_in_test_leaks_into_test_only() -> None:
    facts = dataset([Row("valid", digest="one"), Row("test", digest="one")])
    assert [sample.id for sample in leaked(facts, "identical", "test")] == ["0001"]
    assert leaked(facts, "identical", "valid") == ()


def test_without_copies_each_picture_is_there_once_a_split() -> None:
    assert _ids(without_copies(FACTS, duplicate_groups(FACTS, "near"))) == [["0000", "0001", "0002"]]
    assert _ids(without_copies(FACTS, duplicate_groups(FACTS, "identical"))) == [["0000", "0001"], ["0005"]]


def test_the_class_with_most_repeats_is_named() -> None:
    rows = [Row("train", "a", digest="one")] * 3 + [Row("test", "b", digest="two")] * 2 + [Row("train", "a")]
    facts = dataset(rows)
    (found,) = repeats_within_splits(facts, duplicate_groups(facts, "identical"), "pictures")
    assert found.title == (
        "pictures: 3 of 6 images repeat another of their split, among them 2 of 4 a of train"
    )


def test_data_without_parts_is_one_part() -> None:
    facts = dataset([Row("", digest="one"), Row("", digest="one")])
    (found,) = repeats_within_splits(facts, duplicate_groups(facts, "identical"), "pictures")
    assert found.numbers == {"all: a": 1}


def test_no_group_is_no_finding() -> None:
    assert repeats_within_splits(dataset([Row()]), (), "pictures") == ()
