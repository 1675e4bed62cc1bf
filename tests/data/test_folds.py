import random
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from tumorboard import config
from tumorboard.data.manifest import Manifest, Sample
from tumorboard.data.near_duplicates import Duplicates
from tumorboard.data.splitting import components, divide, folds
from tumorboard.errors import DataError

SIZES = config.Splitting(valid=0.15, test=0.20)
FRACTIONS = {"train": 0.65, "valid": 0.15, "test": 0.20}


def study(rows: list[tuple[str, str]]) -> Manifest:
    """Samples of (label, group), in old splits that must not matter."""
    olds = ("train", "valid", "test", "")
    return Manifest.of(
        Sample(f"{n:05}", Path(f"/d/{n}"), olds[n % 4], label, group, "")
        for n, (label, group) in enumerate(rows)
    )


def twins(units: list[int]) -> Duplicates:
    numbers = np.array(units, np.int64)
    return Duplicates(np.arange(len(units)), (), numbers)


def singles(manifest: Manifest) -> list[str]:
    return [f"set-{name}" for name in manifest.ids]


def digests(count: int) -> list[str]:
    return [f"pixels {n}" for n in range(count)]


def test_groups_and_twins_are_joined_over_any_number_of_steps():
    manifest = study([("a", "p1"), ("a", "p1"), ("b", "p2"), ("b", "p2"), ("a", ""), ("a", ""), ("a", "p3")])
    tied = components(manifest, digests(7), twins([0, 1, 1, 2, 2, 3, 4]))
    assert len(set(tied[:5])) == 1  # p1 - twin - p2 - twin - a lone image
    assert len({tied[0], tied[5], tied[6]}) == 3


def test_names_of_components_come_from_pixels_alone():
    rows = [("a", "Jane Doe"), ("a", "Jane Doe"), ("b", ""), ("b", "")]
    tied = components(study(rows), digests(4), twins([0, 1, 2, 2]))
    other = [("b", ""), ("b", ""), ("a", "John Doe"), ("a", "John Doe")]
    pixels = digests(4)
    back = components(study(other), pixels[2:] + pixels[:2], twins([7, 7, 3, 4]))
    assert back == tied[2:] + tied[:2]
    assert len(set(tied)) == 2


@pytest.mark.parametrize("k", [2, 3, 5, 10])
def test_each_image_is_test_in_exactly_one_fold(k):
    manifest = study([(label, "") for label in ["a"] * 103 + ["b"] * 41 + ["c"] * 12])
    done = folds(manifest, singles(manifest), k, SIZES, seed=0)
    assert len(done) == k
    seen = Counter(sample.id for one in done for sample in one.part("test").samples)
    assert seen == Counter(manifest.ids)
    for one in done:
        for name, total in (("a", 103), ("b", 41), ("c", 12)):
            assert one.counts["test"][name] - total // k in (0, 1)
            assert one.counts["valid"][name] == max(1, round(0.15 * total))


def test_all_but_the_split_stays_as_it_was():
    manifest = study([(label, f"p{n // 2}") for n, label in enumerate("ab" * 30)])
    tied = components(manifest, digests(60), twins(list(range(60))))
    for done in (divide(manifest, tied, SIZES, 0), *folds(manifest, tied, 3, SIZES, 0)):
        blank = [replace(sample, split="") for sample in done.samples]
        assert blank == [replace(sample, split="") for sample in manifest.samples]


def test_the_seed_decides():
    manifest = study([(label, "") for label in "ab" * 40])
    tied = singles(manifest)
    assert divide(manifest, tied, SIZES, 1) == divide(manifest, tied, SIZES, 1)
    assert divide(manifest, tied, SIZES, 1) != divide(manifest, tied, SIZES, 2)
    assert folds(manifest, tied, 4, SIZES, 1) == folds(manifest, tied, 4, SIZES, 1)
    assert folds(manifest, tied, 4, SIZES, 1) != folds(manifest, tied, 4, SIZES, 2)


@pytest.mark.parametrize("seed", range(3))
def test_names_order_and_old_splits_of_files_do_not_matter(seed):
    rows = [(f"set-{n // 3}", "abc"[n % 3]) for n in range(120)]

    def dealt(rows):
        manifest = study([(label, "") for _, label in rows])
        tied = [name for name, _ in rows]
        found = (divide(manifest, tied, SIZES, seed), *folds(manifest, tied, 4, SIZES, seed))
        return [dict(zip(tied, (s.split for s in one.samples), strict=True)) for one in found]

    shuffled = random.Random(seed).sample(rows, len(rows))  # noqa: S311 - an order, not a secret
    assert dealt(shuffled) == dealt(rows)


@pytest.mark.parametrize(("k", "count"), [(5, 4), (2, 3)])
def test_a_class_too_small_for_so_many_folds_is_named(k, count):
    manifest = study([(label, "") for label in "a" * 20 + "b" * count])
    with pytest.raises(DataError, match=rf"class 'b' for {k} folds, found {count}"):
        folds(manifest, singles(manifest), k, SIZES, seed=0)


# R1: random studies. Patients have 1 to 8 images of one class, in some studies a few have two classes; some
# images belong to nobody; some are twins of another one of their class, be it another patient's.


@st.composite
def studies(draw):
    """A manifest, its twins, the number of folds (0 for one split), whether patients have two classes."""
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
    return study(rows), twins(units), k, mixed > 0, seed


def torn(manifest: Manifest, units: Duplicates) -> list[str]:
    """Groups and twins that are in two parts."""
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
        done = folds(manifest, tied, k, SIZES, seed) if k else (divide(manifest, tied, SIZES, seed),)
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
        tested = Counter(sample.id for one in done for sample in one.part("test").samples)
        assert tested == Counter(manifest.ids)
