import hashlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tumorboard.data.groups import captured, compile_expression
from tumorboard.data.manifest import Sample
from tumorboard.data.name_keys import NameKey, find_name_keys
from tumorboard.data.pixels import Pixels

Name = Callable[[int, int, int, str], str]
"""Makes a path below the class folder of a patient, the patient's image, a running number and the class."""


def digits(*numbers: int | str, at_most: int = 10**9) -> int:
    """A number that looks random and is always the same for the same arguments."""
    return int(hashlib.sha256(repr(numbers).encode()).hexdigest()[:12], 16) % at_most


def code(*numbers: int | str, length: int = 8) -> str:
    return hashlib.sha256(repr(numbers).encode()).hexdigest()[:length]


VIEWS, SIDES, SEQUENCES = ("AP", "PA", "LL"), ("LEFT", "RIGHT"), ("T1w", "T2w", "FLAIR")

PATTERNS: dict[str, Name] = {
    "Kermany": lambda p, k, n, c: f"person{p}_{('virus', 'bacteria')[p % 2]}_{n}.jpeg",
    "Kermany, normal": lambda p, k, n, c: f"IM-{p:04d}-{k + 1:04d}.jpeg",
    "NIH": lambda p, k, n, c: f"{p * 7:08d}_{k:03d}.png",
    "BIDS": lambda p, k, n, c: f"sub-{p:02d}_ses-{k // 2 + 1:02d}_run-{k % 2 + 1}_{SEQUENCES[k % 3]}.png",
    "BIDS in folders": lambda p, k, n, c: f"sub-{p:02d}/anat/sub-{p:02d}_acq-{k}_T1w.png",
    "LIDC": lambda p, k, n, c: f"LIDC-IDRI-{p:04d}_slice_{k * 3 + p % 5:03d}.png",
    "TCGA": lambda p, k, n, c: (
        f"TCGA-{('A2', '02', 'E9')[p % 3]}-{code(p, length=4).upper()}-01Z-00-DX{k + 1}.png"
    ),
    "CBIS-DDSM": lambda p, k, n, c: (
        f"Mass-Training_P_{p:05d}_{SIDES[k % 2]}_{('CC', 'MLO')[k // 2 % 2]}_{k + 1}.png"
    ),
    "DDSM": lambda p, k, n, c: f"A_{1000 + p}_{k}.{SIDES[k % 2]}_CC.png",
    "COVID-CT": lambda p, k, n, c: (
        f"2020.{p % 3 + 1:02d}.{p % 28 + 1:02d}.{digits(p, at_most=10**8):08d}"
        f"-p{20 + p % 9}-{digits(p, k, at_most=400)}.png"
    ),
    "COVIDx": lambda p, k, n, c: f"covid-19-pneumonia-{p}-day{k}.jpg",
    "ISIC lesions": lambda p, k, n, c: (
        f"IL_{digits(p, at_most=10**7):07d}_ISIC_{digits(p, k, at_most=10**7):07d}.jpg"
    ),
    "INbreast": lambda p, k, n, c: (
        f"{digits(p, k, at_most=10**8):08d}_{code(p, length=16)}_MG_{'LR'[k % 2]}_CC_ANON.png"
    ),
    "BreakHis": lambda p, k, n, c: f"SOB_{c[0].upper()}_A-14-{22549 + p}AB-40-{k + 1:03d}.png",
    "hospital export": lambda p, k, n, c: (
        f"{digits(p, at_most=10**7):07d}_20{10 + k:02d}0{k + 1}15_{VIEWS[k % 3]}_{n}.png"
    ),
    "accession numbers": lambda p, k, n, c: f"ACC{digits(p, at_most=10**6):06d}.{k}.png",
    "DICOM UIDs": lambda p, k, n, c: (
        f"1.2.840.113619.2.55.{digits(p, at_most=10**8)}.{digits(p, k, at_most=10**6)}.png"
    ),
    "scans in brackets": lambda p, k, n, c: f"{100 + k:06d} ({p}).png",
    "names": lambda p, k, n, c: (
        f"{code('name', p, length=6).translate(str.maketrans('0123456789', 'ghijklmnop'))}_{k:02d}.png"
    ),
    "patient folders": lambda p, k, n, c: f"{code(p)}/{code(p, k)}.png",
    "German": lambda p, k, n, c: f"Patient {p}, Schicht {k}.png",
    "copied by Windows": lambda p, k, n, c: f"case {p} - {k} - Copy.png",
}
MEANINGLESS: dict[str, Name] = {
    "running numbers": lambda p, k, n, c: f"{n:05d}.png",
    "class and number": lambda p, k, n, c: f"{c} ({n}).png",
    "class and number, joined": lambda p, k, n, c: f"{c}_{n:04d}.jpg",
    "ISIC": lambda p, k, n, c: f"ISIC_{digits(p, k, c, at_most=10**7):07d}.jpg",
    "hashes": lambda p, k, n, c: f"{code(p, k, c, length=32)}.png",
    "UUIDs": lambda p, k, n, c: (
        "-".join(code(p, k, c, i, length=4 + 4 * (i == 4)) for i in range(5)) + ".png"
    ),
    "random pairs": lambda p, k, n, c: f"{digits(n, c, at_most=30)}_{n}.png",
    "times": lambda p, k, n, c: (
        f"2020-{digits(n, 'm', at_most=12) + 1:02d}-{digits(n, 'd', at_most=28) + 1:02d}_{n}.png"
    ),
    "views": lambda p, k, n, c: f"{VIEWS[digits(n, c) % 3]}_{SIDES[digits(n, c, 1) % 2]}_{n}.png",
    "images of pages": lambda p, k, n, c: f"page{digits(n, c, at_most=40)}_image{n}.png",
    "magnification": lambda p, k, n, c: (
        f"{(40, 100, 200, 400)[digits(n, c) % 4]}x_{digits(n, c, 2, at_most=10**6)}.png"
    ),
}


def scene(seed: int) -> np.ndarray:
    """A smooth random picture, 64 x 64."""
    coarse = np.random.default_rng(seed).normal(size=(8, 8))
    return np.kron(coarse, np.ones((8, 8)))


def data_set(name: Name, patients: int = 30) -> tuple[list[Sample], Pixels, dict[str, str]]:
    """Two classes of patients with two or three images each that resemble each other, named by `name`."""
    images: dict[str, tuple[Sample, np.ndarray]] = {}
    patient_of: dict[str, str] = {}
    for number, label in enumerate(("benign", "malignant")):
        running = 0
        for patient in range(patients):
            for k in range(2 + patient % 2):
                seed = 10_000 * number + 10 * patient
                running += 1
                file = f"{label}/{name(patient + 100 * number, k, running, label)}"
                look = scene(seed) + 0.7 * scene(seed + k + 1)
                images[file] = Sample(file, Path("data") / file, "", label, "", ""), look
                patient_of[file] = f"{label} {patient}"
    ordered = [images[file] for file in sorted(images)]
    looks = np.stack([look for _, look in ordered])
    thumbnails = np.clip(128 + 40 * looks, 0, 255).astype(np.uint8)
    return [sample for sample, _ in ordered], thumbnails, patient_of


@pytest.mark.parametrize("name", PATTERNS.values(), ids=PATTERNS)
def test_names_that_tell_the_patient_are_read(name: Name) -> None:
    samples, thumbnails, patient_of = data_set(name)
    keys = find_name_keys(samples, thumbnails, np.arange(len(samples)))
    groups = {image: group for key in keys for image, group in key.groups.items()}
    patients = defaultdict(set)
    for image, patient in patient_of.items():
        patients[patient].add(groups.get(image, image))
    divided = [patient for patient, parts in patients.items() if len(parts) > 1]
    assert not divided
    assert len(set(groups.values())) >= 0.9 * len(patients)
    for key in keys:
        assert all_groups_are_captured(key, samples)


def all_groups_are_captured(key: NameKey, samples: list[Sample]) -> bool:
    """Whether the key's expression, which a user may paste, gives the same groups."""
    if not key.pattern:
        return True
    expression = compile_expression(key.pattern)
    groups = {s.id: captured(expression, s.path.name, s.label, key.across_classes) for s in samples}
    return key.groups.items() <= groups.items()


@pytest.mark.parametrize("name", MEANINGLESS.values(), ids=MEANINGLESS)
def test_names_that_tell_nothing_give_no_groups(name: Name) -> None:
    samples, thumbnails, _ = data_set(name)
    keys = find_name_keys(samples, thumbnails, np.arange(len(samples)))
    assert [key.pattern for key in keys] == []
