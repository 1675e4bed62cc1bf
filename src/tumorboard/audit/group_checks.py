"""Check the groups, such as the images of one patient: divided, unknown, or visible in file names only."""

from collections import defaultdict

from tumorboard.audit.dataset_facts import DatasetFacts
from tumorboard.audit.findings import Finding, NotApplicable, Outcome, check
from tumorboard.data.manifest import FOUND_GROUP, Sample
from tumorboard.data.name_keys import NameKey


@check("TB407", "groups across splits", "error")
def groups_across_splits(facts: DatasetFacts) -> Outcome:
    """Report groups, such as the images of one patient, with members in more than one split.

    Why it matters: A model can recognise the patient instead of the disease, and does: metrics are too good
    for new patients.

    How it is measured: Groups come from the `group` column of a manifest CSV, or from the PatientID or
    SeriesInstanceUID of DICOM files, hashed. Without groups the check is not applicable, which is not the
    same as passed ([TB408](#tb408)).

    What to do: Make new splits with `tumorboard split`, which keeps groups together.
    """
    if len(facts.manifest.counts) < 2:
        return NotApplicable("the data has only one split")
    members: dict[str, list[Sample]] = defaultdict(list)
    for sample in facts.samples:
        if group := sample.given_group or sample.volume:
            members[group].append(sample)
    if not members:
        return NotApplicable("no groups are given")
    divided = [group for group in members.values() if len({sample.split for sample in group}) > 1]
    if not divided:
        return ()
    images = sum(map(len, divided))
    return (
        Finding(
            "error",
            f"{len(divided)} of {len(members)} groups, with {images} images, are in more than one split",
            "A model can recognise the patient instead of the disease; for new ones metrics are too good.",
            "Make new splits with tumorboard split, which keeps groups together.",
            tuple(tuple(sample.id for sample in group) for group in divided),
            {"groups": len(members), "across splits": len(divided), "images": images},
        ),
    )


@check("TB408", "images without a group", "note")
def images_without_a_group(facts: DatasetFacts) -> Outcome:
    """Report how many images belong to no group.

    Why it matters: Whether slices of one patient are in several splits is unknown then. Metrics may be too
    good, and confidence intervals, which assume independent images, too narrow.

    How it is measured: The `group` of the manifest is empty, and no DICOM header gives one.

    What to do: Write a manifest CSV with the columns path, label, split and group, where the group is a
    pseudonym of the patient.
    """
    without = sum(not sample.group or sample.group.startswith(FOUND_GROUP) for sample in facts.samples)
    if not without:
        return ()
    return (
        Finding(
            "note",
            f"patient independence not checked: {without} of {len(facts.samples)} images belong to no group",
            "Slices of one patient may be in several splits: metrics may be too good, intervals too narrow.",
            "Provide a manifest CSV with a group column that identifies the images of one patient.",
            (),
            {"without": without, "images": len(facts.samples)},
        ),
    )


@check("TB409", "groups identified by file names", "warning or note")
def groups_in_file_names(facts: DatasetFacts) -> Outcome:
    r"""Report images without a group whose file names, or folders, show which of them are of one patient.

    Why it matters: Slices of one scan, and images of one patient, resemble each other. With some of them in
    train and others in test a model recognises the patient, and metrics are better than they will be on new
    patients.

    How it is measured: Names are read as words, numbers and what separates them. Any combination of the parts
    in which names of one form differ may be the patient. It is taken for that if a word in front of it says
    so (`patient`, `person`, `subject`, `sub-`, ...), or if images that share it resemble each other: for each
    of up to 2,000 different images of a class, 32 x 32 grey pixels each, the most similar other one must
    have the same key 1.5 times as often as by chance, and so often that a binomial test has p below 0.01,
    corrected for the number of combinations and classes tried. A key can hold in some classes only. On the
    study's data it is the number in brackets, in the three cancers: 350 of 557 images against 94 by
    chance: 21 series. Where only the images show it, it is evidence, not proof; patients that file names do
    not show are not found.

    If no group is in more than one split, as in splits that Tumorboard made, it is a note.

    What to do: Ask who named the files. If the groups are patients or scans, make new splits that keep them
    together: `tumorboard split DATA --out manifest.csv --group-by-name EXPRESSION` with the expression of the
    finding, such as '^\d+(?: ?\((\d+)\))?' or '^person(\d+)'. The group is the class and what the brackets of
    the expression match; with `--groups-across-classes` the class is no part of it. The metrics on such
    splits are those to expect on new patients, and may be much lower.
    """
    if all(sample.given_group for sample in facts.samples):
        return NotApplicable("all images have a group")
    split_of = {sample.volume or sample.id: sample.split for sample in facts.samples}
    findings = []
    for key in facts.name_keys:
        members: dict[str, list[str]] = defaultdict(list)
        for name, group in key.groups.items():
            members[group].append(name)
        divided = [group for group in members.values() if len({split_of[name] for name in group}) > 1]
        findings.append(
            Finding(
                "warning" if divided else "note",
                f"File names tell {len(members)} groups of {len(key.groups)} images of "
                f"{', '.join(key.classes)} ({key.pattern or 'the folder in the class folder'}), "
                f"{len(divided)} of them in more than one split",
                f"They may be patients, whom a model can recognise: {_evidence(key)}.",
                "Ask who named the files; keep them together: tumorboard split DATA --out FILE.csv "
                f"{_option(key)}",
                tuple(map(tuple, divided)),
                {
                    "expression": key.pattern,
                    "word": key.word,
                    "classes": ", ".join(key.classes),
                    "groups": len(members),
                    "across splits": len(divided),
                    "same key": key.agreement.hits,
                    "images": key.agreement.images,
                    "expected": round(key.agreement.expected, 1),
                },
            )
        )
    return tuple(findings)


def _evidence(key: NameKey) -> str:
    if key.word:
        return f"'{key.word}' names a patient"
    hits, images, expected = key.agreement.hits, key.agreement.images, key.agreement.expected
    return (
        f"the most similar image has the same key for {hits} of {images} images, by chance for {expected:.0f}"
    )


def _option(key: NameKey) -> str:
    """The flags that give these groups."""
    if not key.pattern:
        return "--group-by-folder"
    return f"--group-by-name '{key.pattern}'" + " --groups-across-classes" * key.across_classes


@check("TB410", "accuracy that is recognition of patients", "warning or note")
def recognition_of_patients(facts: DatasetFacts) -> Outcome:
    """Report how much of the accuracy on a random split is the recognition of patients.

    Why it matters: Where images of one patient resemble each other, a random split measures whether a model
    knows the patient. On new patients it will be as much worse.

    How it is measured: A linear classifier on the features of the embedded, frozen EfficientNet-Lite0 is
    cross-validated with five folds, three times with images dealt at random and three times with groups
    (patients) kept together; the difference has a 95% interval over groups. Up to 2,000 images outside test
    are used, whole groups at random. Without any groups, images whose features have a cosine of 0.75 or more
    take their place; that is an estimate. On the study's data 0.92 becomes 0.70, on the chest X-rays of
    Kermany et al. 0.96 stays 0.96. With random labels the meter shows the whole inflation, and on independent
    images none (`tests/audit/test_leak_meter.py`). It is a warning if the difference is at least 0.02, its
    interval is above 0, and test holds images of groups that train holds too, and a note otherwise. `audit`
    makes this check, and `train` at its end (`leak_meter.json`). On 5,216 images it takes 45 s of processor
    time (`time tumorboard audit DATA` with and without `--mute TB410`), on more images no longer.

    What to do: Make splits with `tumorboard split`, which keeps groups together, and report results on them.
    """
    meter = facts.leaks
    if isinstance(meter, str):
        return NotApplicable(meter or "train measures it at its end, see leak_meter.json in the run folder")
    shared = meter.test_known.n if meter.test_known else 0
    return (
        Finding(
            "warning" if shared and meter.is_leak else "note",
            meter.sentence,
            f"{shared} test images looked at are of groups that train or validation contain too."
            if shared
            else "The splits, if there are any, keep these groups apart; random ones would not.",
            "Make splits with tumorboard split, which keeps groups together, and report results on them.",
            (),
            {
                "at random": round(meter.at_random.value or 0.0, 4),
                "groups together": round(meter.together.value or 0.0, 4),
                "inflation": round(meter.inflation.value or 0.0, 4),
                "inflation, low": round(meter.inflation.low or 0.0, 4),
                "inflation, high": round(meter.inflation.high or 0.0, 4),
                "groups": meter.groups,
                "images": meter.inflation.n,
            },
        ),
    )


CHECKS = (groups_across_splits, images_without_a_group, groups_in_file_names, recognition_of_patients)
