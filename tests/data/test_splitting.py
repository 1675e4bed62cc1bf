import random
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from tumorboard import config
from tumorboard.data.dicom import reader as dicom
from tumorboard.data.manifest import Manifest, Sample
from tumorboard.data.near_duplicates import Duplicates
from tumorboard.data.splitting import assign_splits, components, new_folds, new_split
from tumorboard.errors import DataError

SPLITTING = config.Splitting(valid=0.15, test=0.20)


def dataset(rows: list[tuple[str, str, str]]) -> Manifest:
    """Samples of (split, label, group)."""
    return Manifest.of(
        Sample(f"{n:05}", Path(f"/d/{n}"), split, label, group, "")
        for n, (split, label, group) in enumerate(rows)
    )


def distinct(manifest: Manifest) -> list[str]:
    return [f"pixels of {name}" for name in manifest.ids]


def shares(manifest: Manifest, label: str) -> dict[str, float]:
    counts = Counter(sample.split for sample in manifest.samples if sample.label == label)
    return {split: count / counts.total() for split, count in counts.items()}


def test_single_images_are_dealt_exactly():
    manifest = dataset([("", label, "") for label in ["a"] * 200 + ["b"] * 40])
    done = assign_splits(manifest, distinct(manifest), SPLITTING, seed=0)
    expected = {"train": 0.65, "valid": 0.15, "test": 0.20}
    assert shares(done, "a") == expected
    assert shares(done, "b") == expected
    assert done.ids == manifest.ids


def test_given_parts_never_move():
    rows = [(split, label, "") for split in ("train", "valid", "test") for label in "ab" for _ in range(3)]
    rows.append(("test", "c", ""))  # whether a class is missing from train is not asked here
    manifest = dataset(rows)
    assert assign_splits(manifest, ["same"] * len(rows), SPLITTING, seed=0) == manifest


@pytest.mark.parametrize("missing", ["valid", "test"])
def test_only_the_missing_part_is_split_off_train(missing):
    present = "test" if missing == "valid" else "valid"
    manifest = dataset(
        [(s, label, "") for s, n in (("train", 40), (present, 10)) for label in "ab" for _ in range(n)]
    )
    done = assign_splits(manifest, distinct(manifest), SPLITTING, seed=1)
    before = [s.id for s in manifest.samples if s.split == present]
    assert [s.id for s in done.samples if s.split == present] == before
    wanted = round(50 * (0.15 if missing == "valid" else 0.20))
    assert done.counts[missing] == {"a": wanted, "b": wanted}


def test_a_twin_of_a_given_part_stays_in_train():
    rows = [("train", label, "") for label in "ab" for _ in range(20)] + [("valid", c, "") for c in "ab"]
    manifest = dataset(rows)
    pixels = distinct(manifest)
    pixels[0:10] = [pixels[40]] * 10  # half of train's a are pictures of the given valid part
    for seed in range(10):
        done = assign_splits(manifest, pixels, SPLITTING, seed)
        assert {sample.split for sample in done.samples[:10]} == {"train"}
        assert done.counts["test"] == {"a": 4, "b": 4}


def test_what_is_tied_over_several_steps_stays_together():
    manifest = dataset([("", "a", "p1"), ("", "a", "p1"), ("", "a", "p2"), *[("", c, "") for c in "ab" * 20]])
    pixels = distinct(manifest)
    pixels[2] = pixels[1]  # p1 and p2 share a picture
    for seed in range(20):
        done = assign_splits(manifest, pixels, SPLITTING, seed)
        assert len({sample.split for sample in done.samples[:3]}) == 1


def test_unknown_samples_join_given_parts():
    rows = [("", c, "") for c in "ab" * 20] + [(s, c, "") for s in ("train", "valid", "test") for c in "ab"]
    manifest = dataset(rows)
    done = assign_splits(manifest, distinct(manifest), SPLITTING, seed=0)
    assert done.counts == {"train": {"a": 21, "b": 21}, "valid": {"a": 1, "b": 1}, "test": {"a": 1, "b": 1}}


def test_the_seed_decides_and_nothing_else():
    manifest = dataset([("", c, "") for c in "ab" * 30])
    first = assign_splits(manifest, distinct(manifest), SPLITTING, seed=3)
    assert assign_splits(manifest, distinct(manifest), SPLITTING, seed=3) == first
    assert assign_splits(manifest, distinct(manifest), SPLITTING, seed=4) != first


@pytest.mark.parametrize("seed", range(5))
def test_names_and_order_of_files_do_not_matter(seed):
    pictures = [(f"pixels {n}", "ab"[n % 2], f"p{n // 3}") for n in range(60)]

    def dealt(rows):
        manifest = dataset([("", label, group) for _, label, group in rows])
        done = assign_splits(manifest, [pixels for pixels, _, _ in rows], SPLITTING, seed)
        return {pixels: sample.split for (pixels, _, _), sample in zip(rows, done.samples, strict=True)}

    shuffled = random.Random(seed).sample(pictures, len(pictures))  # noqa: S311 - an order, not a secret
    assert dealt(shuffled) == dealt(pictures)


def test_a_class_too_small_to_split_is_named():
    manifest = dataset([("", c, "") for c in "aaaaaaaabb"])
    with pytest.raises(DataError, match=r"at least 3 separable images of class 'b' .* found 2"):
        assign_splits(manifest, distinct(manifest), SPLITTING, seed=0)


def test_one_group_of_nearly_all_is_named():
    manifest = dataset([("", c, "REMOVED") for c in "aaaaaaaabbbbbbbb"])
    with pytest.raises(DataError) as caught:
        assign_splits(manifest, distinct(manifest), SPLITTING, seed=0)
    (advice,) = caught.value.details
    assert advice.startswith("16 of 16 images are of one group, 'REMOVED'; if that is not one patient, leave")


def test_a_group_of_dicom_headers_is_corrected_by_naming_the_patients():
    manifest = dataset([("", c, f"{dicom.PREFIX}0f") for c in "aaaaaaaabbbbbbbb"])
    with pytest.raises(DataError) as caught:
        assign_splits(manifest, distinct(manifest), SPLITTING, seed=0)
    (advice,) = caught.value.details
    assert advice.endswith("not one patient, name the patients in the column group of a manifest CSV")


def test_duplicates_count_once():
    manifest = dataset([("", c, "") for c in "aaaaaaaabbbbbb"])
    pixels = distinct(manifest)
    pixels[8:] = ["one picture"] * 6
    with pytest.raises(DataError, match=r"class 'b' .* found 1"):
        assign_splits(manifest, pixels, SPLITTING, seed=0)


def test_three_of_a_class_are_enough():
    manifest = dataset([("", c, "") for c in "aaaaaaaabbb"])
    done = assign_splits(manifest, distinct(manifest), SPLITTING, seed=0)
    assert [done.counts[split]["b"] for split in ("train", "valid", "test")] == [1, 1, 1]


def test_without_anything_to_train_on():
    manifest = dataset([("test", c, "") for c in "aabb"])
    with pytest.raises(DataError, match="expected a train split"):
        assign_splits(manifest, distinct(manifest), SPLITTING, seed=0)


def test_groups_that_leave_no_deal_are_an_error():
    """Three units of each class for three parts, but what holds b and c has no a left to go with it."""
    groups = ["ab", "ab", "bc", "ca", "c"]
    manifest = dataset([("", label, f"p{n}") for n, group in enumerate(groups) for label in group])
    for seed in range(5):
        with pytest.raises(DataError, match="that its groups set free"):
            assign_splits(manifest, distinct(manifest), SPLITTING, seed)


ROWS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 12), st.integers(0, 60)), min_size=60, max_size=160
)


@settings(deadline=None, max_examples=60)
@given(rows=ROWS, seed=st.integers(0, 2**32 - 1))
def test_nothing_that_belongs_together_is_torn_apart(rows, seed):
    """Groups of one class each (a patient has one diagnosis), images with duplicates inside their class."""
    base = [("x", n, 1000 + n) for n in range(30)] + [("y", n, 2000 + n) for n in range(30)]
    rows = [*base, *((label, group, picture) for label, group, picture in rows)]
    counts = Counter(label for label, _, _ in rows)
    manifest = dataset([("", label, f"{label}{group}" if group else "") for label, group, _ in rows])
    pixels = [f"{label}/{picture}" for label, _, picture in rows]
    try:
        done = assign_splits(manifest, pixels, SPLITTING, seed)
    except DataError as error:
        # Only a small class may fail; x and y have thirty separable images each.
        assert any(f"'{name}'" in str(error) for name in "abc"), error  # noqa: PT017
        return
    for key in (lambda i: pixels[i], lambda i: manifest.samples[i].group or str(i)):
        parts: dict[str, set[str]] = {}
        for i, sample in enumerate(done.samples):
            parts.setdefault(key(i), set()).add(sample.split)
        assert all(len(found) == 1 for found in parts.values())
    assert all(count > 0 for part in done.counts.values() for count in part.values())
    for split, fraction in (("valid", 0.15), ("test", 0.20)):
        for name in "xy":
            # Single pictures and one group: at most that group off.
            assert abs(done.counts[split][name] - fraction * counts[name]) <= 1


FRACTIONS = {"train": 0.65, "valid": 0.15, "test": 0.20}


def in_old_splits(rows: list[tuple[str, str]]) -> Manifest:
    """Samples of (label, group), in old splits that must not matter."""
    olds = ("train", "valid", "test", "")
    return Manifest.of(
        Sample(f"{n:05}", Path(f"/d/{n}"), olds[n % 4], label, group, "")
        for n, (label, group) in enumerate(rows)
    )


def duplicates(units: list[int]) -> Duplicates:
    numbers = np.array(units, np.int64)
    return Duplicates(np.arange(len(units)), (), numbers)


def singles(manifest: Manifest) -> list[str]:
    return [f"set-{name}" for name in manifest.ids]


def digests(count: int) -> list[str]:
    return [f"pixels {n}" for n in range(count)]


def test_groups_and_duplicates_are_joined_over_any_number_of_steps():
    manifest = in_old_splits(
        [("a", "p1"), ("a", "p1"), ("b", "p2"), ("b", "p2"), ("a", ""), ("a", ""), ("a", "p3")]
    )
    tied = components(manifest, digests(7), duplicates([0, 1, 1, 2, 2, 3, 4]))
    assert len(set(tied[:5])) == 1  # p1 - twin - p2 - twin - a lone image
    assert len({tied[0], tied[5], tied[6]}) == 3


def test_names_of_components_come_from_pixels_alone():
    rows = [("a", "Jane Doe"), ("a", "Jane Doe"), ("b", ""), ("b", "")]
    tied = components(in_old_splits(rows), digests(4), duplicates([0, 1, 2, 2]))
    other = [("b", ""), ("b", ""), ("a", "John Doe"), ("a", "John Doe")]
    pixels = digests(4)
    back = components(in_old_splits(other), pixels[2:] + pixels[:2], duplicates([7, 7, 3, 4]))
    assert back == tied[2:] + tied[:2]
    assert len(set(tied)) == 2


@pytest.mark.parametrize("k", [2, 3, 5, 10])
def test_each_image_is_test_in_exactly_one_fold(k):
    manifest = in_old_splits([(label, "") for label in ["a"] * 103 + ["b"] * 41 + ["c"] * 12])
    done = new_folds(manifest, singles(manifest), k, SPLITTING, seed=0)
    assert len(done) == k
    seen = Counter(sample.id for one in done for sample in one.select("test").samples)
    assert seen == Counter(manifest.ids)
    for one in done:
        for name, total in (("a", 103), ("b", 41), ("c", 12)):
            assert one.counts["test"][name] - total // k in (0, 1)
            assert one.counts["valid"][name] == max(1, round(0.15 * total))


def test_all_but_the_split_stays_as_it_was():
    manifest = in_old_splits([(label, f"p{n // 2}") for n, label in enumerate("ab" * 30)])
    tied = components(manifest, digests(60), duplicates(list(range(60))))
    for done in (new_split(manifest, tied, SPLITTING, 0), *new_folds(manifest, tied, 3, SPLITTING, 0)):
        blank = [replace(sample, split="") for sample in done.samples]
        assert blank == [replace(sample, split="") for sample in manifest.samples]


def test_the_seed_decides():
    manifest = in_old_splits([(label, "") for label in "ab" * 40])
    tied = singles(manifest)
    assert new_split(manifest, tied, SPLITTING, 1) == new_split(manifest, tied, SPLITTING, 1)
    assert new_split(manifest, tied, SPLITTING, 1) != new_split(manifest, tied, SPLITTING, 2)
    assert new_folds(manifest, tied, 4, SPLITTING, 1) == new_folds(manifest, tied, 4, SPLITTING, 1)
    assert new_folds(manifest, tied, 4, SPLITTING, 1) != new_folds(manifest, tied, 4, SPLITTING, 2)


@pytest.mark.parametrize("seed", range(3))
def test_names_order_and_old_splits_of_files_do_not_matter(seed):
    rows = [(f"set-{n // 3}", "abc"[n % 3]) for n in range(120)]

    def dealt(rows):
        manifest = in_old_splits([(label, "") for _, label in rows])
        tied = [name for name, _ in rows]
        found = (new_split(manifest, tied, SPLITTING, seed), *new_folds(manifest, tied, 4, SPLITTING, seed))
        return [dict(zip(tied, (s.split for s in one.samples), strict=True)) for one in found]

    shuffled = random.Random(seed).sample(rows, len(rows))  # noqa: S311 - an order, not a secret
    assert dealt(shuffled) == dealt(rows)


@pytest.mark.parametrize(("k", "count"), [(5, 4), (2, 3)])
def test_a_class_too_small_for_so_many_folds_is_named(k, count):
    manifest = in_old_splits([(label, "") for label in "a" * 20 + "b" * count])
    with pytest.raises(DataError, match=rf"class 'b' for {k} folds, found {count}"):
        new_folds(manifest, singles(manifest), k, SPLITTING, seed=0)


# R1: random studies. Patients have 1 to 8 images of one class, in some studies a few have two classes; some
# images belong to nobody; some are duplicates of another one of their class, be it another patient's.


@st.composite
def studies(draw):
    """A manifest, its duplicates, the number of folds (0: one split), whether patients have two classes."""
    seed, k = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([0, 0, 0, 0, 3]))
    classes, mixed = draw(st.integers(2, 5)), draw(st.sampled_from([0.0, 0.1]))
    fewest, most, largest = draw(st.sampled_from([(12, 30, 8), (12, 50, 2), (100, 145, 1)]))
    patients = draw(st.integers(fewest, most))
    rng = random.Random(seed)  # noqa: S311 - a test, and hypothesis would need seconds for so many draws
    rows = []
    for number in range(patients):
        labels = rng.choices("abcde"[:classes], k=2 if rng.random() < mixed else 1)
        group = f"p{number}" if rng.random() < 0.8 else ""
        rows += [(rng.choice(labels), group) for _ in range(rng.randint(1, largest))]
    rng.shuffle(rows)
    units = list(range(len(rows)))
    for i in rng.sample(units, rng.choice([0, len(rows) // 60])):
        units[i] = units[rng.choice([j for j, row in enumerate(rows) if row[0] == rows[i][0]])]
    return in_old_splits(rows), duplicates(units), k, mixed > 0, seed


def torn(manifest: Manifest, units: Duplicates) -> list[str]:
    """Groups and duplicates that are in two parts."""
    parts = defaultdict(set)
    for sample, unit in zip(manifest.samples, units.component, strict=True):
        parts[f"unit {unit}"].add(sample.split)
        if sample.group:
            parts[f"group {sample.group}"].add(sample.split)
    return [name for name, splits in parts.items() if len(splits) > 1]


def furthest(manifest: Manifest, split: str) -> float:
    """The largest difference between the share of a class in a part, and in the study."""
    whole = Counter(sample.label for sample in manifest.samples)
    part = manifest.counts[split]
    images = sum(part.values())
    return max(abs(part[name] / images - whole[name] / whole.total()) for name in whole)


@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(studies())
def test_random_studies_are_split_without_tearing_and_stratified(drawn):
    """Within 5 points where possible: where no component outweighs them, a twentieth of the part."""
    manifest, units, k, mixed, seed = drawn
    assume(len(manifest.class_names) > 1)
    tied = components(manifest, digests(len(manifest.samples)), units)
    pairs = set(zip(tied, (sample.label for sample in manifest.samples), strict=True))
    fewest = min(Counter(label for _, label in pairs).values())
    try:
        done = (
            new_folds(manifest, tied, k, SPLITTING, seed)
            if k
            else (new_split(manifest, tied, SPLITTING, seed),)
        )
    except DataError as error:
        event(f"refused: {mixed and fewest >= (k or 3)}")
        assert fewest < (k or 3) or (mixed and "that its groups set free" in str(error)), error  # noqa: PT017
        return
    assert fewest >= (k or 3)
    largest = max(Counter(tied).values())
    for one in done:
        assert not torn(one, units)
        for split, part in one.counts.items():
            assert all(part.values())
            if largest <= sum(part.values()) / 20:
                event(f"within 5 points: {split}")
                assert furthest(one, split) <= 0.05
    if k:
        tested = Counter(sample.id for one in done for sample in one.select("test").samples)
        assert tested == Counter(manifest.ids)
