"""Build facts of data sets from a few words, without files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tumorboard.audit.dataset_facts import DatasetFacts, ImageFacts
from tumorboard.audit.findings import Check, Finding, NotApplicable
from tumorboard.data.class_matching import Matching
from tumorboard.data.image_headers import Header
from tumorboard.data.manifest import Manifest, Sample
from tumorboard.data.pixels import Pixels

PNG = Header("PNG", "L", 8)


@dataclass
class Row:
    """One image; without a thumbnail it looks like no other."""

    split: str = "train"
    label: str = "a"
    group: str = ""
    suffix: str = ".png"
    header: Header = PNG
    height: int = 100
    width: int = 100
    digest: str = ""
    coloured: float = 0.0
    median_spread: float = 0.0
    text_length: int = 0
    notes: tuple[str, ...] = ()
    thumbnail: Pixels | None = field(default=None, repr=False)


def dataset(
    rows: Iterable[Row], problems: tuple[str, ...] = (), matching: Matching | None = None
) -> DatasetFacts:
    """The ids are numbers, in the order of the rows."""
    rows = list(rows)
    samples = [
        Sample(f"{i:04d}", Path(f"{i:04d}{row.suffix}"), row.split, row.label, row.group, "")
        for i, row in enumerate(rows)
    ]
    images = tuple(
        ImageFacts(
            row.header,
            row.height,
            row.width,
            row.digest or str(i),
            row.coloured,
            row.median_spread,
            row.text_length,
            row.notes,
        )
        for i, row in enumerate(rows)
    )
    looks = [scene(i) if row.thumbnail is None else row.thumbnail for i, row in enumerate(rows)]
    small = np.array(looks) if rows else np.empty((0, 64, 64), np.uint8)
    return DatasetFacts(Manifest.of(samples), images, small, problems, matching)


def named(facts: DatasetFacts, names: Sequence[str]) -> DatasetFacts:
    """The same images under these ids."""
    pairs = zip(facts.samples, names, strict=True)
    samples = [replace(sample, id=name, path=Path(name)) for sample, name in pairs]
    order = np.argsort(names)  # a manifest sorts by id
    images = tuple(facts.images[row] for row in order)
    return replace(facts, manifest=Manifest.of(samples), images=images, thumbnails=facts.thumbnails[order])


def scene(seed: int) -> Pixels:
    """uint8 (64, 64): soft random blobs, as unlike each other as two patients."""
    coarse = np.random.default_rng(seed).random((8, 8))
    return (255 * np.kron(coarse, np.ones((8, 8)))).astype(np.uint8)


def only(check: Check, facts: DatasetFacts) -> Finding:
    """Return the single finding of a check."""
    outcome = check.run(facts)
    assert isinstance(outcome, tuple), outcome
    assert len(outcome) == 1, outcome
    return outcome[0]


def passes(check: Check, facts: DatasetFacts) -> bool:
    """Return whether a check was made without findings."""
    return check.run(facts) == ()


def reason(check: Check, facts: DatasetFacts) -> str:
    """Return why a check was not made."""
    outcome = check.run(facts)
    assert isinstance(outcome, NotApplicable), outcome
    return outcome.reason
