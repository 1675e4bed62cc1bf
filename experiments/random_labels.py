"""Show the effect of a split that ignores patients, whose labels are random.

    python experiments/random_labels.py [--seeds 10]

Every synthetic patient has 20 nearly identical slices and a random label. An accuracy above chance
on the test split means that patients were recognised. docs/random-labels.md discusses the output.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.stats import binom
from sklearn.neighbors import KNeighborsClassifier

from tumorboard import config
from tumorboard.data import near_duplicates
from tumorboard.data.image_cache import pixel_digest
from tumorboard.data.manifest import Manifest, Sample
from tumorboard.data.splitting import components, new_split
from tumorboard.data.synthetic import draw_slice

PATIENTS, SLICES, SIDE = 60, 20, 32
SIZES = config.Splitting(valid=0.05, test=0.30)


@dataclass(frozen=True)
class Score:
    """The result of one split.

    Args:
        accuracy: On the test split.
        patients: Patients in the test split.
        shared: Those of them who also have slices in train.
    """

    accuracy: float
    patients: int
    shared: int

    @property
    def chance(self) -> tuple[float, float]:
        """Return the central 95% of accuracies at chance, with patients as the independent units."""
        low, high = binom.ppf((0.025, 0.975), self.patients, 0.5) / self.patients
        return float(low), float(high)

    @property
    def is_chance(self) -> bool:
        """Return whether this accuracy is within the range of chance."""
        low, high = self.chance
        return low <= self.accuracy <= high


def slices(rng: np.random.Generator) -> np.ndarray:
    """Draw one patient: uint8 (20, 32, 32), a synthetic thorax, each time moved and with new noise."""
    grey = (draw_slice(rng, "normal") >> 8).astype(np.uint8)
    base = np.asarray(Image.fromarray(grey).resize((SIDE + 1, SIDE + 1), Image.Resampling.BOX), np.float64)
    moved = [base[y : y + SIDE, x : x + SIDE] for y, x in rng.integers(0, 2, (SLICES, 2))]
    return np.clip(moved + rng.normal(0, 3, (SLICES, SIDE, SIDE)), 0, 255).astype(np.uint8)


def study(rng: np.random.Generator) -> Manifest:
    """Draw patients of whom half, at random, are labelled "a" and the others "b"."""
    labels = rng.permutation(np.arange(PATIENTS) % 2)
    return Manifest.of(
        Sample(f"{p:03}-{n:02}", Path(f"{p:03}-{n:02}"), "", "ab"[labels[p]], f"patient {p}", "")
        for p in range(PATIENTS)
        for n in range(SLICES)
    )


def without_patients(manifest: Manifest) -> Manifest:
    """Remove the patients: every slice on its own, as in most data sets."""
    return Manifest.of(replace(sample, group="") for sample in manifest.samples)


def score(manifest: Manifest, pixels: np.ndarray) -> Score:
    """Predict for every test slice the label of the most similar training slice."""
    part = np.array([sample.split for sample in manifest.samples])
    train, test = part == "train", part == "test"
    nearest = KNeighborsClassifier(1).fit(pixels[train], manifest.labels[train])
    patients = np.array([sample.id[:3] for sample in manifest.samples])
    tested = set(patients[test])
    accuracy = float(nearest.score(pixels[test], manifest.labels[test]))
    return Score(accuracy, len(tested), len(tested & set(patients[train])))


def compare(seeds: Sequence[int]) -> list[tuple[Score, Score]]:
    """Return for each seed of labels and splits the scores of the grouped and the ungrouped split."""
    rng = np.random.default_rng(0)
    images = np.concatenate([slices(rng) for _ in range(PATIENTS)])
    digests = [pixel_digest(image) for image in images]
    colour = np.repeat(images[..., None], 3, axis=3)
    found = near_duplicates.find_duplicates(
        digests, np.stack([near_duplicates.thumbnail(image) for image in colour])
    )
    pixels = images.reshape(len(images), -1) / 255
    scores = []
    for seed in seeds:
        manifest = study(np.random.default_rng([1, seed]))
        grouped = new_split(manifest, components(manifest, digests, found), SIZES, seed)
        ungrouped = new_split(without_patients(manifest), digests, SIZES, seed)
        scores.append((score(grouped, pixels), score(ungrouped, pixels)))
    return scores


def table(seeds: Sequence[int], scores: Sequence[tuple[Score, Score]]) -> str:
    """Return a Markdown table, one row per seed."""
    head = "| seed | patients in both | grouped | 95% of chance | patients in both | ungrouped |"
    rows = [
        f"| {seed} | {good.shared} of {good.patients} | {good.accuracy:.3f} "
        f"| {good.chance[0]:.3f} to {good.chance[1]:.3f} "
        f"| {bad.shared} of {bad.patients} | {bad.accuracy:.3f} |"
        for seed, (good, bad) in zip(seeds, scores, strict=True)
    ]
    return "\n".join([head, "|---|---|---|---|---|---|", *rows])


def main(arguments: Sequence[str] | None = None) -> list[tuple[Score, Score]]:
    parser = argparse.ArgumentParser(description="Random labels, split by patient and by slice.")
    parser.add_argument("--seeds", type=int, default=10)
    seeds = range(parser.parse_args(arguments).seeds)
    scores = compare(seeds)
    print(f"{PATIENTS} patients x {SLICES} slices, random labels; test accuracy of the nearest neighbour\n")
    print(table(seeds, scores))
    inside = [sum(one.is_chance for one in column) for column in zip(*scores, strict=True)]
    print(f"\nwithin chance: grouped {inside[0]} of {len(seeds)}, ungrouped {inside[1]} of {len(seeds)}")
    return scores


if __name__ == "__main__":
    main()
