import dataclasses
import re
from collections.abc import Callable

import numpy as np
import pytest

from tests.audit.facts import Row, dataset, named, only, passes, reason, scene
from tumorboard.audit.dataset_facts import DatasetFacts
from tumorboard.audit.group_checks import groups_across_splits, groups_in_file_names, images_without_a_group
from tumorboard.data.manifest import Manifest


def test_a_patient_in_two_splits_is_an_error() -> None:
    rows = [Row("train", group="p"), Row("test", group="p"), Row("test", group="q"), Row("train")]
    found = only(groups_across_splits, dataset(rows))
    assert (found.severity, found.files) == ("error", (("0000", "0001"),))
    assert found.numbers == {"groups": 2, "across splits": 1, "images": 2}


def test_whole_groups_pass() -> None:
    assert passes(
        groups_across_splits,
        dataset([Row("train", group="p"), Row("train", group="p"), Row("test", group="q")]),
    )


def test_without_groups_or_parts_it_does_not_apply_which_is_not_passing() -> None:
    assert "no groups are given" in reason(groups_across_splits, dataset([Row("train"), Row("test")]))
    assert "only one split" in reason(groups_across_splits, dataset([Row(group="p")]))


def test_images_without_a_group_are_counted() -> None:
    found = only(images_without_a_group, dataset([Row(), Row(group="p"), Row()]))
    assert found.severity == "note"
    assert found.numbers == {"without": 2, "images": 3}
    assert "patient independence not checked" in found.title


def test_groups_everywhere_pass() -> None:
    assert passes(images_without_a_group, dataset([Row(group="p"), Row(group="q")]))


Name = Callable[[int, int], str]


def of_scans(
    name: Name, *, scans: int = 5, slices: int = 12, alike: bool = True, label: str = "a"
) -> DatasetFacts:
    """Slices of several scans; `alike` blends each slice with what is common to its scan."""
    rows, names = [], []
    for scan in range(scans):
        for number in range(slices):
            own = scene(1000 + 100 * scan + number).astype(float)
            common = scene(scan).astype(float)
            rows.append(
                Row(
                    split="test" if number > 8 else "train",
                    label=label,
                    thumbnail=(0.5 * own + 0.5 * common * alike + 64 * (not alike)).astype(np.uint8),
                )
            )
            names.append(name(scan, number))
    return named(dataset(rows), names)


@pytest.mark.parametrize(
    ("name", "expression"),
    [
        (lambda scan, n: f"a/{n:06d}{f' ({scan + 1})' if scan else ''}.png", r"^\d+(?: ?\((\d+)\))?"),
        (lambda scan, n: f"a/patient{scan}_slice{n}.png", r"^patient(\d+)"),
        (lambda scan, n: f"a/{100 + scan}-{n}.png", r"^(\d+)"),
    ],
)
def test_names_of_slices_that_look_alike_are_groups(name: Name, expression: str) -> None:
    finding = only(groups_in_file_names, of_scans(name))
    assert finding.severity == "warning"
    assert finding.numbers["expression"] == expression
    assert (finding.numbers["groups"], finding.numbers["across splits"]) == (5, 5)
    assert {len(group) for group in finding.files} == {12}
    assert f"--group-by-name '{expression}'" in finding.remedy


def test_groups_in_names_that_no_split_divides_are_a_note() -> None:
    facts = of_scans(lambda scan, n: f"a/patient{scan}_slice{n}.png")
    samples = [dataclasses.replace(sample, split="train") for sample in facts.samples]
    whole = dataclasses.replace(facts, manifest=Manifest.of(samples))
    assert only(groups_in_file_names, whole).severity == "note"


def test_groups_that_were_found_in_names_are_no_given_ones() -> None:
    facts = of_scans(lambda scan, n: f"a/patient{scan}_slice{n}.png")
    found = facts.changed(manifest=facts.with_found_groups())
    assert {sample.group for sample in found.samples} == {f"name:{scan}" for scan in range(5)}
    assert "no groups are given" in reason(groups_across_splits, found)
    assert only(images_without_a_group, found).numbers["without"] == 60
    assert only(groups_in_file_names, found).numbers["groups"] == 5


def of_volumes(name: Callable[[int, int], str], split: Callable[[int, int], str]) -> DatasetFacts:
    """Eight patients of two volumes of three slices, each volume a group by itself."""
    places = [(patient, visit, n) for patient in range(8) for visit in range(2) for n in (1, 2, 3)]
    facts = named(
        dataset(Row(split=split(patient, visit)) for patient, visit, _ in places),
        [f"{name(patient, visit)}#{n}" for patient, visit, n in places],
    )
    samples = [
        dataclasses.replace(sample, sha256=f"00#{sample.id[-1]}", group=sample.id[:-2])
        for sample in facts.samples
    ]
    return dataclasses.replace(facts, manifest=Manifest.of(samples))


def bids(patient: int, visit: int) -> str:
    return f"a/sub-{patient:02d}_ses-{visit}_T1w.nii.gz"


def test_volumes_of_one_patient_are_tied_by_their_names() -> None:
    facts = of_volumes(bids, lambda patient, visit: ("train", "test")[visit])
    finding = only(groups_in_file_names, facts)
    assert (finding.severity, finding.numbers["groups"], finding.numbers["across splits"]) == (
        "warning",
        8,
        8,
    )
    assert re.search(finding.numbers["expression"], "sub-07_ses-1_T1w.nii.gz")[1] == "07"
    found = facts.with_found_groups()
    assert len(set(found.groups.values())) == 8
    assert found.groups["a/sub-03_ses-0_T1w.nii.gz#1"] == found.groups["a/sub-03_ses-1_T1w.nii.gz#3"]
    assert passes(images_without_a_group, facts)


def test_a_volume_for_each_patient_stays_a_group_by_itself() -> None:
    facts = of_volumes(lambda patient, visit: f"a/{(patient * 2 + visit) * 7919}.nii", lambda *_: "train")
    assert passes(groups_in_file_names, facts)
    assert facts.with_found_groups() == facts.manifest


def test_one_slice_of_each_volume_is_tied_by_names_too() -> None:
    facts = of_volumes(bids, lambda *_: "train")
    middle = [dataclasses.replace(sample, group="") for sample in facts.samples if sample.id.endswith("#2")]
    rows = [row for row, sample in enumerate(facts.samples) if sample.id.endswith("#2")]
    images = tuple(facts.images[row] for row in rows)
    facts = DatasetFacts(Manifest.of(middle), images, facts.thumbnails[rows])
    assert len(set(facts.with_found_groups().groups.values())) == 8
    assert only(images_without_a_group, facts).numbers["without"] == 16


def test_a_key_that_ties_no_two_volumes_is_no_finding() -> None:
    facts = of_volumes(lambda patient, visit: f"a/sub-{patient * 2 + visit:02d}.nii", lambda *_: "train")
    assert passes(groups_in_file_names, facts)
    assert facts.with_found_groups() == facts.manifest


def test_slices_of_one_volume_in_two_splits_are_a_leak() -> None:
    facts = of_volumes(bids, lambda *_: "train")
    samples = [
        dataclasses.replace(sample, split="test") if sample.id.endswith("#3") else sample
        for sample in facts.samples
    ]
    finding = only(groups_across_splits, dataclasses.replace(facts, manifest=Manifest.of(samples)))
    assert (finding.numbers["groups"], finding.numbers["across splits"]) == (16, 16)


def test_names_that_say_nothing_of_the_pictures_pass() -> None:
    assert passes(groups_in_file_names, of_scans(lambda scan, n: f"a/{n:06d} ({scan + 1}).png", alike=False))


def test_a_name_for_every_picture_passes() -> None:
    assert passes(groups_in_file_names, of_scans(lambda scan, n: f"a/{'abcdefghijkl'[n] * (scan + 1)}1.png"))


def test_groups_that_are_known_are_not_guessed() -> None:
    assert "have a group" in reason(groups_in_file_names, dataset([Row(group="p"), Row(group="q")]))
