"""Studies put together from a few words, without files."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tumorboard.auditing.outcome import Check, Finding, NotApplicable
from tumorboard.auditing.study import Picture, Study
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
    median_colour: float = 0.0
    signs_in_a_row: int = 0
    notes: tuple[str, ...] = ()
    thumbnail: Pixels | None = field(default=None, repr=False)


def study(rows: Iterable[Row], problems: tuple[str, ...] = (), matching: Matching | None = None) -> Study:
    """The ids are numbers, in the order of the rows."""
    rows = list(rows)
    samples = [
        Sample(f"{i:04d}", Path(f"{i:04d}{row.suffix}"), row.split, row.label, row.group, "")
        for i, row in enumerate(rows)
    ]
    pictures = tuple(
        Picture(
            row.header,
            row.height,
            row.width,
            row.digest or str(i),
            row.coloured,
            row.median_colour,
            row.signs_in_a_row,
            row.notes,
        )
        for i, row in enumerate(rows)
    )
    looks = [scene(i) if row.thumbnail is None else row.thumbnail for i, row in enumerate(rows)]
    small = np.array(looks) if rows else np.empty((0, 64, 64), np.uint8)
    return Study(Manifest.of(samples), pictures, small, problems, matching)


def scene(seed: int) -> Pixels:
    """uint8 (64, 64): soft random blobs, as unlike each other as two patients."""
    coarse = np.random.default_rng(seed).random((8, 8))
    return (255 * np.kron(coarse, np.ones((8, 8)))).astype(np.uint8)


def only(check: Check, facts: Study) -> Finding:
    """The one finding of a check."""
    outcome = check.look(facts)
    assert isinstance(outcome, tuple), outcome
    assert len(outcome) == 1, outcome
    return outcome[0]


def passes(check: Check, facts: Study) -> bool:
    """Whether a check was made and found nothing."""
    return check.look(facts) == ()


def reason(check: Check, facts: Study) -> str:
    """Why a check was not made."""
    outcome = check.look(facts)
    assert isinstance(outcome, NotApplicable), outcome
    return outcome.reason
