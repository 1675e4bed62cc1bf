import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorboard import config
from tumorboard.data.manifest import Manifest, Sample
from tumorboard.data.splitting import complete
from tumorboard.errors import DataError

SPLITTING = config.Splitting(valid=0.15, test=0.20)


def study(rows: list[tuple[str, str, str]]) -> Manifest:
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
    manifest = study([("", label, "") for label in ["a"] * 200 + ["b"] * 40])
    done = complete(manifest, distinct(manifest), SPLITTING, seed=0)
    expected = {"train": 0.65, "valid": 0.15, "test": 0.20}
    assert shares(done, "a") == expected
    assert shares(done, "b") == expected
    assert done.ids == manifest.ids


def test_given_parts_never_move():
    rows = [(split, label, "") for split in ("train", "valid", "test") for label in "ab" for _ in range(3)]
    manifest = study(rows)
    assert complete(manifest, ["same"] * len(rows), SPLITTING, seed=0) == manifest


@pytest.mark.parametrize("missing", ["valid", "test"])
def test_only_the_missing_part_is_split_off_train(missing):
    present = "test" if missing == "valid" else "valid"
    manifest = study(
        [(s, label, "") for s, n in (("train", 40), (present, 10)) for label in "ab" for _ in range(n)]
    )
    done = complete(manifest, distinct(manifest), SPLITTING, seed=1)
    before = [s.id for s in manifest.samples if s.split == present]
    assert [s.id for s in done.samples if s.split == present] == before
    wanted = round(50 * (0.15 if missing == "valid" else 0.20))
    assert done.counts[missing] == {"a": wanted, "b": wanted}


def test_a_twin_of_a_given_part_stays_in_train():
    rows = [("train", label, "") for label in "ab" for _ in range(20)] + [("valid", c, "") for c in "ab"]
    manifest = study(rows)
    pixels = distinct(manifest)
    pixels[0:10] = [pixels[40]] * 10  # half of train's a are pictures of the given valid part
    for seed in range(10):
        done = complete(manifest, pixels, SPLITTING, seed)
        assert {sample.split for sample in done.samples[:10]} == {"train"}
        assert done.counts["test"] == {"a": 4, "b": 4}


def test_what_is_tied_over_several_steps_stays_together():
    manifest = study([("", "a", "p1"), ("", "a", "p1"), ("", "a", "p2"), *[("", c, "") for c in "ab" * 20]])
    pixels = distinct(manifest)
    pixels[2] = pixels[1]  # p1 and p2 share a picture
    for seed in range(20):
        done = complete(manifest, pixels, SPLITTING, seed)
        assert len({sample.split for sample in done.samples[:3]}) == 1


def test_unknown_samples_join_given_parts():
    rows = [("", c, "") for c in "ab" * 20] + [(s, c, "") for s in ("train", "valid", "test") for c in "ab"]
    manifest = study(rows)
    done = complete(manifest, distinct(manifest), SPLITTING, seed=0)
    assert done.counts == {"train": {"a": 21, "b": 21}, "valid": {"a": 1, "b": 1}, "test": {"a": 1, "b": 1}}


def test_the_seed_decides_and_nothing_else():
    manifest = study([("", c, "") for c in "ab" * 30])
    first = complete(manifest, distinct(manifest), SPLITTING, seed=3)
    assert complete(manifest, distinct(manifest), SPLITTING, seed=3) == first
    assert complete(manifest, distinct(manifest), SPLITTING, seed=4) != first


@pytest.mark.parametrize("seed", range(5))
def test_names_and_order_of_files_do_not_matter(seed):
    pictures = [(f"pixels {n}", "ab"[n % 2], f"p{n // 3}") for n in range(60)]

    def dealt(rows):
        manifest = study([("", label, group) for _, label, group in rows])
        done = complete(manifest, [pixels for pixels, _, _ in rows], SPLITTING, seed)
        return {pixels: sample.split for (pixels, _, _), sample in zip(rows, done.samples, strict=True)}

    shuffled = random.Random(seed).sample(pictures, len(pictures))  # noqa: S311 - an order, not a secret
    assert dealt(shuffled) == dealt(pictures)


def test_a_class_too_small_to_split_is_named():
    manifest = study([("", c, "") for c in "aaaaaaaabb"])
    with pytest.raises(DataError, match=r"at least 3 separable images of class 'b' .* found 2"):
        complete(manifest, distinct(manifest), SPLITTING, seed=0)


def test_twins_count_once():
    manifest = study([("", c, "") for c in "aaaaaaaabbbbbb"])
    pixels = distinct(manifest)
    pixels[8:] = ["one picture"] * 6
    with pytest.raises(DataError, match=r"class 'b' .* found 1"):
        complete(manifest, pixels, SPLITTING, seed=0)


def test_three_of_a_class_are_enough():
    manifest = study([("", c, "") for c in "aaaaaaaabbb"])
    done = complete(manifest, distinct(manifest), SPLITTING, seed=0)
    assert [done.counts[split]["b"] for split in ("train", "valid", "test")] == [1, 1, 1]


def test_without_anything_to_train_on():
    manifest = study([("test", c, "") for c in "aabb"])
    with pytest.raises(DataError, match="expected a train part"):
        complete(manifest, distinct(manifest), SPLITTING, seed=0)


def test_groups_that_leave_no_deal_are_an_error():
    """Three units of each class for three parts, but what holds b and c has no a left to go with it."""
    groups = ["ab", "ab", "bc", "ca", "c"]
    manifest = study([("", label, f"p{n}") for n, group in enumerate(groups) for label in group])
    for seed in range(5):
        with pytest.raises(DataError, match="that its groups set free"):
            complete(manifest, distinct(manifest), SPLITTING, seed)


ROWS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 12), st.integers(0, 60)), min_size=60, max_size=160
)


@settings(deadline=None, max_examples=60)
@given(rows=ROWS, seed=st.integers(0, 2**32 - 1))
def test_nothing_that_belongs_together_is_torn_apart(rows, seed):
    """Groups of one class each (a patient has one diagnosis), pictures with twins inside their class."""
    base = [("x", n, 1000 + n) for n in range(30)] + [("y", n, 2000 + n) for n in range(30)]
    rows = [*base, *((label, group, picture) for label, group, picture in rows)]
    counts = Counter(label for label, _, _ in rows)
    manifest = study([("", label, f"{label}{group}" if group else "") for label, group, _ in rows])
    pixels = [f"{label}/{picture}" for label, _, picture in rows]
    try:
        done = complete(manifest, pixels, SPLITTING, seed)
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
